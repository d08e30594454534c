//! What is kept beside a record so that its question can be decided again.
//!
//! A record says action, resource type and the principal, people and what is masked by other names. The facts hold the
//! rest, and whatever the record says otherwise than the decision saw it. They name people: they are kept sealed.
//!
//! Version 1, in the terms of [`codec`](crate::domain::codec): the version byte, a byte of flags, the principal's entity
//! if the record names it otherwise, the principal's attributes that the record has otherwise, the asked action and the
//! resource's id if the record says others, the phases, the context, the media type, and the supported obligations. A
//! later layout takes the next version byte.

use std::sync::Arc;

use crate::domain::{
    access_request::{AccessRequest, Kept, Phase, PhaseValues},
    codec::{CodecError, Reader, Writer},
    decision_record::DecisionRecord,
    id::EntityId,
    principal::Principal,
    record_codec::{
        read_attributes, read_list, read_optional_entity, read_value, write_attributes, write_optional_entity,
        write_texts, write_value,
    },
    value::{Attributes, Value},
};

/// The version that is written.
const VERSION: u8 = 1;

/// Bits of the flags.
const IS_SEARCH: u8 = 1;
const IS_MASKED: u8 = 2;

const DEPTH_MAX: usize = DecisionRecord::VALUE_DEPTH_MAX;

/// What a decision was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Judged {
    /// One resource.
    #[default]
    Resource,
    /// Whether a search may be made at all.
    Search,
}

/// What a record says of the principal otherwise than the decision saw it. The same for all decisions of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrincipalFacts {
    /// The principal, if the record names it otherwise.
    pub entity: Option<EntityId>,
    /// The attributes that the record has otherwise, or not at all.
    pub attributes: Attributes,
}

impl PrincipalFacts {
    /// What is to be kept of a principal beside this name and these attributes of the record.
    pub fn of(principal: &Principal, recorded: &EntityId, attributes: &Attributes) -> Self {
        let otherwise = principal.attributes.iter().filter(|(name, value)| attributes.get(name) != Some(*value));
        Self {
            entity: (principal.entity != *recorded).then(|| principal.entity.clone()),
            attributes: otherwise.map(|(name, value)| (Arc::clone(name), value.clone())).collect(),
        }
    }

    /// Name and attributes of the principal of a record; `None` of a record without one.
    pub fn principal(&self, record: &DecisionRecord) -> Option<(EntityId, Attributes)> {
        let entity = self.entity.as_ref().or(record.principal.as_ref())?.clone();
        let recorded = record.attributes.iter().chain(self.attributes.iter());
        Some((entity, recorded.map(|(name, value)| (Arc::clone(name), value.clone())).collect()))
    }
}

/// What is kept beside a record so that its question can be decided again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it was about.
    pub judged: Judged,
    /// Something that the decision saw was left out on purpose, here and in the record: it can't be decided again.
    pub is_masked: bool,
    /// What the record says of the principal otherwise.
    pub principal: Arc<PrincipalFacts>,
    /// The action that was asked about, if another stood in for it.
    pub asked_action: Option<Arc<str>>,
    /// The resource's id, if the record says it otherwise.
    pub resource_id: Option<Arc<str>>,
    /// What was looked at of the resource; a value at the place of each subject of its type.
    pub phases: Vec<PhaseValues>,
    /// Facts about the request.
    pub context: Attributes,
    /// The media type; empty where there was none.
    pub media_type: Arc<str>,
    /// The obligations that the caller could fulfil; `None` for all that there are.
    pub supported_obligations: Option<Vec<Arc<str>>>,
}

impl Facts {
    /// The facts of a question whose record calls the resource by this id.
    pub fn of(judged: Judged, principal: &Arc<PrincipalFacts>, request: &AccessRequest, recorded_id: &str) -> Self {
        let is_asked = request.asked_action == request.action;
        Self {
            judged,
            is_masked: false,
            principal: Arc::clone(principal),
            asked_action: (!is_asked).then(|| Arc::clone(&request.asked_action)),
            resource_id: (*request.resource_id != *recorded_id).then(|| Arc::clone(&request.resource_id)),
            phases: request.phases.clone(),
            context: request.context.clone(),
            media_type: Arc::clone(&request.media_type),
            supported_obligations: request.supported_obligations.clone(),
        }
    }

    /// The question that a record was about.
    pub fn into_question(self, record: &DecisionRecord) -> Kept {
        let Self { asked_action, resource_id, phases, context, media_type, supported_obligations, .. } = self;
        Kept {
            action: Arc::clone(&record.action),
            asked_action: asked_action.unwrap_or_else(|| Arc::clone(&record.action)),
            resource_type: Arc::clone(&record.resource_type),
            resource_id: resource_id.unwrap_or_else(|| Arc::clone(&record.resource_id)),
            phases,
            context,
            media_type,
            supported_obligations,
        }
    }

