//! What the decision log knows of people, and how it is made to forget them.

use std::{collections::BTreeSet, sync::Arc};

use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{
    app::{
        App,
        error::{Error, Kind},
        ports::{Erasing, Identities, IdentityError},
        realm_state::RealmState,
    },
    domain::{
        id::EntityId,
        identity::{Identity, Pseudonym},
        log_event::EventKind,
    },
};

/// The most pseudonyms of one question.
pub const PSEUDONYMS_MAX: usize = 1_000;

/// What an erasure did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// What stood for the person.
    pub pseudonyms: Vec<Pseudonym>,
    /// The place of the erasure in the log; `None` when the log knew nothing of the person.
    pub sequence: Option<u64>,
    /// Relationships that still name the person.
    pub relationships_left: u64,
}

/// What a hold, or its end, did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldChanged {
    /// What stands for the person.
    pub pseudonyms: Vec<Pseudonym>,
    /// The place of the event in the log; `None` when nothing was changed.
    pub sequence: Option<u64>,
}

/// A person under legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPerson {
    /// What stands for it.
    pub pseudonym: Pseudonym,
    /// Its type.
    pub entity_type: Arc<str>,
    /// Since when, in microseconds since the epoch.
    pub since_us: i64,
}

impl App {
    /// Erases a person: destroys the keys to what the log keeps of it, and forgets who was behind its pseudonyms. Goes on
    /// to the end when nobody waits for it any more.
    ///
    /// # Errors
    /// An unknown realm, a type that isn't one of people, no basis; `FailedPrecondition` when the person is under legal
    /// hold; a log or table that cannot be written: then what was begun is finished by the next call or by
    /// [`App::finish_erasures`].
    pub async fn erase_person(
        self: &Arc<Self>,
        realm: &str,
        person: &EntityId,
        basis: &Arc<str>,
        caller: &Arc<str>,
    ) -> Result<Erased, Error> {
        let state = Arc::clone(self.realm(realm)?);
        let person = person_of(&state, person)?;
        said("basis", basis)?;
        let (app, basis, caller) = (Arc::clone(self), Arc::clone(basis), Arc::clone(caller));
        to_the_end(async move { app.erase(&state, &person, &basis, &caller).await }).await
    }

    async fn erase(
        &self,
        state: &Arc<RealmState>,
        person: &EntityId,
        basis: &Arc<str>,
        caller: &Arc<str>,
    ) -> Result<Erased, Error> {
        let _alone = state.privacy.lock().await;
        let begun = begin_erasure(state, person, basis, caller).await?;
        // Whoever was verified before is on record by a pseudonym that nobody is behind any more.
        self.tokens.drop_realm(&state.name);
        if begun.is_empty() {
            // Relationships may have named the person without anybody having asked about it.
            state.forget_in_history(person).await?;
        }
        let mut erased = Erased::default();
        for erasing in begun {
            erased.sequence = Some(finish(state, &erasing).await?);
            erased.pseudonyms.extend(erasing.pseudonyms);
        }
        erased.relationships_left = relationships_of(state, person);
        Ok(erased)
    }

    /// Finishes the erasures that a crash, or a full disk, interrupted. What fails is logged, keeps nobody from an answer,
    /// and is left to the next call of this.
    pub async fn finish_erasures(&self) {
        // A log that takes nothing now would note the same erasure again with every call, once it does.
        for state in self.realms.values().filter(|state| state.log.is_writable()) {
            // An erasure under way finishes by itself, and holds this meanwhile.
            let _alone = state.privacy.lock().await;
            for erasing in state.people.identities.erasing() {
                match finish(state, &erasing).await {
                    Ok(sequence) => {
                        tracing::info!(realm = %state.name, sequence, "an interrupted erasure is finished");
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(realm = %state.name, error, "an interrupted erasure cannot be finished yet");
                    }
                }
            }
        }
    }

    /// Puts a person under legal hold, or lifts the hold. A person whom the log does not know yet can be held. Goes on to
    /// the end when nobody waits for it any more.
    ///
    /// # Errors
    /// An unknown realm, a type that isn't one of people, no reason; a log or table that cannot be written.
    pub async fn set_legal_hold(
        self: &Arc<Self>,
        realm: &str,
        person: &EntityId,
        is_held: bool,
        reason: &Arc<str>,
        caller: &Arc<str>,
    ) -> Result<HoldChanged, Error> {
        let state = Arc::clone(self.realm(realm)?);
        let person = person_of(&state, person)?;
        said("reason", reason)?;
        let (app, reason, caller) = (Arc::clone(self), Arc::clone(reason), Arc::clone(caller));
        to_the_end(async move { app.change_hold(&state, &person, is_held, reason, caller).await }).await
    }

