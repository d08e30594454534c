//! Deciding again what was decided before: the facts that are kept beside a record for that, what came of it, and what
//! other policies make of it.

mod again;
mod change;
mod facts;
mod touched;

pub use again::{decide_again, is_same};
pub use change::{
    CHANGE_EXAMPLES_MAX, CHANGE_GROUPS_MAX, Cause, Change, ChangeCounts, ChangeExample, ChangeGroup, Changes, Clause,
    How, Made, Side, cause, change,
};
pub use facts::{Facts, Judged, PrincipalFacts};
pub use touched::{Touched, Written};
