//! The pure floor: values in, values out.

pub(crate) mod breadth_first;
pub mod decision;
pub mod decision_record;
pub mod graph;
pub mod id;
pub(crate) mod interner;
pub mod issuer;
pub mod key_set;
pub mod policy_set;
pub mod record_filter;
pub mod relationship;
pub mod value;
