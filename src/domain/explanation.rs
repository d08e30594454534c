//! Why: from the policies that Cedar names, and from those that nearly applied.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::Effect;

use super::{
    access_request::Phase,
    clause::Clause,
    decide::Evaluation,
    decision::Reason,
    policy_set::CompiledPolicy,
    resource_type::{LACKS, Subject},
    schema::AttributeType,
};

/// Why it is allowed: the permits that hold.
pub(super) fn permitted(evaluation: &Evaluation<'_>, determining: &[usize]) -> Vec<Reason> {
    sorted(evaluation, determining)
        .into_iter()
        .map(|policy| Reason {
            code: "PERMITTED".into(),
            message: title(policy),
            policy: Some(Arc::clone(&policy.id)),
            subjects: Vec::new(),
            hints: Vec::new(),
        })
        .collect()
}

/// Why it is forbidden: the forbids that hold.
pub(super) fn forbidden(evaluation: &Evaluation<'_>, determining: &[usize]) -> Vec<Reason> {
    sorted(evaluation, determining)
        .into_iter()
        .map(|policy| {
            let clauses = policy.clauses.list.iter();
            let subjects = subjects_of(evaluation, clauses).into_iter().map(|(subject, _)| Arc::clone(&subject.name));
            Reason {
                code: policy.annotation("reason").cloned().unwrap_or_else(|| "FORBIDDEN".into()),
                message: policy.annotation("message").cloned().unwrap_or_else(|| title(policy)),
                policy: Some(Arc::clone(&policy.id)),
                subjects: subjects.collect(),
                hints: policy.annotation("hint").into_iter().cloned().collect(),
            }
        })
        .collect()
}

/// Which policies could not be evaluated. The error's own text may hold values, so it isn't repeated.
pub(super) fn errored(evaluation: &Evaluation<'_>, errored: &[usize]) -> Vec<Reason> {
    let policies = sorted(evaluation, errored);
    let reasons = policies.into_iter().map(|policy| Reason {
        code: "POLICY_ERROR".into(),
        message: "a policy could not be evaluated, so nothing is allowed".into(),
        policy: Some(Arc::clone(&policy.id)),
        subjects: Vec::new(),
        hints: Vec::new(),
    });
    reasons.collect()
}

/// Why no permit holds: the permits that nearly did, with the clauses that were false.
///
/// A permit nearly applied when every clause holds that doesn't look at the resource.
pub(super) fn not_permitted(evaluation: &Evaluation<'_>) -> Vec<Reason> {
    let mut missed: Vec<Missed<'_>> = Vec::new();
    for policy in sorted(evaluation, &evaluation.candidates.indexes) {
        if policy.effect != Effect::Permit || policy.clauses.list.is_empty() {
            continue;
        }
        let failing = failing_clauses(evaluation, policy);
        if failing.is_empty() || failing.iter().any(|clause| !clause.looks_at_resource) {
            continue;
        }
        missed.push(Missed { policy, failing: subjects_of(evaluation, failing.into_iter()) });
    }
    if missed.is_empty() {
        return vec![Reason::plain(
            "NO_POLICY_PERMITS",
            "no policy of this realm permits this action on this resource",
        )];
    }
    let lacking = missed.iter().any(|missed| missed.failing.iter().any(|(subject, _)| lacks(evaluation, subject)));
    if lacking { vec![value_required(evaluation, &missed)] } else { near_misses(evaluation, &missed) }
}

struct Missed<'a> {
    policy: &'a CompiledPolicy,
    failing: Vec<(&'a Subject, BTreeSet<Arc<str>>)>,
}

/// One reason a code: permits that share it are alternatives of which none held.
fn near_misses(evaluation: &Evaluation<'_>, missed: &[Missed<'_>]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for Missed { policy, .. } in missed {
        let code = policy.annotation("reason").cloned().unwrap_or_else(|| "NO_POLICY_PERMITS".into());
        if reasons.iter().any(|reason| reason.code == code) {
            continue;
        }
        let same = missed.iter().filter(|other| other.policy.annotation("reason") == policy.annotation("reason"));
        let (subjects, hints) = named(evaluation, &same.collect::<Vec<_>>(), |_| true);
        let message = policy.annotation("message").cloned().unwrap_or_else(|| title(policy));
        reasons.push(Reason { code, message, policy: Some(Arc::clone(&policy.id)), subjects, hints });
    }
    reasons
}

