//! The clauses of a policy: what each looks at, and whether it holds by itself.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::Policy;
use serde_json::{Value as Json, json};

use super::{
    cedar::{Condition, Situation},
    looks::{Looks, attribute_names},
};

/// One `when` or `unless` block.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// The attribute paths of `resource` that it mentions, for example `["student", "responsibility"]`.
    pub(super) resource_paths: BTreeSet<Vec<Arc<str>>>,
    /// It mentions `resource` in any way.
    pub(super) looks_at_resource: bool,
    /// The members of the context that it mentions, when it mentions nothing else; `None` when it does.
    pub(super) only_context: Option<BTreeSet<Arc<str>>>,
    /// The members of the context that it mentions; `None` where it takes the context as a whole.
    pub(super) context_members: Option<BTreeSet<Arc<str>>>,
    /// What it asks, without the rest of the policy.
    pub(super) condition: Condition,
}

/// The clauses of a policy in order.
#[derive(Clone, Debug)]
pub(super) struct Clauses {
    pub(super) list: Vec<Clause>,
    /// `(context attribute, text)` when the first clause is `context.attribute.contains("text")`.
    pub(super) guard: Option<(Arc<str>, Arc<str>)>,
    /// `(context attribute, text)` for each text that a clause compares an attribute of the context with.
    pub(super) compared: BTreeSet<(Arc<str>, Arc<str>)>,
    /// What the clauses look into.
    pub(super) looks: Looks,
}

impl Clauses {
    /// Takes a policy apart by its JSON form (Cedar's documented policy format).
    ///
    /// # Errors
    /// When a clause cannot be read.
    pub(super) fn of(json: &Json) -> Result<Self, String> {
        let conditions: Vec<&Json> = json.get("conditions").and_then(Json::as_array).into_iter().flatten().collect();
        let mut list = Vec::new();
        for condition in &conditions {
            let scope = json!({ "op": "All" });
            let alone = json!({ "effect": "permit", "principal": scope, "action": scope, "resource": scope, "conditions": [condition] });
            let alone = Policy::from_json(None, alone).map_err(|error| error.to_string())?;
            let mut clause = Clause {
                resource_paths: BTreeSet::new(),
                looks_at_resource: false,
                only_context: None,
                context_members: Some(BTreeSet::new()),
                condition: Condition::of_clauses(&alone),
            };
            if let Some(body) = condition.get("body") {
                find_resource(body, &mut clause);
                find_context(body, &mut clause.context_members);
                let mut members = BTreeSet::new();
                clause.only_context = only_context(body, &mut members).then_some(members);
            }
            list.push(clause);
        }
        let guard = conditions.first().and_then(|condition| guard(condition));
        let (mut looks, mut compared) = (Looks::default(), BTreeSet::new());
        for body in conditions.iter().filter_map(|condition| condition.get("body")) {
            looks.merge(&Looks::of(body));
            find_compared(body, &mut compared);
        }
        Ok(Self { list, guard, compared, looks })
    }
}

impl Clauses {
    /// `false` when a clause is false that looks at settled members of the context alone. Only clauses at the beginning are asked:
    /// one that comes after a clause that may fail to evaluate doesn't keep the policy from failing.
    pub(super) fn may_hold(&self, settled: &[&str], situation: &Situation<'_>) -> bool {
        let beginning = self.list.iter().take_while(|clause| clause.is_settled(settled));
        let found = beginning.map(|clause| situation.holds(&clause.condition));
        found.take_while(Result::is_ok).all(|holds| holds == Ok(true))
    }

    /// No clause looks at anything but settled members of the context, and some at this one.
    pub(super) fn are_settled_by(&self, member: &str, settled: &[&str]) -> bool {
        let mentioned = self.list.iter().filter_map(|clause| clause.only_context.as_ref()).flatten();
        mentioned.into_iter().any(|name| **name == *member) && self.list.iter().all(|clause| clause.is_settled(settled))
    }
}

impl Clause {
    /// It mentions one of these members of the context, or may.
    pub(super) fn mentions_context(&self, members: &[Arc<str>]) -> bool {
        self.context_members.as_ref().is_none_or(|mentioned| members.iter().any(|name| mentioned.contains(name)))
            && !members.is_empty()
    }

