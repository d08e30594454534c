//! Bytes as the body of an AuthZEN request.
#![no_main]

mod entry;

// The service begins with the first input, which takes longer than an input may.
libfuzzer_sys::fuzz_target!(init: entry::authzen_body(&[0]), |bytes: &[u8]| entry::authzen_body(bytes));
