//! Messages of `hallpass.v1` to domain values and back, every field by name.
//!
//! What is checked here is size and form; what a value means is checked by the use case. All faults of a message come
//! back at once.

pub(super) mod applications;
pub(super) mod authorization;
mod changes;
mod credentials;
pub(super) mod decisions;
mod explanation;
pub(super) mod log_proofs;
pub(super) mod log_status;
pub(super) mod policies;
pub(super) mod privacy;
pub(super) mod relationships;
pub(super) mod revocations;
pub(super) mod search;
pub(super) mod shadow;
mod value;

use std::sync::Arc;

use prost_types::Timestamp;

use crate::{
    app::error::Error,
    domain::{access_request::FieldFault, id::EntityId},
    proto::v1 as pb,
};

/// The longest name of an action, a type or a relation, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest purpose, in bytes.
const PURPOSE_BYTES_MAX: usize = 200;

/// How many items a page has unless the request says otherwise.
const PAGE_SIZE_DEFAULT: u32 = 100;

/// The faults of a message, found so far.
#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldFault::new(field, message));
    }

    /// The text, noted as a fault when it is too long.
    fn text(&mut self, field: &str, text: String, bytes_max: usize) -> Arc<str> {
        if text.len() > bytes_max {
            self.add(field, format!("is longer than {bytes_max} bytes"));
        }
        shared(text)
    }

    /// The text; `None` when it is empty.
    fn optional_text(&mut self, field: &str, text: String, bytes_max: usize) -> Option<Arc<str>> {
        (!text.is_empty()).then(|| self.text(field, text, bytes_max))
    }

    /// The entity; one without type and id is none.
    fn optional_entity(&mut self, field: &str, entity: Option<pb::EntityReference>) -> Option<EntityId> {
        let entity = entity.filter(|entity| !entity.r#type.is_empty() || !entity.id.is_empty())?;
        Some(self.entity(field, entity))
    }

    /// The entity, noted as a fault when it has no type or a part of it is too long.
    fn entity(&mut self, field: &str, entity: pb::EntityReference) -> EntityId {
        let pb::EntityReference { r#type, id } = entity;
        if r#type.is_empty() {
            self.add(format!("{field}.type"), "is empty, expected an entity type of the realm's schema");
        }
        let is_too_long = [("type", r#type.len(), NAME_BYTES_MAX), ("id", id.len(), EntityId::ID_BYTES_MAX)];
        for (part, len, bytes_max) in is_too_long {
            if len > bytes_max {
                self.add(format!("{field}.{part}"), format!("is longer than {bytes_max} bytes"));
            }
        }
        EntityId { entity_type: r#type.into(), id: id.into() }
    }

    /// What was read, if no fault was found.
    fn none_or<T>(self, read: T) -> Result<T, Error> {
        if self.0.is_empty() { Ok(read) } else { Err(Error::invalid(self.0)) }
    }
}

/// The text to be shared; most empty ones stand for "not given" and cost nothing.
fn shared(text: String) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

fn entity(entity: &EntityId) -> pb::EntityReference {
    let EntityId { entity_type, id } = entity;
    pb::EntityReference { r#type: entity_type.to_string(), id: id.to_string() }
}

fn texts(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// The moment that is so many microseconds after the epoch.
fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) * 1_000;
    Timestamp { seconds: us.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// How many items a page has; 0 asks for the usual number. The use case bounds it from above.
fn page_size(asked: u32) -> usize {
    let size = if asked == 0 { PAGE_SIZE_DEFAULT } else { asked };
    usize::try_from(size).unwrap_or(usize::MAX)
}
