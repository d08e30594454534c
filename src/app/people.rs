//! How the decision log names people: by pseudonym when it is written, by what it holds when it is asked, by their plain
//! ids for who may see them.

use std::sync::Arc;

use crate::{
    app::{
        authorize::Caller,
        ports::{Identities, IdentityError},
        realm_state::RealmState,
    },
    domain::{
        access_request::{AccessRequest, Phase},
        decision_record::{DecisionRecord, RecordedSubject},
        id::{DecisionId, EntityId},
        identity::{Identity, Pseudonym},
        mask::{Mask, Masking},
        principal::Principal,
        pseudonym::PseudonymKey,
        realm::Realm,
        replay::{Facts, Judged, PrincipalFacts},
        sealed_facts::OpenError,
        value::{Attributes, Value},
    },
};

/// What a realm's log needs to know of people.
#[derive(Clone, Debug)]
pub struct People {
    /// Who is behind the pseudonyms.
    pub identities: Arc<dyn Identities>,
    /// The key of hashes that stand for texts.
    pub hashes: PseudonymKey,
    /// What is kept out of the log.
    pub mask: Mask,
}

/// A principal as the log names it.
#[derive(Clone, Debug)]
pub struct RecordedPrincipal {
    /// Its name.
    pub entity: EntityId,
    /// Those of its attributes that everyone may read in the record.
    pub attributes: Arc<Attributes>,
    /// Who acts for it.
    pub actor: Option<EntityId>,
    /// What the record doesn't say, or says otherwise.
    pub facts: Arc<PrincipalFacts>,
}

/// What is sealed of a decision, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing is sealed: there was nothing to say, as where the token was not good.
    Nothing,
    /// The facts.
    Facts(Box<Facts>),
    /// One of the people was erased, and the facts with it.
    Erased,
    /// The bytes are not what was sealed.
    Damaged,
}

impl People {
    /// The principal as the log names it.
    ///
    /// # Errors
    /// Those of [`Identities::identify`].
    pub(super) fn principal(&self, realm: &Realm, principal: &Principal) -> Result<RecordedPrincipal, IdentityError> {
        let entity = self.entity(realm, &principal.entity)?;
        let named = principal.attributes.iter();
        let named = named.map(|(name, value)| Ok((Arc::clone(name), self.value(realm, value)?)));
        let named: Attributes = named.collect::<Result<_, IdentityError>>()?;
        let is_person = realm.relations.is_person(&principal.entity.entity_type);
        let attributes = self.mask.open(&named, is_person, &self.hashes);
        let PrincipalFacts { entity: otherwise, attributes: hidden } =
            PrincipalFacts::of(principal, &entity, &attributes);
        let kept = hidden.iter().filter(|(name, _)| !self.mask.takes_away(name));
        let facts = PrincipalFacts {
            entity: otherwise.filter(|_| self.mask.principal == Masking::Keep),
            attributes: kept.map(|(name, value)| (Arc::clone(name), value.clone())).collect(),
        };
        let actor = principal.actor.as_ref().map(|actor| self.entity(realm, actor)).transpose()?;
        Ok(RecordedPrincipal { entity, attributes: Arc::new(attributes), actor, facts: Arc::new(facts) })
    }

    /// The resource's id; of a type that is about people, its pseudonym.
    pub(super) fn resource_id(&self, realm: &Realm, request: &AccessRequest) -> Result<Arc<str>, IdentityError> {
        match self.resource(realm, request)? {
            Some(identity) => Ok(identity.pseudonym.text()),
            None => Ok(Arc::clone(&request.resource_id)),
        }
    }

    fn resource(&self, realm: &Realm, request: &AccessRequest) -> Result<Option<Arc<Identity>>, IdentityError> {
        let (resource_type, id) = (&request.resource_type, &request.resource_id);
        if id.is_empty() || !realm.is_about_people(resource_type) {
            return Ok(None);
        }
        let resource = EntityId { entity_type: Arc::clone(&resource_type.name), id: Arc::clone(id) };
        self.identities.identify(&resource).map(Some)
    }

