//! A call that reads the log, and whom it asks about.

use std::sync::Arc;

use super::{POLICIES_TYPE, RESOURCE_TYPE};
use crate::{
    app::{
        decisions::DecisionQuery,
        people::{known_pseudonym, person_pseudonym, recorded_entity, resource_pseudonym},
        privacy::PSEUDONYMS_MAX,
        realm_state::RealmState,
    },
    domain::{decision_record::RecordedSubject, id::EntityId, identity::Pseudonym, realm::Realm},
};

/// The longest interval, in days, that a question may ask about without being one for everything.
const INTERVAL_DAYS_MAX: i64 = 31;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// A call that reads the log, or does something to it.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// The name of the call, which is the policies' action.
    pub action: &'static str,
    /// What it asks about.
    pub about: About<'a>,
    /// It asks for the plain ids of people.
    pub names: bool,
    /// Why it is asked; may be empty.
    pub purpose: Arc<str>,
    /// The caller's own id of the request; may be empty.
    pub request_id: Arc<str>,
}

/// What a call asks about.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// The log as such, or a single entry of it.
    Log,
    /// The decisions of a question.
    Decisions(&'a DecisionQuery),
    /// A person, by the plain id.
    Person(&'a EntityId),
    /// The people behind pseudonyms.
    Pseudonyms(&'a [Arc<str>]),
    /// The realm's policies.
    Policies,
}

impl About<'_> {
    /// The type of what the policies are asked about.
    pub(super) fn resource_type(self) -> &'static str {
        match self {
            Self::Log | Self::Decisions(_) | Self::Person(_) | Self::Pseudonyms(_) => RESOURCE_TYPE,
            Self::Policies => POLICIES_TYPE,
        }
    }
}

impl<'a> Reading<'a> {
    /// A call about the log as such.
    pub fn of_log(action: &'static str, request_id: &str) -> Self {
        let request_id = request_id.into();
        Self { action, about: About::Log, names: false, purpose: Arc::default(), request_id }
    }

    /// A question, with its own purpose.
    pub fn of_query(action: &'static str, query: &'a DecisionQuery, request_id: &str) -> Self {
        let (names, purpose) = (query.names, Arc::clone(&query.purpose));
        Self { action, about: About::Decisions(query), names, purpose, request_id: request_id.into() }
    }

    /// A call about one person.
    pub fn of_person(action: &'static str, person: &'a EntityId, request_id: &str) -> Self {
        Self { about: About::Person(person), ..Self::of_log(action, request_id) }
    }

    /// A call for the people behind pseudonyms.
    pub fn of_pseudonyms(
        action: &'static str,
        pseudonyms: &'a [Arc<str>],
        purpose: Arc<str>,
        request_id: &str,
    ) -> Self {
        Self { about: About::Pseudonyms(pseudonyms), names: true, purpose, ..Self::of_log(action, request_id) }
    }

    /// It names a person, or by its plain id what may be one.
    pub(super) fn names_people(&self, state: &RealmState) -> bool {
        let query = match self.about {
            About::Log | About::Policies => return false,
            About::Person(_) | About::Pseudonyms(_) => return true,
            About::Decisions(query) => query,
        };
        let loaded = state.policies();
        let (realm, filter) = (&loaded.realm, &query.filter);
        let is_person = |entity_type: &str| realm.relations.is_person(entity_type);
        let principal = &realm.file.principal;
        query.person.is_some()
            || filter.principal.is_some() && is_person(&principal.entity)
            || filter.actor.is_some() && is_person(principal.actor_type())
            || query.resource_id.is_some()
                && realm.resource_types.values().any(|resource_type| {
                    let is_asked = filter.resource_type.as_ref().is_none_or(|asked| *asked == resource_type.name);
                    is_asked && realm.is_about_people(resource_type)
                })
    }

