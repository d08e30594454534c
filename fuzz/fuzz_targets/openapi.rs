//! Bytes as the description of an API.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::openapi(bytes));
