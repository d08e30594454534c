//! Who asks: the claims of a verified token as the realm understands them.

mod claim;
mod saying;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cedar_policy::EntityUid;
use serde_json::{Map, Value as Json};

use super::{
    ancestors::ancestors,
    application,
    cedar::CedarEntity,
    grants::ResolvedGrant,
    graph::Graph,
    id::{EntityId, Revision},
    realm::Realm,
    realm_file::{ClaimMapping, PrincipalMapping},
    schema::{AttributeType, Member},
    value::{Attributes, Value},
};
use claim::Told;

/// The principal of a request. Immutable but for a cache of what the organization tree says of it.
#[derive(Debug)]
pub struct Principal {
    /// Its name.
    pub entity: EntityId,
    /// Its attributes, as the realm maps the claims.
    pub attributes: Arc<Attributes>,
    /// The name of its claim set, where the realm has grants.
    pub claim_set: Option<Arc<str>>,
    /// Who acts for it, if the token says that somebody does: the `sub` of the outermost `act` (RFC 8693 section 4.1).
    pub actor: Option<EntityId>,
    /// What contains it, as the token says.
    pub(super) parents: Vec<EntityId>,
    /// What its claim set is assumed to grant, whatever the realm says: for explanations alone.
    pub(super) assumed: Option<ResolvedGrant>,
    uid: EntityUid,
    alone: CedarEntity,
    ancestry: ArcSwapOption<Ancestry>,
}

/// Why claims make no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// A claim is not there.
    #[error("the token's claim `{0}` is missing")]
    ClaimMissing(Arc<str>),
    /// A claim has the wrong type or form.
    #[error("the token's claim `{claim}` is not {expected}")]
    ClaimInvalid {
        /// The claim.
        claim: Arc<str>,
        /// What was expected.
        expected: &'static str,
    },
    /// The application's record has not what the realm's schema wants.
    #[error("the application's attribute `{attribute}` is not {expected}")]
    AttributeInvalid {
        /// The attribute.
        attribute: Arc<str>,
        /// What was expected.
        expected: String,
    },
}

impl PrincipalError {
    /// A stable word for programs and logs; never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClaimMissing(_) => "CLAIM_MISSING",
            Self::ClaimInvalid { .. } => "CLAIM_TYPE_INVALID",
            Self::AttributeInvalid { .. } => "TOKEN_APPLICATION_INVALID",
        }
    }
}

impl Principal {
    /// Maps claims to the principal that they stand for, of whom no application is known.
    ///
    /// # Errors
    /// The first claim that is missing or wrong. The message holds no value.
    pub fn from_claims(realm: &Realm, claims: &Map<String, Json>) -> Result<Self, PrincipalError> {
        Self::from_claims_and_record(realm, Self::named_in(realm, claims)?, claims, &Attributes::default())
    }

    /// Maps claims to the principal whose name they hold. Attributes that the token has no claim for are those of
    /// the application of that name, `recorded`; of a set that restricts, the members of both count.
    ///
    /// # Errors
    /// The first claim or attribute that is missing or wrong. The message holds no value.
    pub fn from_claims_and_record(
        realm: &Realm,
        entity: EntityId,
        claims: &Map<String, Json>,
        recorded: &Attributes,
    ) -> Result<Self, PrincipalError> {
        Self::told(realm, entity, Told::by_token(claims), recorded)
    }

    /// Maps the answer of an introspection (RFC 7662 section 2.2) to the principal that its token stands for, as claims
    /// are mapped. The answer must say `iss` where it counts: names that stand for others may differ by issuer.
    ///
    /// # Errors
    /// The first member that is missing or wrong. The message holds no value.
    pub fn from_introspection(realm: &Realm, answer: &Map<String, Json>) -> Result<Self, PrincipalError> {
        let entity = Self::named_in(realm, answer)?;
        Self::from_introspection_and_record(realm, entity, answer, &Attributes::default())
    }

