//! The service in memory: one realm whose policy permits everything to whoever brings a good token, a clock that stands
//! still, and keys that are at hand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::app::App;
use hallpass::app::authorize::{AuthorizeRequest, Caller};
use hallpass::app::caller::Presented;
use hallpass::app::credentials::Credentials;
use hallpass::app::people::People;
use hallpass::app::ports::{
    Clock, DecisionLog, KeyError, KeySource, LogError, LogSegment, LogStatus, RealmFiles, RealmSource, RecordPage,
    Stores,
};
use hallpass::app::realm_state::{Deployed, RealmState};
use hallpass::app::token_cache::{TOKENS_MAX_DEFAULT, TokenCache};
use hallpass::domain::access_request::Question;
use hallpass::domain::decision::Outcome;
use hallpass::domain::decision_record::{DecisionRecord, LoggedDecision};
use hallpass::domain::dpop::{Proof, ProofId};
use hallpass::domain::id::{DecisionId, RealmName};
use hallpass::domain::issuer::Issuer;
use hallpass::domain::key_set::KeySet;
use hallpass::domain::log_event::EventKind;
use hallpass::domain::mask::Mask;
use hallpass::domain::policy_set::SourceFile;
use hallpass::domain::pseudonym::PseudonymKey;
use hallpass::domain::record_filter::{PageRequest, RecordFilter};
use hallpass::domain::revocation::{Revocation, RevokedTokens, Which};
use hallpass::domain::token_proof::Confirmation;
use hallpass::storage::identities::IdentityTable;
use hallpass::storage::memory::MemoryStore;
use serde_json::Value;

use super::vectors::{File, Vector};

pub(crate) const REALM: &str = "vectors";

/// Who asks is known by the issuer alone, which every good token has.
const REALM_TOML: &str = r#"
title = "Token vectors"
[principal]
entity = "Bearer"
id = "iss"
"#;
const SCHEMA: &str = "
entity Bearer;
entity Thing;
action Read appliesTo { principal: [Bearer], resource: [Thing], context: {} };
";
const POLICIES: &str = r#"
@id("Everything")
@title("a good token is enough")
permit (principal, action, resource);
"#;

/// Whether a token that was verified is known from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenCaching {
    Off,
    On,
}

/// What came of a vector.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `OK`, or the code of the reason for which the token was refused.
    pub(crate) code: String,
    /// The id of who acts, as the decision's record names it.
    pub(crate) actor: Option<String>,
    /// Keys were looked for beyond those at hand.
    pub(crate) is_outbound: bool,
    /// The token is known from an earlier request.
    pub(crate) is_cached: bool,
}

/// A service of its own.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) tokens: Arc<TokenCache<Caller>>,
    pub(crate) clock: Arc<Standing>,
    pub(crate) keys: Arc<Keys>,
    log: Arc<Log>,
}

impl Service {
    /// The service for a vector.
    pub(crate) async fn start(file: &File, vector: &Vector, caching: TokenCaching) -> anyhow::Result<Self> {
        Self::start_with(file.issuers(&vector.issuer_profile)?, file.clock, caching).await
    }

    /// A service that trusts these issuers at this time, in seconds since the epoch.
    pub(crate) async fn start_with(
        issuers: Vec<(Issuer, KeySet)>,
        now_seconds: i64,
        caching: TokenCaching,
    ) -> anyhow::Result<Self> {
        let deployed = Deployed {
            name: REALM.parse()?,
            variant: None,
            issuers: issuers.iter().map(|(issuer, _)| issuer.clone()).collect(),
        };
        let keys = Arc::new(Keys::of(issuers));
        let (store, log) = (Arc::new(MemoryStore::new()), Arc::new(Log::default()));
        let stores = Stores {
            relationships: Arc::clone(&store) as Arc<_>,
            applications: Arc::clone(&store) as Arc<_>,
            revocations: store,
        };
        let now_us = now_seconds * 1_000_000;
        let clock = Arc::new(Standing(AtomicI64::new(now_us)));
        let identities = Arc::new(IdentityTable::in_memory(&[7; 32], Arc::clone(&clock) as Arc<_>));
        let people = People { identities, hashes: PseudonymKey::new([7; 32]), mask: Mask::default() };
        let files = realm_files();
        let state = RealmState::start(deployed, &files, &stores, Arc::clone(&log) as Arc<_>, people, now_us);
        let tokens = Arc::new(TokenCache::new(if caching == TokenCaching::On { TOKENS_MAX_DEFAULT } else { 0 }));
        let source = Arc::new(NoSource);
        let realms = vec![state.await?];
        let app = App::new(
            Arc::clone(&clock) as Arc<_>,
            Arc::clone(&keys) as Arc<_>,
            stores,
            source,
            Arc::clone(&tokens),
            realms,
        );
        Ok(Self { app, tokens, clock, keys, log })
    }

    /// Shows the token without any proof, so that what can be kept of it is kept.
    pub(crate) async fn warm_up(&self, vector: &Vector) {
        drop(self.app.authorize(question(Credentials::bearer(&vector.token))).await);
        self.keys.is_outbound.store(false, Ordering::Relaxed);
    }

