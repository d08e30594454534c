//! Invariants: what authors claim of their policies, written in Cedar beside them.
//!
//! A file in `invariants/` holds permits that decide nothing. `@never("…")` claims that no request that one of them
//! matches is ever allowed, `@always("…")` that every such request is.

use std::{collections::BTreeMap, str::FromStr as _, sync::Arc};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet as CedarPolicySet, Template, ValidationMode, Validator};
use cedar_policy_core::parser::Loc;

use super::{placeless, start};
use crate::domain::{
    cedar::Condition,
    fault::{Code, Fault},
    policy_set::SourceFile,
    schema::RealmSchema,
};

/// The folder of invariants within a realm's folder.
pub const FOLDER: &str = "invariants/";

/// What is claimed of the requests that an invariant matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// None of them is ever allowed.
    Never,
    /// All of them are allowed.
    Always,
}

/// One invariant.
#[derive(Debug)]
pub struct Invariant {
    /// What is claimed.
    pub promise: Promise,
    /// The claim in its author's words.
    pub text: Arc<str>,
    /// Where it stands, as a fault without a message.
    pub place: Fault,
    /// A permit of the requests that it speaks about.
    pub(super) policy: Policy,
    pub(super) condition: Condition,
}

impl Promise {
    const ALL: [Self; 2] = [Self::Never, Self::Always];

    /// The annotation that makes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

/// Reads and checks the invariants of a realm's files, in the order of the files.
///
/// # Errors
/// Every fault with its place: syntax and types as in policies, a policy that is no permit, a template, no claim or two of
/// them, an empty one, one that is made twice, and any other annotation.
pub(in crate::domain) fn parse(files: &[SourceFile], schema: &RealmSchema) -> Result<Vec<Invariant>, Vec<Fault>> {
    let (mut found, mut faults) = (Vec::<Invariant>::new(), Vec::new());
    let (mut whole, mut places) = (CedarPolicySet::new(), BTreeMap::new());
    for file in files.iter().filter(|file| file.is_invariant_file()) {
        let parsed = match CedarPolicySet::from_str(&file.content) {
            Ok(parsed) => parsed,
            Err(error) => {
                faults.extend(Fault::of_cedar(&file.path, &file.content, Code::Syntax, &error));
                continue;
            }
        };
        let at = |start: Option<usize>, message: &str| {
            Fault::at(&file.path, &file.content, start.map(|start| start..start), message)
        };
        faults.extend(parsed.templates().map(|it| at(template_start(it), "an invariant cannot be a template")));
        let mut in_file: Vec<&Policy> = parsed.policies().collect();
        in_file.sort_by_key(|policy| start(policy));
        for policy in in_file {
            let id = format!("invariant {}", places.len() + 1);
            let policy = policy.new_id(PolicyId::new(&id));
            places.insert(id, file);
            // Ids are numbered, so none is there already.
            let added = whole.add(policy.clone());
            debug_assert!(added.is_ok(), "numbers differ");
            match invariant(&policy, &|message: &str| at(start(&policy), message), &found) {
                Ok(invariant) => found.push(invariant),
                Err(fault) => faults.push(fault),
            }
        }
    }
    let validated = Validator::new((*schema.cedar).clone()).validate(&whole, ValidationMode::Strict);
    for error in validated.validation_errors() {
        match places.get::<str>(error.policy_id().as_ref()) {
            Some(file) => faults.extend(Fault::of_validation(&file.path, &file.content, error)),
            None => faults.push(Fault::in_file(FOLDER, error.to_string())),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn invariant(policy: &Policy, fault: &dyn Fn(&str) -> Fault, known: &[Invariant]) -> Result<Invariant, Fault> {
    let promised: Vec<(Promise, &str)> =
        Promise::ALL.iter().filter_map(|it| Some((*it, policy.annotation(it.name())?))).collect();
    let [(promise, text)] = promised.as_slice() else {
        return Err(fault("an invariant makes one claim, expected `@never(\"…\")` or `@always(\"…\")`"));
    };
    let others = policy.annotations().map(|(name, _)| name).find(|name| *name != promise.name());
    if let Some(name) = others {
        return Err(fault(&format!("unknown annotation `@{name}`, an invariant has `@{}` alone", promise.name())));
    }
    if policy.effect() != Effect::Permit {
        return Err(fault("an invariant is written as a permit of the requests that it speaks about"));
    }
    if text.trim().is_empty() {
        return Err(fault("the claim is empty, expected it in words"));
    }
    if let Some(other) = known.iter().find(|other| *other.text == **text) {
        let (file, line) = (&other.place.file, other.place.line);
        return Err(fault(&format!("the same claim is made in {file}, line {line}; expected words of its own")));
    }
    let condition = placeless(policy).map_err(|message| fault(&message))?;
    Ok(Invariant { promise: *promise, text: (*text).into(), place: fault(""), policy: policy.clone(), condition })
}

fn template_start(template: &Template) -> Option<usize> {
    let inner: &cedar_policy_core::ast::Template = template.as_ref();
    inner.loc().map(Loc::start)
}
