//! Applications: put, read, deleted; opaque tokens issued, registered and taken back.
//!
//! A change is durable before it is acknowledged and counts from the next decision on: the index is swapped first, then
//! the realm's verified tokens are forgotten, and a verification that began before is not kept.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::sync::OwnedMutexGuard;

use crate::{
    app::{
        App,
        application_index::ApplicationIndex,
        authorize::Caller,
        credentials::Secret,
        error::{Error, Kind},
        ports::{ApplicationChange, ApplicationStore, StoreError},
        realm_state::RealmState,
        secrets::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, no_chance, read_hash},
        token_cache::TokenCache,
    },
    domain::{
        access_request::FieldFault,
        application::{Application, ApplicationToken, SecretHash, TokenDigest},
        principal::Principal,
        realm::Realm,
        value::Attributes,
    },
};

/// The most applications of a realm.
pub const APPLICATIONS_MAX: usize = 20_000;
/// The most tokens of a realm.
pub const TOKENS_MAX: usize = 200_000;
/// The most tokens of an application: as many as one atomic write deletes together with it.
pub const APPLICATION_TOKENS_MAX: usize = 900;
/// The most applications of one page.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// How long an issued token counts unless the request says otherwise, in seconds.
pub const LIFETIME_SECONDS_DEFAULT: u32 = 1_800;
/// How long an issued token counts at most.
pub const LIFETIME_SECONDS_MAX: u32 = 86_400;
/// How long a registered token counts at most: a year.
pub const REGISTERED_SECONDS_MAX: i64 = 366 * 86_400;

/// What every issued token begins with, so that one that got lost is recognised.
pub const TOKEN_PREFIX: &str = "hpt_";

/// For how long a token that ended is still known as one that ended.
const KNOWN_AFTER_SECONDS: i64 = 86_400;
/// How many tokens that ended are purged with one change.
const PURGED_MAX: usize = 64;
/// How many of its own tokens that ended are deleted to make room for a new one.
const MADE_ROOM_MAX: usize = 500;

/// An application to be put, and its secret.
#[derive(Clone, Debug)]
pub struct PutApplication {
    /// The application as it was given; its `secret_hash` is filled in from the fields below.
    pub application: Application,
    /// A new secret; empty keeps the one there is.
    pub secret: Secret,
    /// The hash of a new secret, in place of it; may be empty.
    pub secret_hash: Secret,
}

/// A question for an opaque token.
#[derive(Clone, Debug)]
pub struct IssueToken {
    /// The application.
    pub id: Arc<str>,
    /// Its secret.
    pub secret: Secret,
    /// How long the token is to count; 0 for the usual time.
    pub lifetime_seconds: u32,
    /// Sets to narrow.
    pub narrowed: Attributes,
}

/// A token that was issued. It cannot be shown again.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// When it ends, in seconds since the epoch.
    pub expires_at_seconds: i64,
}

/// A page of applications.
#[derive(Clone, Debug)]
pub struct ApplicationPage {
    /// The applications, by id.
    pub applications: Vec<Arc<Application>>,
    /// There are more after the last one.
    pub has_more: bool,
}

/// What is to be changed, and what is answered when it is durable.
struct Plan<T> {
    changes: Vec<ApplicationChange>,
    answer: T,
}

impl App {
    /// Creates or replaces an application, and says whether it is new.
    ///
    /// # Errors
    /// Every fault of the request at once; too many applications; a store that cannot write.
    pub async fn put_application(&self, realm: &str, put: PutApplication) -> Result<bool, Error> {
        let state = self.realm(realm)?;
        let PutApplication { application, secret, secret_hash } = put;
        let mut faults = Vec::new();
        let given = new_secret(&secret, &secret_hash.0, &mut faults);
        let checked = application.check(&state.policies().realm).map_err(|found| faults.extend(found)).ok();
        let Some(mut application) = checked.filter(|_| faults.is_empty()) else { return Err(Error::invalid(faults)) };
        let given = if secret.0.is_empty() { given } else { Some(self.secrets.hash(secret).await?) };
        self.change_applications(state, move |index, _| {
            let before = index.get(&application.id);
            let is_new = before.is_none();
            if is_new && index.len() >= APPLICATIONS_MAX {
                return Err(full(format!("the realm has {APPLICATIONS_MAX} applications, and no more are kept")));
            }
            application.secret_hash = given.or_else(|| before?.secret_hash.clone());
            Ok(Plan { changes: vec![ApplicationChange::Put(application)], answer: is_new })
        })
        .await
    }

