//! Relationships, records and what became of them.

use prost::Message;

use super::{
    super::page_token::{self, Binding},
    Faults, NAME_BYTES_MAX, entity,
};
use crate::{
    app::{
        error::Error,
        relationships::{DeleteSummary, Deletion, ImportSummary, RECORDS_MAX, Refusal, RelationshipPage},
    },
    domain::{
        graph::RelationshipQuery,
        id::{EntityId, Revision},
        relationship::Relationship,
    },
    proto::v1 as pb,
};

/// A set of changes.
pub(crate) struct Write {
    pub(crate) realm: String,
    pub(crate) creates: Vec<Relationship>,
    pub(crate) deletes: Vec<Relationship>,
    pub(crate) expected: Option<Revision>,
}

pub(crate) fn write(request: pb::WriteRelationshipsRequest) -> Result<Write, Error> {
    let pb::WriteRelationshipsRequest { realm, creates, deletes, expected_revision } = request;
    let mut faults = Faults::default();
    let mut list = |field: &str, list: Vec<pb::Relationship>| {
        let read = list.into_iter().enumerate();
        read.map(|(at, each)| relationship(&mut faults, &format!("{field}[{at}]"), each)).collect()
    };
    let (creates, deletes) = (list("creates", creates), list("deletes", deletes));
    let expected = (expected_revision > 0).then_some(Revision(expected_revision));
    faults.none_or(Write { realm, creates, deletes, expected })
}

fn relationship(faults: &mut Faults, field: &str, relationship: pb::Relationship) -> Relationship {
    let pb::Relationship { subject, relation, object } = relationship;
    let mut end = |name: &str, entity: Option<pb::EntityReference>| {
        let field = format!("{field}.{name}");
        faults.optional_entity(&field, entity).unwrap_or_else(|| {
            faults.add(field, "is missing, expected an entity");
            EntityId::new("", "")
        })
    };
    let (subject, object) = (end("subject", subject), end("object", object));
    let relation = faults.text(&format!("{field}.relation"), relation, NAME_BYTES_MAX);
    Relationship { subject, relation, object }
}

fn relationship_message(relationship: &Relationship) -> pb::Relationship {
    let Relationship { subject, relation, object } = relationship;
    pb::Relationship { subject: Some(entity(subject)), relation: relation.to_string(), object: Some(entity(object)) }
}

pub(crate) fn written(revision: Revision) -> pb::WriteRelationshipsResponse {
    pb::WriteRelationshipsResponse { revision: revision.0 }
}

/// Records of one resource.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) realm: String,
    pub(crate) resource: String,
    /// Each a JSON object.
    pub(crate) documents: Vec<String>,
}

/// A part of an import; the use case leaves its size to us.
pub(crate) fn import(request: pb::ImportRecordsRequest) -> Result<Records, Error> {
    let pb::ImportRecordsRequest { realm, resource, records } = request;
    let mut faults = Faults::default();
    if resource.len() > NAME_BYTES_MAX {
        faults.add("resource", format!("is longer than {NAME_BYTES_MAX} bytes"));
    }
    if records.len() > RECORDS_MAX {
        faults.add("records", format!("has {} items, expected at most {RECORDS_MAX} a message", records.len()));
    }
    faults.none_or(Records { realm, resource, documents: records })
}

pub(crate) fn imported(summary: ImportSummary) -> pb::ImportRecordsResponse {
    let ImportSummary { revision, accepted, changed, skipped, refused, refusals } = summary;
    let refusals = refusals.into_iter().map(|refusal| {
        let Refusal { resource, index, reason } = refusal;
        pb::RefusedRecord { resource: resource.to_string(), index, reason }
    });
    pb::ImportRecordsResponse {
        revision: revision.0,
        accepted,
        changed,
        skipped,
        refused,
        refusals: refusals.collect(),
    }
}

pub(crate) fn delete(request: pb::DeleteRecordsRequest) -> (Records, Deletion) {
    let pb::DeleteRecordsRequest { realm, resource, records, forget } = request;
    let deletion = if forget { Deletion::Forgotten } else { Deletion::Remembered };
    (Records { realm, resource, documents: records }, deletion)
}

pub(crate) fn deleted(summary: DeleteSummary) -> pb::DeleteRecordsResponse {
    let DeleteSummary { revision, deleted, missing } = summary;
    pb::DeleteRecordsResponse { revision: revision.0, deleted, missing }
}

/// A question for relationships, and where its page starts.
pub(crate) struct Read {
    pub(crate) realm: String,
    pub(crate) query: RelationshipQuery,
    pub(crate) after: Option<Relationship>,
    pub(crate) size: usize,
    /// In microseconds since the epoch.
    pub(crate) as_of_us: Option<i64>,
    /// Makes the next page's token.
    binding: Binding,
}

pub(crate) fn read(mut request: pb::ReadRelationshipsRequest) -> Result<Read, Error> {
    let page_token = std::mem::take(&mut request.page_token);
    let page_size = std::mem::take(&mut request.page_size);
    let binding = Binding::of("ReadRelationships", &request);
    let pb::ReadRelationshipsRequest { realm, subject, relation, object, page_size: _, page_token: _, as_of } = request;
    let mut faults = Faults::default();
    let as_of_us = as_of.and_then(|time| faults.time("as_of", time));
    let query = RelationshipQuery {
        subject: faults.optional_entity("subject", subject),
        relation: faults.optional_text("relation", relation, NAME_BYTES_MAX),
        object: faults.optional_entity("object", object),
    };
    let after = binding.cursor(&page_token).and_then(|cursor| cursor.as_deref().map(cursor_end).transpose());
    let after = after.map_err(|error| faults.0.extend(error.fields)).ok().flatten();
    faults.none_or(Read { realm, query, after, size: super::page_size(page_size), as_of_us, binding })
}

fn cursor_end(cursor: &[u8]) -> Result<Relationship, Error> {
    let message = pb::Relationship::decode(cursor).map_err(|_| page_token::malformed())?;
    let mut faults = Faults::default();
    let read = relationship(&mut faults, "", message);
    faults.none_or(read).map_err(|_| page_token::malformed())
}

impl Read {
    /// The page as the wire has it.
    pub(crate) fn page(&self, page: RelationshipPage) -> pb::ReadRelationshipsResponse {
        let RelationshipPage { relationships, has_more, revision } = page;
        let relationships: Vec<_> = relationships.iter().map(relationship_message).collect();
        let last = relationships.last().filter(|_| has_more);
        pb::ReadRelationshipsResponse {
            next_page_token: last.map(|last| self.binding.token(&last.encode_to_vec())).unwrap_or_default(),
            relationships,
            revision: revision.0,
        }
    }
}

pub(crate) fn revision(revision: Revision) -> pb::GetRevisionResponse {
    pb::GetRevisionResponse { revision: revision.0 }
}
