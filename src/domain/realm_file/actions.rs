//! `[actions.*]`: which values of a resource an action is judged by.

use std::sync::Arc;

use crate::domain::{access_request::Phase, document::Table};

/// What the realm says about an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionRule {
    /// A question without these values is a bad request.
    pub needs: Vec<Phase>,
    /// The action that a question is judged as when it brings stored values, because what it would make is there.
    pub when_stored: Option<Arc<str>>,
}

/// Reads what is said about one action.
pub(super) fn read_action(table: &Table<'_>) -> ActionRule {
    let mut needs = Vec::new();
    for name in table.texts("needs").unwrap_or_default() {
        match [Phase::Existing, Phase::Proposed].into_iter().find(|phase| phase.name() == &*name) {
            Some(phase) => needs.push(phase),
            None => table.fault(Some("needs"), format!("`{name}` is neither `existing` nor `proposed`")),
        }
    }
    ActionRule { needs, when_stored: table.text("when_stored") }
}
