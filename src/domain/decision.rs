//! A decision: allow or deny, how it came about, and why.

use std::sync::Arc;

use super::{id::PolicyVersion, value::Attributes};

/// Allow or deny. There is no third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The action may be done.
    Allow,
    /// The action may not be done.
    Deny,
}

/// How a decision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A policy permits it and none forbids it.
    Allowed,
    /// No policy permits it.
    NotPermitted,
    /// A policy forbids it.
    Forbidden,
    /// Something that was needed could not be evaluated: denied.
    Indeterminate,
    /// The token is not good: denied.
    Unauthenticated,
}

impl Outcome {
    /// The only outcome that allows is [`Outcome::Allowed`].
    pub fn effect(self) -> Effect {
        if self == Self::Allowed { Effect::Allow } else { Effect::Deny }
    }
}

/// One reason for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The stable code, `UPPER_SNAKE_CASE`.
    pub code: Arc<str>,
    /// A sentence for a person. Holds no personal id.
    pub message: Arc<str>,
    /// The policy it comes from, if it comes from one.
    pub policy: Option<Arc<str>>,
    /// The names of the resource's values that did not satisfy the policy, in the order that the realm asks for.
    pub subjects: Vec<Arc<str>>,
    /// What might be missing, one sentence each, each once.
    pub hints: Vec<Arc<str>>,
}

impl Reason {
    /// A reason that no policy gave: the token, the configuration, the request.
    pub fn plain(code: &str, message: impl Into<Arc<str>>) -> Self {
        Self { code: code.into(), message: message.into(), policy: None, subjects: Vec::new(), hints: Vec::new() }
    }
}

/// The realm's own shape of a denial, ready for the end client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// The problem type (RFC 9457 section 3.1.1).
    pub problem_type: String,
    /// The problem title.
    pub title: String,
    /// The problem detail.
    pub detail: String,
    /// Further errors, one sentence each.
    pub errors: Vec<String>,
    /// Headers of the response, each name once, the values of visible ASCII and blanks alone (RFC 9110 section 5.5).
    pub headers: Vec<(Arc<str>, String)>,
    /// Further members of the problem (RFC 9457 section 3.2): whole numbers, booleans and texts.
    pub members: Attributes,
}

/// What the caller must do with an allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// What is to be done, for example `apply_profile`.
    pub id: Arc<str>,
    /// With what.
    pub parameters: Attributes,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it came about; says allow or deny too.
    pub outcome: Outcome,
    /// Why, the most important reason first; never empty.
    pub reasons: Vec<Reason>,
    /// The ids of the policies that determined it, sorted.
    pub determining_policies: Vec<Arc<str>>,
    /// The realm's shape of the denial; `None` for an allow.
    pub denial: Option<Denial>,
    /// What the caller must do with an allow, in order; empty for a deny.
    pub obligations: Vec<Obligation>,
    /// The policies that decided.
    pub policy_version: PolicyVersion,
}
