//! `[obligations.*]`: what a caller must do with an allow.

use std::{ops::Range, sync::Arc};

use crate::domain::{document::Table, value::Attributes};

/// When an allow carries an obligation, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObligationRule {
    /// The actions whose allows carry it, where nothing is stored yet. Other allows carry it where every permit that
    /// holds says so.
    pub actions: Vec<Arc<str>>,
    /// The parameters that are always the same.
    pub constants: Attributes,
    /// The parameters that follow from the principal. Without all the values, an allow that an action gives the
    /// obligation goes without it, and one that its permits give it is none.
    pub parameters: Vec<(Arc<str>, ObligationParameter)>,
    /// Where it stands in realm.toml, in bytes.
    pub place: Range<usize>,
}

/// Where a parameter of an obligation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObligationParameter {
    /// The principal attribute whose value it takes.
    pub attribute: Arc<str>,
    /// Between the parts that the value is taken apart into; `None` leaves it whole.
    pub split: Option<Arc<str>>,
}

/// The names of obligations that the service itself puts together.
const OWN: [&str; 2] = ["apply_profile", "authorize_each"];

/// Reads one obligation.
pub(super) fn read_obligation(name: &str, table: &Table<'_>) -> ObligationRule {
    if OWN.contains(&name) {
        table.fault(None, format!("the service itself says what `{name}` is, expected another name"));
    }
    let actions = table.texts("actions").unwrap_or_default();
    let constants = table.constants("constants");
    let whole = |attribute| ObligationParameter { attribute, split: None };
    let parameters = table.texts_or_tables("parameters", whole, read_parameter);
    for (name, _) in parameters.iter().filter(|(name, _)| constants.iter().any(|(other, _)| other == name)) {
        table.fault(Some("parameters"), format!("`{name}` is one of the constants, too"));
    }
    ObligationRule { actions, constants: constants.into_iter().collect(), parameters, place: table.place("") }
}

fn read_parameter(table: &Table<'_>) -> Option<ObligationParameter> {
    let attribute = table.required_text("attribute");
    let split = table.text("split");
    if split.as_deref() == Some("") {
        table.fault(Some("split"), "`split` is empty, expected what stands between the parts");
    }
    Some(ObligationParameter { attribute: attribute?, split })
}