    /// As [`Principal::from_introspection`], with what the application of that name has on record, as
    /// [`Principal::from_claims_and_record`] has it. [`Principal::named_in`] gives the name.
    ///
    /// # Errors
    /// The first member or attribute that is missing or wrong. The message holds no value.
    pub fn from_introspection_and_record(
        realm: &Realm,
        entity: EntityId,
        answer: &Map<String, Json>,
        recorded: &Attributes,
    ) -> Result<Self, PrincipalError> {
        Self::told(realm, entity, Told::by_introspection(answer), recorded)
    }

    fn told(realm: &Realm, entity: EntityId, told: Told<'_>, recorded: &Attributes) -> Result<Self, PrincipalError> {
        let mapping = &realm.file.principal;
        let declared = realm.schema.entities.get(&mapping.entity);
        let mut attributes =
            typed_records(realm, recorded, |name| mapping.attributes.iter().all(|claim| *claim.attribute != **name))?;
        for claim in &mapping.attributes {
            let Some(member) = declared.and_then(|members| members.get(&claim.attribute)) else { continue };
            let said = told.of(claim)?;
            let kept = recorded.get(&claim.attribute).filter(|_| said.is_none() || claim.restricts);
            let kept = kept.map(|value| typed_record(realm, &claim.attribute, member, value)).transpose()?;
            let kept = kept.map(|(_, value)| value);
            let value = match (said, kept) {
                (None, Some(kept)) => Some(kept),
                (None, None) => match unsaid(realm, claim, member)? {
                    None if member.is_required => return Err(PrincipalError::ClaimMissing(told.name(claim))),
                    value => value,
                },
                (Some(said), kept) => match (told.attribute(realm, claim, member, &said)?, kept) {
                    (Some(Value::List(said)), Some(Value::List(kept))) => Some(united(kept, said)),
                    (said, _) => said,
                },
            };
            attributes.extend(value.map(|value| (Arc::clone(&claim.attribute), value)));
        }
        let actor = actor(realm, &told)?;
        Self::new(realm, entity, attributes.into_iter().collect(), actor)
    }

    /// The principal of an application by its record alone. A set that the record does not have is empty.
    ///
    /// # Errors
    /// The first attribute that is missing or does not fit the realm's schema any more. The message holds no value.
    pub fn from_record(realm: &Realm, id: &str, recorded: &Attributes) -> Result<Self, PrincipalError> {
        let mapping = &realm.file.principal;
        let invalid = |attribute: &str, expected: &str| PrincipalError::AttributeInvalid {
            attribute: attribute.into(),
            expected: expected.to_owned(),
        };
        let entity = realm.relations.entity_id(&mapping.entity, id).map_err(|expected| invalid("id", expected))?;
        let mut attributes = typed_records(realm, recorded, |_| true)?;
        for claim in mapping.attributes.iter().filter(|claim| recorded.get(&claim.attribute).is_none()) {
            let Some(member) = application::member(realm, &claim.attribute) else { continue };
            match unsaid(realm, claim, member)? {
                Some(value) => attributes.push((Arc::clone(&claim.attribute), value)),
                None if member.is_required => {
                    return Err(invalid(&claim.attribute, "there, and the realm's schema requires it"));
                }
                None => {}
            }
        }
        Self::new(realm, entity, attributes.into_iter().collect(), None)
    }

    /// The name of the principal that claims stand for, or the answer of an introspection: what the first of the realm's
    /// claims for it that is there says.
    ///
    /// # Errors
    /// A claim that is missing or wrong. The message holds no value.
    pub fn named_in(realm: &Realm, claims: &Map<String, Json>) -> Result<EntityId, PrincipalError> {
        let mapping = &realm.file.principal;
        let told = Told::by_token(claims);
        let found = mapping.id_claims.iter().find_map(|name| told.claim(name).map(|claim| (name, claim)));
        let Some((name, claim)) = found else { return Err(PrincipalError::ClaimMissing(id_claims(mapping))) };
        entity_id(realm, &mapping.entity, name, Some(claim))
    }

