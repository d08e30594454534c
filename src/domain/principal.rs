//! Who asks: the claims of a verified token as the realm understands them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cedar_policy::EntityUid;
use serde_json::{Map, Value as Json};

use super::{
    ancestors::ancestors,
    cedar::CedarEntity,
    graph::Graph,
    id::{EntityId, Revision},
    realm::Realm,
    realm_file::ClaimMapping,
    record_mapping::Relations,
    schema::{AttributeType, Member},
    value::{Attributes, Value},
};

/// The principal of a request. Immutable but for a cache of what the organization tree says of it.
#[derive(Debug)]
pub struct Principal {
    /// Its name.
    pub entity: EntityId,
    /// Its attributes, as the realm maps the claims.
    pub attributes: Arc<Attributes>,
    /// The name of its claim set, where the realm has grants.
    pub claim_set: Option<Arc<str>>,
    /// What contains it, as the token says.
    pub(super) parents: Vec<EntityId>,
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
}

impl Principal {
    /// Maps claims to the principal that they stand for.
    ///
    /// # Errors
    /// The first claim that is missing or wrong. The message holds no value.
    pub fn from_claims(realm: &Realm, claims: &Map<String, Json>) -> Result<Self, PrincipalError> {
        let mapping = &realm.file.principal;
        let id = match claims.get(&*mapping.id_claim) {
            Some(Json::String(id)) if !id.is_empty() && id.len() <= EntityId::ID_BYTES_MAX => Arc::from(id.as_str()),
            None | Some(Json::Null) => return Err(PrincipalError::ClaimMissing(Arc::clone(&mapping.id_claim))),
            Some(_) => {
                let expected = "a string of 1 to 512 bytes";
                return Err(PrincipalError::ClaimInvalid { claim: Arc::clone(&mapping.id_claim), expected });
            }
        };
        let invalid = |expected| PrincipalError::ClaimInvalid { claim: Arc::clone(&mapping.id_claim), expected };
        let entity = realm.relations.entity_id(&mapping.entity, &id).map_err(invalid)?;
        let declared = realm.schema.entities.get(&mapping.entity);
        let mut attributes = Vec::with_capacity(mapping.attributes.len());
        for claim in &mapping.attributes {
            let Some(member) = declared.and_then(|members| members.get(&claim.attribute)) else { continue };
            if let Some(value) = attribute(claim, member, claims.get(&*claim.claim), &realm.relations)? {
                attributes.push((Arc::clone(&claim.attribute), value));
            }
        }
        let attributes: Attributes = attributes.into_iter().collect();
        let claim_set = realm.file.grants.as_ref().and_then(|grants| match attributes.get(&grants.claim_set) {
            Some(Value::String(name)) => Some(Arc::clone(name)),
            _ => None,
        });
        let parents =
            mapping.parents.iter().filter_map(|name| attributes.get(name)).flat_map(entities_of).cloned().collect();
        let links: Vec<(&str, Value)> = realm.links(&entity).collect();
        let (types, all) = (&realm.cedar_types, with_links(&attributes, &links));
        let made = types.uid(&entity.entity_type, &entity.id).zip(types.entity(&entity, all, []));
        let Some((uid, alone)) = made else { return Err(PrincipalError::ClaimMissing(Arc::clone(&mapping.id_claim))) };
        let attributes = Arc::new(attributes);
        Ok(Self { entity, attributes, claim_set, parents, uid, alone, ancestry: ArcSwapOption::empty() })
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

fn entities_of(value: &Value) -> impl Iterator<Item = &EntityId> {
    let items = match value {
        Value::List(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    items.iter().filter_map(|item| if let Value::Entity(entity) = item { Some(entity) } else { None })
}

fn attribute(
    mapping: &ClaimMapping,
    member: &Member,
    claim: Option<&Json>,
    relations: &Relations,
) -> Result<Option<Value>, PrincipalError> {
    let invalid = |expected| PrincipalError::ClaimInvalid { claim: Arc::clone(&mapping.claim), expected };
    match (&member.value_type, claim) {
        (AttributeType::Set(_), None | Some(Json::Null)) => Ok(Some(Value::List(Vec::new()))),
        (AttributeType::Set(element), Some(claim)) => {
            let items: Vec<Json> = match (claim, &mapping.separator) {
                // A blank text names nothing.
                (Json::Array(items), _) => items.iter().filter(|item| !is_blank(item)).cloned().collect(),
                (Json::String(text), Some(separator)) => {
                    let parts = text.split(&**separator).map(str::trim).filter(|part| !part.is_empty());
                    parts.map(|part| Json::String(part.to_owned())).collect()
                }
                (single, _) => vec![single.clone()],
            };
            let values: Result<Vec<Value>, _> = items.iter().map(|item| scalar(element, item, relations)).collect();
            let mut values = values.map_err(invalid)?;
            values.sort();
            values.dedup();
            Ok(Some(Value::List(values)))
        }
        (_, None | Some(Json::Null)) if member.is_required => {
            Err(PrincipalError::ClaimMissing(Arc::clone(&mapping.claim)))
        }
        (_, None | Some(Json::Null)) => Ok(None),
        (single, Some(claim)) => scalar(single, claim, relations).map(Some).map_err(invalid),
    }
}

fn is_blank(item: &Json) -> bool {
    item.as_str().is_some_and(|text| text.trim().is_empty())
}

fn scalar(wanted: &AttributeType, json: &Json, relations: &Relations) -> Result<Value, &'static str> {
    match (wanted, json) {
        (AttributeType::Bool, Json::Bool(flag)) => Ok(Value::Bool(*flag)),
        (AttributeType::Bool, _) => Err("a boolean"),
        (AttributeType::Long, Json::Number(number)) => number.as_i64().map(Value::Long).ok_or("a whole number"),
        (AttributeType::Long, Json::String(text)) => text.parse().map(Value::Long).map_err(|_| "a whole number"),
        (AttributeType::Long, _) => Err("a whole number"),
        (AttributeType::String, Json::String(text)) => Ok(Value::String(text.as_str().into())),
        (AttributeType::String, _) => Err("a string"),
        (AttributeType::Entity(entity_type), Json::String(id)) => {
            relations.entity_id(entity_type, id).map(Value::Entity)
        }
        (AttributeType::Entity(entity_type), Json::Number(id)) if id.is_i64() => {
            relations.entity_id(entity_type, &id.to_string()).map(Value::Entity)
        }
        (AttributeType::Entity(_), _) => Err("a string or a whole number"),
        (AttributeType::Set(_) | AttributeType::Record(_) | AttributeType::Other, _) => {
            Err("a value that a claim can hold")
        }
    }
}
