//! Bytes as records that a realm maps.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::records(bytes));
