//! Bytes as the certificate of an end client.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::certificate(bytes));
