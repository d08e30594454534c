//! Why: from the policies that Cedar names, and from those that nearly applied.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::Effect;

use super::{
    access_request::Phase,
    clause::Clause,
    decide::Evaluation,
    decision::Reason,
    policy_set::CompiledPolicy,
    realm::Realm,
    realm_file::{MissingPeople, NamedSubjects},
    resource_type::{LACKS, Subject},
    schema::AttributeType,
    value::Value,
};

/// A reason, and what follows from the policies that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Explained {
    pub(super) reason: Reason,
    /// The strategies of the grant that it comes from.
    pub(super) strategies: Vec<Arc<str>>,
    /// The template of the denial, where it is not the one of the reason's code.
    pub(super) template: Option<Arc<str>>,
    /// The obligations that the permit carries.
    pub(super) obligations: Vec<Arc<str>>,
}

impl From<Reason> for Explained {
    fn from(reason: Reason) -> Self {
        Self { reason, strategies: Vec::new(), template: None, obligations: Vec::new() }
    }
}

/// Why it is allowed: the permits that hold.
pub(super) fn permitted(evaluation: &Evaluation<'_>, determining: &[usize]) -> Vec<Explained> {
    let policies = sorted(evaluation, determining).into_iter();
    let explained = policies.map(|policy| {
        let reason = of_policy("PERMITTED", title(policy), policy);
        Explained { obligations: policy.obligations.clone(), ..Explained::from(reason) }
    });
    explained.collect()
}

/// Reasons of the proposed values of a question whose stored values passed, with the codes that the realm has for these.
pub(super) fn of_second_phase(realm: &Realm, mut reasons: Vec<Explained>) -> Vec<Explained> {
    for Explained { reason, template, .. } in &mut reasons {
        let told = realm.file.reasons.second_phase.iter().find(|(code, _)| *code == reason.code);
        let Some((_, told)) = told else { continue };
        let code = std::mem::replace(&mut reason.code, Arc::clone(told));
        if template.is_none() && !realm.file.denials.iter().any(|(name, _)| name == told) {
            *template = Some(code);
        }
    }
    reasons
}

/// Which policies could not be evaluated. The error's own text may hold values, so it isn't repeated.
pub(super) fn errored(evaluation: &Evaluation<'_>, errored: &[usize]) -> Vec<Explained> {
    let message = "a policy could not be evaluated, so nothing is allowed";
    let policies = sorted(evaluation, errored).into_iter();
    policies.map(|policy| of_policy("POLICY_ERROR", message, policy).into()).collect()
}

fn of_policy(code: &str, message: impl Into<Arc<str>>, policy: &CompiledPolicy) -> Reason {
    Reason { policy: Some(Arc::clone(&policy.id)), ..Reason::plain(code, message) }
}

/// Why it is forbidden: the forbids that hold.
pub(super) fn forbidden(evaluation: &Evaluation<'_>, determining: &[usize]) -> Vec<Explained> {
    sorted(evaluation, determining).into_iter().map(|policy| forbidden_by(evaluation, policy)).collect()
}

fn forbidden_by(evaluation: &Evaluation<'_>, policy: &CompiledPolicy) -> Explained {
    let mut template = None;
    let (code, message, subjects) = if let Some((family, lacking)) = forbidden_without(evaluation, policy) {
        let (code, message) = missing(evaluation, family);
        (code, Arc::from(message), lacking)
    } else {
        template = policy.annotation("denial").cloned();
        let mentioned = subjects_of(evaluation, policy.clauses.list.iter());
        let code = policy.annotation("reason").map_or_else(|| "FORBIDDEN".to_owned(), ToString::to_string);
        let message = policy.annotation("message").cloned().unwrap_or_else(|| title(policy));
        (code, message, mentioned.iter().map(|found| found.subject).collect())
    };
    let strategies = match guard(policy) {
        Some(strategy) => vec![Arc::clone(strategy)],
        None => strategy_looking_at(evaluation, &subjects).into_iter().collect(),
    };
    let hints = policy.annotation("hint").into_iter().cloned().collect();
    let subjects = subjects.into_iter().flat_map(|subject| names(evaluation, subject)).cloned().collect();
    let reason = Reason { subjects, hints, ..of_policy(&code, message, policy) };
    Explained { strategies, template, ..Explained::from(reason) }
}

