//! The index of a log: blocks of up to 65,536 entries, each with the places of its values.

pub(super) mod catalogue;
pub(super) mod file;
pub(super) mod indexer;
pub(super) mod open;
pub(super) mod positions;
pub(super) mod terms;
pub(super) mod view;
