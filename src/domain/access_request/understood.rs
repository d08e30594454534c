//! What of a question counts that was asked in the words of somebody who doesn't know the realm.

use std::sync::Arc;

use super::{Question, is_hosts, judged_as};
use crate::domain::{realm::Realm, value::Attributes};

/// The members of a question's context that its action has and that callers are believed.
pub fn understood_context(realm: &Realm, question: &Question) -> Attributes {
    let declared = realm.schema.actions.get(judged_as(realm, question)).map(|shape| &shape.context);
    let is_understood = |name: &Arc<str>| {
        let is_callers = !is_hosts(&realm.file, name) && realm.file.trusted.takes_context(name);
        is_callers && declared.is_some_and(|declared| declared.contains_key(name))
    };
    let understood = question.context.iter().filter(|(name, _)| is_understood(name));
    understood.map(|(name, value)| (Arc::clone(name), value.clone())).collect()
}
