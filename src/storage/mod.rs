//! Stores: out to disk and memory.

pub mod key_file;
