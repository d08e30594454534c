//! Bytes as a call over HTTP and its message as JSON.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::json_message(bytes));
