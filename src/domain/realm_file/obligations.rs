//! `[obligations.*]`: what a caller must do with an allow.

use std::sync::Arc;

use crate::domain::document::Table;

/// When an allow carries an obligation, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObligationRule {
    /// The actions whose allows carry it, where nothing is stored yet.
    pub actions: Vec<Arc<str>>,
    /// Its parameters, each with the principal attribute whose value it takes. Without all the values, an allow goes without the
    /// obligation.
    pub parameters: Vec<(Arc<str>, Arc<str>)>,
}

/// Reads one obligation.
pub(super) fn read_obligation(table: &Table<'_>) -> Option<ObligationRule> {
    let actions = table.required_texts("actions");
    let parameters = table.text_lists("parameters").into_iter();
    let parameters = parameters.filter_map(|(name, attributes)| Some((name, attributes.into_iter().next()?)));
    Some(ObligationRule { actions: actions?, parameters: parameters.collect() })
}
