//! A question about all resources of a type at once.

use std::sync::Arc;

use super::{AccessRequest, FieldFault, Phase, PhaseValues, Question, context_values, resource_entity, unknown};
use crate::domain::realm::Realm;

impl AccessRequest {
    /// Checks a question against the realm, its resource's id and values left out: no stored value is there.
    ///
    /// # Errors
    /// Every fault at once, named as a search names its fields: `action`, `resource_type`, `context.…`.
    pub fn without_values(realm: &Realm, question: &Question) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let action = realm.schema.actions.get_key_value(&question.action);
        if action.is_none() {
            faults.push(unknown("action", "action", &question.action, realm.schema.actions.keys()));
        }
        let resource_type = realm.resource_types.get(&question.resource_type);
        if resource_type.is_none() {
            let known = realm.resource_types.keys();
            faults.push(unknown("resource_type", "resource type", &question.resource_type, known));
        }
        let context = action.map(|(_, shape)| context_values(&shape.context, question, realm, &mut faults));
        let (Some((action, shape)), Some(resource_type), Some(context), true) =
            (action, resource_type, context, faults.is_empty())
        else {
            return Err(faults);
        };
        let principal = &realm.file.principal.entity;
        let (takes_type, takes_principal) =
            (shape.resources.contains(&resource_type.entity), shape.principals.contains(principal));
        if !takes_type || !takes_principal {
            let beside = if takes_type {
                format!("principals of type `{principal}`")
            } else {
                format!("resource type `{}`", resource_type.name)
            };
            return Err(vec![FieldFault::new("action", format!("action `{action}` does not apply to {beside}"))]);
        }
        let (resource_id, resource) = resource_entity(realm, resource_type, &Arc::default(), &mut faults);
        Ok(Self {
            action: Arc::clone(action),
            asked_action: Arc::clone(action),
            resource_type: Arc::clone(resource_type),
            resource_id,
            resource,
            phases: vec![PhaseValues::none(Phase::Existing, resource_type)],
            context,
            media_type: Arc::clone(&question.media_type),
            supported_obligations: question.supported_obligations.clone(),
        })
    }
}
