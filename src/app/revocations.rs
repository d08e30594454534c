//! Revocations: made, taken back, listed.
//!
//! A change is durable before it is acknowledged, and counts from the next request on, for tokens that were verified before
//! as well: every request looks at the index.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::{
    app::{
        App,
        authorize::{Caller, Verified},
        error::{Error, Kind},
        ports::{BATCH_CHANGES_MAX, RevocationChange, RevocationStore, StoreError},
        realm_state::RealmState,
        revocation_index::RevocationIndex,
        verification::{APPLICATION_ISSUER, bad_token},
    },
    domain::{
        access_request::FieldFault,
        realm::Realm,
        revocation::{Revocation, RevokedTokens, Which, check_tokens},
        token_error::TokenError,
    },
};

/// The most revocations of a realm.
pub const REVOCATIONS_MAX: usize = 200_000;
/// The most revocations of one page.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// How many revocations that can be forgotten are purged with one change.
const PURGED_MAX: usize = 64;
const _: () = assert!(PURGED_MAX < BATCH_CHANGES_MAX, "a change has room beside them");

/// A page of revocations.
#[derive(Clone, Debug)]
pub struct RevocationPage {
    /// The revocations, sorted by issuer, kind and id.
    pub revocations: Vec<Arc<Revocation>>,
    /// There are more after the last one.
    pub has_more: bool,
}

/// Plans a change on the present revocations; what is to be answered when it is durable.
type Plan<T> = Result<(Option<RevocationChange>, T), Error>;

impl App {
    /// Revokes tokens, and says how that is kept: of a subject or client without a time those issued until now. An earlier
    /// revocation of the same tokens is replaced.
    ///
    /// # Errors
    /// An unknown realm; every fault of the request at once; too many revocations; a store that cannot write.
    pub async fn revoke(&self, realm: &str, asked: Revocation) -> Result<Revocation, Error> {
        let state = self.realm(realm)?;
        let now_us = self.clock.now_us();
        let is_token = matches!(asked.tokens.which, Which::Token(_));
        // A time of issue is in whole seconds: of the present one it may have been a part that is past.
        let until_now = now_us.saturating_add(999_999).div_euclid(1_000_000);
        let revocation = Revocation {
            issued_before_seconds: asked.issued_before_seconds.or_else(|| (!is_token).then_some(until_now)),
            revoked_at_us: now_us,
            ..asked
        };
        let mut faults = revocation.check(now_us.div_euclid(1_000_000)).err().unwrap_or_default();
        faults.extend(issuer_fault(&state.policies().realm, &revocation.tokens));
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        self.change_revocations(state, move |index, _| {
            if index.len() >= REVOCATIONS_MAX && index.get(&revocation.tokens).is_none() {
                let message = format!("the realm has {REVOCATIONS_MAX} revocations, and no more are kept");
                return Err(Error::new(Kind::ResourceExhausted, "LIMIT_EXCEEDED", message));
            }
            Ok((Some(RevocationChange::Put(revocation.clone())), revocation))
        })
        .await
    }

    /// Takes a revocation back, and says whether there was one that still counted.
    ///
    /// # Errors
    /// An unknown realm; every fault of the request at once; a store that cannot write.
    pub async fn reinstate(&self, realm: &str, tokens: RevokedTokens) -> Result<bool, Error> {
        let state = self.realm(realm)?;
        let faults = check_tokens("tokens", &tokens);
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        self.change_revocations(state, move |index, now_seconds| {
            let known = index.get(&tokens);
            let counted = known.is_some_and(|revocation| revocation.counts(now_seconds));
            Ok((known.is_some().then_some(RevocationChange::Delete(tokens)), counted))
        })
        .await
    }

    /// Lists the revocations that count, of all issuers or one, those behind `after`.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn list_revocations(
        &self,
        realm: &str,
        issuer: Option<&str>,
        after: Option<&RevokedTokens>,
        size: usize,
    ) -> Result<RevocationPage, Error> {
        let size = size.clamp(1, PAGE_SIZE_MAX);
        let index = self.realm(realm)?.revocations.index();
        let mut revocations = index.page(issuer, after, size + 1, self.clock.now_seconds());
        let has_more = revocations.len() > size;
        revocations.truncate(size);
        Ok(RevocationPage { revocations, has_more })
    }

    /// The caller, unless its token was revoked.
    pub(super) fn unrevoked(&self, state: &RealmState, caller: Arc<Caller>) -> Verified {
        if state.revocations.revoke(&caller.token, self.clock.now_seconds()) {
            return Err(Box::new(bad_token(&TokenError::Revoked)));
        }
        Ok(caller)
    }

    /// Makes a change durable and publishes it. Goes on to the end when nobody waits for it any more, so that a caller who
    /// gives up leaves nothing durable that decisions don't see.
    async fn change_revocations<T: Send + 'static>(
        &self,
        state: &Arc<RealmState>,
        plan: impl FnOnce(&RevocationIndex, i64) -> Plan<T> + Send + 'static,
    ) -> Result<T, Error> {
        let writing = Arc::clone(&state.revocations.writer).lock_owned().await;
        let (of_realm, store) = (Arc::clone(state), Arc::clone(&self.revocations));
        let change = change(of_realm, store, self.clock.now_seconds(), writing, plan);
        tokio::spawn(change).await.map_err(|error| {
            state.revocations.note_failed_write();
            Error::new(Kind::Internal, "WRITE_FAILED", format!("the change could not be finished: {error}"))
        })?
    }
}

/// Plans a change, makes it durable together with what can be forgotten, and publishes it.
async fn change<T>(
    state: Arc<RealmState>,
    store: Arc<dyn RevocationStore>,
    now_seconds: i64,
    _writing: OwnedMutexGuard<()>,
    plan: impl FnOnce(&RevocationIndex, i64) -> Plan<T>,
) -> Result<T, Error> {
    let revocations = &state.revocations;
    revocations.catch_up(&*store, &state.name).await?;
    let mut index = RevocationIndex::clone(&revocations.index());
    let (asked, answer) = plan(&index, now_seconds)?;
    let Some(asked) = asked else { return Ok(answer) };
    // In front, in case one of them is made anew.
    let purged = index.ended(now_seconds).take(PURGED_MAX).cloned().map(RevocationChange::Delete);
    let changes: Vec<_> = purged.chain([asked]).collect();
    store.write_revocations(&state.name, changes.clone()).await.inspect_err(|error| {
        if !matches!(error, StoreError::Limit(_)) {
            revocations.note_failed_write();
        }
    })?;
    for change in changes {
        index.apply(change);
    }
    revocations.publish(index);
    Ok(answer)
}

/// A revocation in the name of an issuer that the realm doesn't know is a slip of the pen that nobody would notice.
fn issuer_fault(realm: &Realm, tokens: &RevokedTokens) -> Option<FieldFault> {
    let issuer = &*tokens.issuer;
    let is_known = issuer.is_empty() || issuer == APPLICATION_ISSUER || realm.issuer(issuer).is_some();
    let known = || realm.file.issuers.iter().map(|issuer| &*issuer.issuer).chain([APPLICATION_ISSUER]);
    let message = || {
        let known: Vec<_> = known().map(|issuer| format!("`{issuer}`")).collect();
        format!("is none of the realm's issuers, expected one of {}", known.join(", "))
    };
    (!is_known).then(|| FieldFault::new("revocation.tokens.issuer", message()))
}