    /// Calls `each` with every entity that the facts name, in order; some come more than once. The resource's own id has
    /// no entity type here.
    pub fn each_entity<'a>(&'a self, mut each: impl FnMut(&'a EntityId)) {
        self.principal.entity.iter().for_each(&mut each);
        let attributes = self.principal.attributes.iter().map(|(_, value)| value);
        let values = self.phases.iter().flat_map(|phase| phase.values.iter().flatten());
        let context = self.context.iter().map(|(_, value)| value);
        attributes.chain(values).chain(context).for_each(|value| entities_of(value, &mut each));
    }

    /// The facts' bytes. Values nested deeper than [`DecisionRecord::VALUE_DEPTH_MAX`] are left out.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            judged,
            is_masked,
            principal,
            asked_action,
            resource_id,
            phases,
            context,
            media_type,
            supported_obligations,
        } = self;
        let mut out = Writer::with_capacity(128);
        out.byte(VERSION);
        let search = if *judged == Judged::Search { IS_SEARCH } else { 0 };
        out.byte(search | if *is_masked { IS_MASKED } else { 0 });
        write_optional_entity(&mut out, principal.entity.as_ref());
        write_attributes(&mut out, &principal.attributes, DEPTH_MAX);
        write_optional_text(&mut out, asked_action.as_ref());
        write_optional_text(&mut out, resource_id.as_ref());
        out.count(phases.len());
        for phase in phases {
            write_phase(&mut out, phase);
        }
        write_attributes(&mut out, context, DEPTH_MAX);
        out.str(media_type);
        out.bool(supported_obligations.is_some());
        if let Some(obligations) = supported_obligations {
            write_texts(&mut out, obligations);
        }
        out.into_bytes()
    }

    /// Reads facts from their bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of facts of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        match input.byte()? {
            VERSION => {}
            byte => return Err(CodecError::Choice { what: "version of facts", byte }),
        }
        let flags = match input.byte()? {
            byte if byte & !(IS_SEARCH | IS_MASKED) != 0 => {
                return Err(CodecError::Choice { what: "set of flags of facts", byte });
            }
            flags => flags,
        };
        let facts = Self {
            judged: if flags & IS_SEARCH == 0 { Judged::Resource } else { Judged::Search },
            is_masked: flags & IS_MASKED != 0,
            principal: Arc::new(PrincipalFacts {
                entity: read_optional_entity(&mut input)?,
                attributes: read_attributes(&mut input, DEPTH_MAX)?,
            }),
            asked_action: read_optional_text(&mut input)?,
            resource_id: read_optional_text(&mut input)?,
            phases: read_list(&mut input, read_phase)?,
            context: read_attributes(&mut input, DEPTH_MAX)?,
            media_type: input.shared()?,
            supported_obligations: if input.bool()? { Some(read_list(&mut input, Reader::shared)?) } else { None },
        };
        input.finish()?;
        Ok(facts)
    }
}

fn entities_of<'a>(value: &'a Value, each: &mut impl FnMut(&'a EntityId)) {
    match value {
        Value::Entity(entity) => each(entity),
        Value::List(items) => items.iter().for_each(|item| entities_of(item, each)),
        Value::Record(fields) => fields.iter().for_each(|(_, value)| entities_of(value, each)),
        _ => {}
    }
}

fn write_optional_text(out: &mut Writer, text: Option<&Arc<str>>) {
    out.bool(text.is_some());
    if let Some(text) = text {
        out.str(text);
    }
}

fn read_optional_text(input: &mut Reader<'_>) -> Result<Option<Arc<str>>, CodecError> {
    if input.bool()? { input.shared().map(Some) } else { Ok(None) }
}

fn write_phase(out: &mut Writer, phase: &PhaseValues) {
    let PhaseValues { phase, values, missing_parts } = phase;
    out.byte(match phase {
        Phase::Existing => 1,
        Phase::Proposed => 2,
    });
    out.count(values.len());
    for value in values {
        out.bool(value.is_some());
        if let Some(value) = value {
            write_value(out, value, DEPTH_MAX);
        }
    }
    out.count(missing_parts.len());
    for (attribute, name) in missing_parts {
        out.str(attribute);
        out.str(name);
    }
}

