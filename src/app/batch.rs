//! `BatchAuthorize`: many questions, each answered as if it were asked alone. What was decided is kept even when nobody waits
//! for the answers any more, and counts against the caller's rate all the same.

use std::sync::Arc;

use crate::{
    app::{
        App,
        authorize::{Answer, AuthorizeRequest, Snapshot, Verified},
        caller::{Presented, Right},
        counted::Unkept,
        credentials::Credentials,
        error::Error,
        explain::ExplainLevel,
        proof_replays::Call,
    },
    domain::{
        decision::Effect,
        decision_record::DecisionRecord,
        explain::People,
        id::{RealmName, Revision},
    },
};

/// The most questions of a batch; a deployment may say fewer.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// The most questions of a batch that ask for a whole explanation.
pub const BATCH_EXPLAINED_MAX: usize = 100;

/// A batch under way: what its items share, and the records to keep.
struct Batch<'a> {
    app: &'a App,
    /// One for all items: they are asked for one request of the PEP's client, with one proof.
    call: Call,
    known: Vec<(Asked, Result<Shared, Error>)>,
    kept: Vec<Kept<'a>>,
    /// Whether whole explanations may be told, by realm: asked and recorded once.
    permits: Vec<(RealmName, Result<Option<People>, Error>)>,
}

/// How many different tokens of a batch are looked up in a list; others go to the cache of verified tokens.
const DIFFERENT_TOKENS_REMEMBERED: usize = 64;

/// What an item must have in common with another to share.
struct Asked {
    presented: Presented,
    realm: Arc<str>,
    credentials: Credentials,
    at_least_revision: Revision,
}

#[derive(Clone)]
struct Shared {
    /// Who asks the service.
    asker: Arc<str>,
    snapshot: Arc<Snapshot>,
    caller: Verified,
}

/// The records of one realm, and the places of their items.
struct Kept<'a> {
    snapshot: Arc<Snapshot>,
    records: Charged<'a>,
    places: Vec<usize>,
}

/// Records that count against the rate of who asked, once there are no more of them.
struct Charged<'a> {
    app: &'a App,
    records: Option<Unkept>,
}

impl Charged<'_> {
    fn push(&mut self, record: DecisionRecord) {
        if let Some(records) = &mut self.records {
            records.push(record);
        }
    }

    fn settle(&mut self) -> Option<Unkept> {
        let unkept = self.records.take()?;
        if let Some(first) = unkept.records().first() {
            // The first one was let through; the others count for what is asked next.
            let others = u32::try_from(unkept.records().len() - 1).unwrap_or(u32::MAX);
            let App { allowance, clock, .. } = self.app;
            allowance.charge(&first.caller, &unkept.state().name, others, clock.monotonic_us());
        }
        Some(unkept)
    }

    async fn keep(mut self) -> Result<(), Error> {
        match self.settle() {
            Some(unkept) => unkept.keep().await,
            None => Ok(()),
        }
    }
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        // What is left unkept keeps itself.
        drop(self.settle());
    }
}

impl Asked {
    fn of(request: &AuthorizeRequest) -> Self {
        Self {
            presented: request.presented.clone(),
            realm: Arc::clone(&request.realm),
            credentials: request.credentials.clone(),
            at_least_revision: request.at_least_revision,
        }
    }

    fn is_of(&self, request: &AuthorizeRequest) -> bool {
        self.presented == request.presented
            && self.realm == request.realm
            && self.credentials == request.credentials
            && self.at_least_revision == request.at_least_revision
    }
}

impl Batch<'_> {
    fn keep(&mut self, snapshot: Arc<Snapshot>, record: DecisionRecord, place: usize) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| Arc::ptr_eq(&kept.snapshot.state, &snapshot.state)) {
            kept.records.push(record);
            kept.places.push(place);
            return;
        }
        let unkept = self.app.unkept(&snapshot.state, vec![record]);
        let records = Charged { app: self.app, records: Some(unkept) };
        self.kept.push(Kept { snapshot, records, places: vec![place] });
    }
}

