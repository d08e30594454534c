//! Reading the decision log. People are asked about by their plain ids; the log holds pseudonyms, and shows plain ids to
//! who may see them.

use std::sync::Arc;

use crate::{
    app::{
        App,
        error::{Error, Kind},
        people::{person_pseudonym, recorded_entity, resource_pseudonym},
        ports::{LogStatus, RecordPage},
        realm_state::RealmState,
    },
    domain::{
        checkpoint::SignedCheckpoint,
        decision_record::{LoggedDecision, RecordKind},
        id::{DecisionId, EntityId},
        identity::Pseudonym,
        log_event::EventKind,
        mask::{Mask, Masking},
        realm::Realm,
        record_filter::{PageRequest, RecordFilter},
        signed_note::VerifierKey,
    },
};

/// A question to the log, people named by their plain ids.
#[derive(Clone, Debug, Default)]
pub struct DecisionQuery {
    /// The conditions that name nobody; `entities` and `resource_ids` are filled in from the fields below.
    pub filter: RecordFilter,
    /// A person the decision was about.
    pub person: Option<EntityId>,
    /// Another entity the decision was about, or that the token names.
    pub entity: Option<EntityId>,
    /// The resource's plain id.
    pub resource_id: Option<String>,
    /// Show people by their plain ids.
    pub names: bool,
    /// Whether to show what people wrote; for who asks to say nothing about.
    pub texts: Texts,
    /// Why it is asked; may be empty.
    pub purpose: Arc<str>,
}

/// What people wrote into the log: why it was read, and why somebody was erased or held. Such texts may name somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// They are left empty.
    #[default]
    Hidden,
    /// They are shown.
    Shown,
}

impl Texts {
    /// A record with these texts or without.
    #[must_use]
    pub fn of(self, mut found: LoggedDecision) -> LoggedDecision {
        if self == Self::Hidden && found.record.kind == RecordKind::Reading {
            found.record.purpose = Arc::default();
        }
        found
    }

    /// A page with these texts or without.
    #[must_use]
    pub(super) fn of_page(self, mut page: RecordPage) -> RecordPage {
        if self == Self::Shown {
            return page;
        }
        page.decisions = page.decisions.into_iter().map(|found| self.of(found)).collect();
        for logged in &mut page.events {
            match &mut logged.event.kind {
                EventKind::Erasure { basis: text, .. } | EventKind::LegalHold { reason: text, .. } => {
                    *text = Arc::default();
                }
                _ => {}
            }
        }
        page
    }
}

/// How a log is doing, and what proves it.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// How it is doing.
    pub status: LogStatus,
    /// The newest checkpoint; `None` when there is none yet.
    pub checkpoint: Option<Arc<SignedCheckpoint>>,
    /// The key that verifies it.
    pub key: Option<VerifierKey>,
}

/// The most records of one page.
pub const PAGE_SIZE_MAX: usize = 1_000;

impl App {
    /// How a realm's log is doing, its newest checkpoint, and the key that verifies it.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn log_status(&self, realm: &str) -> Result<LogReport, Error> {
        let state = self.realm(realm)?;
        let log = &state.log;
        let checkpoint = log.checkpoints().borrow().clone();
        Ok(LogReport { status: state.log_status(), checkpoint, key: log.verifier_keys().into_iter().next() })
    }

    /// Finds decisions.
    ///
    /// # Errors
    /// An unknown realm, an entity type that isn't one of people, a log that cannot be read.
    pub async fn query_decisions(
        &self,
        realm: &str,
        query: DecisionQuery,
        page: PageRequest,
    ) -> Result<RecordPage, Error> {
        let state = self.realm(realm)?;
        let (names, texts) = (query.names, query.texts);
        let filter = log_filter(state, query)?;
        let page = PageRequest { size: page.size.clamp(1, PAGE_SIZE_MAX), ..page };
        let mut found = texts.of_page(state.log.query(filter, page).await?);
        if names {
            found.decisions = found.decisions.into_iter().map(|found| with_names(state, found)).collect();
        }
        Ok(found)
    }

    /// Finds one decision.
    ///
    /// # Errors
    /// `NotFound` when the realm's log has no such decision.
    pub async fn get_decision(&self, realm: &str, id: DecisionId) -> Result<LoggedDecision, Error> {
        let state = self.realm(realm)?;
        let found = state.log.get(id).await?;
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, "DECISION_UNKNOWN", format!("realm `{realm}` has no decision `{id}`"))
        })
    }
}

/// A decision with the plain ids of the people who are known, for who has the right to see them. Whoever was erased, or
/// isn't known, stays a pseudonym.
pub(crate) fn with_names(state: &RealmState, found: LoggedDecision) -> LoggedDecision {
    LoggedDecision { sequence: found.sequence, record: state.people.named(found.record) }
}