/// The request, or the stored resource, has no value where a permit looks for one.
fn value_required(evaluation: &Evaluation<'_>, missed: &[Missed<'_>]) -> Reason {
    let (subjects, hints) = named(evaluation, &missed.iter().collect::<Vec<_>>(), |subject| lacks(evaluation, subject));
    let (code, message) = match evaluation.values.phase {
        Phase::Proposed => ("VALUE_REQUIRED", "the request leaves out a value that the policies look at"),
        Phase::Existing => ("VALUE_UNINITIALIZED", "the stored resource has no value where the policies look for one"),
    };
    let policy = missed.first().map(|missed| Arc::clone(&missed.policy.id));
    Reason { code: code.into(), message: message.into(), policy, subjects, hints }
}

fn lacks(evaluation: &Evaluation<'_>, subject: &Subject) -> bool {
    let subjects = evaluation.request.resource_type.subjects.iter();
    subjects
        .zip(&evaluation.values.values)
        .any(|(other, value)| other.attribute == subject.attribute && value.is_none())
}

/// The names of the failing subjects in the resource's order, and their hints, each once.
fn named(
    evaluation: &Evaluation<'_>,
    missed: &[&Missed<'_>],
    counts: impl Fn(&Subject) -> bool,
) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let (mut names, mut hints) = (Vec::new(), Vec::new());
    for subject in evaluation.request.resource_type.subjects.iter().filter(|subject| counts(subject)) {
        for (_, types) in
            missed.iter().flat_map(|missed| &missed.failing).filter(|(other, _)| other.attribute == subject.attribute)
        {
            if !names.contains(&subject.name) {
                names.push(Arc::clone(&subject.name));
            }
            for hint in types.iter().filter_map(|name| evaluation.realm.relations.entity(name)?.hint.as_ref()) {
                if !hints.contains(hint) {
                    hints.push(Arc::clone(hint));
                }
            }
        }
    }
    for hint in missed.iter().filter_map(|missed| missed.policy.annotation("hint")) {
        if !hints.contains(hint) {
            hints.push(Arc::clone(hint));
        }
    }
    (names, hints)
}

fn failing_clauses<'a>(evaluation: &Evaluation<'_>, policy: &'a CompiledPolicy) -> Vec<&'a Clause> {
    policy.clauses.list.iter().filter(|clause| evaluation.situation.holds(&clause.condition) != Ok(true)).collect()
}

/// The resource's subjects that the clauses mention, each with the entity types at the ends of the paths.
fn subjects_of<'a>(
    evaluation: &Evaluation<'a>,
    clauses: impl Iterator<Item = &'a Clause>,
) -> Vec<(&'a Subject, BTreeSet<Arc<str>>)> {
    let paths: Vec<&Vec<Arc<str>>> = clauses.flat_map(|clause| &clause.resource_paths).collect();
    let subjects = evaluation.request.resource_type.subjects.iter();
    subjects
        .filter_map(|subject| {
            let own: Vec<_> = paths.iter().filter(|path| path.first() == Some(&subject.attribute)).collect();
            let deepest = own.iter().map(|path| path.len()).max()?;
            let ends = own.iter().filter(|path| path.len() == deepest);
            let types = ends.filter_map(|path| end_type(evaluation, subject, path.get(1..).unwrap_or_default()));
            (*subject.attribute != *LACKS).then(|| (subject, types.collect()))
        })
        .collect()
}

fn end_type(evaluation: &Evaluation<'_>, subject: &Subject, rest: &[Arc<str>]) -> Option<Arc<str>> {
    let start = match &subject.value_type {
        AttributeType::Entity(name) => Arc::clone(name),
        AttributeType::Set(element) => match &**element {
            AttributeType::Entity(name) => Arc::clone(name),
            _ => return None,
        },
        _ => return None,
    };
    rest.iter().try_fold(start, |current, name| evaluation.realm.relations.entity(&current)?.links.get(name).cloned())
}

/// By precedence, then by id: where a policy stands in its file says nothing.
fn sorted<'a>(evaluation: &Evaluation<'a>, indexes: &[usize]) -> Vec<&'a CompiledPolicy> {
    let policies = indexes.iter().filter_map(|index| evaluation.realm.policies.get(*index));
    let mut policies: Vec<&CompiledPolicy> = policies.collect();
    policies.sort_by_key(|policy| (policy.precedence, &policy.id));
    policies
}

fn title(policy: &CompiledPolicy) -> Arc<str> {
    Arc::clone(policy.annotation("title").unwrap_or(&policy.id))
}
