//! Bytes as a request that Envoy holds back.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::envoy_check(bytes));