impl App {
    /// Decides many questions in order. A token is verified once, and realm, policies and relationships
    /// are taken once for all items of a realm. A proof of possession counts as used once, however many items show it:
    /// a batch is asked for one request of the PEP's client. With `until`, nothing behind the first answer of this effect is
    /// decided, and the results end with it.
    ///
    /// # Errors
    /// Too many items. An item's own failure is that item's result.
    pub async fn authorize_batch(
        &self,
        requests: Vec<AuthorizeRequest>,
        until: Option<Effect>,
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let items_max = self.batch_items_max;
        if requests.len() > items_max {
            let message = format!("has {} items, expected at most {items_max}", requests.len());
            return Err(Error::invalid_field("items", message));
        }
        let explained = requests.iter().filter(|request| request.explain.level() == ExplainLevel::Full).count();
        if explained > BATCH_EXPLAINED_MAX {
            let message = format!("has {explained} items at the level FULL, expected at most {BATCH_EXPLAINED_MAX}");
            return Err(Error::invalid_field("items", message));
        }
        let call = self.proofs.call();
        let mut batch = Batch { app: self, call, known: Vec::new(), kept: Vec::new(), permits: Vec::new() };
        let mut results = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            if index % 64 == 63 {
                tokio::task::yield_now().await;
            }
            let answered = match self.shared(&mut batch, request).await {
                Ok(Shared { asker, snapshot, caller }) => {
                    let people = self.may_explain_in(&mut batch, &snapshot, request).await;
                    people.and_then(|people| self.answer(&snapshot, &caller, request, asker, people)).map(
                        |(answer, record)| {
                            batch.keep(snapshot, record, index);
                            answer
                        },
                    )
                }
                Err(error) => Err(error),
            };
            // What is not decided is not allowed.
            let effect = answered.as_ref().map_or(Effect::Deny, |answer| answer.decision.outcome.effect());
            let ends = until == Some(effect);
            results.push(answered);
            if ends {
                break;
            }
        }
        for Kept { snapshot: _, records, places } in batch.kept {
            if let Err(error) = records.keep().await {
                for place in places {
                    if let Some(result) = results.get_mut(place) {
                        *result = Err(error.clone());
                    }
                }
            }
        }
        Ok(results)
    }

    /// As [`App::may_explain`], asked once for all items of a realm.
    async fn may_explain_in(
        &self,
        batch: &mut Batch<'_>,
        snapshot: &Snapshot,
        request: &AuthorizeRequest,
    ) -> Result<Option<People>, Error> {
        if request.explain.level() != ExplainLevel::Full {
            return Ok(None);
        }
        let realm = &snapshot.state.name;
        if let Some((_, known)) = batch.permits.iter().find(|(name, _)| name == realm) {
            return known.clone();
        }
        let people = self.may_explain(realm.as_str(), request).await;
        batch.permits.push((realm.clone(), people.clone()));
        people
    }

    /// What this item shares with earlier ones, or finds out anew.
    async fn shared(&self, batch: &mut Batch<'_>, request: &AuthorizeRequest) -> Result<Shared, Error> {
        if let Some((_, known)) = batch.known.iter().find(|(asked, _)| asked.is_of(request)) {
            return known.clone();
        }
        let shared = self.shared_anew(batch, request).await;
        if batch.known.len() < DIFFERENT_TOKENS_REMEMBERED {
            batch.known.push((Asked::of(request), shared.clone()));
        }
        shared
    }

    async fn shared_anew(&self, batch: &Batch<'_>, request: &AuthorizeRequest) -> Result<Shared, Error> {
        let (asker, state) = self.may_authorize(request, Right::BatchAuthorize).await?;
        let is_first = !batch.kept.iter().any(|kept| Arc::ptr_eq(&kept.snapshot.state, &state));
        if is_first {
            // Its other items are charged when they are decided.
            self.allow_rate(&asker, state.name.as_str())?;
        }
        let fresh = self.snapshot(state, request.at_least_revision).await?;
        let same = batch.kept.iter().map(|kept| &kept.snapshot).find(|snapshot| {
            Arc::ptr_eq(&snapshot.state, &fresh.state) && snapshot.graph.revision() >= request.at_least_revision
        });
        let snapshot = same.map_or_else(|| Arc::new(fresh), Arc::clone);
        let caller = self.verify_for(&snapshot, request, batch.call).await?;
        Ok(Shared { asker, snapshot, caller })
    }
}
