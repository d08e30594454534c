//! Bytes as the certificate of a caller.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::peer_certificate(bytes));
