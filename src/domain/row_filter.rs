//! What a token may see of a resource type, as a condition on the resource's values.

use std::sync::Arc;

use super::{
    access_request::AccessRequest,
    decision::{Decision, Obligation},
    graph::Graph,
    id::EntityId,
    principal::Principal,
    realm::Realm,
    resource_type::ResourceType,
    value::{Attributes, Value},
};

/// A condition on the values of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Holds for every resource.
    All,
    /// Holds for none.
    None,
    /// A test of one value.
    Is(Test),
    /// All of these hold.
    AllOf(Vec<Filter>),
    /// One of these holds.
    AnyOf(Vec<Filter>),
    /// This doesn't hold.
    Not(Box<Filter>),
}

/// A test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The place of the subject among those of the resource type.
    pub subject: usize,
    /// The links to follow from its value.
    pub links: Vec<Arc<str>>,
    /// What must be so.
    pub condition: Condition,
}

/// What must be so of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is one.
    HasValue,
    /// It is one of these or within one.
    Within(Vec<EntityId>),
    /// It is this entity or contains it.
    Contains(EntityId),
    /// It is one of these.
    OneOf(Vec<Value>),
}

/// What is known about all resources of a type.
#[derive(Clone, Debug)]
pub enum Answer {
    /// None could pass, and why.
    Refused(Box<Decision>),
    /// Those pass for which this holds.
    Filtered(Filter),
    /// Each has to be asked about.
    Inexpressible,
}

/// The condition for a request without values.
pub fn row_filter(_realm: &Realm, _principal: &Principal, _request: &AccessRequest, _graph: &Graph) -> Answer {
    Answer::Inexpressible
}

/// The condition as an obligation.
pub fn obligation(
    _filter: &Filter,
    _realm: &Realm,
    _principal: &Principal,
    _resource_type: &ResourceType,
    _graph: &Graph,
) -> Obligation {
    Obligation { id: "row_filter".into(), parameters: Attributes::default() }
}