    /// The values of the resource that take part, people by pseudonym.
    pub(super) fn subjects(
        &self,
        realm: &Realm,
        request: &AccessRequest,
    ) -> Result<Vec<RecordedSubject>, IdentityError> {
        let mut subjects = Vec::new();
        for values in &request.phases {
            for (subject, value) in request.resource_type.subjects.iter().zip(&values.values) {
                let items = match value {
                    Some(Value::List(items)) => items.as_slice(),
                    Some(single) => std::slice::from_ref(single),
                    None => &[],
                };
                for item in items {
                    let Value::Entity(entity) = item else { continue };
                    subjects.push(RecordedSubject {
                        attribute: Arc::clone(&subject.attribute),
                        entity: self.entity(realm, entity)?,
                        is_pseudonym: realm.relations.is_person(&entity.entity_type),
                        is_proposed: values.phase == Phase::Proposed,
                    });
                }
            }
        }
        Ok(subjects)
    }

    /// What is needed to decide again and the record doesn't say, sealed with the keys of everyone whom it names.
    pub(super) fn facts(
        &self,
        realm: &Realm,
        id: DecisionId,
        judged: Judged,
        caller: &Caller,
        request: &AccessRequest,
        recorded_id: &str,
    ) -> Result<Arc<[u8]>, IdentityError> {
        let principal = &caller.recorded.facts;
        let facts = if self.mask.keeps_facts() {
            Facts::of(judged, principal, request, recorded_id)
        } else {
            masked(judged, principal)
        };
        let (mut people, mut failed) = (Vec::new(), None);
        facts.each_entity(|entity| {
            if realm.relations.is_person(&entity.entity_type) {
                self.identities.identify(entity).map_or_else(|error| failed = Some(error), |found| people.push(found));
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if facts.resource_id.is_some() {
            people.extend(self.resource(realm, request)?);
        }
        self.identities.seal(id, people, &facts.encode())
    }

    /// An entity as the log names it.
    fn entity(&self, realm: &Realm, entity: &EntityId) -> Result<EntityId, IdentityError> {
        if !realm.relations.is_person(&entity.entity_type) {
            return Ok(entity.clone());
        }
        let id = self.identities.identify(entity)?.pseudonym.text();
        Ok(EntityId { entity_type: Arc::clone(&entity.entity_type), id })
    }

    fn value(&self, realm: &Realm, value: &Value) -> Result<Value, IdentityError> {
        match value {
            Value::Entity(entity) => self.entity(realm, entity).map(Value::Entity),
            Value::List(items) => {
                items.iter().map(|item| self.value(realm, item)).collect::<Result<_, _>>().map(Value::List)
            }
            Value::Record(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((Arc::clone(name), self.value(realm, value)?)));
                fields.collect::<Result<_, IdentityError>>().map(Value::Record)
            }
            plain => Ok(plain.clone()),
        }
    }

    /// What is sealed of a decision.
    pub fn opened(&self, record: &DecisionRecord) -> Opened {
        if record.facts.is_empty() {
            return Opened::Nothing;
        }
        match self.identities.open(record.id, &record.facts).map(|text| Facts::decode(&text)) {
            Ok(Ok(facts)) => Opened::Facts(Box::new(facts)),
            Err(OpenError::Erased) => Opened::Erased,
            Ok(Err(_)) | Err(OpenError::Damaged) => Opened::Damaged,
        }
    }

    /// A record with the plain ids of people who are known, and with the principal's attributes that are sealed. Those who
    /// are not known stay pseudonyms.
    pub fn named(&self, mut record: DecisionRecord) -> DecisionRecord {
        if let Opened::Facts(facts) = self.opened(&record)
            && let Some((_, attributes)) = facts.principal.principal(&record)
        {
            record.attributes = Arc::new(attributes);
        }
        for subject in record.subjects.iter_mut().filter(|subject| subject.is_pseudonym) {
            subject.is_pseudonym = !self.name(&mut subject.entity);
        }
        for entity in record.principal.iter_mut().chain(&mut record.actor) {
            self.name(entity);
        }
        let mut resource =
            EntityId { entity_type: Arc::clone(&record.resource_type), id: Arc::clone(&record.resource_id) };
        if self.name(&mut resource) {
            record.resource_id = resource.id;
        }
        let attributes = record.attributes.iter().map(|(name, value)| (Arc::clone(name), self.named_value(value)));
        record.attributes = Arc::new(attributes.collect());
        record
    }

    /// Puts the plain id in place of a pseudonym of this type; `false` when it is none, or not known.
    fn name(&self, entity: &mut EntityId) -> bool {
        let known = self.identities.person(&entity.id).filter(|known| known.entity_type == entity.entity_type);
        let is_known = known.is_some();
        if let Some(known) = known {
            *entity = known;
        }
        is_known
    }

    fn named_value(&self, value: &Value) -> Value {
        match value {
            Value::Entity(entity) => {
                let mut entity = entity.clone();
                self.name(&mut entity);
                Value::Entity(entity)
            }
            Value::List(items) => Value::List(items.iter().map(|item| self.named_value(item)).collect()),
            Value::Record(fields) => {
                let fields = fields.iter().map(|(name, value)| (Arc::clone(name), self.named_value(value)));
                Value::Record(fields.collect())
            }
            plain => plain.clone(),
        }
    }

    /// What the log holds where this text was recorded as a field, as it is masked now.
    pub(super) fn as_asked(&self, masking: fn(&Mask) -> Masking, field: &str, text: &Arc<str>) -> Arc<str> {
        Mask::as_asked(&self.hashes, masking(&self.mask), field, text)
    }

    /// What the log calls a person, or a resource that is about people, whom somebody asks about: by plain id, or by
    /// pseudonym. Nobody becomes known by being asked about: who isn't is called by a pseudonym that is nobody's.
    fn asked(&self, entity: &EntityId) -> Arc<str> {
        match (self.identities.known(entity), entity.id.parse::<Pseudonym>()) {
            (Some(known), _) => known.pseudonym.text(),
            (None, Ok(pseudonym)) => pseudonym.text(),
            (None, Err(_)) => Pseudonym::NOBODY.text(),
        }
    }
}

/// What may be kept where something of the facts may not: what seals the principal's attributes, and that it is so.
fn masked(judged: Judged, principal: &Arc<PrincipalFacts>) -> Facts {
    Facts {
        judged,
        is_masked: true,
        principal: Arc::clone(principal),
        asked_action: None,
        resource_id: None,
        phases: Vec::new(),
        context: Attributes::default(),
        media_type: Arc::default(),
        supported_obligations: None,
    }
}

/// What the log calls a person who is asked about.
pub(crate) fn person_pseudonym(state: &RealmState, entity: &EntityId) -> EntityId {
    EntityId { entity_type: Arc::clone(&entity.entity_type), id: state.people.asked(entity) }
}

/// What the log calls an entity that is asked about.
pub(crate) fn recorded_entity(state: &RealmState, realm: &Realm, entity: &EntityId) -> EntityId {
    if realm.relations.is_person(&entity.entity_type) { person_pseudonym(state, entity) } else { entity.clone() }
}

/// What the log calls a resource that is about people and is asked about.
pub(crate) fn resource_pseudonym(state: &RealmState, resource_type: &str, id: &str) -> Arc<str> {
    state.people.asked(&EntityId::new(resource_type, id))
}

/// What the log calls a resource that is about people and that it knows, by its plain id or by its pseudonym.
pub(crate) fn known_pseudonym(state: &RealmState, resource_type: &str, id: &str) -> Option<Arc<str>> {
    let identities = &state.people.identities;
    let known = identities.known(&EntityId::new(resource_type, id)).map(|known| known.pseudonym.text());
    known.or_else(|| identities.person(id).filter(|behind| *behind.entity_type == *resource_type).map(|_| id.into()))
}
