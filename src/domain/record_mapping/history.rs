//! Entity types that show the past of others: what was read of them, checked and completed.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{EntityRules, RelationRule};
use crate::domain::document::Table;

/// Makes each history like the type whose past it shows, and returns the history of each type that has one.
///
/// A fault for each history of a history, cycles included, each second history of a type, and each rule that a history
/// has from the other type.
pub(super) fn settle(
    root: &Table<'_>,
    entities: &mut BTreeMap<Arc<str>, EntityRules>,
    places: &BTreeMap<Arc<str>, Range<usize>>,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut histories: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let read = entities.clone();
    for (name, rules) in entities.iter_mut() {
        let Some(base) = &rules.history_of else { continue };
        let fault = |message: String| root.fault_at(places.get(name).cloned().unwrap_or_default(), message);
        let of_base = read.get(base).cloned().unwrap_or_default();
        if base == name {
            fault(format!("`{name}` is its own history"));
        } else if let Some(further) = &of_base.history_of {
            fault(format!("`{base}` is the history of `{further}` and has none itself"));
        } else if let Some(other) = histories.insert(Arc::clone(base), Arc::clone(name)) {
            fault(format!("`{base}` has the history `{other}` already"));
        }
        if of_base.path.is_some() {
            fault(format!("the ids of `{base}` are paths, and such a type has no history"));
        }
        if rules.is_integer || rules.is_person {
            fault(format!("the ids of a history are those of `{base}`, leave out `id` and `person`"));
        }
        rules.is_integer = of_base.is_integer;
        rules.is_zero_none = of_base.is_zero_none;
        rules.is_person = of_base.is_person;
        rules.hint = rules.hint.take().or(of_base.hint);
    }
    histories
}

/// A fault for each end that is a history: what it is in follows from the other type alone.
pub(super) fn check_ends(
    root: &Table<'_>,
    rule: &RelationRule,
    places: [Range<usize>; 2],
    entities: &BTreeMap<Arc<str>, EntityRules>,
) {
    for (end, place) in [&rule.subject, &rule.object].into_iter().zip(places) {
        if let Some(base) = entities.get(end).and_then(|rules| rules.history_of.as_ref()) {
            root.fault_at(place, format!("`{end}` is the history of `{base}`, and no relation's end; name `{base}`"));
        }
    }
}
