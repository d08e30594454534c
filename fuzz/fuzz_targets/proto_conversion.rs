//! Bytes as a gRPC call and its message.
#![no_main]

mod entry;

// The service begins with the first input, which takes longer than an input may.
libfuzzer_sys::fuzz_target!(init: entry::proto_conversion(&[0]), |bytes: &[u8]| entry::proto_conversion(bytes));
