//! The row filter as an API gets it.
use super::Filter;
use crate::domain::{
    decision::Obligation, graph::Graph, principal::Principal, realm::Realm, resource_type::ResourceType,
};
/// todo
pub fn obligation(
    _filter: &Filter,
    _realm: &Realm,
    _principal: &Principal,
    _resource_type: &ResourceType,
    _graph: &Graph,
) -> Obligation {
    Obligation { id: "row_filter".into(), parameters: Default::default() }
}
