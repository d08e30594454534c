//! What other policies make of decisions.

use std::sync::Arc;

use super::{authorization, entity, timestamp};
use crate::{
    domain::{
        decision::Outcome,
        replay::{Cause, Change, ChangeCounts, ChangeExample, Changes, Clause, How},
    },
    proto::v1 as pb,
};

pub(super) fn change(change: Change) -> pb::DecisionChange {
    match change {
        Change::NewlyAllowed => pb::DecisionChange::NewlyAllowed,
        Change::NewlyDenied => pb::DecisionChange::NewlyDenied,
        Change::Otherwise => pb::DecisionChange::Otherwise,
        Change::Same => pb::DecisionChange::Unspecified,
    }
}

pub(super) fn cause(cause: &Cause) -> pb::ChangeCause {
    let Cause { policy, effect, how, clause, code } = cause;
    let kind = match how {
        How::Added => pb::ChangeKind::Added,
        How::Removed => pb::ChangeKind::Removed,
        How::Scope => pb::ChangeKind::Scope,
        How::Condition => pb::ChangeKind::Condition,
        How::Failed => pb::ChangeKind::Failed,
        How::Other => pb::ChangeKind::Other,
    };
    pb::ChangeCause {
        kind: kind.into(),
        policy: policy.as_deref().unwrap_or_default().to_owned(),
        effect: effect.map_or(pb::Decision::Unspecified, authorization::effect).into(),
        clause: clause.as_ref().map(clause_of),
        code: code.to_string(),
    }
}

fn clause_of(clause: &Clause) -> pb::ChangeClause {
    let Clause { file, line, column, text, is_negated } = clause;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    pb::ChangeClause {
        file: file.to_string(),
        line: number(*line),
        column: number(*column),
        text: text.to_string(),
        negated: *is_negated,
    }
}

fn example(example: &ChangeExample) -> pb::ChangeExample {
    let ChangeExample { id, time_us, principal, action, resource_type, resource_id, outcomes, codes } = example;
    let outcome = |outcome: Outcome| authorization::outcome(outcome).into();
    let texts = |codes: &[Arc<str>]| codes.iter().map(ToString::to_string).collect();
    pb::ChangeExample {
        decision_id: id.to_string(),
        time: Some(timestamp(*time_us)),
        principal: principal.as_ref().map(entity),
        action: action.to_string(),
        resource_type: resource_type.to_string(),
        resource_id: resource_id.to_string(),
        logged_outcome: outcome(outcomes.0),
        logged_codes: texts(&codes.0),
        outcome: outcome(outcomes.1),
        codes: texts(&codes.1),
    }
}

pub(super) fn report(changes: &Changes) -> pb::ChangeReport {
    let ChangeCounts { same, otherwise, newly_allowed, newly_denied } = changes.counts();
    let groups = changes.groups().into_iter().map(|group| pb::ChangeGroup {
        change: change(group.change).into(),
        cause: Some(cause(&group.cause)),
        decisions: group.decisions,
        examples: group.examples.iter().map(example).collect(),
    });
    let (groups, ungrouped) = (groups.collect(), changes.ungrouped());
    pb::ChangeReport { same, otherwise, newly_allowed, newly_denied, groups, ungrouped }
}
