//! The question: what is to be done to which resource, checked against the realm.

mod again;
mod anew;
mod given;
mod understood;
mod without_values;

use std::{collections::BTreeMap, sync::Arc};

use self::given::{given, missing_parts};
pub use self::{again::Kept, anew::Unfit, understood::understood_context};
use super::{
    id::EntityId,
    realm::Realm,
    realm_file::{RealmFile, SETTINGS},
    record_mapping::Relations,
    resource_type::{ResourceType, Subject},
    schema::{AttributeType, Member},
    value::{Attributes, Value},
};

/// Which values of the resource are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The stored ones.
    Existing,
    /// Those of the request body.
    Proposed,
}

impl Phase {
    /// The word that policies and texts use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Existing => "existing",
            Self::Proposed => "proposed",
        }
    }
}

/// A question as it comes from outside, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The action.
    pub action: Arc<str>,
    /// The resource type.
    pub resource_type: Arc<str>,
    /// The resource's id; may be empty.
    pub resource_id: Arc<str>,
    /// The stored values.
    pub attributes: Option<Attributes>,
    /// The values of the request body.
    pub proposed: Option<Attributes>,
    /// The values that the store knows of the resource, for the subjects that callers are not believed.
    pub known: Attributes,
    /// Facts about the request.
    pub context: Attributes,
    /// The media type of the request; empty where there was none.
    pub media_type: Arc<str>,
    /// The obligations that the caller can fulfil; `None` for all that there are.
    pub supported_obligations: Option<Vec<Arc<str>>>,
}

/// The resource's values in one phase, in the order of the type's subjects; `None` has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseValues {
    /// The phase.
    pub phase: Phase,
    /// The values.
    pub values: Vec<Option<Value>>,
    /// The attribute and the name of each property that is missing of a subject of which others are there.
    pub missing_parts: Vec<(Arc<str>, Arc<str>)>,
}

impl PhaseValues {
    /// A phase in which no subject of the type has a value.
    pub(super) fn none(phase: Phase, resource_type: &ResourceType) -> Self {
        Self { phase, values: vec![None; resource_type.subjects.len()], missing_parts: Vec::new() }
    }
}

/// A question that fits the realm.
#[derive(Clone, Debug)]
pub struct AccessRequest {
    /// The action that it is judged as.
    pub action: Arc<str>,
    /// The action that was asked about.
    pub asked_action: Arc<str>,
    /// The resource type.
    pub resource_type: Arc<ResourceType>,
    /// The resource's id; may be empty.
    pub resource_id: Arc<str>,
    /// The Cedar entity of the resource. Where one entity type stands for many resource types, the type is a part of
    /// its id.
    pub(super) resource: EntityId,
    /// What is to be looked at, in order; never empty.
    pub phases: Vec<PhaseValues>,
    /// Facts about the request, typed as the schema wants them.
    pub context: Attributes,
    /// The media type of the request; empty where there was none.
    pub media_type: Arc<str>,
    /// The obligations that the caller can fulfil; `None` for all that there are.
    pub supported_obligations: Option<Vec<Arc<str>>>,
}

/// A fault of a question: the field, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, as the wire names it.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl FieldFault {
    /// Notes a fault.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The longest list, the most members of a record and the deepest nesting that a value may have.
pub const LIST_LENGTH_MAX: usize = 10_000;

