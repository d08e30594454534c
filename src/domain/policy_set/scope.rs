//! What policies ask of principal, action and resource before their conditions.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::Value as Json;

use crate::domain::cedar::Condition;

/// What a policy's scope asks.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) principal: Constraint,
    /// The actions or groups of actions that it names; `None` for any action.
    pub(super) action: Option<Vec<EntityUid>>,
    pub(super) resource: Constraint,
}

/// What a scope asks of the principal or the resource.
#[derive(Debug, Default)]
pub(super) struct Constraint {
    pub(super) entity_type: Option<String>,
    pub(super) entity: Option<EntityUid>,
    pub(super) is_in: bool,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Constraint::default(),
            PrincipalConstraint::Eq(uid) => Constraint::entity(&uid, false),
            PrincipalConstraint::In(uid) => Constraint::entity(&uid, true),
            PrincipalConstraint::Is(name) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::default() }
            }
            PrincipalConstraint::IsIn(name, uid) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::entity(&uid, true) }
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Constraint::default(),
            ResourceConstraint::Eq(uid) => Constraint::entity(&uid, false),
            ResourceConstraint::In(uid) => Constraint::entity(&uid, true),
            ResourceConstraint::Is(name) => Constraint { entity_type: Some(name.to_string()), ..Constraint::default() },
            ResourceConstraint::IsIn(name, uid) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::entity(&uid, true) }
            }
        };
        let action = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(vec![uid]),
            ActionConstraint::In(uids) => Some(uids),
        };
        Self { principal, action, resource }
    }

    /// Every question that the other scope takes is taken by this one.
    pub(super) fn covers(&self, other: &Self, groups: &HashMap<EntityUid, Vec<EntityUid>>) -> bool {
        let takes_actions = match (&self.action, &other.action) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(named)) => named.iter().all(|action| self.fits_action(Some(action), groups)),
        };
        takes_actions && self.principal.covers(&other.principal) && self.resource.covers(&other.resource)
    }

    pub(super) fn fits_action(&self, action: Option<&EntityUid>, groups: &HashMap<EntityUid, Vec<EntityUid>>) -> bool {
        let (Some(action), Some(named)) = (action, &self.action) else { return true };
        let above = groups.get(action).into_iter().flatten();
        named.contains(action) || above.into_iter().any(|group| named.contains(group))
    }

    /// It fits every question that it is a candidate of: action and types are those of the plan, and the one entity
    /// that it is `in` is where the candidate was found. One that is `==` is found below that entity too.
    pub(super) fn is_settled(&self) -> bool {
        let Self { principal, resource, .. } = self;
        let is_same = [principal, resource].iter().any(|constraint| constraint.entity.is_some() && !constraint.is_in);
        !is_same && (principal.entity.is_none() || resource.entity.is_none())
    }
}

impl Constraint {
    fn entity(uid: &EntityUid, is_in: bool) -> Self {
        let entity_type = (!is_in).then(|| uid.type_name().to_string());
        Self { entity_type, entity: Some(uid.clone()), is_in }
    }

    /// It takes the first of these, which all others contain.
    pub(super) fn fits(&self, lineage: &[EntityUid]) -> bool {
        let Some(entity) = &self.entity else { return true };
        if self.is_in { lineage.contains(entity) } else { lineage.first() == Some(entity) }
    }

    /// Every entity that the other constraint takes is taken by this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let is_type = self.entity_type.is_none() || self.entity_type == other.entity_type;
        let is_entity = match (&self.entity, &other.entity) {
            (None, _) => true,
            (Some(_), None) => false,
            // What is in an entity may be any below it, so `==` covers nothing but itself.
            (Some(own), Some(uid)) => own == uid && (self.is_in || !other.is_in),
        };
        is_type && is_entity
    }

    pub(super) fn fits_type(&self, entity_type: &str) -> bool {
        self.entity_type.as_deref().is_none_or(|wanted| wanted == entity_type)
    }
}

/// The scope of a policy in its JSON form as a condition of its own.
pub(super) fn scope_of(json: &Json) -> Result<Condition, String> {
    let mut alone = json.clone();
    if let Some(members) = alone.as_object_mut() {
        members.insert("conditions".to_owned(), Json::Array(Vec::new()));
    }
    Policy::from_json(None, alone).map(|policy| Condition::of(&policy)).map_err(|error| error.to_string())
}
