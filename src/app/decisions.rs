//! Reading the decision log. People are asked about by their plain ids; the log holds pseudonyms.

use std::sync::Arc;

use crate::{
    app::{
        App,
        authorize::{person_pseudonym, recorded_entity, resource_pseudonym},
        error::{Error, Kind},
        ports::{LogStatus, RecordPage},
    },
    domain::{
        checkpoint::SignedCheckpoint,
        decision_record::LoggedDecision,
        id::{DecisionId, EntityId},
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
    /// Why it is asked; may be empty.
    pub purpose: Arc<str>,
}

/// The most records of one page.
pub const PAGE_SIZE_MAX: usize = 1_000;

impl App {
    /// How a realm's log is doing, its newest checkpoint, and the key that verifies it.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn log_status(
        &self,
        realm: &str,
    ) -> Result<(LogStatus, Option<Arc<SignedCheckpoint>>, Option<VerifierKey>), Error> {
        let log = &self.realm(realm)?.log;
        let newest = log.checkpoints().borrow().clone();
        Ok((log.status(), newest, log.verifier_keys().into_iter().next()))
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
        let loaded = state.policies();
        let relations = &loaded.realm.relations;
        let DecisionQuery { mut filter, person, entity, resource_id, names: _, purpose: _ } = query;
        for (field, entity, is_person) in [("person", person, true), ("entity", entity, false)] {
            let Some(entity) = entity else { continue };
            let name = format!("{field}.type");
            if !loaded.realm.schema.entities.contains_key(&entity.entity_type) {
                return Err(Error::invalid_field(&name, "is no entity type of the realm's schema"));
            }
            if relations.is_person(&entity.entity_type) != is_person {
                let message = if is_person {
                    "is no type of people, expected to be asked as `entity`"
                } else {
                    "is a type of people, expected to be asked as `person`"
                };
                return Err(Error::invalid_field(&name, message));
            }
            let canonical = relations
                .entity_id(&entity.entity_type, &entity.id)
                .map_err(|expected| Error::invalid_field(&format!("{field}.id"), format!("is not {expected}")))?;
            filter.entities.push(if is_person { person_pseudonym(state, &canonical) } else { canonical });
        }
        if let Some(id) = resource_id {
            // An auditor may ask by plain id or by the pseudonym that an earlier answer showed.
            if let Some(resource_type) = &filter.resource_type {
                filter.resource_ids.push(resource_pseudonym(state, resource_type, &id));
            } else {
                let types = loaded.realm.resource_types.keys();
                filter.resource_ids.extend(types.map(|resource_type| resource_pseudonym(state, resource_type, &id)));
            }
            filter.resource_ids.push(id.into());
        }
        // A principal that is a person is asked by its plain id as well.
        let principal_type = &loaded.realm.file.principal.entity;
        filter.principal = filter.principal.map(|id| {
            let asked = EntityId { entity_type: Arc::clone(principal_type), id };
            recorded_entity(state, &loaded.realm, &asked).id
        });
        let page = PageRequest { size: page.size.clamp(1, PAGE_SIZE_MAX), ..page };
        Ok(state.log.query(filter, page).await?)
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
