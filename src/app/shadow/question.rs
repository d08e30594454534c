//! What is handed over of a decision.

use std::{mem::size_of, sync::Arc};

use crate::{
    app::{
        authorize::{Caller, Snapshot},
        realm_state::LoadedRealm,
    },
    domain::{
        access_request::Question,
        decision::{Decision, Obligation},
        decision_record::DecisionRecord,
        graph::Graph,
        id::DecisionId,
        replay::Judged,
        value::{Attributes, Value},
    },
};

/// The most bytes of a question that waits. Larger ones are counted and not compared: callers could fill the memory with
/// them.
const BYTES_MAX: usize = 16 * 1024;

/// A decision that was made, with all that it takes to make it again.
#[derive(Debug)]
pub(in crate::app) struct Seen {
    /// The policies that decided.
    pub(super) loaded: Arc<LoadedRealm>,
    /// The relationships that they saw.
    pub(super) graph: Arc<Graph>,
    /// Who asked.
    pub(super) caller: Arc<Caller>,
    /// What was asked, as it came.
    pub(super) question: Question,
    /// What it was about.
    pub(super) judged: Judged,
    /// What was decided, without what is said to the end client and the contents of obligations.
    pub(super) decision: Decision,
    /// The key into the decision log.
    pub(super) id: DecisionId,
    /// When it was decided, in microseconds since the epoch.
    pub(super) time_us: i64,
}

impl Seen {
    /// What a shadow needs of a decision; `None` of one that is too large to wait.
    pub(in crate::app) fn of(
        snapshot: &Snapshot,
        caller: &Arc<Caller>,
        question: &Question,
        judged: Judged,
        decision: &Decision,
        record: &DecisionRecord,
    ) -> Option<Self> {
        let obligation = |Obligation { id, parameters: _ }: &Obligation| Obligation {
            id: Arc::clone(id),
            parameters: Attributes::default(),
        };
        let Decision { outcome, reasons, determining_policies, denial: _, obligations, policy_version } = decision;
        (bytes_of(question) <= BYTES_MAX).then(|| Self {
            loaded: Arc::clone(&snapshot.loaded),
            graph: Arc::clone(&snapshot.graph),
            caller: Arc::clone(caller),
            question: question.clone(),
            judged,
            decision: Decision {
                outcome: *outcome,
                reasons: reasons.clone(),
                determining_policies: determining_policies.clone(),
                denial: None,
                obligations: obligations.iter().map(obligation).collect(),
                policy_version: policy_version.clone(),
            },
            id: record.id,
            time_us: record.time_us,
        })
    }
}

/// About how many bytes a question takes; looks no further once it is too large.
fn bytes_of(question: &Question) -> usize {
    let Question {
        action,
        resource_type,
        resource_id,
        attributes,
        proposed,
        known,
        context,
        media_type,
        supported_obligations,
    } = question;
    let texts =
        [action, resource_type, resource_id, media_type].into_iter().chain(supported_obligations.iter().flatten());
    let mut bytes = size_of::<Question>();
    for text in texts {
        bytes = bytes.saturating_add(size_of::<Arc<str>>() + text.len());
    }
    for attributes in attributes.iter().chain(proposed).chain([known, context]) {
        add_attributes(attributes, &mut bytes);
    }
    bytes
}

fn add_attributes(attributes: &Attributes, bytes: &mut usize) {
    for (name, value) in attributes.iter() {
        *bytes = bytes.saturating_add(size_of::<Arc<str>>() + name.len());
        add_value(value, bytes);
    }
}

fn add_value(value: &Value, bytes: &mut usize) {
    *bytes = bytes.saturating_add(size_of::<Value>());
    if *bytes > BYTES_MAX {
        return;
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Long(_) => {}
        Value::String(text) => *bytes = bytes.saturating_add(text.len()),
        Value::Entity(entity) => *bytes = bytes.saturating_add(entity.entity_type.len() + entity.id.len()),
        Value::List(items) => items.iter().for_each(|item| add_value(item, bytes)),
        Value::Record(fields) => add_attributes(fields, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_as_large_as_what_it_says() {
        let with = |value: Value| Question {
            context: [(Arc::from("said"), value)].into_iter().collect(),
            ..Question::default()
        };
        let empty = bytes_of(&Question::default());
        assert!(empty < 1_024, "{empty}");
        let text = |length| Value::String("x".repeat(length).into());
        assert!(bytes_of(&with(text(1_000))) > empty + 1_000);
        for large in [text(BYTES_MAX), Value::List(vec![Value::Long(1); 10_000]), Value::List(vec![text(600); 30])] {
            assert!(bytes_of(&with(large)) > BYTES_MAX);
        }
        let nested = Value::Record([(Arc::from("in"), text(BYTES_MAX))].into_iter().collect());
        assert!(bytes_of(&with(nested)) > BYTES_MAX);
        let proposed = Some([(Arc::from("body"), text(BYTES_MAX))].into_iter().collect());
        assert!(bytes_of(&Question { proposed, ..Question::default() }) > BYTES_MAX);
    }
}
