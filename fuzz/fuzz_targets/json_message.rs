//! Bytes as a call over HTTP and its message as JSON.
#![no_main]

mod entry;

// The service begins with the first input, which takes longer than an input may.
libfuzzer_sys::fuzz_target!(init: entry::json_message(&[0]), |bytes: &[u8]| entry::json_message(bytes));
