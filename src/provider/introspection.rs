//! Asks issuers about their opaque tokens (RFC 7662), once for all who ask at the same time, and not again for a while.
//!
//! A token goes to the issuer that is configured for it and nowhere else. Whatever is not a clear answer is a failure.

mod client_proof;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use quick_cache::sync::Cache;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use self::client_proof::ClientProof;
use crate::app::ports::meter::{Cache as Counted, Meter, Uncounted};
use crate::app::ports::trace::carried;
use crate::app::ports::{ActiveToken, Clock, Introspected, IntrospectionError, TokenIntrospector};
use crate::domain::application::TokenDigest;
use crate::domain::id::RealmName;
use crate::domain::introspection::{ClientAuthentication, Introspection};
use crate::domain::issuer::{Issuer, Servers};
use crate::domain::strict_json;
use crate::provider::discovery::Directory;
use crate::provider::outbound::{self, Failure, Outbound};

/// What an answer is called in failures.
const ANSWER: &str = "the introspection answer";

/// The largest answer that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// How many answers are remembered.
const ANSWERS_MAX: usize = 50_000;

/// So many requests are with the issuer at a time.
const ASKED_MAX: usize = 64;

/// So many different tokens wait or are asked about at a time; further ones are refused as unavailable.
const FLIGHTS_MAX: usize = 256;

/// How long a question may take altogether: waiting, finding the endpoint, asking.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Failures are logged once in this time.
const LOGGED_EVERY_US: i64 = 10_000_000;

/// The issuers that are asked about opaque tokens, one for each realm at most.
pub struct Introspectors {
    outside: Outside,
    endpoints: ArcSwap<HashMap<RealmName, Arc<Endpoint>>>,
}

impl Introspectors {
    /// Knows no issuers yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::counted(clock, Arc::new(Uncounted))
    }

    /// The same, with somebody who counts how long issuers take.
    pub fn counted(clock: Arc<dyn Clock>, meter: Arc<dyn Meter>) -> Self {
        Self { outside: Outside { clock, meter }, endpoints: ArcSwap::default() }
    }
}

/// What asking needs beside the issuer.
#[derive(Clone)]
struct Outside {
    clock: Arc<dyn Clock>,
    meter: Arc<dyn Meter>,
}

#[async_trait]
impl TokenIntrospector for Introspectors {
    async fn introspect(
        &self,
        realm: &RealmName,
        issuer: &str,
        token: &str,
    ) -> Result<Introspected, IntrospectionError> {
        let failed = |reason: String| IntrospectionError { issuer: issuer.to_owned(), reason };
        let endpoint = self.endpoints.load().get(realm).filter(|known| *known.issuer == *issuer).map(Arc::clone);
        let endpoint = endpoint.ok_or_else(|| failed("the realm does not do so".to_owned()))?;
        endpoint.ask(token, &self.outside).await.map_err(failed)
    }

    /// Replaces the issuers of a realm. What is known from an issuer that stays as it is is kept.
    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        let issuer = issuers.iter().find_map(|issuer| issuer.introspection.as_ref().map(|how| (issuer, how)));
        self.endpoints.rcu(|endpoints| {
            let mut endpoints = HashMap::clone(endpoints);
            let known = endpoints.remove(realm);
            if let Some((issuer, how)) = issuer {
                let kept = known.filter(|known| known.serves(issuer, how));
                endpoints.insert(realm.clone(), kept.unwrap_or_else(|| Arc::new(Endpoint::new(realm, issuer, how))));
            }
            endpoints
        });
    }
}

impl fmt::Debug for Introspectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspectors").field("realms", &self.endpoints.load().keys()).finish_non_exhaustive()
    }
}

type Outcome = Result<Introspected, String>;

/// One issuer that is asked.
struct Endpoint {
    realm: RealmName,
    issuer: Arc<str>,
    servers: Servers,
    how: Introspection,
    outbound: Outbound,
    directory: Option<Directory>,
    proof: ClientProof,
    /// Answers with the time until when they are used, in microseconds since the epoch.
    answers: Cache<TokenDigest, (Introspected, i64)>,
    flights: Mutex<HashMap<TokenDigest, watch::Receiver<Option<Outcome>>>>,
    asking: Semaphore,
    logged_at_us: Mutex<i64>,
}

impl Endpoint {
    fn new(realm: &RealmName, issuer: &Issuer, how: &Introspection) -> Self {
        let outbound = Outbound::new(&issuer.servers, outbound::TIMEOUT);
        Self {
            realm: realm.clone(),
            issuer: Arc::clone(&issuer.issuer),
            servers: issuer.servers.clone(),
            how: how.clone(),
            outbound: match &how.authentication {
                ClientAuthentication::Certificate(file) => outbound.with_certificate(file.clone()),
                _ => outbound,
            },
            directory: Directory::of(issuer).filter(|_| how.url.is_none()),
            proof: ClientProof::new(&issuer.issuer, how),
            answers: Cache::new(ANSWERS_MAX),
            flights: Mutex::default(),
            asking: Semaphore::new(ASKED_MAX),
            logged_at_us: Mutex::new(i64::MIN),
        }
    }

