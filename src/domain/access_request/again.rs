//! A question that was checked before, put together again from what was kept of it.

use std::sync::Arc;

use super::{AccessRequest, PhaseValues, resource_entity};
use crate::domain::{realm::Realm, value::Attributes};

/// What is kept of a checked question, in the terms of [`AccessRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The action that it was judged as.
    pub action: Arc<str>,
    /// The action that was asked about.
    pub asked_action: Arc<str>,
    /// The resource type's name.
    pub resource_type: Arc<str>,
    /// The resource's id; may be empty.
    pub resource_id: Arc<str>,
    /// What was looked at.
    pub phases: Vec<PhaseValues>,
    /// Facts about the request.
    pub context: Attributes,
    /// The media type.
    pub media_type: Arc<str>,
    /// The obligations that the caller could fulfil.
    pub supported_obligations: Option<Vec<Arc<str>>>,
}

impl AccessRequest {
    /// The question as it was, in the realm that it was checked against. `None` where it does not fit this realm: then it
    /// was another one's.
    pub fn again(realm: &Realm, kept: Kept) -> Option<Self> {
        let Kept {
            action,
            asked_action,
            resource_type,
            resource_id,
            phases,
            context,
            media_type,
            supported_obligations,
        } = kept;
        let (action, _) = realm.schema.actions.get_key_value(&action)?;
        let resource_type = realm.resource_types.get(&resource_type)?;
        let subjects = resource_type.subjects.len();
        if phases.is_empty() || phases.iter().any(|phase| phase.values.len() != subjects) {
            return None;
        }
        let mut faults = Vec::new();
        let (resource_id, resource) = resource_entity(realm, resource_type, &resource_id, &mut faults);
        faults.is_empty().then(|| Self {
            action: Arc::clone(action),
            asked_action,
            resource_type: Arc::clone(resource_type),
            resource_id,
            resource,
            phases,
            context,
            media_type,
            supported_obligations,
        })
    }
}