    /// The principal of this name and these attributes once more, as it was made of its token.
    ///
    /// # Errors
    /// What the realm has no type for: then it was another realm's.
    pub fn again(realm: &Realm, entity: EntityId, attributes: Attributes) -> Result<Self, PrincipalError> {
        Self::new(realm, entity, attributes, None)
    }

    fn new(
        realm: &Realm,
        entity: EntityId,
        attributes: Attributes,
        actor: Option<EntityId>,
    ) -> Result<Self, PrincipalError> {
        let mapping = &realm.file.principal;
        let claim_set = realm.file.grants.as_ref().and_then(|grants| match attributes.get(&grants.claim_set) {
            Some(Value::String(name)) => Some(Arc::clone(name)),
            _ => None,
        });
        let parents =
            mapping.parents.iter().filter_map(|name| attributes.get(name)).flat_map(entities_of).cloned().collect();
        let links: Vec<(&str, Value)> = realm.links(&entity).collect();
        let (types, all) = (&realm.cedar_types, with_links(&attributes, &links));
        let made = types.uid(&entity.entity_type, &entity.id).zip(types.entity(&entity, all, []));
        let Some((uid, alone)) = made else { return Err(PrincipalError::ClaimMissing(id_claims(mapping))) };
        let attributes = Arc::new(attributes);
        Ok(Self {
            entity,
            attributes,
            claim_set,
            actor,
            parents,
            assumed: None,
            uid,
            alone,
            ancestry: ArcSwapOption::empty(),
        })
    }

    /// Cedar's name of the principal.
    pub(super) fn uid(&self) -> &EntityUid {
        &self.uid
    }

    /// The entities of an attribute.
    pub fn entities(&self, attribute: &str) -> impl Iterator<Item = &EntityId> {
        self.attributes.get(attribute).into_iter().flat_map(entities_of)
    }

    /// The principal for policies that don't ask what contains it.
    pub(super) fn alone(&self) -> CedarEntity {
        self.alone.clone()
    }

    /// The principal with all that contains it, as token and graph have it.
    pub(super) fn ancestry(&self, realm: &Realm, graph: &Graph) -> Arc<Ancestry> {
        if let Some(known) = self.ancestry.load().as_ref().filter(|known| known.is_fresh(graph)) {
            return Arc::clone(known);
        }
        let types = &realm.cedar_types;
        let ancestors = ancestors(realm, self, graph, &self.entity);
        let mut through: Vec<Arc<str>> = vec![Arc::clone(&self.entity.entity_type)];
        through.extend(ancestors.iter().map(|uid| Arc::from(uid.type_name().to_string())));
        // The graph knows what happens to a history by the type whose past it shows.
        for name in &mut through {
            if let Some(base) = realm.relations.history_of(name) {
                *name = Arc::clone(base);
            }
        }
        through.sort();
        through.dedup();
        let links: Vec<(&str, Value)> = realm.links(&self.entity).collect();
        let entity = types.entity(&self.entity, with_links(&self.attributes, &links), ancestors.iter().cloned());
        let entity = entity.unwrap_or_else(|| self.alone.clone());
        let changed = latest_change(graph, &through);
        let ancestry = Arc::new(Ancestry { seen: graph.revision(), changed, through, entity, ancestors });
        self.ancestry.store(Some(Arc::clone(&ancestry)));
        ancestry
    }
}

/// What contains a principal, and when that was found out.
#[derive(Debug)]
pub(super) struct Ancestry {
    pub(super) entity: CedarEntity,
    pub(super) ancestors: Vec<EntityUid>,
    /// The revision that it was found out at.
    seen: Revision,
    /// The entity types that were passed: only a change to one of them can change what contains the principal.
    through: Vec<Arc<str>>,
    /// When one of them had last changed by then.
    changed: Revision,
}