    async fn change_hold(
        &self,
        state: &Arc<RealmState>,
        person: &EntityId,
        is_held: bool,
        reason: Arc<str>,
        caller: Arc<str>,
    ) -> Result<HoldChanged, Error> {
        let _alone = state.privacy.lock().await;
        if is_held {
            state.people.identities.identify(person)?;
        }
        let people = everything_of(state, person);
        let pseudonyms: Vec<_> = people.iter().map(|one| one.pseudonym).collect();
        if people.iter().all(|one| one.held_since_us().is_some() == is_held) {
            return Ok(HoldChanged { pseudonyms, sequence: None });
        }
        let since_us = is_held.then(|| self.clock.now_us());
        let held = move |identities: &dyn Identities| identities.set_hold(&people, since_us);
        let event = EventKind::LegalHold {
            pseudonyms: pseudonyms.iter().map(|pseudonym| pseudonym.text()).collect(),
            is_held,
            reason,
            caller,
        };
        // When only one of the two succeeds, the person is held, or the log says that it may be let go.
        let sequence = if is_held {
            blocking(state, held).await?;
            state.log.note(event).await?
        } else {
            let sequence = state.log.note(event).await?;
            blocking(state, held).await?;
            sequence
        };
        Ok(HoldChanged { pseudonyms, sequence: Some(sequence) })
    }

    /// The people under legal hold, those longest held first.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn legal_holds(&self, realm: &str) -> Result<Vec<HeldPerson>, Error> {
        let state = self.realm(realm)?;
        let loaded = state.policies();
        let held = state.people.identities.held().into_iter().filter_map(|held| {
            let entity_type = &held.entity.entity_type;
            let is_resource =
                loaded.realm.resource_types.contains_key(entity_type) && !loaded.realm.relations.is_person(entity_type);
            let since_us = held.held_since_us().filter(|_| !is_resource)?;
            Some(HeldPerson { pseudonym: held.pseudonym, entity_type: Arc::clone(entity_type), since_us })
        });
        let mut held: Vec<_> = held.collect();
        held.sort_by_key(|held| (held.since_us, held.pseudonym));
        Ok(held)
    }

    /// Who is behind pseudonyms, in their order; `None` of one that is nobody's, or nobody's any more.
    ///
    /// # Errors
    /// An unknown realm; more than [`PSEUDONYMS_MAX`]; what is no pseudonym.
    pub fn resolve_pseudonyms(&self, realm: &str, pseudonyms: &[Arc<str>]) -> Result<Vec<Option<EntityId>>, Error> {
        let state = self.realm(realm)?;
        if pseudonyms.len() > PSEUDONYMS_MAX {
            let message = format!("has {} items, expected at most {PSEUDONYMS_MAX}", pseudonyms.len());
            return Err(Error::invalid_field("pseudonyms", message));
        }
        let wrong = pseudonyms.iter().position(|pseudonym| pseudonym.parse::<Pseudonym>().is_err());
        if let Some(index) = wrong {
            let message = "is no pseudonym, expected 32 of 0-9 and a-f";
            return Err(Error::invalid_field(&format!("pseudonyms[{index}]"), message));
        }
        Ok(pseudonyms.iter().map(|pseudonym| state.people.identities.person(pseudonym)).collect())
    }
}

