//! What a case expects, held against what was decided.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{
    document::texts,
    shape::{ALLOW, DENY},
};
use crate::domain::{
    decision::{Decision, Effect, Obligation, Outcome},
    json_value::{json_of, value},
    value::{Attributes, Value},
};

/// Differences between what is expected and what is found, in words.
#[derive(Debug, Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, what: &str, expected: &str, found: &str) {
        if expected != found {
            let [expected, found] = [expected, found].map(|text| if text.is_empty() { "nothing" } else { text });
            self.0.push(format!("{what}: expected {expected}, found {found}"));
        }
    }
}

/// How a decision came about, as cases name it.
fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "ALLOWED",
        Outcome::NotPermitted => "NOT_PERMITTED",
        Outcome::Forbidden => "FORBIDDEN",
        Outcome::Indeterminate => "INDETERMINATE",
        Outcome::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What differs; empty where all is as expected. The permits that nearly applied are asked for where the case names some.
pub(super) fn differences(
    case: &Map<String, Json>,
    decision: &Decision,
    near_misses: impl FnOnce() -> Vec<Arc<str>>,
) -> Vec<String> {
    let mut differences = Differences::default();
    if let Some(expected) = case.get("expect").and_then(Json::as_str) {
        let effect = if decision.outcome.effect() == Effect::Allow { ALLOW } else { DENY };
        differences.compare("decision", expected, effect);
    }
    if let Some(expected) = case.get("outcome").and_then(Json::as_str) {
        differences.compare("outcome", expected, outcome_name(decision.outcome));
    }
    let first = decision.reasons.first();
    let codes: Vec<&Arc<str>> = decision.reasons.iter().map(|reason| &reason.code).collect();
    for (key, found) in [
        ("reasons", codes),
        ("subjects", first.map(|reason| reason.subjects.iter().collect()).unwrap_or_default()),
        ("hints", first.map(|reason| reason.hints.iter().collect()).unwrap_or_default()),
        ("policies", decision.determining_policies.iter().collect()),
    ] {
        compare_texts(case, key, &found, &mut differences);
    }
    if case.contains_key("near_misses") {
        compare_texts(case, "near_misses", &near_misses().iter().collect::<Vec<_>>(), &mut differences);
    }
    if let Some(expected) = case.get("obligations") {
        let found = as_expected(&decision.obligations, expected);
        differences.compare("obligations", &json_of(&value(expected)).to_string(), &json_of(&found).to_string());
    }
    compare_problem(case, decision, &mut differences);
    differences.0
}

fn compare_texts(case: &Map<String, Json>, key: &str, found: &[&Arc<str>], differences: &mut Differences) {
    let Some(expected) = case.get(key) else { return };
    let expected: Vec<&str> = texts(Some(expected)).collect();
    let found: Vec<&str> = found.iter().map(|name| &***name).collect();
    differences.compare(key, &expected.join(", "), &found.join(", "));
}

fn compare_problem(case: &Map<String, Json>, decision: &Decision, differences: &mut Differences) {
    for (member, expected) in case.get("problem").and_then(Json::as_object).into_iter().flatten() {
        let denial = decision.denial.clone().unwrap_or_default();
        let found = match member.as_str() {
            "status" => Json::from(denial.status),
            "type" => Json::from(denial.problem_type),
            "title" => Json::from(denial.title),
            "detail" => Json::from(denial.detail),
            "errors" => Json::from(denial.errors),
            "headers" => denial.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            "members" => json_of(&Value::Record(denial.members)),
            _ => Json::Null,
        };
        // The order of an object's members says nothing.
        let sorted = |json: &Json| json_of(&value(json)).to_string();
        differences.compare(&format!("problem.{member}"), &sorted(expected), &sorted(&found));
    }
}

/// Obligations in the shape in which they are expected: a list of ids, each alone or with the parameters that matter, or
/// a mapping of ids and all their parameters.
fn as_expected(obligations: &[Obligation], expected: &Json) -> Value {
    let named = |obligation: &Obligation, parameters: Attributes| {
        Value::Record(std::iter::once((Arc::clone(&obligation.id), Value::Record(parameters))).collect())
    };
    let Some(list) = expected.as_array() else {
        let found = obligations.iter().map(|found| (Arc::clone(&found.id), Value::Record(found.parameters.clone())));
        return Value::Record(found.collect());
    };
    let found = obligations.iter().enumerate().map(|(index, obligation)| {
        let Some(Json::Object(wanted)) = list.get(index) else { return Value::String(Arc::clone(&obligation.id)) };
        let wanted: Vec<&String> = wanted.values().filter_map(Json::as_object).flat_map(Map::keys).collect();
        let parameters =
            obligation.parameters.iter().filter(|(name, _)| wanted.iter().any(|wanted| ***wanted == ***name));
        named(obligation, parameters.map(|(name, value)| (Arc::clone(name), value.clone())).collect())
    });
    Value::List(found.collect())
}