    /// Reads an application.
    ///
    /// # Errors
    /// An unknown realm or application.
    pub fn get_application(&self, realm: &str, id: &str) -> Result<Arc<Application>, Error> {
        let state = self.realm(realm)?;
        let id = canonical(&state.policies().realm, id);
        state.applications().get(&id).cloned().ok_or_else(unknown)
    }

    /// Lists applications by id, those behind `after`.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn list_applications(&self, realm: &str, after: Option<&str>, size: usize) -> Result<ApplicationPage, Error> {
        let size = size.clamp(1, PAGE_SIZE_MAX);
        let mut applications = self.realm(realm)?.applications().page(after, size + 1);
        let has_more = applications.len() > size;
        applications.truncate(size);
        Ok(ApplicationPage { applications, has_more })
    }

    /// Deletes an application with all its tokens, and says how many of them still counted.
    ///
    /// # Errors
    /// An unknown realm or application; a store that cannot write.
    pub async fn delete_application(&self, realm: &str, id: &str) -> Result<u64, Error> {
        let state = self.realm(realm)?;
        let id = canonical(&state.policies().realm, id);
        self.change_applications(state, move |index, now_seconds| {
            let application = index.get(&id).ok_or_else(unknown)?;
            let tokens = index.tokens_of(&id);
            let counted = tokens.clone().filter(|token| token.expires_at_seconds > now_seconds).count();
            let tokens = tokens.map(|token| ApplicationChange::DeleteToken(token.digest));
            let changes = std::iter::once(ApplicationChange::Delete(Arc::clone(&application.id))).chain(tokens);
            Ok(Plan { changes: changes.collect(), answer: counted as u64 })
        })
        .await
    }

    /// Issues an opaque token to an application that proves its secret.
    ///
    /// # Errors
    /// `Unauthenticated`, alike for an unknown application, one without a secret and a wrong secret; an application
    /// that is disabled, has ended, or lacks what the realm's schema requires; every fault of the request at once.
    pub async fn issue_token(&self, realm: &str, asked: IssueToken) -> Result<IssuedToken, Error> {
        let state = self.realm(realm)?;
        let IssueToken { id, secret, lifetime_seconds, narrowed } = asked;
        if lifetime_seconds > LIFETIME_SECONDS_MAX {
            let message = format!("is longer than {LIFETIME_SECONDS_MAX} s");
            return Err(Error::invalid_field("lifetime_seconds", message));
        }
        let lifetime_seconds = if lifetime_seconds == 0 { LIFETIME_SECONDS_DEFAULT } else { lifetime_seconds };
        let loaded = state.policies();
        let id = canonical(&loaded.realm, &id);
        let index = state.applications();
        let proof = index.get(&id).and_then(|application| application.secret_hash.clone());
        if !self.secrets.verify(secret, proof.as_ref(), index.hash_in_place_of(&id)).await? {
            return Err(not_proven());
        }
        let token = new_token()?;
        let digest = TokenDigest::of(&token.0);
        self.change_applications(state, move |index, now_seconds| {
            // The application may have changed while its secret was looked at.
            let application = index.get(&id).filter(|now| now.secret_hash == proof).ok_or_else(not_proven)?;
            let expires_at_seconds = application.until(now_seconds.saturating_add(i64::from(lifetime_seconds)));
            let new = NewToken { digest, expires_at_seconds, narrowed };
            let changes = new.admitted(index, application, &loaded.realm, now_seconds)?;
            Ok(Plan { changes, answer: IssuedToken { token, expires_at_seconds } })
        })
        .await
    }

    /// Makes a token known that another authorization server issued for an application.
    ///
    /// # Errors
    /// An unknown application, or one of which [`App::issue_token`] would issue none; a token that another application
    /// has; every fault of the request at once.
    pub async fn register_token(
        &self,
        realm: &str,
        id: &str,
        digest: TokenDigest,
        expires_at_seconds: i64,
        narrowed: Attributes,
    ) -> Result<(), Error> {
        let state = self.realm(realm)?;
        let loaded = state.policies();
        let id = canonical(&loaded.realm, id);
        self.change_applications(state, move |index, now_seconds| {
            let application = index.get(&id).ok_or_else(unknown)?;
            if index.token(&digest).is_some_and(|known| known.application != application.id) {
                let message = "another application of the realm has this token";
                return Err(Error::new(Kind::FailedPrecondition, "APPLICATION_TOKEN_TAKEN", message));
            }
            let lifetime_seconds = expires_at_seconds.saturating_sub(now_seconds);
            if !(1..=REGISTERED_SECONDS_MAX).contains(&lifetime_seconds) {
                return Err(Error::invalid_field("expires_at", "is past or more than a year ahead"));
            }
            let new = NewToken { digest, expires_at_seconds, narrowed };
            let changes = new.admitted(index, application, &loaded.realm, now_seconds)?;
            Ok(Plan { changes, answer: () })
        })
        .await
    }

    /// Takes a token back, and says whether it was known.
    ///
    /// # Errors
    /// An unknown realm; a store that cannot write.
    pub async fn revoke_token(&self, realm: &str, digest: TokenDigest) -> Result<bool, Error> {
        let state = self.realm(realm)?;
        self.change_applications(state, move |index, _| {
            let is_known = index.token(&digest).is_some();
            let changes = is_known.then_some(ApplicationChange::DeleteToken(digest));
            Ok(Plan { changes: changes.into_iter().collect(), answer: is_known })
        })
        .await
    }

    /// Plans a change on the present applications, makes it durable and publishes it. Goes on to the end when nobody
    /// waits for it any more, so that a caller who gives up leaves nothing durable that decisions don't see.
    async fn change_applications<T: Send + 'static>(
        &self,
        state: &Arc<RealmState>,
        plan: impl FnOnce(&ApplicationIndex, i64) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let writing = Arc::clone(&state.applications.writer).lock_owned().await;
        let now_seconds = self.clock.now_seconds();
        let change = Change {
            state: Arc::clone(state),
            store: Arc::clone(&self.applications),
            tokens: Arc::clone(&self.tokens),
            now_seconds,
            _writing: writing,
        };
        tokio::spawn(change.make(plan)).await.map_err(|error| {
            state.applications.note_failed_write();
            Error::new(Kind::Internal, "WRITE_FAILED", format!("the change could not be finished: {error}"))
        })?
    }
}

