//! Media types and assignments that might turn a deny: what a request could name instead of what it names, or doesn't.

use std::sync::Arc;

use super::{Fact, propose::Proposal};
use crate::domain::{
    access_request::AccessRequest,
    principal::Principal,
    profile::selection::{Choices, choices},
    realm::Realm,
    schema::AttributeType,
    value::Value,
};

/// The media types of the profiles that are assigned for what is asked, none at all, and the assignment of the profile that
/// the request names.
pub(super) fn proposals(realm: &Realm, principal: &Principal, request: &AccessRequest) -> Vec<Proposal> {
    let Some(Choices { media_types, unassigned }) = choices(realm, principal, request) else { return Vec::new() };
    let is_other = |media_type: &Arc<str>| !media_type.eq_ignore_ascii_case(&request.media_type);
    let media_types = media_types.into_iter().chain([Arc::default()]).filter(is_other).map(Fact::MediaType);
    let assignment = unassigned.and_then(|profile| assignment(realm, principal, profile));
    let facts = media_types.chain(assignment);
    facts.map(|fact| Proposal { fact, policy: Arc::default() }).collect()
}

/// A token that assigns the profile.
fn assignment(realm: &Realm, principal: &Principal, profile: Arc<str>) -> Option<Fact> {
    let attribute = &realm.file.profiles.as_ref()?.attribute;
    let mapping = realm.file.principal.attribute(attribute)?;
    let member = realm.schema.entities.get(&principal.entity.entity_type)?.get(attribute)?;
    let adds = matches!(member.value_type, AttributeType::Set(_));
    let values = vec![mapping.said_for(&Value::String(profile))?];
    Some(Fact::Claim { claim: mapping.path.join(".").into(), values, adds })
}
