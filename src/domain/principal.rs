//! Who asks: the claims of a verified token as the realm understands them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cedar_policy::EntityUid;
use serde_json::{Map, Value as Json};

use super::{
    cedar::{CedarEntity, CedarTypes},
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
    uid: EntityUid,
    alone: CedarEntity,
    parents: Vec<EntityId>,
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
        let entity = EntityId { entity_type: Arc::clone(&mapping.entity), id };
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
        Self::assemble(&realm.cedar_types, entity, attributes, claim_set, parents)
            .ok_or_else(|| PrincipalError::ClaimMissing(Arc::clone(&mapping.id_claim)))
    }

    fn assemble(
        types: &CedarTypes,
        entity: EntityId,
        attributes: Attributes,
        claim_set: Option<Arc<str>>,
        parents: Vec<EntityId>,
    ) -> Option<Self> {
        let uid = types.uid(&entity.entity_type, &entity.id)?;
        let alone = types.entity(&entity, attributes.iter().map(|(name, value)| (&**name, value)), [])?;
        let attributes = Arc::new(attributes);
        Some(Self { entity, attributes, claim_set, uid, alone, parents, ancestry: ArcSwapOption::empty() })
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

    /// The principal with all that contains it, and the names of that, as the graph has it.
    pub(super) fn with_ancestors(&self, types: &CedarTypes, graph: &Graph) -> (CedarEntity, Vec<EntityUid>) {
        let changed = |types: &[Arc<str>]| types.iter().map(|name| graph.type_revision(name)).max().unwrap_or_default();
        if let Some(known) = self.ancestry.load().as_deref().filter(|known| changed(&known.through) == known.revision) {
            return (known.entity.clone(), known.ancestors.clone());
        }
        let mut through = vec![Arc::clone(&self.entity.entity_type)];
        let mut ancestors = Vec::new();
        let mut add = |entity: &EntityId| {
            if !through.contains(&entity.entity_type) {
                through.push(Arc::clone(&entity.entity_type));
            }
            ancestors.extend(types.uid(&entity.entity_type, &entity.id));
        };
        self.parents.iter().for_each(&mut add);
        for start in std::iter::once(&self.entity).chain(&self.parents) {
            if let Some(node) = graph.node(&start.entity_type, &start.id) {
                graph.ancestors(node, |_| true).into_iter().for_each(|above| add(&graph.entity(above)));
            }
        }
        ancestors.sort();
        ancestors.dedup();
        // Nothing contains itself, whatever the claims and the graph say together.
        ancestors.retain(|uid| *uid != self.uid);
        let pairs = self.attributes.iter().map(|(name, value)| (&**name, value));
        let entity = types.entity(&self.entity, pairs, ancestors.iter().cloned()).unwrap_or_else(|| self.alone.clone());
        let known =
            Ancestry { revision: changed(&through), through, entity: entity.clone(), ancestors: ancestors.clone() };
        self.ancestry.store(Some(Arc::new(known)));
        (entity, ancestors)
    }
}

/// What contains a principal, and when that was found out.
#[derive(Debug)]
struct Ancestry {
    /// The entity types that were passed: only a change to one of them can change what contains the principal.
    through: Vec<Arc<str>>,
    revision: Revision,
    entity: CedarEntity,
    ancestors: Vec<EntityUid>,
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
                (Json::Array(items), _) => items.clone(),
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