    /// It asks for nobody and nothing in particular, and for no time of at most [`INTERVAL_DAYS_MAX`]: whatever its other
    /// conditions are, everything that is kept may satisfy them.
    pub(super) fn is_full(&self) -> bool {
        let About::Decisions(query) = self.about else { return false };
        let DecisionQuery { filter, person, entity, resource_id, names: _, texts: _, purpose: _ } = query;
        let is_about_one = person.is_some()
            || entity.is_some()
            || resource_id.is_some()
            || filter.principal.is_some()
            || filter.actor.is_some()
            || filter.request_id.is_some();
        let interval_us = filter.until_us.zip(filter.from_us).map(|(until, from)| until.saturating_sub(from));
        !is_about_one && interval_us.is_none_or(|interval| interval > INTERVAL_DAYS_MAX * DAY_US)
    }

    /// The people asked about, as the log names them.
    pub(super) fn subjects(&self, state: &RealmState) -> Vec<RecordedSubject> {
        let loaded = state.policies();
        let realm = &loaded.realm;
        match self.about {
            About::Log | About::Policies => Vec::new(),
            About::Person(person) => named(state, realm, "person", person).into_iter().collect(),
            About::Pseudonyms(pseudonyms) => {
                let known = pseudonyms.iter().take(PSEUDONYMS_MAX).filter_map(|pseudonym| {
                    let EntityId { entity_type, id: _ } = state.people.identities.person(pseudonym)?;
                    Some(person_called("pseudonym", EntityId { entity_type, id: Arc::clone(pseudonym) }))
                });
                known.collect()
            }
            About::Decisions(query) => of_query(state, realm, query),
        }
    }
}

/// Whom a question to the log is about, as the log names them.
fn of_query(state: &RealmState, realm: &Realm, query: &DecisionQuery) -> Vec<RecordedSubject> {
    let principal = &realm.file.principal;
    let by_id = |attribute, entity_type: &Arc<str>, id: Option<&Arc<str>>| {
        let asked = EntityId { entity_type: Arc::clone(entity_type), id: Arc::clone(id?) };
        let is_person = realm.relations.is_person(entity_type);
        is_person.then(|| person_called(attribute, recorded_entity(state, realm, &asked)))
    };
    let mut subjects: Vec<_> = query.person.iter().filter_map(|person| named(state, realm, "person", person)).collect();
    subjects.extend(by_id("principal", &principal.entity, query.filter.principal.as_ref()));
    subjects.extend(by_id("actor", principal.actor_type(), query.filter.actor.as_ref()));
    subjects.extend(query.entity.iter().filter_map(|entity| named(state, realm, "entity", entity)));
    let Some(id) = &query.resource_id else { return subjects };
    let asked = query.filter.resource_type.as_ref();
    let resources = realm.resource_types.values().filter(|resource_type| realm.is_about_people(resource_type));
    subjects.extend(resources.filter_map(|resource_type| {
        let entity_type = Arc::clone(&resource_type.name);
        let id = match asked {
            Some(asked) if *asked == entity_type => resource_pseudonym(state, asked, id),
            Some(_) => return None,
            // Of any type: those that the log knows.
            None => known_pseudonym(state, &entity_type, id)?,
        };
        Some(person_called("resource", EntityId { entity_type, id }))
    }));
    subjects
}

/// An entity that is asked about. Of those that are not people only what the schema knows: an id of any type could be a
/// person's.
fn named(state: &RealmState, realm: &Realm, attribute: &str, entity: &EntityId) -> Option<RecordedSubject> {
    let is_pseudonym = realm.relations.is_person(&entity.entity_type);
    let is_known = realm.schema.entities.contains_key(&entity.entity_type);
    let id = match realm.relations.entity_id(&entity.entity_type, &entity.id) {
        Ok(id) => id,
        // A pseudonym has not the form of the ids of its type.
        Err(_) if is_pseudonym && entity.id.parse::<Pseudonym>().is_ok() => entity.clone(),
        Err(_) => return None,
    };
    let entity = if is_pseudonym { person_pseudonym(state, &id) } else { id };
    let attribute = Arc::from(attribute);
    is_known.then_some(RecordedSubject { attribute, entity, is_pseudonym, is_proposed: false })
}

fn person_called(attribute: &str, entity: EntityId) -> RecordedSubject {
    RecordedSubject { attribute: attribute.into(), entity, is_pseudonym: true, is_proposed: false }
}