impl AccessRequest {
    /// Checks a question against the realm.
    ///
    /// # Errors
    /// Every fault at once. Messages hold no values.
    pub fn check(realm: &Realm, question: &Question) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let action = realm.schema.actions.get_key_value(judged_as(realm, question));
        if action.is_none() {
            faults.push(unknown("action", "action", &question.action, realm.schema.actions.keys()));
        }
        let resource_type = realm.resource_types.get(&question.resource_type);
        if resource_type.is_none() {
            faults.push(unknown(
                "resource.type",
                "resource type",
                &question.resource_type,
                realm.resource_types.keys(),
            ));
        }
        let resource = resource_type.map(|resource_type| {
            let (id, entity) = resource_entity(realm, resource_type, &question.resource_id, &mut faults);
            let phases = phases(realm, resource_type, question, &mut faults);
            (resource_type, id, entity, phases)
        });
        if let Some(((action, _), _)) = action.zip(resource_type) {
            faults.extend(missing_values(realm, action, question));
        }
        let context = action.map(|(_, shape)| context_values(&shape.context, question, realm, &mut faults));
        match (action, resource, context) {
            (Some((action, shape)), Some((resource_type, resource_id, resource, phases)), Some(context))
                if faults.is_empty() =>
            {
                let principal = &realm.file.principal.entity;
                let beside = if !shape.resources.contains(&resource_type.entity) {
                    format!("resource type `{}`", resource_type.name)
                } else if !shape.principals.contains(principal) {
                    format!("principals of type `{principal}`")
                } else {
                    let (action, resource_type) = (Arc::clone(action), Arc::clone(resource_type));
                    let asked_action = Arc::clone(&question.action);
                    let media_type = Arc::clone(&question.media_type);
                    let supported_obligations = question.supported_obligations.clone();
                    return Ok(Self {
                        action,
                        asked_action,
                        resource_type,
                        resource_id,
                        resource,
                        phases,
                        context,
                        media_type,
                        supported_obligations,
                    });
                };
                Err(vec![FieldFault::new("action", format!("action `{action}` does not apply to {beside}"))])
            }
            _ => Err(faults),
        }
    }
}

/// The action that a question is judged as: the asked one, or the one that stands in for it where what it would make is
/// stored already.
fn judged_as<'a>(realm: &'a Realm, question: &'a Question) -> &'a str {
    let rule = realm.file.action(&question.action).filter(|_| question.attributes.is_some());
    rule.and_then(|rule| rule.when_stored.as_deref()).unwrap_or(&question.action)
}

/// The values that the action is judged by and the question doesn't bring.
fn missing_values<'a>(
    realm: &'a Realm,
    action: &'a str,
    question: &'a Question,
) -> impl Iterator<Item = FieldFault> + 'a {
    let needs = realm.file.action(action).into_iter().flat_map(|rule| &rule.needs);
    needs.filter_map(move |phase| {
        let (field, values, what) = match phase {
            Phase::Existing => ("resource.attributes", &question.attributes, "stored values"),
            Phase::Proposed => ("resource.proposed", &question.proposed, "values of the request's body"),
        };
        let message =
            || format!("is missing, and `{action}` is judged by the {what}; give an empty object where there are none");
        values.is_none().then(|| FieldFault::new(field, message()))
    })
}

/// The members of the context that the host fills in from grants.
pub(super) const GRANT_CONTEXT: [&str; 3] = ["claimSetHasResource", "actionGranted", "strategies"];

/// The members of the context that follow from the action and the grant.
pub(super) const SETTLED_CONTEXT: [&str; 4] = ["claimSetHasResource", "actionGranted", "strategies", SETTINGS];

/// The member of an action's context is filled in by the host, never by a request.
pub(super) fn is_hosts(file: &RealmFile, name: &str) -> bool {
    is_filled_otherwise(file, name) || file.context.iter().any(|(derived, _)| **derived == *name)
}

/// The host fills the member in without being told by `[context.*]`.
pub(super) fn is_filled_otherwise(file: &RealmFile, name: &str) -> bool {
    file.grants.is_some() && GRANT_CONTEXT.contains(&name) || name == "phase" || name == SETTINGS
}

fn unknown<'a>(field: &str, what: &str, given: &str, known: impl Iterator<Item = &'a Arc<str>>) -> FieldFault {
    if given.is_empty() {
        return FieldFault::new(field, format!("is empty, expected the name of one of the realm's {what}s"));
    }
    let given: String = given.chars().take(80).collect();
    let known: Vec<&str> = known.map(|name| &**name).collect();
    let near = nearest(&given, &known);
    let expected = match (near, known.len()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, 0..=12) => format!("expected one of {}", known.join(", ")),
        (None, count) => format!("expected one of the realm's {count} {what}s"),
    };
    // What was given may be anything, an id put in the wrong place too: it is not repeated.
    FieldFault::new(field, format!("is no {what} of the realm, {expected}"))
}