/// The values whose lack a forbid tells instead of its own reason, with the family of the codes that do.
fn forbidden_without<'a>(
    evaluation: &Evaluation<'a>,
    policy: &'a CompiledPolicy,
) -> Option<(&'a Arc<str>, Vec<&'a Subject>)> {
    let family = policy.annotation("missing").filter(|_| policy.effect == Effect::Forbid)?;
    let mentioned = subjects_of(evaluation, policy.clauses.list.iter()).into_iter();
    let lacking: Vec<_> = mentioned.map(|found| found.subject).filter(|subject| lacks(evaluation, subject)).collect();
    (!lacking.is_empty()).then_some((family, lacking))
}

/// What texts call the properties of a value: of one that lacks some of them, those.
fn names<'a>(evaluation: &Evaluation<'a>, subject: &'a Subject) -> Vec<&'a Arc<str>> {
    let parts = evaluation.values.missing_parts.iter().filter(|(attribute, _)| *attribute == subject.attribute);
    let missing: Vec<_> = parts.map(|(_, name)| name).filter(|_| lacks(evaluation, subject)).collect();
    if missing.is_empty() { subject.names().collect() } else { missing }
}

/// The code and the message of a value that is not there.
fn missing(evaluation: &Evaluation<'_>, family: &str) -> (String, &'static str) {
    match evaluation.values.phase {
        Phase::Proposed => (format!("{family}_REQUIRED"), "the request leaves out a value that the policies look at"),
        Phase::Existing => {
            (format!("{family}_UNINITIALIZED"), "the stored resource has no value where the policies look for one")
        }
    }
}

/// Why no permit holds: the permits that nearly did, with the clauses that were false.
///
/// A permit nearly applied when every clause holds that doesn't look at the resource, be it at what is derived from it.
pub(super) fn not_permitted(evaluation: &Evaluation<'_>) -> Vec<Explained> {
    let of_resource = evaluation.realm.derived.of_resource(&evaluation.request.action);
    let mut missed: Vec<Missed<'_>> = Vec::new();
    for policy in sorted(evaluation, &evaluation.candidates.indexes) {
        if policy.effect != Effect::Permit || policy.clauses.list.is_empty() {
            continue;
        }
        let failing = failing_clauses(evaluation, policy);
        if failing.is_empty()
            || failing.iter().any(|clause| !clause.looks_at_resource && !clause.mentions_context(of_resource))
        {
            continue;
        }
        missed.push(Missed { policy, failing: subjects_of(evaluation, failing.into_iter()) });
    }
    if missed.is_empty() {
        let message = "no policy of this realm permits this action on this resource";
        return vec![Reason::plain("NO_POLICY_PERMITS", message).into()];
    }
    let lacking = missed.iter().any(|missed| missed.failing.iter().any(|found| lacks(evaluation, found.subject)));
    if lacking { vec![value_required(evaluation, &missed)] } else { near_misses(evaluation, &missed) }
}

struct Missed<'a> {
    policy: &'a CompiledPolicy,
    failing: Vec<Mentioned<'a>>,
}

/// A value that clauses mention, with the entity types at the ends of their paths.
struct Mentioned<'a> {
    subject: &'a Subject,
    value: Option<&'a Value>,
    types: BTreeSet<Arc<str>>,
}

