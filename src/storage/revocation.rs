//! The limits that every store holds revocations to.

use crate::{
    app::ports::{BATCH_CHANGES_MAX, RevocationChange, StoreError},
    domain::revocation::{ID_BYTES_MAX, ISSUER_BYTES_MAX, RevokedTokens},
};

/// Refuses changes that break a limit. The message names a change by its place: ids may be people's.
pub(super) fn check(changes: &[RevocationChange]) -> Result<(), StoreError> {
    let count = changes.len();
    if count > BATCH_CHANGES_MAX {
        return Err(StoreError::Limit(format!(
            "a batch of {count} changes is too large, expected at most {BATCH_CHANGES_MAX}"
        )));
    }
    let is_too_long = |change: &RevocationChange| {
        let RevokedTokens { issuer, which } = tokens(change);
        issuer.len() > ISSUER_BYTES_MAX || which.id().len() > ID_BYTES_MAX
    };
    match changes.iter().position(is_too_long) {
        None => Ok(()),
        Some(place) => Err(StoreError::Limit(format!(
            "change {place} names tokens too long, expected at most {ISSUER_BYTES_MAX} bytes of issuer and {ID_BYTES_MAX} \
             of id"
        ))),
    }
}

/// The tokens that a change is about.
pub(super) fn tokens(change: &RevocationChange) -> &RevokedTokens {
    match change {
        RevocationChange::Put(revocation) => &revocation.tokens,
        RevocationChange::Delete(tokens) => tokens,
    }
}
