//! Bytes as a realm's files.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::realm_files(bytes));
