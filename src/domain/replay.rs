//! Deciding again what was decided before: the facts that are kept beside a record for that, and what came of it.

mod again;
mod facts;

pub use again::{decide_again, is_same};
pub use facts::{Facts, Judged, PrincipalFacts};
