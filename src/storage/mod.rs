//! Stores: out to disk and memory.

pub mod key_file;
pub mod segment_log;
