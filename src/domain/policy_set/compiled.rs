//! One policy, compiled: with what decisions, reasons and reviews need of it.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use cedar_policy::{Effect, Policy};

use super::{
    SourceFile,
    read::Places,
    scope::{Scope, scope_of},
};
use crate::domain::{
    cedar::Condition,
    clause::Clauses,
    conjunct::{Conjunct, conjuncts_of},
    fault::{Code, Fault},
    lint::read_accepted,
    obligations::named_obligations,
};

/// A policy with what decisions and reasons need of it.
#[derive(Debug)]
pub(in crate::domain) struct CompiledPolicy {
    pub(in crate::domain) id: Arc<str>,
    pub(in crate::domain) effect: Effect,
    pub(in crate::domain) clauses: Clauses,
    /// Its conditions one by one.
    pub(in crate::domain) conjuncts: Vec<Conjunct>,
    pub(in crate::domain) precedence: i64,
    /// The warnings that its author means, by `@accept`.
    pub(in crate::domain) accepted: Vec<Code>,
    /// The conjunct from which on it can't hold by the types of the schema, where Cedar's validation says that it can't.
    pub(in crate::domain) impossible_from: Option<usize>,
    /// The obligations that it carries where it permits.
    pub(in crate::domain) obligations: Vec<Arc<str>>,
    /// When it applies, given that it is one of a question's [`Candidates`].
    pub(in crate::domain) condition: Condition,
    /// Whether a question that it is a candidate of fits its scope; `None` where it always does.
    pub(in crate::domain) scope_alone: Option<Condition>,
    /// The bytes of the file that it is written in, annotations and all.
    pub(in crate::domain) span: Range<usize>,
    pub(super) annotations: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) scope: Scope,
    /// Where it stands, and where each of its annotations does: faults without a message.
    pub(super) places: Places,
}

impl CompiledPolicy {
    /// A policy that `read` has found to be named. The error is a sentence, and the annotation that it is about.
    pub(super) fn of(policy: &Policy, file: &SourceFile) -> Result<Self, (&'static str, String)> {
        let annotations: BTreeMap<Arc<str>, Arc<str>> =
            policy.annotations().map(|(name, text)| (name.into(), text.into())).collect();
        let precedence =
            match annotations.get("precedence").map(|text| text.parse::<i64>()) {
                None => 100,
                Some(Ok(number)) => number,
                Some(Err(_)) => return Err((
                    "precedence",
                    "`@precedence` is not a whole number, expected one without anything around it, for example `10`"
                        .to_owned(),
                )),
            };
        if let Some(code) = annotations.get("reason").filter(|code| !is_code(code)) {
            return Err((
                "reason",
                format!(
                    "the reason code `{code}` is not of the form `UPPER_SNAKE_CASE`, expected for example `NOT_OWNER`"
                ),
            ));
        }
        let obligations = named_obligations(policy.effect(), annotations.get("obligation"));
        let obligations = obligations.map_err(|message| ("obligation", message))?;
        let accepted = annotations.get("accept").map(|text| read_accepted(text)).transpose();
        let accepted = accepted.map_err(|message| ("accept", message))?.unwrap_or_default();
        let fault = |error: &dyn std::fmt::Display| ("", format!("the policy has no JSON form: {error}"));
        let json = policy.to_json().map_err(|error| fault(&error))?;
        // Read back, it has no places in the file, which the evaluator would copy for every value on its way.
        let placeless = Policy::from_json(None, json.clone()).map_err(|error| fault(&error))?;
        let scope = Scope::of(policy);
        Ok(Self {
            id: Arc::from(AsRef::<str>::as_ref(policy.id())),
            effect: policy.effect(),
            clauses: Clauses::of(&json).map_err(|error| fault(&error))?,
            conjuncts: conjuncts_of(policy, file),
            accepted,
            impossible_from: None,
            precedence,
            obligations,
            annotations,
            scope_alone: if scope.is_settled() { None } else { Some(scope_of(&json).map_err(|error| fault(&error))?) },
            span: policy_span(policy).unwrap_or_default(),
            condition: if scope.is_settled() { Condition::of_clauses(&placeless) } else { Condition::of(&placeless) },
            scope,
            places: Places::of(policy, file),
        })
    }

    /// A fault at the place where it stands.
    pub(in crate::domain) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), ..self.places.policy.clone() }
    }

    /// A fault at one of its annotations; where it stands itself if it has none of this name.
    pub(in crate::domain) fn annotation_fault(&self, name: &str, message: impl Into<String>) -> Fault {
        let place = self.places.annotations.get(name).unwrap_or(&self.places.policy);
        Fault { message: message.into(), ..place.clone() }
    }

    /// Its scope names an entity for the principal or for the resource.
    pub(in crate::domain) fn names_an_entity(&self) -> bool {
        self.scope.principal.entity.is_some() || self.scope.resource.entity.is_some()
    }

    /// The entity types of what its scope asks to be above the principal or the resource.
    pub(in crate::domain) fn scope_containers(&self) -> impl Iterator<Item = String> {
        let asking = [&self.scope.principal, &self.scope.resource].into_iter().filter(|constraint| constraint.is_in);
        asking.filter_map(|constraint| Some(constraint.entity.as_ref()?.type_name().to_string()))
    }

    /// Its scope says nothing more about a question that it is a candidate of: its condition is that of its clauses.
    pub(in crate::domain) fn is_settled(&self) -> bool {
        self.scope.is_settled()
    }

    /// Where it stands, as a fault without a message.
    pub(in crate::domain) fn place(&self) -> &Fault {
        &self.places.policy
    }

    pub(in crate::domain) fn annotation(&self, name: &str) -> Option<&Arc<str>> {
        self.annotations.get(name)
    }
}

/// The text has the form of a reason's code.
pub(in crate::domain) fn is_code(code: &str) -> bool {
    code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.len() <= 63
        && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn policy_span(policy: &Policy) -> Option<Range<usize>> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    inner.loc().map(|place| place.start()..place.end())
}