/// Everyone under legal hold and the resources of their ids, as the log names them.
pub fn held_entities(state: &RealmState) -> Vec<EntityId> {
    let held: BTreeSet<_> = state.people.identities.held().iter().map(|held| held.entity.clone()).collect();
    let named = held.iter().flat_map(|person| everything_of(state, person)).map(|one| {
        let entity_type = Arc::clone(&one.entity.entity_type);
        EntityId { entity_type, id: one.pseudonym.text() }
    });
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The person as the log knows it.
fn person_of(state: &RealmState, person: &EntityId) -> Result<EntityId, Error> {
    let loaded = state.policies();
    let relations = &loaded.realm.relations;
    if !loaded.realm.schema.entities.contains_key(&person.entity_type) {
        return Err(Error::invalid_field("person.type", "is no entity type of the realm's schema"));
    }
    if !relations.is_person(&person.entity_type) {
        return Err(Error::invalid_field("person.type", "is no type of people"));
    }
    let canonical = relations.entity_id(&person.entity_type, &person.id);
    canonical.map_err(|expected| Error::invalid_field("person.id", format!("is not {expected}")))
}

/// Everything that stands for a person: itself, and resources of its id.
fn everything_of(state: &RealmState, person: &EntityId) -> Vec<Arc<Identity>> {
    let loaded = state.policies();
    let is_of_it =
        |entity_type: &Arc<str>| *entity_type == person.entity_type || !loaded.realm.relations.is_person(entity_type);
    let mut everything = state.people.identities.with_id(&person.id);
    everything.retain(|one| is_of_it(&one.entity.entity_type));
    everything.sort_by_key(|one| one.entity.entity_type != person.entity_type);
    everything
}

fn said(field: &str, text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid_field(field, "is empty, expected why this is done; it is kept in the log"));
    }
    Ok(())
}

/// Does work that must not be left half-way, whether or not somebody waits for it to the end.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (sender, done) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Err(error)) = sender.send(work.await) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an erasure or a hold failed after its caller had gone"
            );
        }
    });
    let stopped = |_| Error::new(Kind::Internal, "IDENTITIES_UNAVAILABLE", "the work on the identity table stopped");
    done.await.map_err(stopped)?
}

/// The erasures of a person that are to be finished: those that were begun before, and that of what is known now.
async fn begin_erasure(
    state: &Arc<RealmState>,
    person: &EntityId,
    basis: &Arc<str>,
    caller: &Arc<str>,
) -> Result<Vec<Erasing>, Error> {
    let people = everything_of(state, person);
    if people.iter().any(|one| one.held_since_us().is_some()) {
        let message = "the person is under legal hold; it can be erased when the hold is lifted";
        return Err(Error::new(Kind::FailedPrecondition, "LEGAL_HOLD", message));
    }
    let is_of_person = |erasing: &Erasing| erasing.people.contains(person);
    let mut begun: Vec<_> = state.people.identities.erasing().into_iter().filter(is_of_person).collect();
    if !people.is_empty() {
        let (basis, caller) = (Arc::clone(basis), Arc::clone(caller));
        let work = move |identities: &dyn Identities| identities.begin_erasure(&people, &basis, &caller);
        begun.push(blocking(state, work).await?);
    }
    Ok(begun)
}

/// Notes an erasure in the log, then destroys what is left of it.
async fn finish(state: &Arc<RealmState>, erasing: &Erasing) -> Result<u64, Error> {
    let sequence = state
        .log
        .note(EventKind::Erasure {
            pseudonyms: erasing.pseudonyms.iter().map(|pseudonym| pseudonym.text()).collect(),
            basis: Arc::clone(&erasing.basis),
            caller: Arc::clone(&erasing.caller),
        })
        .await?;
    // Done again after a crash in between, which then finds nothing.
    let loaded = state.policies();
    for person in erasing.people.iter().filter(|entity| loaded.realm.relations.is_person(&entity.entity_type)) {
        state.forget_in_history(person).await?;
    }
    let erasing = erasing.clone();
    blocking(state, move |identities| identities.finish_erasure(&erasing)).await?;
    Ok(sequence)
}

/// Relationships that name a person, those of deleted records included.
fn relationships_of(state: &RealmState, person: &EntityId) -> u64 {
    let graph = state.graph();
    let Some(node) = graph.node(&person.entity_type, &person.id) else { return 0 };
    let present = graph.parents(node).count() + graph.children(node).count();
    let removed = graph.parents_removed(node).count() + graph.children_removed(node).count();
    (present + removed) as u64
}

/// Does work on the table where it may wait for the disk.
async fn blocking<T: Send + 'static>(
    state: &Arc<RealmState>,
    work: impl FnOnce(&dyn Identities) -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, Error> {
    let identities = Arc::clone(&state.people.identities);
    let done = spawn_blocking(move || work(&*identities)).await;
    let done = done.map_err(|error| {
        Error::new(Kind::Internal, "IDENTITIES_UNAVAILABLE", format!("the work on the identity table stopped: {error}"))
    })?;
    Ok(done?)
}
