//! Bytes as the segment files of a decision log.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::segment_reader(bytes));
