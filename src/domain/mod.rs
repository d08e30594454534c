//! The pure floor: values in, values out.

pub mod codec;
pub mod decision;
pub mod decision_record;
pub mod id;
pub mod issuer;
pub mod key_set;
pub mod policy_set;
pub mod pseudonym;
pub mod record_codec;
pub mod record_filter;
pub mod relationship;
pub mod value;
