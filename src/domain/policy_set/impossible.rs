//! Finds the condition because of which a policy is impossible: Cedar's validation only says that it is.

use std::fmt::Write as _;

use cedar_policy::{Policy, PolicyId, PolicySet as CedarPolicySet, ValidationMode, ValidationWarning, Validator};

use super::CompiledPolicy;
use crate::domain::schema::RealmSchema;

/// The first conjunct with which the policy is impossible; `None` where its scope is, or where it can't be told.
pub(super) fn first(policy: &CompiledPolicy, whole: &CedarPolicySet, schema: &RealmSchema) -> Option<usize> {
    let parsed = whole.policy(&PolicyId::new(&*policy.id))?;
    let inner: &cedar_policy_core::ast::Policy = parsed.as_ref();
    let template = inner.template();
    let (principal, action, resource) =
        (template.principal_constraint(), template.action_constraint(), template.resource_constraint());
    let mut text = format!("permit({principal}, {action}, {resource})");
    let validator = Validator::new((*schema.cedar).clone());
    if is_impossible(&text, &validator)? {
        return None;
    }
    for (index, conjunct) in policy.conjuncts.iter().enumerate() {
        let word = if conjunct.is_negated { "unless" } else { "when" };
        // Writing to a String cannot fail.
        let _infallible = write!(text, " {word} {{ {} }}", conjunct.text);
        if is_impossible(&text, &validator)? {
            return Some(index);
        }
    }
    None
}

fn is_impossible(text: &str, validator: &Validator) -> Option<bool> {
    let policy = Policy::parse(None, format!("{text};")).ok()?;
    let mut alone = CedarPolicySet::new();
    alone.add(policy).ok()?;
    let validated = validator.validate(&alone, ValidationMode::Strict);
    let mut warnings = validated.validation_warnings();
    Some(warnings.any(|warning| matches!(warning, ValidationWarning::ImpossiblePolicy(_))))
}
