//! Erasures, legal holds, and who is behind pseudonyms.

use std::sync::Arc;

use super::{Faults, PURPOSE_BYTES_MAX, entity, timestamp};
use crate::{
    app::{
        error::Error,
        privacy::{Erased, HeldPerson, HoldChanged, PSEUDONYMS_MAX},
    },
    domain::{id::EntityId, identity::Pseudonym},
    proto::v1 as pb,
};

/// Whom to erase.
pub(crate) struct Erase {
    pub(crate) realm: String,
    pub(crate) person: EntityId,
    pub(crate) basis: Arc<str>,
}

pub(crate) fn erase(request: pb::ErasePersonRequest) -> Result<Erase, Error> {
    let pb::ErasePersonRequest { realm, person, basis } = request;
    let mut faults = Faults::default();
    let person = faults.entity("person", person.unwrap_or_default());
    let basis = faults.text("basis", basis, PURPOSE_BYTES_MAX);
    faults.none_or(Erase { realm, person, basis })
}

pub(crate) fn erased(erased: Erased) -> pb::ErasePersonResponse {
    let Erased { pseudonyms, sequence, relationships_left } = erased;
    pb::ErasePersonResponse { pseudonyms: texts(&pseudonyms), sequence: sequence.unwrap_or(0), relationships_left }
}

/// Whom to hold, or to let go of.
pub(crate) struct Hold {
    pub(crate) realm: String,
    pub(crate) person: EntityId,
    pub(crate) is_held: bool,
    pub(crate) reason: Arc<str>,
}

pub(crate) fn hold(request: pb::SetLegalHoldRequest) -> Result<Hold, Error> {
    let pb::SetLegalHoldRequest { realm, person, held, reason } = request;
    let mut faults = Faults::default();
    let person = faults.entity("person", person.unwrap_or_default());
    let reason = faults.text("reason", reason, PURPOSE_BYTES_MAX);
    faults.none_or(Hold { realm, person, is_held: held, reason })
}

pub(crate) fn changed(changed: HoldChanged) -> pb::SetLegalHoldResponse {
    let HoldChanged { pseudonyms, sequence } = changed;
    pb::SetLegalHoldResponse { pseudonyms: texts(&pseudonyms), sequence: sequence.unwrap_or(0) }
}

pub(crate) fn held(held: &[HeldPerson]) -> pb::ListLegalHoldsResponse {
    let person = |held: &HeldPerson| {
        let HeldPerson { pseudonym, entity_type, since_us } = held;
        pb::HeldPerson {
            pseudonym: pseudonym.to_string(),
            r#type: entity_type.to_string(),
            since: Some(timestamp(*since_us)),
        }
    };
    pb::ListLegalHoldsResponse { people: held.iter().map(person).collect() }
}

/// Which pseudonyms to resolve.
pub(crate) struct Resolve {
    pub(crate) realm: String,
    pub(crate) pseudonyms: Vec<Arc<str>>,
    pub(crate) purpose: Arc<str>,
}

pub(crate) fn resolve(request: pb::ResolvePseudonymsRequest) -> Result<Resolve, Error> {
    let pb::ResolvePseudonymsRequest { realm, pseudonyms, purpose } = request;
    let mut faults = Faults::default();
    if pseudonyms.len() > PSEUDONYMS_MAX {
        faults.add("pseudonyms", format!("has {} items, expected at most {PSEUDONYMS_MAX}", pseudonyms.len()));
    }
    let purpose = faults.text("purpose", purpose, PURPOSE_BYTES_MAX);
    faults.none_or(Resolve { realm, pseudonyms: pseudonyms.into_iter().map(Arc::from).collect(), purpose })
}

pub(crate) fn resolved(pseudonyms: &[Arc<str>], people: &[Option<EntityId>]) -> pb::ResolvePseudonymsResponse {
    let each = pseudonyms.iter().zip(people).map(|(pseudonym, person)| pb::ResolvedPseudonym {
        pseudonym: pseudonym.to_string(),
        person: person.as_ref().map(entity),
    });
    pb::ResolvePseudonymsResponse { people: each.collect() }
}

fn texts(pseudonyms: &[Pseudonym]) -> Vec<String> {
    pseudonyms.iter().map(ToString::to_string).collect()
}