impl Ancestry {
    fn is_fresh(&self, graph: &Graph) -> bool {
        self.seen == graph.revision() || self.changed == latest_change(graph, &self.through)
    }
}

fn latest_change(graph: &Graph, types: &[Arc<str>]) -> Revision {
    types.iter().map(|name| graph.type_revision(name)).max().unwrap_or_default()
}

/// The attributes, and the links that none of them stands in for.
fn with_links<'a>(
    attributes: &'a Attributes,
    links: &'a [(&'a str, Value)],
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let links = links.iter().filter(|(name, _)| attributes.get(name).is_none());
    attributes.iter().map(|(name, value)| (&**name, value)).chain(links.map(|(name, value)| (*name, value)))
}

/// The value of an attribute that nothing is said of: its default, or of a set no members.
fn unsaid(realm: &Realm, claim: &ClaimMapping, member: &Member) -> Result<Option<Value>, PrincipalError> {
    match (&claim.default, &member.value_type) {
        (Some(default), _) => typed_record(realm, &claim.attribute, member, default).map(|(_, value)| Some(value)),
        (None, AttributeType::Set(_)) => Ok(Some(Value::List(Vec::new()))),
        (None, _) => Ok(None),
    }
}

/// Who acts for the principal, as the claims say it.
fn actor(realm: &Realm, told: &Told<'_>) -> Result<Option<EntityId>, PrincipalError> {
    let Some(act) = told.claim("act") else { return Ok(None) };
    entity_id(realm, realm.file.principal.actor_type(), "act.sub", act.get("sub")).map(Some)
}

/// The entity of this type that a claim names.
fn entity_id(
    realm: &Realm,
    entity_type: &Arc<str>,
    claim: &str,
    said: Option<&Json>,
) -> Result<EntityId, PrincipalError> {
    let invalid = |expected| PrincipalError::ClaimInvalid { claim: claim.into(), expected };
    match said {
        Some(Json::String(id)) if !id.is_empty() && id.len() <= EntityId::ID_BYTES_MAX => {
            realm.relations.entity_id(entity_type, id).map_err(invalid)
        }
        _ => Err(invalid("a string of 1 to 512 bytes")),
    }
}

/// What an error calls the claims that give the id.
fn id_claims(mapping: &PrincipalMapping) -> Arc<str> {
    mapping.id_claims.join("` or `").into()
}

fn entities_of(value: &Value) -> impl Iterator<Item = &EntityId> {
    let items = match value {
        Value::List(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    items.iter().filter_map(|item| if let Value::Entity(entity) = item { Some(entity) } else { None })
}

/// The members of both, sorted.
fn united(mut items: Vec<Value>, others: Vec<Value>) -> Value {
    items.extend(others);
    items.sort();
    items.dedup();
    Value::List(items)
}

/// The attributes of a record that are wanted and still declared, typed.
fn typed_records(
    realm: &Realm,
    recorded: &Attributes,
    is_wanted: impl Fn(&Arc<str>) -> bool,
) -> Result<Vec<(Arc<str>, Value)>, PrincipalError> {
    // What the schema does not declare any more, no policy can look at.
    let wanted = recorded.iter().filter(|(name, _)| is_wanted(name));
    let declared = wanted.filter_map(|(name, value)| Some((name, application::member(realm, name)?, value)));
    declared.map(|(name, member, value)| typed_record(realm, name, member, value)).collect()
}

/// An attribute of a record, as the schema wants it now: the realm may have been changed after it was put.
fn typed_record(
    realm: &Realm,
    name: &Arc<str>,
    member: &Member,
    value: &Value,
) -> Result<(Arc<str>, Value), PrincipalError> {
    let invalid = |expected| PrincipalError::AttributeInvalid { attribute: Arc::clone(name), expected };
    let value = application::recorded(value, &member.value_type, &realm.relations).map_err(invalid)?;
    Ok((Arc::clone(name), value))
}

#[cfg(test)]
mod tests;
