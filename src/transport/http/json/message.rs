//! Messages as JSON, by their descriptors: proto3's JSON mapping, read strictly.
//!
//! What differs from that mapping: values of attributes and of the context are plain JSON ([`super::value`]), enums come by
//! name alone, and members that the message does not have are refused.

mod read;
mod write;

pub(super) use self::{
    read::{read, whole_number},
    write::Written,
};

/// The message that stands for any value.
pub(super) const VALUE: &str = "hallpass.v1.Value";
/// The message that is a moment, written as RFC 3339 has it.
pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// Where something stands in a message, spelled out only when a fault is found there.
pub(super) enum Path<'a> {
    /// The message itself.
    Root,
    /// A member of an object.
    Member(&'a Path<'a>, &'a str),
    /// A place in a list.
    Index(&'a Path<'a>, usize),
}

/// The most characters of a name that are shown.
const NAME_SHOWN_MAX: usize = 80;

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(parent, name) => {
                let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
                let dot = if matches!(parent, Self::Root) { "" } else { "." };
                write!(f, "{parent}{dot}{shown}")
            }
            Self::Index(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

#[cfg(test)]
mod tests;
