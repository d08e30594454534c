//! Stores: out to disk and memory.
//!
//! [`memory`] and [`sled`] keep relationships, applications and revocations with the same promises; a suite of tests each runs over both.
//! [`segment_log`] keeps decisions in files of its own, [`identities`] who they are about; [`history`] and
//! [`policy_versions`] keep what is needed to make them again.

mod application;
mod record;
mod revocation;

pub mod memory;
pub mod sled;

pub mod checkpoint_key;
pub mod history;
pub mod identities;
pub mod key_file;
pub mod policy_versions;
pub mod segment_log;

#[cfg(test)]
mod application_suite;
#[cfg(test)]
mod relationship_suite;
#[cfg(test)]
mod revocation_suite;
#[cfg(test)]
mod small_disk;
