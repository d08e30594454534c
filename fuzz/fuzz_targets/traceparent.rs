//! Bytes as the header of a trace.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::traceparent(bytes));
