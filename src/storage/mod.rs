//! Stores: out to disk and memory.
//!
//! [`memory`] and [`sled`] keep the same promises; one suite of tests runs over both.

pub mod codec;
mod record;

pub mod memory;
pub mod sled;

#[cfg(test)]
mod relationship_suite;

pub mod key_file;
pub mod segment_log;
