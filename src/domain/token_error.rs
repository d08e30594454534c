//! Why a token is refused: one reason each, with a stable code and a sentence for whoever has to fix it.

use std::sync::Arc;

/// Why a token is refused.
///
/// No message holds anything that the token's sender chose: names of claims and header members come from the
/// issuer's configuration or from this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`](crate::domain::jws::TOKEN_BYTES_MAX).
    #[error("the token is longer than 16 KiB")]
    TooLarge,
    /// Not a signed JWT in compact form (RFC 7515 section 7.1).
    #[error("the token is not a signed JWT: expected three parts joined by dots, each base64url without padding")]
    Format,
    /// The header is not a JSON object, or one of its members has the wrong type.
    #[error("the token's header {reason}")]
    HeaderInvalid {
        /// What is wrong with the header.
        reason: &'static str,
    },
    /// The payload is not a JSON object.
    #[error("the token's payload {reason}")]
    PayloadInvalid {
        /// What is wrong with the payload.
        reason: &'static str,
    },
    /// A name stands twice in one object, so readers could disagree (RFC 8725 section 2.6).
    #[error("the token's {part} has a name twice in one object")]
    DuplicateName {
        /// `header` or `payload`.
        part: &'static str,
    },
    /// The realm does not trust the `iss`.
    #[error("the token's issuer is not one that this realm trusts; issuers are compared exactly, slash by slash")]
    IssuerUnknown,
    /// The header's `alg` is not in the issuer's list.
    #[error("the token's algorithm is not one that this issuer is configured to sign with")]
    AlgorithmNotAllowed,
    /// The header brings a key of its own, or compressed or nested content.
    #[error("the token's header has `{member}`, which is never accepted")]
    HeaderForbidden {
        /// The name of the header member.
        member: &'static str,
    },
    /// The header demands an extension (RFC 7515 section 4.1.11, RFC 7797); none is supported.
    #[error("the token's header demands an extension, and none is supported")]
    ExtensionUnsupported,
    /// No key has the token's `kid`.
    #[error("the token's key is not in the issuer's key set; key ids are compared exactly")]
    KeyNotFound,
    /// The token has no `kid`, and the issuer more than one key.
    #[error("the token does not name its key (`kid`), and its issuer has more than one")]
    KeyIdMissing,
    /// The key is in the issuer's set but not fit for use.
    #[error("the token's key is in the issuer's key set but is not usable: {reason}")]
    KeyRejected {
        /// What is wrong with the key.
        reason: &'static str,
    },
    /// The key is for another algorithm (RFC 8725 section 3.1).
    #[error("the token's algorithm does not fit the key that the token names")]
    AlgorithmKeyMismatch,
    /// The signature does not hold.
    #[error("the token's signature does not hold: it was changed on its way, or signed with another key")]
    SignatureInvalid,
    /// `typ` says that this is another kind of token (RFC 8725 section 3.11).
    #[error("the token's `typ` says that it is not an access token of this issuer")]
    TypeInvalid,
    /// A claim is not there.
    #[error("the token lacks the claim `{claim}`")]
    ClaimMissing {
        /// The claim's name.
        claim: Arc<str>,
    },
    /// A claim has a value that it may not have.
    #[error("the token's claim `{claim}` is not valid, expected {expected}")]
    ClaimInvalid {
        /// The claim's name.
        claim: Arc<str>,
        /// What it should be.
        expected: &'static str,
    },
    /// `exp` has passed.
    #[error("the token has expired; get a new one from its issuer")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet; check the clocks of its issuer and of this service")]
    NotYetValid,
    /// It lives longer than the issuer's tokens may.
    #[error("the token is valid for longer than this issuer's tokens may be; is its `exp` in milliseconds?")]
    LifetimeTooLong,
    /// `aud` names none of the accepted audiences.
    #[error("the token is meant for another audience")]
    AudienceMismatch,
    /// The token's version is higher than those that are understood.
    #[error("the token's version is not one that is understood here: its major version is too high")]
    VersionUnsupported,
    /// The token is bound to a key of its bearer (`cnf`, RFC 7800), and the request shows no proof of that kind.
    #[error("the token is bound to a key or certificate (`cnf`), and the request does not show its possession")]
    ProofRequired,
    /// The request shows a proof, which does not hold (RFC 9449 section 4.3, RFC 8705 section 3).
    #[error("the request's proof of possession does not hold: {reason}")]
    ProofInvalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request's proof was used before (RFC 9449 section 11.1).
    #[error("the request's proof of possession was used before; each request needs a new one")]
    ProofReplayed,
    /// It came as a query parameter, and its issuer's may not.
    #[error(
        "the token came as a query parameter, which this issuer's tokens may not, expected the Authorization header"
    )]
    TransportNotAllowed,
    /// It no longer counts although it has not expired.
    #[error("the token was revoked; get a new one from its issuer")]
    Revoked,
    /// An opaque token that no application of the realm has.
    #[error(
        "the token is of none of the realm's applications: it ended long ago, was taken back, or is not of this realm"
    )]
    Unknown,
    /// Its issuer says that it does not count: it ended, was taken back, or was never issued (RFC 7662 section 2.2).
    #[error("the token's issuer says that the token is not active; get a new one")]
    Inactive,
    /// The application that the token stands for, or that it names, is disabled.
    #[error("the application is disabled in this realm")]
    ApplicationDisabled,
    /// The application that the token stands for, or that it names, has ended.
    #[error("the application has expired in this realm")]
    ApplicationExpired,
}

