//! Stores: out to disk and memory.
//!
//! [`memory`] and [`sled`] keep relationships with the same promises; one suite of tests runs over both.
//! [`segment_log`] keeps decisions in files of its own.

mod record;

pub mod memory;
pub mod sled;

pub mod key_file;
pub mod segment_log;

#[cfg(test)]
mod relationship_suite;
