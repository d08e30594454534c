//! A question that was asked of one set of policies, put to another.

use std::sync::Arc;

use super::{AccessRequest, Phase, PhaseValues, Question, context_values, resource_entity};
use crate::domain::{realm::Realm, resource_type::ResourceType};

/// Why a question that one set took can't be put to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// What was kept does not fit the set that took it.
    Damaged,
    /// The other set has no such action.
    ActionUnknown,
    /// The other set has no such resource type.
    ResourceTypeUnknown,
    /// The other set wants to know a value of the resource that nobody asked for then.
    ValueNotKept,
    /// The other set takes such a question for a wrong one: for its context, or for values that are missing.
    QuestionRefused,
}

impl Unfit {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Damaged => "FACTS_DAMAGED",
            Self::ActionUnknown => "ACTION_UNKNOWN",
            Self::ResourceTypeUnknown => "RESOURCE_TYPE_UNKNOWN",
            Self::ValueNotKept => "VALUE_NOT_KEPT",
            Self::QuestionRefused => "QUESTION_REFUSED",
        }
    }
}

impl AccessRequest {
    /// A question that was checked against `old`, as `realm` takes it: what [`AccessRequest::check`] would make of it.
    ///
    /// # Errors
    /// Why it can't be had.
    pub fn anew(&self, old: &Realm, realm: &Realm) -> Result<Self, Unfit> {
        let action = self.judged_anew(old, realm);
        let (action, shape) = realm.schema.actions.get_key_value(&action).ok_or(Unfit::ActionUnknown)?;
        let resource_type = realm.resource_types.get(&self.resource_type.name).ok_or(Unfit::ResourceTypeUnknown)?;
        let applies =
            shape.resources.contains(&resource_type.entity) && shape.principals.contains(&realm.file.principal.entity);
        let needs = realm.file.action(action).into_iter().flat_map(|rule| &rule.needs);
        let is_complete = needs.into_iter().all(|phase| self.phases.iter().any(|values| values.phase == *phase));
        if !applies || !is_complete {
            return Err(Unfit::QuestionRefused);
        }
        let phases = self.phases.iter().map(|values| values_anew(values, &self.resource_type, resource_type));
        let phases = phases.collect::<Result<Vec<PhaseValues>, Unfit>>()?;
        let mut faults = Vec::new();
        let asked = Question { context: self.context.clone(), ..Question::default() };
        let context = context_values(&shape.context, &asked, realm, &mut faults);
        let (resource_id, resource) = resource_entity(realm, resource_type, &self.resource_id, &mut faults);
        if !faults.is_empty() {
            return Err(Unfit::QuestionRefused);
        }
        Ok(Self {
            action: Arc::clone(action),
            asked_action: Arc::clone(&self.asked_action),
            resource_type: Arc::clone(resource_type),
            resource_id,
            resource,
            phases,
            context,
            media_type: Arc::clone(&self.media_type),
            supported_obligations: self.supported_obligations.clone(),
        })
    }

    /// The action that the other set judges it as.
    fn judged_anew(&self, old: &Realm, realm: &Realm) -> Arc<str> {
        let stands_in = |realm: &Realm| realm.file.action(&self.asked_action).and_then(|rule| rule.when_stored.clone());
        let (then, now) = (stands_in(old), stands_in(realm));
        if then == now {
            return Arc::clone(&self.action);
        }
        let mut stored = self.phases.iter().filter(|values| values.phase == Phase::Existing);
        let is_stored =
            self.action != self.asked_action || stored.any(|phase| phase.values.iter().any(Option::is_some));
        now.filter(|_| is_stored).unwrap_or_else(|| Arc::clone(&self.asked_action))
    }
}

/// The values at the places that the other set has for them.
fn values_anew(was: &PhaseValues, old: &ResourceType, new: &ResourceType) -> Result<PhaseValues, Unfit> {
    if old.subjects == new.subjects && old.has_lacks == new.has_lacks {
        return Ok(was.clone());
    }
    let mut values = Vec::with_capacity(new.subjects.len());
    for subject in &new.subjects {
        let place = old.subjects.iter().position(|known| {
            known.attribute == subject.attribute
                && known.value_type == subject.value_type
                && known.paths().eq(subject.paths())
        });
        let place = place.ok_or(Unfit::ValueNotKept)?;
        let value = was.values.get(place).cloned().ok_or(Unfit::Damaged)?;
        if value.is_none() && subject.is_required && !new.has_lacks {
            return Err(Unfit::QuestionRefused);
        }
        values.push(value);
    }
    let is_known = |attribute: &Arc<str>| new.subjects.iter().any(|subject| subject.attribute == *attribute);
    let missing_parts = was.missing_parts.iter().filter(|(attribute, _)| is_known(attribute)).cloned().collect();
    Ok(PhaseValues { phase: was.phase, values, missing_parts })
}