/// The question as the log can answer it: people by pseudonym, hashed fields by hash.
///
/// # Errors
/// The field that is wrong.
pub(crate) fn log_filter(state: &RealmState, query: DecisionQuery) -> Result<RecordFilter, Error> {
    let loaded = state.policies();
    let (realm, people) = (&loaded.realm, &state.people);
    let DecisionQuery { mut filter, person, entity, resource_id, names: _, texts: _, purpose: _ } = query;
    for (field, entity, is_person) in [("person", person, true), ("entity", entity, false)] {
        if let Some(entity) = entity {
            filter.entities.push(asked_entity(state, realm, field, &entity, is_person)?);
        }
    }
    if let Some(id) = resource_id {
        // An auditor may ask by plain id or by the pseudonym that an earlier answer showed.
        if let Some(resource_type) = &filter.resource_type {
            filter.resource_ids.push(resource_pseudonym(state, resource_type, &id));
        } else {
            let types = realm.resource_types.keys();
            filter.resource_ids.extend(types.map(|resource_type| resource_pseudonym(state, resource_type, &id)));
        }
        filter.resource_ids.push(id.into());
        let masked = filter.resource_ids.iter().map(|id| people.as_asked(|mask| mask.resource_id, "resource_id", id));
        filter.resource_ids = masked.collect();
    }
    // A principal that is a person is asked by its plain id as well.
    let principal = &realm.file.principal;
    let named = |entity_type: &Arc<str>, id| {
        recorded_entity(state, realm, &EntityId { entity_type: Arc::clone(entity_type), id }).id
    };
    let actor_type = principal.actor_type();
    filter.principal = filter.principal.map(|id| named(&principal.entity, id));
    filter.actor = filter.actor.map(|id| named(actor_type, id));
    let masked = |field: &mut Option<Arc<str>>, masking: fn(&Mask) -> Masking, name| {
        *field = field.take().map(|text| people.as_asked(masking, name, &text));
    };
    masked(&mut filter.principal, |mask| mask.principal, "principal");
    masked(&mut filter.actor, |mask| mask.actor, "actor");
    masked(&mut filter.request_id, |mask| mask.request_id, "request_id");
    masked(&mut filter.client, |mask| mask.client, "client");
    Ok(filter)
}

/// What the log calls an entity that is asked about in this field.
fn asked_entity(
    state: &RealmState,
    realm: &Realm,
    field: &str,
    entity: &EntityId,
    is_person: bool,
) -> Result<EntityId, Error> {
    let name = format!("{field}.type");
    if !realm.schema.entities.contains_key(&entity.entity_type) {
        return Err(Error::invalid_field(&name, "is no entity type of the realm's schema"));
    }
    if realm.relations.is_person(&entity.entity_type) != is_person {
        let message = if is_person {
            "is no type of people, expected to be asked as `entity`"
        } else {
            "is a type of people, expected to be asked as `person`"
        };
        return Err(Error::invalid_field(&name, message));
    }
    let canonical = match realm.relations.entity_id(&entity.entity_type, &entity.id) {
        Ok(canonical) => canonical,
        // A pseudonym has not the form of the ids of its type.
        Err(_) if is_person && entity.id.parse::<Pseudonym>().is_ok() => entity.clone(),
        Err(expected) => return Err(Error::invalid_field(&format!("{field}.id"), format!("is not {expected}"))),
    };
    Ok(if is_person { person_pseudonym(state, &canonical) } else { canonical })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log_event::{LogEvent, LoggedEvent};

    #[test]
    fn a_page_without_texts_says_of_erasures_and_holds_only_that_they_were() {
        let pseudonyms: Vec<Arc<str>> = vec!["7dbbc79da1291d0eb18997e050942bba".into()];
        let caller: Arc<str> = "dpo".into();
        let events = |basis: &str, reason: &str| {
            let erasure =
                EventKind::Erasure { pseudonyms: pseudonyms.clone(), basis: basis.into(), caller: Arc::clone(&caller) };
            let hold = EventKind::LegalHold {
                pseudonyms: pseudonyms.clone(),
                is_held: true,
                reason: reason.into(),
                caller: Arc::clone(&caller),
            };
            let logged = [erasure, hold, EventKind::Stop].into_iter().zip(1..);
            logged.map(|(kind, sequence)| LoggedEvent { sequence, event: LogEvent { time_us: 0, kind } }).collect()
        };
        let page = |events| RecordPage { decisions: Vec::new(), next_after: None, is_complete: true, events };
        let written = page(events("request of Ada's mother", "case of Ada"));
        assert_eq!(Texts::Shown.of_page(written.clone()), written);
        assert_eq!(Texts::Hidden.of_page(written), page(events("", "")));
    }
}