fn read_phase(input: &mut Reader<'_>) -> Result<PhaseValues, CodecError> {
    let phase = match input.byte()? {
        1 => Phase::Existing,
        2 => Phase::Proposed,
        byte => return Err(CodecError::Choice { what: "phase", byte }),
    };
    let value = |input: &mut Reader<'_>| if input.bool()? { read_value(input, DEPTH_MAX).map(Some) } else { Ok(None) };
    let values = read_list(input, value)?;
    let missing_parts = read_list(input, |input| Ok((input.shared()?, input.shared()?)))?;
    Ok(PhaseValues { phase, values, missing_parts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::record_codec::tests::{entities, texts, values};

    fn attributes() -> impl Strategy<Value = Attributes> {
        prop::collection::vec((texts(), values()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn phases() -> impl Strategy<Value = PhaseValues> {
        let missing = prop::collection::vec((texts(), texts()), 0..3);
        (any::<bool>(), prop::collection::vec(prop::option::of(values()), 0..4), missing).prop_map(
            |(is_proposed, values, missing_parts)| PhaseValues {
                phase: if is_proposed { Phase::Proposed } else { Phase::Existing },
                values,
                missing_parts,
            },
        )
    }

    prop_compose! {
        fn facts()(
            flags in any::<(bool, bool)>(),
            entity in prop::option::of(entities()),
            attributes in attributes(),
            optional in prop::array::uniform2(prop::option::of(texts())),
            phases in prop::collection::vec(phases(), 0..3),
            context in attributes(),
            media_type in texts(),
            supported_obligations in prop::option::of(prop::collection::vec(texts(), 0..3)),
        ) -> Facts {
            let [asked_action, resource_id] = optional;
            Facts {
                judged: if flags.0 { Judged::Search } else { Judged::Resource },
                is_masked: flags.1,
                principal: Arc::new(PrincipalFacts { entity, attributes }),
                asked_action, resource_id, phases, context, media_type, supported_obligations,
            }
        }
    }

    proptest! {
        #[test]
        fn facts_read_back(facts in facts()) {
            prop_assert_eq!(Facts::decode(&facts.encode()), Ok(facts));
        }

        #[test]
        fn truncated_facts_are_refused(facts in facts(), cut in any::<prop::sample::Index>()) {
            let bytes = facts.encode();
            prop_assert!(Facts::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn garbage_never_panics_and_has_one_spelling(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(facts) = Facts::decode(&bytes) {
                prop_assert_eq!(facts.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let text = |text: &str| Arc::<str>::from(text);
        let school = Value::Entity(EntityId::new("School", "1"));
        let facts = Facts {
            judged: Judged::Search,
            is_masked: true,
            principal: Arc::new(PrincipalFacts {
                entity: Some(EntityId::new("User", "u")),
                attributes: [(text("own"), school.clone())].into_iter().collect(),
            }),
            asked_action: Some(text("create")),
            resource_id: Some(text("7")),
            phases: vec![PhaseValues {
                phase: Phase::Proposed,
                values: vec![None, Some(school)],
                missing_parts: vec![(text("a"), text("b"))],
            }],
            context: [(text("c"), Value::Long(1))].into_iter().collect(),
            media_type: text("m"),
            supported_obligations: Some(vec![text("o")]),
        };
        let expected = b"\x01\x03\x01\x04User\x01u\x01\x03own\x05\x06School\x011\x01\x06create\x01\x017\x01\x02\x02\
                         \0\x01\x05\x06School\x011\x01\x01a\x01b\x01\x01c\x03\x02\x01m\x01\x01\x01o";
        assert_eq!(facts.encode(), expected);
        assert_eq!(Facts::decode(expected), Ok(facts));
    }

    #[test]
    fn every_entity_is_named() {
        let entity = |id: &str| EntityId::new("Student", id);
        let list = Value::List(vec![Value::Entity(entity("2"))]);
        let nested: Attributes = [(Arc::from("x"), Value::Entity(entity("3")))].into_iter().collect();
        let facts = Facts {
            judged: Judged::Resource,
            is_masked: false,
            principal: Arc::new(PrincipalFacts {
                entity: Some(entity("0")),
                attributes: [(Arc::from("a"), Value::Entity(entity("1")))].into_iter().collect(),
            }),
            asked_action: None,
            resource_id: None,
            phases: vec![PhaseValues { phase: Phase::Existing, values: vec![None, Some(list)], missing_parts: vec![] }],
            context: [(Arc::from("c"), Value::Record(nested))].into_iter().collect(),
            media_type: Arc::default(),
            supported_obligations: None,
        };
        let mut found = Vec::new();
        facts.each_entity(|entity| found.push(&*entity.id));
        assert_eq!(found, ["0", "1", "2", "3"]);
    }
}