impl TokenError {
    /// A stable word for programs and logs; never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "TOKEN_TOO_LARGE",
            Self::Format => "TOKEN_FORMAT",
            Self::HeaderInvalid { .. } => "HEADER_INVALID",
            Self::PayloadInvalid { .. } => "PAYLOAD_INVALID",
            Self::DuplicateName { .. } => "DUPLICATE_KEY",
            Self::IssuerUnknown => "ISSUER_UNKNOWN",
            Self::AlgorithmNotAllowed => "ALG_NOT_ALLOWED",
            Self::HeaderForbidden { .. } => "HEADER_FORBIDDEN",
            Self::ExtensionUnsupported => "CRIT_UNSUPPORTED",
            Self::KeyNotFound | Self::KeyIdMissing => "KEY_NOT_FOUND",
            Self::KeyRejected { .. } => "KEY_REJECTED",
            Self::AlgorithmKeyMismatch => "ALG_KEY_MISMATCH",
            Self::SignatureInvalid => "SIGNATURE_INVALID",
            Self::TypeInvalid => "TYP_INVALID",
            Self::ClaimMissing { .. } => "CLAIM_MISSING",
            Self::ClaimInvalid { .. } => "CLAIM_TYPE_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::NotYetValid => "TOKEN_NOT_YET_VALID",
            Self::LifetimeTooLong => "LIFETIME_TOO_LONG",
            Self::AudienceMismatch => "AUDIENCE_MISMATCH",
            Self::ProofRequired => "PROOF_REQUIRED",
            Self::ProofInvalid { .. } => "PROOF_INVALID",
            Self::ProofReplayed => "PROOF_REPLAYED",
            Self::VersionUnsupported => "TOKEN_VERSION_UNSUPPORTED",
            Self::TransportNotAllowed => "TOKEN_TRANSPORT_NOT_ALLOWED",
            Self::Revoked => "TOKEN_REVOKED",
            Self::Unknown => "TOKEN_UNKNOWN",
            Self::Inactive => "TOKEN_INACTIVE",
            Self::ApplicationDisabled => "TOKEN_APPLICATION_DISABLED",
            Self::ApplicationExpired => "TOKEN_APPLICATION_EXPIRED",
        }
    }
}
