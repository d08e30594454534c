//! Bytes as records and events of the decision log.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::record_codec(bytes));