/// A change under way; holds the writer's lock until it is published.
struct Change {
    state: Arc<RealmState>,
    store: Arc<dyn ApplicationStore>,
    tokens: Arc<TokenCache<Caller>>,
    now_seconds: i64,
    _writing: OwnedMutexGuard<()>,
}

impl Change {
    async fn make<T>(self, plan: impl FnOnce(&ApplicationIndex, i64) -> Result<Plan<T>, Error>) -> Result<T, Error> {
        let Self { state, store, tokens, now_seconds, _writing } = self;
        let applications = &state.applications;
        if applications.catch_up(&*store, &state.name).await? {
            tokens.drop_realm(&state.name);
        }
        let mut index = ApplicationIndex::clone(&applications.index());
        let Plan { mut changes, answer } = plan(&index, now_seconds)?;
        if changes.is_empty() {
            return Ok(answer);
        }
        // A token that nobody knew has never been verified, so that nothing is kept of it.
        let is_news = |change: &ApplicationChange| match change {
            ApplicationChange::PutToken(token) => index.token(&token.digest).is_none(),
            _ => false,
        };
        let changes_what_counted = !changes.iter().all(is_news);
        let purged = index.ended(now_seconds.saturating_sub(KNOWN_AFTER_SECONDS)).take(PURGED_MAX);
        // In front, in case one of them is put anew.
        changes.splice(0..0, purged.map(ApplicationChange::DeleteToken).collect::<Vec<_>>());
        let outcome = store.write_applications(&state.name, changes.clone()).await;
        outcome.inspect_err(|error| {
            if !matches!(error, StoreError::Limit(_)) {
                applications.note_failed_write();
            }
        })?;
        for change in changes {
            index.apply(change);
        }
        applications.publish(index);
        // After the publishing: whoever looks at the applications from here on sees the new ones.
        if changes_what_counted {
            tokens.drop_realm(&state.name);
        }
        Ok(answer)
    }
}