/// The known name that differs least, if it differs little.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &&&str| edit_distance(given, name);
    let near = known.iter().min_by_key(distance)?;
    (edit_distance(given, near) <= 1 + given.len() / 5).then_some(*near)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let up = *cell;
            let next = (diagonal + usize::from(from != *to)).min(up + 1).min(left + 1);
            (diagonal, left) = (up, next);
            *cell = next;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The resource's id in its canonical form, and the Cedar entity of the resource.
fn resource_entity(
    realm: &Realm,
    resource_type: &ResourceType,
    id: &Arc<str>,
    faults: &mut Vec<FieldFault>,
) -> (Arc<str>, EntityId) {
    if id.len() > EntityId::ID_BYTES_MAX {
        faults.push(FieldFault::new("resource.id", "is longer than 512 bytes"));
    }
    let (mut id, entity_type) = (Arc::clone(id), Arc::clone(&resource_type.entity));
    if realm.file.resources.is_some() {
        let entity = EntityId { entity_type, id: format!("{}/{id}", resource_type.name).into() };
        return (id, entity);
    }
    if !id.is_empty() {
        match realm.relations.entity_id(&entity_type, &id) {
            Ok(entity) => id = entity.id,
            Err(expected) => {
                faults.push(FieldFault::new("resource.id", format!("is another value, expected {expected}")));
            }
        }
    }
    (Arc::clone(&id), EntityId { entity_type, id })
}

/// The values to be looked at, in order; those of a question without any are all missing but for what the store knows.
fn phases(
    realm: &Realm,
    resource_type: &ResourceType,
    question: &Question,
    faults: &mut Vec<FieldFault>,
) -> Vec<PhaseValues> {
    let given = [
        (Phase::Existing, "resource.attributes", question.attributes.as_ref()),
        (Phase::Proposed, "resource.proposed", question.proposed.as_ref()),
    ];
    let given = given.into_iter().filter_map(|(phase, field, attributes)| Some((phase, field, attributes?)));
    let phases = given.map(|(phase, field, attributes)| {
        let values = subject_values(resource_type, attributes, &question.known, field, &realm.relations, faults);
        let missing_parts = missing_parts(resource_type, &values, attributes, &realm.relations);
        PhaseValues { phase, values, missing_parts }
    });
    let mut phases: Vec<PhaseValues> = phases.collect();
    if phases.is_empty() && question.known.is_empty() {
        phases.push(PhaseValues::none(Phase::Existing, resource_type));
    } else if phases.is_empty() {
        let (none, field) = (Attributes::default(), "resource.attributes");
        // Nothing was sent, so that nothing sent can be missing.
        let mut unsent = Vec::new();
        let values = subject_values(resource_type, &none, &question.known, field, &realm.relations, &mut unsent);
        phases.push(PhaseValues { phase: Phase::Existing, values, missing_parts: Vec::new() });
    }
    phases
}

fn subject_values(
    resource_type: &ResourceType,
    attributes: &Attributes,
    known: &Attributes,
    field: &str,
    relations: &Relations,
    faults: &mut Vec<FieldFault>,
) -> Vec<Option<Value>> {
    let source = |subject: &Subject| if subject.is_stored { known } else { attributes };
    let values =
        resource_type.subjects.iter().map(|subject| match given(source(subject), subject, relations).as_deref() {
            None => {
                if subject.is_required && !resource_type.has_lacks {
                    faults.push(FieldFault::new(
                        format!("{field}.{}", subject.path),
                        "is missing, and the realm's schema requires it",
                    ));
                }
                None
            }
            Some(value) => match typed(value, &subject.value_type, relations) {
                Ok(value) => Some(value),
                Err(expected) => {
                    let message = format!("is {}, expected {expected}", value.kind());
                    faults.push(FieldFault::new(format!("{field}.{}", subject.path), message));
                    None
                }
            },
        });
    values.collect()
}

