//! What can go wrong in a use case: a kind for transports, a sentence for callers.

use std::time::Duration;

use crate::{
    app::{
        ports::archive::ArchiveError,
        ports::{IdentityError, IntrospectionError, KeyError, LogError, StoreError},
    },
    domain::access_request::FieldFault,
};

/// What sort of failure it is; each transport has one code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong and will be wrong again.
    InvalidArgument,
    /// Who asks did not prove who it is.
    Unauthenticated,
    /// Who asks is known, and may not.
    PermissionDenied,
    /// What the request names isn't there.
    NotFound,
    /// The request is right, but not in the present state.
    FailedPrecondition,
    /// A limit was exceeded.
    ResourceExhausted,
    /// It cannot be done now; trying again may help.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// A failure. Never an answer: a deny is no error, and an error is never an allow.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The sort.
    pub kind: Kind,
    /// The stable reason, `UPPER_SNAKE_CASE`, at most 63 characters.
    pub reason: &'static str,
    /// A sentence for the caller: what to fix. Holds no secret and no person's id.
    pub message: String,
    /// The faults of the request's fields, all of them.
    pub fields: Vec<FieldFault>,
    /// After what time it makes sense to try again, where that is known.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A failure without field faults.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), fields: Vec::new(), retry_after: None }
    }

    /// The request is wrong, in these fields.
    pub fn invalid(fields: Vec<FieldFault>) -> Self {
        let parts: Vec<String> = fields.iter().map(|fault| format!("`{}` {}", fault.field, fault.message)).collect();
        let message = parts.join("; ");
        Self { kind: Kind::InvalidArgument, reason: "INVALID_REQUEST", message, fields, retry_after: None }
    }

    /// The request is wrong, in one field.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault::new(field, message)])
    }

    /// The same, with the time after which it makes sense to try again.
    #[must_use]
    pub fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(_) => {
                Self::new(Kind::Unavailable, "RELATIONSHIP_STORE_UNAVAILABLE", error.to_string())
            }
            StoreError::Limit(_) => Self::new(Kind::ResourceExhausted, "LIMIT_EXCEEDED", error.to_string()),
            StoreError::Damaged(_) => Self::new(Kind::Internal, "RELATIONSHIP_STORE_DAMAGED", error.to_string()),
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match &error {
            ArchiveError::Unavailable(_) => Self::new(Kind::Unavailable, "HISTORY_UNAVAILABLE", error.to_string()),
            ArchiveError::Damaged(_) => Self::new(Kind::Internal, "HISTORY_DAMAGED", error.to_string()),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Unavailable(_) => Self::new(Kind::Unavailable, "DECISION_LOG_UNAVAILABLE", error.to_string()),
            LogError::Unreadable(_) => Self::new(Kind::Internal, "DECISION_LOG_UNREADABLE", error.to_string()),
        }
    }
}

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        match &error {
            IdentityError::Unavailable(_) => Self::new(Kind::Unavailable, "IDENTITIES_UNAVAILABLE", error.to_string()),
            IdentityError::Unreadable(_) => Self::new(Kind::Internal, "IDENTITIES_UNREADABLE", error.to_string()),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::new(Kind::Unavailable, "KEYS_UNAVAILABLE", error.to_string())
    }
}

impl From<IntrospectionError> for Error {
    fn from(error: IntrospectionError) -> Self {
        Self::new(Kind::Unavailable, "TOKEN_INTROSPECTION_UNAVAILABLE", error.to_string())
    }
}
