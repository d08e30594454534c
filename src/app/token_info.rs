//! What a token may do.

use std::sync::Arc;

use crate::{
    app::{
        App,
        authorize::{Caller, Secret},
        error::Error,
    },
    domain::{graph::Graph, id::EntityId, relationship::EntityFacts, value::Attributes},
};

/// An entity that a principal reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// The entity.
    pub entity: EntityId,
    /// What the records say about it.
    pub facts: Option<Arc<EntityFacts>>,
    /// The entities directly above it, sorted.
    pub parents: Vec<EntityId>,
}

/// What a good token may do.
#[derive(Clone, Debug)]
pub struct TokenInfo {
    /// The principal.
    pub principal: EntityId,
    /// Its attributes.
    pub attributes: Arc<Attributes>,
    /// All that the principal's own entities contain, themselves included, sorted.
    pub reachable: Vec<Reachable>,
    /// The actions that its grants name, by resource type, sorted.
    pub resources: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The actions that its grants name, by resource claim that is no resource type's, for example a service; sorted.
    pub claims: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Until when the token is good, in seconds since the epoch.
    pub expires_at_seconds: i64,
}

/// A token that isn't good: the stable code of why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inactive(pub Arc<str>);

impl App {
    /// Says what a token may do.
    ///
    /// # Errors
    /// An unknown realm, or keys that cannot be had. A bad token is an answer.
    pub async fn token_info(&self, realm: &str, token: &Secret) -> Result<Result<TokenInfo, Inactive>, Error> {
        let state = self.realm_of(realm, token)?;
        let loaded = state.policies();
        let caller = match self.verify(state, &loaded.realm, token).await? {
            Ok(caller) => caller,
            Err(reason) => return Ok(Err(Inactive(Arc::clone(&reason.code)))),
        };
        let Caller { principal, expires_at_seconds, .. } = &*caller;
        let graph = state.graph();
        let parents = loaded.realm.file.principal.parents.iter();
        let mut reachable: Vec<Reachable> = parents
            .flat_map(|attribute| principal.entities(attribute))
            .flat_map(|entity| below(&graph, entity))
            .collect();
        reachable.sort_by(|a, b| a.entity.cmp(&b.entity));
        reachable.dedup_by(|a, b| a.entity == b.entity);
        let claim_set = principal.claim_set.as_deref().unwrap_or_default();
        let grants = loaded.realm.grants.as_ref();
        let resources = grants.map(|grants| grants.granted(claim_set)).unwrap_or_default();
        let claims = grants.map(|grants| grants.claims(claim_set, "")).unwrap_or_default();
        Ok(Ok(TokenInfo {
            principal: principal.entity.clone(),
            attributes: Arc::clone(&principal.attributes),
            reachable,
            resources,
            claims,
            expires_at_seconds: *expires_at_seconds,
        }))
    }
}

/// The entity and all of its type below it; an entity that no record tells of stands for itself.
fn below(graph: &Graph, entity: &EntityId) -> Vec<Reachable> {
    let Some(node) = graph.node(&entity.entity_type, &entity.id) else {
        return vec![Reachable { entity: entity.clone(), facts: None, parents: Vec::new() }];
    };
    let nodes = graph.descendants_of_type(node, &entity.entity_type);
    nodes
        .into_iter()
        .map(|node| {
            let mut parents: Vec<EntityId> = graph.parents(node).map(|(_, parent)| graph.entity(parent)).collect();
            parents.sort();
            parents.dedup();
            Reachable { entity: graph.entity(node), facts: graph.facts(node).cloned(), parents }
        })
        .collect()
}
