//! Deciding again what was decided before: the facts that are kept beside a record for that, and what came of it.

mod facts;

pub use facts::{Facts, Judged, PrincipalFacts};
