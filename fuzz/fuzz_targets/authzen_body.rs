//! Bytes as the body of an AuthZEN request.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::authzen_body(bytes));
