//! Bytes as a method and the target of a request.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::route_path(bytes));
