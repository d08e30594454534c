//! The clauses of a policy: what each looks at, and whether it holds by itself.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::Policy;
use serde_json::{Value as Json, json};

use super::{
    cedar::Condition,
    looks::{Looks, attribute_names},
};

/// One `when` or `unless` block.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// The attribute paths of `resource` that it mentions, for example `["student", "responsibility"]`.
    pub(super) resource_paths: BTreeSet<Vec<Arc<str>>>,
    /// It mentions `resource` in any way.
    pub(super) looks_at_resource: bool,
    /// What it asks, without the rest of the policy.
    pub(super) condition: Condition,
}

/// The clauses of a policy in order.
#[derive(Clone, Debug)]
pub(super) struct Clauses {
    pub(super) list: Vec<Clause>,
    /// `(context attribute, text)` when the first clause is `context.attribute.contains("text")`.
    pub(super) guard: Option<(Arc<str>, Arc<str>)>,
    /// What the clauses look into.
    pub(super) looks: Looks,
}

impl Clauses {
    /// Takes a policy apart by its JSON form (Cedar's documented policy format).
    ///
    /// # Errors
    /// When the policy has no such form.
    pub(super) fn of(policy: &Policy) -> Result<Self, String> {
        let fault = |error: &dyn std::fmt::Display| format!("cannot be taken apart: {error}");
        let json = policy.to_json().map_err(|error| fault(&error))?;
        let conditions: Vec<&Json> = json.get("conditions").and_then(Json::as_array).into_iter().flatten().collect();
        let mut list = Vec::new();
        for condition in &conditions {
            let scope = json!({ "op": "All" });
            let alone = json!({ "effect": "permit", "principal": scope, "action": scope, "resource": scope, "conditions": [condition] });
            let alone = Policy::from_json(None, alone).map_err(|error| fault(&error))?;
            let (resource_paths, looks_at_resource, condition_alone) = (BTreeSet::new(), false, Condition::of(&alone));
            let mut clause = Clause { resource_paths, looks_at_resource, condition: condition_alone };
            if let Some(body) = condition.get("body") {
                find_resource(body, &mut clause);
            }
            list.push(clause);
        }
        let guard = conditions.first().and_then(|condition| guard(condition));
        let mut looks = Looks::default();
        for body in conditions.iter().filter_map(|condition| condition.get("body")) {
            looks.merge(&Looks::of(body));
        }
        Ok(Self { list, guard, looks })
    }
}

/// The path of attributes that starts at this variable, if the expression is one.
fn path<'a>(expression: &'a Json, variable: &str) -> Option<Vec<&'a str>> {
    if expression.get("Var").and_then(Json::as_str) == Some(variable) {
        return Some(Vec::new());
    }
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    let mut start = path(access.get("left")?, variable)?;
    start.extend(attribute_names(access.get("attr")?));
    Some(start)
}

fn find_resource(expression: &Json, clause: &mut Clause) {
    if let Some(path) = path(expression, "resource") {
        clause.looks_at_resource = true;
        if !path.is_empty() {
            clause.resource_paths.insert(path.into_iter().map(Arc::from).collect());
        }
        return;
    }
    match expression {
        Json::Array(items) => items.iter().for_each(|item| find_resource(item, clause)),
        Json::Object(fields) => fields.values().for_each(|field| find_resource(field, clause)),
        _ => {}
    }
}

fn guard(condition: &Json) -> Option<(Arc<str>, Arc<str>)> {
    if condition.get("kind")?.as_str()? != "when" {
        return None;
    }
    let contains = condition.get("body")?.get("contains")?;
    match path(contains.get("left")?, "context")?.as_slice() {
        [attribute] => Some((Arc::from(*attribute), Arc::from(contains.get("right")?.get("Value")?.as_str()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(text: &str) -> Clauses {
        Clauses::of(&Policy::parse(None, text).unwrap()).unwrap()
    }

    #[test]
    fn a_clause_knows_the_resource_paths_it_mentions() {
        let clauses = clauses(
            r#"permit(principal, action, resource)
               when { context.strategies.contains("X") }
               when { if resource has student then resource.student.responsibility in principal.orgs else !resource.lacks.contains("student") }
               unless { principal in resource.org };"#,
        );
        let paths: Vec<Vec<String>> = clauses
            .list
            .iter()
            .map(|clause| clause.resource_paths.iter().map(|path| path.join(".")).collect())
            .collect();
        assert_eq!(
            paths,
            [vec![], vec!["lacks".into(), "student".into(), "student.responsibility".into()], vec!["org".to_owned()]]
        );
        assert_eq!(clauses.guard, Some(("strategies".into(), "X".into())));
    }

    #[test]
    fn only_a_first_plain_membership_test_is_a_guard() {
        for text in [
            r#"permit(principal, action, resource) unless { context.strategies.contains("X") };"#,
            r#"permit(principal, action, resource) when { principal.ok } when { context.strategies.contains("X") };"#,
            r#"permit(principal, action, resource) when { context.strategies.contains("X") || principal.ok };"#,
            r"permit(principal, action, resource) when { context.strategies.contains(principal.x) };",
        ] {
            assert_eq!(clauses(text).guard, None, "{text}");
        }
    }
}