    fn is_settled(&self, settled: &[&str]) -> bool {
        self.only_context.as_ref().is_some_and(|members| members.iter().all(|name| settled.contains(&&**name)))
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

/// Notes the members of the context that an expression mentions; of one that takes it as a whole nothing is noted.
fn find_context(expression: &Json, found: &mut Option<BTreeSet<Arc<str>>>) {
    if let Some(path) = path(expression, "context") {
        match (path.first(), &mut *found) {
            (Some(first), Some(members)) => {
                members.insert(Arc::from(*first));
            }
            (Some(_), None) => {}
            (None, _) => *found = None,
        }
        return;
    }
    match expression {
        Json::Array(items) => items.iter().for_each(|item| find_context(item, found)),
        Json::Object(fields) => fields.values().for_each(|field| find_context(field, found)),
        _ => {}
    }
}

/// Notes the members of the context that an expression mentions; `false` when it mentions any other variable or an
/// entity.
fn only_context(expression: &Json, members: &mut BTreeSet<Arc<str>>) -> bool {
    if let Some(path) = path(expression, "context") {
        // The context as a whole may hold anything.
        return path.first().is_some_and(|first| {
            members.insert(Arc::from(*first));
            true
        });
    }
    match expression {
        Json::Array(items) => items.iter().all(|item| only_context(item, members)),
        Json::Object(fields) if fields.contains_key("Var") || fields.contains_key("__entity") => false,
        Json::Object(fields) => fields.values().all(|field| only_context(field, members)),
        _ => true,
    }
}

/// Notes each text that stands on one side of an operator, alone or in a list, with an attribute of the context on the
/// other side.
fn find_compared(expression: &Json, compared: &mut BTreeSet<(Arc<str>, Arc<str>)>) {
    let operators = expression.as_object().into_iter().flat_map(|fields| fields.values());
    let sides = operators.filter_map(|operands| Some((operands.get("left")?, operands.get("right")?)));
    for (left, right) in sides {
        for (place, texts) in [(left, right), (right, left)] {
            if let Some([attribute]) = path(place, "context").as_deref() {
                let items = texts.get("Set").and_then(Json::as_array).into_iter().flatten();
                let texts = std::iter::once(texts).chain(items).filter_map(|item| item.get("Value")?.as_str());
                compared.extend(texts.map(|text| (Arc::from(*attribute), Arc::from(text))));
            }
        }
    }
    match expression {
        Json::Array(items) => items.iter().for_each(|item| find_compared(item, compared)),
        Json::Object(fields) => fields.values().for_each(|field| find_compared(field, compared)),
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
        Clauses::of(&Policy::parse(None, text).unwrap().to_json().unwrap()).unwrap()
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
    fn a_clause_knows_whether_it_mentions_nothing_but_the_context() {
        for (condition, expected) in [
            ("context.a.contains(\"x\") && context.b.c", Some("a b")),
            ("[\"x\"].containsAny(context.a)", Some("a")),
            ("true", Some("")),
            ("context has a && context.a", Some("a")),
            ("context == {\"a\": true}", None),
            ("context.a == principal", None),
            ("context.a == T::\"x\"", None),
            ("resource has a || context.a", None),
        ] {
            let clauses = clauses(&format!("permit(principal, action, resource) when {{ {condition} }};"));
            let found = clauses.list[0].only_context.as_ref();
            let found = found.map(|members| members.iter().map(|name| &**name).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{condition}");
        }
    }

    #[test]
    fn texts_that_the_context_is_compared_with_are_known() {
        for (condition, expected) in [
            ("context.a.contains(\"x\")", "a:x"),
            ("context.a.containsAny([\"x\", \"y\"]) || [\"z\"].containsAll(context.a)", "a:x a:y a:z"),
            ("context.b == \"x\" && !(if principal.ok then context.a.contains(\"y\") else false)", "a:y b:x"),
            ("context.a.b.contains(\"x\") || principal.a.contains(\"y\") || [\"x\"].contains(\"y\")", ""),
        ] {
            let clauses = clauses(&format!("permit(principal, action, resource) unless {{ {condition} }};"));
            let found: Vec<_> = clauses.compared.iter().map(|(name, text)| format!("{name}:{text}")).collect();
            assert_eq!(found.join(" "), expected, "{condition}");
        }
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
