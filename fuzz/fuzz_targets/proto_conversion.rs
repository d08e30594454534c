//! Bytes as a gRPC call and its message.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::proto_conversion(bytes));
