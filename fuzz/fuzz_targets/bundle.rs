//! Bytes as a bundle of a realm's files, and as the notes beside one.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::bundle(bytes));