    /// Brings the vector's state about.
    pub(crate) async fn bring_about(&self, file: &File, vector: &Vector) -> anyhow::Result<()> {
        let issuers = file.issuers(&vector.issuer_profile)?;
        let issuer = &issuers.first().context("there is no issuer")?.0.issuer;
        let tokens = vector.state.revoked_jti.iter().map(|id| (Which::Token(id.as_str().into()), None));
        let subjects = vector.state.not_before.iter();
        let subjects = subjects.map(|(subject, at)| (Which::Subject(subject.as_str().into()), Some(*at)));
        for (which, issued_before_seconds) in tokens.chain(subjects) {
            let tokens = RevokedTokens { issuer: Arc::clone(issuer), which };
            let revocation = Revocation { tokens, issued_before_seconds, forget_at_seconds: None, revoked_at_us: 0 };
            self.app.revoke(REALM, revocation).await?;
        }
        for id in &vector.state.seen_dpop_jti {
            let thumbprint = bound_key(&vector.token).context("the token of a used proof is bound to no key")?;
            let now_seconds = self.clock.now_seconds();
            let proof = Proof { id: ProofId::new(&thumbprint, id), until_seconds: now_seconds + 60 };
            self.app.proofs().remember(&proof, now_seconds).map_err(|_| anyhow::anyhow!("`{id}` is twice"))?;
        }
        Ok(())
    }

    /// Asks with the vector's credentials.
    pub(crate) async fn ask(&self, vector: &Vector) -> anyhow::Result<Answer> {
        let is_cached = self.tokens.len() == 1;
        let code = self.code(vector.credentials()).await?;
        let record = self.log.last();
        let actor = record.and_then(|record| record.actor).map(|actor| actor.id.to_string());
        Ok(Answer { code, actor, is_outbound: self.keys.is_outbound.load(Ordering::Relaxed), is_cached })
    }

    /// `OK`, or the code of the reason why these credentials are refused.
    pub(crate) async fn code(&self, credentials: Credentials) -> anyhow::Result<String> {
        Ok(match self.app.authorize(question(credentials)).await {
            Ok(answer) if answer.decision.outcome == Outcome::Allowed => "OK".to_owned(),
            Ok(answer) => answer.decision.reasons.first().context("a refusal has no reason")?.code.to_string(),
            Err(error) => format!("error {}: {error}", error.reason),
        })
    }
}

fn question(credentials: Credentials) -> AuthorizeRequest {
    let question = Question {
        action: "Read".into(),
        resource_type: "Thing".into(),
        resource_id: "1".into(),
        ..Question::default()
    };
    let presented = Presented::embedded();
    AuthorizeRequest { realm: REALM.into(), credentials, question, presented, ..AuthorizeRequest::default() }
}

fn realm_files() -> Vec<SourceFile> {
    let files = [("policies.cedar", POLICIES), ("realm.toml", REALM_TOML), ("schema.cedarschema", SCHEMA)];
    let file = |(path, content): (&str, &str)| SourceFile { path: path.to_owned(), content: content.to_owned() };
    files.map(file).to_vec()
}

/// The key that a token is bound to, whether or not anything else of it is right.
fn bound_key(token: &str) -> Option<[u8; 32]> {
    let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()?;
    Confirmation::read(payload.get("cnf")?)?.key_thumbprint
}

/// A clock that stands still, in microseconds since the epoch.
#[derive(Debug)]
pub(crate) struct Standing(pub(crate) AtomicI64);

impl Clock for Standing {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The issuers' keys; notices when a token makes it look for one that is not at hand, which a service would ask its
/// issuer for.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) sets: Mutex<HashMap<Arc<str>, Arc<KeySet>>>,
    is_outbound: AtomicBool,
}

impl Keys {
    fn of(issuers: Vec<(Issuer, KeySet)>) -> Self {
        let sets = issuers.into_iter().map(|(issuer, keys)| (issuer.issuer, Arc::new(keys))).collect();
        Self { sets: Mutex::new(sets), is_outbound: AtomicBool::new(false) }
    }
}

#[async_trait]
impl KeySource for Keys {
    async fn keys(&self, _: &RealmName, issuer: &str, kid: Option<&str>) -> Result<Arc<KeySet>, KeyError> {
        let found = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned();
        if kid.is_some_and(|kid| found.as_ref().is_none_or(|set| !set.contains(kid))) {
            self.is_outbound.store(true, Ordering::Relaxed);
        }
        found.ok_or_else(|| KeyError::Unavailable { issuer: issuer.to_owned(), reason: "unknown".to_owned() })
    }

    fn set_issuers(&self, _: &RealmName, _: &[Issuer]) {}
}

#[derive(Debug)]
struct NoSource;

impl RealmSource for NoSource {
    fn read(&self, _: &RealmName) -> Result<RealmFiles, String> {
        Err("the realm has no folder".to_owned())
    }
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<DecisionRecord>>);

impl Log {
    fn last(&self) -> Option<DecisionRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

#[async_trait]
impl DecisionLog for Log {
    async fn append(&self, records: Vec<DecisionRecord>) -> Result<(), LogError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
        Ok(())
    }

    async fn note(&self, _: EventKind) -> Result<u64, LogError> {
        Err(LogError::Unavailable("nothing happens to it".to_owned()))
    }

    async fn query(&self, _: RecordFilter, _: PageRequest) -> Result<RecordPage, LogError> {
        Err(LogError::Unreadable("it is not asked here".to_owned()))
    }

    async fn get(&self, _: DecisionId) -> Result<Option<LoggedDecision>, LogError> {
        Ok(None)
    }

    async fn follow(&self, _: u64, _: RecordFilter) -> Result<RecordPage, LogError> {
        Err(LogError::Unreadable("it is not followed here".to_owned()))
    }

    fn status(&self) -> LogStatus {
        LogStatus { is_writable: true, ..LogStatus::default() }
    }

    async fn segments(&self) -> Result<Vec<LogSegment>, LogError> {
        Ok(Vec::new())
    }

    async fn delete_until(&self, _: u64, _: &str) -> Result<Option<(u64, u64)>, LogError> {
        Ok(None)
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn close(&self) {}
}
