//! Bytes as a request that Envoy holds back.
#![no_main]

mod entry;

// The service begins with the first input, which takes longer than an input may.
libfuzzer_sys::fuzz_target!(init: entry::envoy_check(&[]), |bytes: &[u8]| entry::envoy_check(bytes));
