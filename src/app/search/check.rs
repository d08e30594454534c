//! The request of a search, held against the realm.

use std::sync::Arc;

use super::{CANDIDATES_MAX, Candidate, Cursor, SearchRequest};
use crate::{
    app::{
        authorize::{Remarks, request_id_fault, several},
        error::{Error, Kind},
        open_question::{is_open, understood},
    },
    domain::{
        access_request::{AccessRequest, FieldFault, Phase, Question},
        graph::Graph,
        id::EntityId,
        realm::Realm,
        replay::Judged,
        search::{Believed, question_about_any, with_known},
    },
};

/// After this many faults of candidates no further ones are looked for.
const FAULTS_MAX: usize = 100;

/// A search that fits the realm.
#[derive(Debug)]
pub(super) struct Checked {
    /// The question, about no resource yet.
    pub(super) about: AccessRequest,
    /// What the question about each resource is made from.
    pub(super) question: Question,
    /// The questions about the candidates.
    pub(super) candidates: Option<Vec<AccessRequest>>,
    pub(super) within: Option<EntityId>,
    pub(super) page_size: Option<usize>,
    pub(super) after: Option<Cursor>,
    pub(super) filter_only: bool,
    pub(super) remarks: Remarks,
}

/// Checks all of a request but its token. `asker` is who asks the service.
///
/// # Errors
/// Every fault at once, of candidates the first hundred.
pub(super) fn check(realm: &Realm, graph: &Graph, asker: Arc<str>, request: SearchRequest) -> Result<Checked, Error> {
    let SearchRequest {
        question, candidates, within, page_size, after, filter_only, request_id, purpose, adapter, ..
    } = request;
    let question = if is_open(adapter) { understood(realm, &question) } else { question };
    let mut faults = request_id_fault(&request_id);
    faults.extend(action_fault(realm, &question));
    let about = AccessRequest::without_values(realm, &question).map_err(|found| faults.extend(found)).ok();
    let within = within.and_then(|entity| self::within(realm, &entity).map_err(|fault| faults.push(fault)).ok());
    let candidates = match (candidates, &about) {
        (Some(candidates), Some(_)) if faults.is_empty() => {
            Some(self::candidates(realm, graph, &question, candidates, &mut faults))
        }
        (None, Some(about)) if faults.is_empty() && !filter_only => {
            let fault = known_items_fault(realm, about, &question);
            if is_open(adapter) && fault.is_some() {
                return Err(items_not_known(about));
            }
            faults.extend(fault);
            None
        }
        _ => None,
    };
    match about {
        Some(about) if faults.is_empty() => Ok(Checked {
            about,
            question,
            candidates,
            within,
            page_size,
            after,
            filter_only,
            remarks: Remarks { request_id, purpose, judged: Judged::Resource, caller: asker, adapter },
        }),
        _ => Err(Error::invalid(faults)),
    }
}

/// What is not stored yet can't be found.
fn action_fault(realm: &Realm, question: &Question) -> Option<FieldFault> {
    let rule = realm.file.action(&question.action)?;
    let message = format!("`{}` is judged by the values of a request's body, which a search has not", question.action);
    rule.needs.contains(&Phase::Proposed).then(|| FieldFault::new("action", message))
}

fn within(realm: &Realm, entity: &EntityId) -> Result<EntityId, FieldFault> {
    let Some((entity_type, _)) = realm.schema.entities.get_key_value(&entity.entity_type) else {
        return Err(FieldFault::new("within.type", "is no entity type of the realm's schema"));
    };
    let canonical = realm.relations.entity_id(entity_type, &entity.id);
    canonical.map_err(|expected| FieldFault::new("within.id", format!("is not {expected}")))
}

fn candidates(
    realm: &Realm,
    graph: &Graph,
    question: &Question,
    candidates: Vec<Candidate>,
    faults: &mut Vec<FieldFault>,
) -> Vec<AccessRequest> {
    if candidates.len() > CANDIDATES_MAX {
        let message = format!("has {} items, expected at most {CANDIDATES_MAX}", candidates.len());
        faults.push(FieldFault::new("candidates", message));
        return Vec::new();
    }
    let mut checked = Vec::with_capacity(candidates.len());
    for (place, Candidate { id, attributes }) in candidates.into_iter().enumerate() {
        let question = Question { resource_id: id, attributes: Some(attributes), ..question.clone() };
        match with_known(realm, graph, &question, Believed::Sent)
            .map_err(several)
            .and_then(|question| AccessRequest::check(realm, &question))
        {
            Ok(request) => checked.push(request),
            Err(found) => {
                let of_candidate = |fault: FieldFault| match fault.field.strip_prefix("resource.") {
                    Some(field) => FieldFault::new(format!("candidates[{place}].{field}"), fault.message),
                    None => fault,
                };
                faults.extend(found.into_iter().map(of_candidate));
            }
        }
        if faults.len() >= FAULTS_MAX {
            return Vec::new();
        }
    }
    checked
}

/// What a caller hears who cannot name candidates: it is a fault of the realm, not of the question.
fn items_not_known(about: &AccessRequest) -> Error {
    let name = &about.resource_type.name;
    let message = format!(
        "resources of the type `{name}` cannot be searched for: the realm's relations.toml does not say in `[items.{name}]` how they \
         are known, or not all that the schema requires of them"
    );
    Error::new(Kind::FailedPrecondition, "ITEMS_NOT_KNOWN", message)
}

/// Why a search over known items can't be made: the service doesn't know them, or what it knows of them is too little
/// for the question.
fn known_items_fault(realm: &Realm, about: &AccessRequest, question: &Question) -> Option<FieldFault> {
    let resource_type = &about.resource_type;
    let Some(item) = realm.relations.item(&resource_type.name) else {
        let message = format!(
            "is missing, and the items of `{}` are not known from relationships; give the stored items, or set \
             `has_candidates` where there are none",
            resource_type.name
        );
        return Some(FieldFault::new("candidates", message));
    };
    // A question as it would be asked about any of them.
    let question = question_about_any(item, resource_type, question);
    let fault = AccessRequest::check(realm, &question).err()?.into_iter().next()?;
    let message = format!("cannot be searched for without candidates: `{}` {}", fault.field, fault.message);
    Some(FieldFault::new("action", message))
}