fn context_values(
    declared: &BTreeMap<Arc<str>, Member>,
    question: &Question,
    realm: &Realm,
    faults: &mut Vec<FieldFault>,
) -> Attributes {
    let is_hosts = |name: &str| is_hosts(&realm.file, name);
    let is_callers = |name: &str| !is_hosts(name) && realm.file.trusted.takes_context(name);
    let mut values = Vec::new();
    for (name, value) in question.context.iter() {
        match declared.get(name).filter(|_| is_callers(name)) {
            None => {
                let known: Vec<&str> = declared.keys().map(|name| &**name).filter(|name| is_callers(name)).collect();
                let known = if known.is_empty() { "nothing here".to_owned() } else { known.join(", ") };
                let wrong = match declared.contains_key(name) {
                    false => "is not declared for this action",
                    true if is_hosts(name) => "is filled in by the service",
                    true => "is not believed of a caller, as `[trusted]` of the realm has it",
                };
                let name: String = name.chars().take(80).collect();
                faults.push(FieldFault::new(format!("context.{name}"), format!("{wrong}, expected {known}")));
            }
            Some(member) => match typed(value, &member.value_type, &realm.relations) {
                Ok(value) => values.push((Arc::clone(name), value)),
                Err(expected) => {
                    faults.push(FieldFault::new(
                        format!("context.{name}"),
                        format!("is {}, expected {expected}", value.kind()),
                    ));
                }
            },
        }
    }
    for (name, _) in declared.iter().filter(|(name, member)| member.is_required && !is_hosts(name)) {
        if question.context.get(name).is_none() {
            faults.push(FieldFault::new(format!("context.{name}"), "is missing, and the realm's schema requires it"));
        }
    }
    values.into_iter().collect()
}

/// The value as the type wants it, ids in canonical form.
pub(super) fn typed(value: &Value, wanted: &AttributeType, relations: &Relations) -> Result<Value, String> {
    let expected = |text: &str| Err(text.to_owned());
    match (wanted, value) {
        (AttributeType::Bool, Value::Bool(_))
        | (AttributeType::Long, Value::Long(_))
        | (AttributeType::String, Value::String(_)) => Ok(value.clone()),
        (AttributeType::Bool, _) => expected("a boolean"),
        (AttributeType::Long, _) => expected("a whole number"),
        (AttributeType::String, _) => expected("a string"),
        (AttributeType::Entity(entity_type), Value::String(id)) => entity(entity_type, id, relations),
        (AttributeType::Entity(entity_type), Value::Long(id)) => entity(entity_type, &id.to_string(), relations),
        (AttributeType::Entity(entity_type), Value::Entity(given)) if given.entity_type == *entity_type => {
            entity(entity_type, &given.id, relations)
        }
        (AttributeType::Entity(entity_type), _) => {
            Err(format!("a string, a whole number or a reference to `{entity_type}`"))
        }
        (AttributeType::Set(element), Value::List(items)) if items.len() <= LIST_LENGTH_MAX => {
            items.iter().map(|item| typed(item, element, relations)).collect::<Result<_, _>>().map(Value::List)
        }
        (AttributeType::Set(_), _) => expected("a list of at most 10,000 values"),
        (AttributeType::Record(fields), Value::Record(given)) => {
            let mut values = Vec::new();
            for (name, member) in fields {
                match given.get(name) {
                    None | Some(Value::Null) if member.is_required => return Err(format!("a record with `{name}`")),
                    None | Some(Value::Null) => {}
                    Some(value) => values.push((Arc::clone(name), typed(value, &member.value_type, relations)?)),
                }
            }
            Ok(Value::Record(values.into_iter().collect()))
        }
        (AttributeType::Record(_), _) => expected("a record"),
        (AttributeType::Other, _) => expected("no value: requests cannot fill this type"),
    }
}

fn entity(entity_type: &Arc<str>, id: &str, relations: &Relations) -> Result<Value, String> {
    relations
        .entity_id(entity_type, id)
        .map(Value::Entity)
        .map_err(|expected| format!("{expected} as the id of `{entity_type}`"))
}