    fn serves(&self, issuer: &Issuer, how: &Introspection) -> bool {
        self.issuer == issuer.issuer && self.how == *how && self.servers == issuer.servers
    }

    /// What the issuer says about a token. Who asks about one that is asked about already waits for the same answer.
    async fn ask(self: &Arc<Self>, token: &str, outside: &Outside) -> Outcome {
        let digest = TokenDigest::of(token);
        match self.answers.get(&digest) {
            Some((answer, until_us)) if outside.clock.now_us() < until_us => {
                outside.meter.cache_hit(Counted::Introspection);
                return Ok(answer);
            }
            Some(_) => drop(self.answers.remove(&digest)),
            None => {}
        }
        outside.meter.cache_missed(Counted::Introspection);
        let mut landing = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&digest) {
                Some(flight) => flight.clone(),
                None if flights.len() >= FLIGHTS_MAX => return Err("too many tokens are asked about".to_owned()),
                None => {
                    let (sender, landing) = watch::channel(None);
                    flights.insert(digest, landing.clone());
                    let flying = Arc::clone(self).fly(digest, token.to_owned(), outside.clone(), sender);
                    tokio::spawn(carried(flying));
                    landing
                }
            }
        };
        let landed = landing.wait_for(Option::is_some).await;
        landed.ok().and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err("asking was interrupted".to_owned()))
    }

    /// Asks, keeps the answer, and gives it to all who wait. A task of its own, so that a caller who gives up does not
    /// waste it.
    async fn fly(
        self: Arc<Self>,
        digest: TokenDigest,
        token: String,
        Outside { clock, meter }: Outside,
        sender: watch::Sender<Option<Outcome>>,
    ) {
        let asked_at_us = clock.monotonic_us();
        let asked = tokio::time::timeout(TIMEOUT, self.call(&token, &*clock)).await;
        let took_us = clock.monotonic_us().saturating_sub(asked_at_us);
        meter.introspected(&self.issuer, u64::try_from(took_us).unwrap_or(0));
        let outcome = asked.unwrap_or_else(|_| Err("the answer took too long".to_owned()));
        let now_us = clock.now_us();
        match &outcome {
            Ok(answer) => {
                let until_us = match answer {
                    Introspected::Inactive => now_us.saturating_add(self.how.negative_cache_seconds * 1_000_000),
                    Introspected::Active(active) => active.until_seconds.saturating_mul(1_000_000),
                };
                if now_us < until_us {
                    self.answers.insert(digest, (answer.clone(), until_us));
                }
            }
            Err(reason) => self.log(reason, now_us),
        }
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        sender.send_replace(Some(outcome));
    }

    async fn call(&self, token: &str, clock: &dyn Clock) -> Outcome {
        let _turn = self.asking.acquire().await.map_err(|_| "asking was interrupted".to_owned())?;
        let url = self.url(clock.now_us()).await?;
        let mut form = vec![("token", token.to_owned()), ("token_type_hint", "access_token".to_owned())];
        let request = self.outbound.post(&url, ANSWER).await?.header(ACCEPT, "application/json");
        let request = self.proof.add_to(request, &mut form, clock.now_seconds()).await?;
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encoded(&form));
        // The answer is as old as the question.
        let asked_at_seconds = clock.now_seconds();
        let body = match outbound::answer(request, ANSWER, BYTES_MAX).await {
            Ok(body) => body,
            Err(Failure::Refused(status)) => {
                // The secret or key may have been replaced.
                self.proof.forget();
                return Err(format!("it does not take this service for its client ({})", status.as_u16()));
            }
            Err(Failure::Other(reason)) => {
                if let Some(directory) = &self.directory {
                    directory.doubt().await;
                }
                return Err(reason);
            }
        };
        let members = strict_json::read_object(body.text.as_bytes());
        let members = members.map_err(|fault| format!("{ANSWER} {}", fault.reason()))?;
        match members.get("active") {
            Some(Value::Bool(true)) => {
                let until_seconds = asked_at_seconds.saturating_add(self.how.cache_seconds);
                Ok(Introspected::Active(ActiveToken { members: Arc::new(members), until_seconds }))
            }
            _ => Ok(Introspected::Inactive),
        }
    }

    async fn url(&self, now_us: i64) -> Result<String, String> {
        if let Some(url) = &self.how.url {
            return Ok(url.to_string());
        }
        let directory = self.directory.as_ref().ok_or("there is no endpoint")?;
        let endpoints = directory.endpoints(&self.outbound, now_us).await?;
        endpoints.introspection.ok_or_else(|| "the discovery document has no `introspection_endpoint`".to_owned())
    }

    fn log(&self, reason: &str, now_us: i64) {
        let mut logged_at_us = self.logged_at_us.lock().unwrap_or_else(PoisonError::into_inner);
        if now_us.saturating_sub(*logged_at_us) >= LOGGED_EVERY_US {
            *logged_at_us = now_us;
            tracing::warn!(realm = %self.realm, issuer = &*self.issuer, reason, "an issuer cannot be asked about its tokens");
        }
    }
}

fn encoded(form: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