/// One reason a code: permits that share it are alternatives of which none held.
fn near_misses(evaluation: &Evaluation<'_>, missed: &[Missed<'_>]) -> Vec<Explained> {
    let mut reasons: Vec<Explained> = Vec::new();
    for Missed { policy, .. } in missed {
        let code = policy.annotation("reason").map_or("NO_POLICY_PERMITS", |code| code);
        if reasons.iter().any(|known| *known.reason.code == *code) {
            continue;
        }
        let same = missed.iter().filter(|other| other.policy.annotation("reason") == policy.annotation("reason"));
        let same: Vec<_> = same.collect();
        let (subjects, hints) = match evaluation.realm.file.reasons.subjects {
            NamedSubjects::Failed => named(evaluation, &same, |missed| missed.failing.iter().collect()),
            NamedSubjects::AllSorted => all_pending(evaluation, &same),
        };
        let message = policy.annotation("message").cloned().unwrap_or_else(|| title(policy));
        let reason = Reason { subjects, hints, ..of_policy(code, message, policy) };
        let (strategies, template) = (guards(&same), policy.annotation("denial").cloned());
        reasons.push(Explained { strategies, template, ..Explained::from(reason) });
    }
    reasons
}

/// The request, or the stored resource, has no value where a permit looks for one.
fn value_required(evaluation: &Evaluation<'_>, missed: &[Missed<'_>]) -> Explained {
    let is_lacking = |found: &&Mentioned<'_>| lacks(evaluation, found.subject);
    let lacking: Vec<_> =
        missed.iter().filter(|missed| missed.failing.iter().any(|found| is_lacking(&found))).collect();
    let (subjects, hints) = named(evaluation, &lacking, |missed| missed.failing.iter().filter(is_lacking).collect());
    let policy = lacking.first().map(|missed| missed.policy);
    let (code, message) =
        missing(evaluation, policy.and_then(|policy| policy.annotation("missing")).map_or("VALUE", |family| family));
    let reason = Reason {
        policy: policy.map(|policy| Arc::clone(&policy.id)),
        subjects,
        hints,
        ..Reason::plain(&code, message)
    };
    Explained { strategies: guards(&lacking), ..Explained::from(reason) }
}

/// The value is not there, and may be told to be missing.
fn lacks(evaluation: &Evaluation<'_>, subject: &Subject) -> bool {
    let realm = evaluation.realm;
    let subjects = evaluation.request.resource_type.subjects.iter();
    let is_there = subjects
        .zip(&evaluation.values.values)
        .any(|(other, value)| other.attribute == subject.attribute && value.is_some());
    let is_person = matches!(&subject.value_type, AttributeType::Entity(name) if realm.relations.is_person(name));
    let is_hidden = is_person && realm.file.reasons.missing_people == MissingPeople::Unrelated;
    !is_there && !is_hidden
}

/// The names of values in the order of the strategies and then of the resource type, and their hints, each once.
fn named<'a>(
    evaluation: &Evaluation<'_>,
    missed: &[&'a Missed<'a>],
    of: impl Fn(&'a Missed<'a>) -> Vec<&'a Mentioned<'a>>,
) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let (mut told, mut hints) = (Vec::new(), Vec::new());
    for missed in missed {
        for found in of(missed) {
            add_once(&mut told, names(evaluation, found.subject).into_iter());
            let types = found.types.iter();
            add_once(&mut hints, types.filter_map(|name| evaluation.realm.relations.entity(name)?.hint.as_ref()));
        }
        add_once(&mut hints, missed.policy.annotation("hint").into_iter());
    }
    (told, hints)
}

/// The names of all values that the permits look at, sorted, but for those that are the principal's own.
fn all_pending(evaluation: &Evaluation<'_>, missed: &[&Missed<'_>]) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let is_own = |value: Option<&Value>| matches!(value, Some(Value::Entity(entity)) if evaluation.principal.parents.contains(entity));
    let whole: Vec<Missed<'_>> = missed
        .iter()
        .map(|Missed { policy, .. }| {
            let mut pending = subjects_of(evaluation, policy.clauses.list.iter());
            pending.retain(|found| !is_own(found.value));
            Missed { policy, failing: pending }
        })
        .collect();
    let (mut names, hints) =
        named(evaluation, &whole.iter().collect::<Vec<_>>(), |missed| missed.failing.iter().collect());
    names.sort();
    (names, hints)
}

fn add_once<'a>(list: &mut Vec<Arc<str>>, more: impl Iterator<Item = &'a Arc<str>>) {
    for text in more {
        if !list.contains(text) {
            list.push(Arc::clone(text));
        }
    }
}