/// A token to be kept.
struct NewToken {
    digest: TokenDigest,
    expires_at_seconds: i64,
    narrowed: Attributes,
}

impl NewToken {
    /// What is to be changed so that the application has this token.
    fn admitted(
        self,
        index: &ApplicationIndex,
        application: &Application,
        realm: &Realm,
        now_seconds: i64,
    ) -> Result<Vec<ApplicationChange>, Error> {
        let Self { digest, expires_at_seconds, narrowed } = self;
        let precondition = |reason, message: String| Error::new(Kind::FailedPrecondition, reason, message);
        application
            .check_in_use(now_seconds)
            .map_err(|error| precondition("APPLICATION_NOT_IN_USE", error.to_string()))?;
        let narrowed = application.narrowing(realm, &narrowed).map_err(Error::invalid)?;
        application
            .narrowed(realm, &narrowed)
            .and_then(|attributes| Principal::from_record(realm, &application.id, &attributes))
            .map_err(|error| precondition("APPLICATION_INCOMPLETE", error.to_string()))?;
        let mut changes = room(index, &application.id, digest, now_seconds)?;
        let application = Arc::clone(&application.id);
        changes.push(ApplicationChange::PutToken(ApplicationToken {
            digest,
            application,
            expires_at_seconds,
            narrowed,
        }));
        Ok(changes)
    }
}

/// Makes room for one more token of an application: the tokens to delete, all of which ended.
fn room(
    index: &ApplicationIndex,
    id: &str,
    digest: TokenDigest,
    now_seconds: i64,
) -> Result<Vec<ApplicationChange>, Error> {
    if index.token(&digest).is_some() {
        return Ok(Vec::new());
    }
    let tokens = index.tokens_of(id);
    let is_full = tokens.len() >= APPLICATION_TOKENS_MAX;
    if !is_full && index.tokens_len() < TOKENS_MAX {
        return Ok(Vec::new());
    }
    let ended = tokens.filter(|token| token.expires_at_seconds <= now_seconds).map(|token| token.digest);
    let mut ended: Vec<_> = ended.take(MADE_ROOM_MAX).collect();
    if !is_full {
        ended.extend(index.ended(now_seconds).take(PURGED_MAX));
    }
    if ended.is_empty() {
        let whose = if is_full { "the application" } else { "the realm" };
        return Err(full(format!("{whose} has as many tokens as it may; use them until they end, or take some back")));
    }
    Ok(ended.into_iter().map(ApplicationChange::DeleteToken).collect())
}

/// The hash that a put brings, if it brings one that needs no work.
fn new_secret(secret: &Secret, hash: &str, faults: &mut Vec<FieldFault>) -> Option<SecretHash> {
    if !secret.0.is_empty() && !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.0.len()) {
        let message = format!("is not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes long");
        faults.push(FieldFault::new("secret", message));
    }
    if hash.is_empty() {
        return None;
    }
    if !secret.0.is_empty() {
        faults.push(FieldFault::new("secret_hash", "comes with a secret, expected one of them"));
    }
    read_hash(hash).map_err(|wrong| faults.push(FieldFault::new("secret_hash", wrong))).ok()
}

/// A token of 256 random bits.
fn new_token() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(no_chance)?;
    Ok(Secret(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into()))
}

/// The id as applications are found by it; one that no application can have stays as it is.
fn canonical(realm: &Realm, id: &str) -> Arc<str> {
    let entity = realm.relations.entity_id(&realm.file.principal.entity, id);
    entity.map_or_else(|_| id.into(), |entity| entity.id)
}

fn unknown() -> Error {
    Error::new(Kind::NotFound, "APPLICATION_UNKNOWN", "the realm has no application of this id")
}

fn not_proven() -> Error {
    let message = "the application is unknown, has no secret, or this is not its secret";
    Error::new(Kind::Unauthenticated, "APPLICATION_NOT_PROVEN", message)
}

fn full(message: String) -> Error {
    Error::new(Kind::ResourceExhausted, "LIMIT_EXCEEDED", message)
}