/// The strategy that the policy is for, when its first clause asks for one.
pub(super) fn guard(policy: &CompiledPolicy) -> Option<&Arc<str>> {
    policy.clauses.guard.as_ref().filter(|(attribute, _)| **attribute == *"strategies").map(|(_, strategy)| strategy)
}

fn guards(missed: &[&Missed<'_>]) -> Vec<Arc<str>> {
    let mut strategies = Vec::new();
    add_once(&mut strategies, missed.iter().filter_map(|missed| guard(missed.policy)));
    strategies
}

/// The first strategy of the grant that looks at one of these values.
fn strategy_looking_at(evaluation: &Evaluation<'_>, subjects: &[&Subject]) -> Option<Arc<str>> {
    let known = &evaluation.realm.file.grants.as_ref()?.strategies;
    let looks = |strategy: &&Arc<str>| {
        let attributes = known.iter().filter(|(name, _)| name == *strategy).flat_map(|(_, attributes)| attributes);
        attributes.into_iter().any(|attribute| subjects.iter().any(|subject| subject.attribute == *attribute))
    };
    evaluation.grant?.strategies.iter().find(looks).cloned()
}

fn failing_clauses<'a>(evaluation: &Evaluation<'_>, policy: &'a CompiledPolicy) -> Vec<&'a Clause> {
    policy.clauses.list.iter().filter(|clause| evaluation.situation.holds(&clause.condition) != Ok(true)).collect()
}

/// The resource's values that the clauses mention, in its order.
fn subjects_of<'a>(evaluation: &Evaluation<'a>, clauses: impl Iterator<Item = &'a Clause>) -> Vec<Mentioned<'a>> {
    let paths: Vec<&Vec<Arc<str>>> = clauses.flat_map(|clause| &clause.resource_paths).collect();
    let subjects = evaluation.request.resource_type.subjects.iter().zip(&evaluation.values.values);
    subjects
        .filter(|(subject, _)| *subject.attribute != *LACKS)
        .filter_map(|(subject, value)| {
            let own: Vec<_> = paths.iter().filter(|path| path.first() == Some(&subject.attribute)).collect();
            let deepest = own.iter().map(|path| path.len()).max()?;
            let ends = own.iter().filter(|path| path.len() == deepest);
            let types = ends.filter_map(|path| end_type(evaluation, subject, path.get(1..).unwrap_or_default()));
            Some(Mentioned { subject, value: value.as_ref(), types: types.collect() })
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

/// By precedence, then in the order of the grant's strategies, then by id: where a policy stands in its file says nothing.
pub(super) fn sorted<'a>(evaluation: &Evaluation<'a>, indexes: &[usize]) -> Vec<&'a CompiledPolicy> {
    let realm = evaluation.realm;
    let policies = indexes.iter().filter_map(|index| realm.policies.get(*index));
    let mut policies: Vec<&'a CompiledPolicy> = policies.collect();
    let listed = evaluation.grant.map(|grant| grant.strategies.as_slice()).unwrap_or_default();
    let position = |policy: &CompiledPolicy| {
        guard(policy).and_then(|strategy| listed.iter().position(|name| name == strategy)).unwrap_or(usize::MAX)
    };
    let set = &realm.file.reasons.precedence;
    let of_code = |code: &str| set.iter().find(|(name, _)| **name == *code).map(|(_, precedence)| *precedence);
    let precedence = |policy: &'a CompiledPolicy| {
        if set.is_empty() {
            return policy.precedence;
        }
        let lacking =
            forbidden_without(evaluation, policy).and_then(|(family, _)| of_code(&missing(evaluation, family).0));
        let own = || of_code(policy.annotation("reason")?);
        lacking.or_else(own).unwrap_or(policy.precedence)
    };
    policies.sort_by_key(|policy| (precedence(policy), position(policy), &policy.id));
    policies
}

pub(super) fn title(policy: &CompiledPolicy) -> Arc<str> {
    Arc::clone(policy.annotation("title").unwrap_or(&policy.id))
}
