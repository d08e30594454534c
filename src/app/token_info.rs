//! What a token may do.

use std::{collections::HashSet, sync::Arc};

use crate::{
    app::{
        App,
        authorize::Caller,
        credentials::Credentials,
        error::{Error, Kind},
        realm_state::{LoadedRealm, RealmState},
    },
    domain::{
        decide::refuse,
        decision::{Denial, Outcome, Reason},
        graph::{Graph, NodeId},
        id::EntityId,
        lineages::{Lineage, lineages},
        realm_file::{TokenInfoSettings, Unknown},
        relationship::EntityFacts,
        value::{Attributes, Value},
    },
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

/// Actions by name, sorted.
pub type Actions = Vec<(Arc<str>, Vec<Arc<str>>)>;

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
    pub resources: Actions,
    /// The actions that its grants name on what is no resource type, by resource claim, sorted.
    pub claims: Actions,
    /// Until when the token is good, in seconds since the epoch.
    pub expires_at_seconds: i64,
}

/// A token that isn't good: the stable code of why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inactive(pub Arc<str>);

/// An organization that a principal reaches, of which the records tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: Arc<str>,
    /// What the records call its `name`; empty if they don't.
    pub name: Arc<str>,
    /// What the records call its `type`; empty if they don't.
    pub kind: Arc<str>,
    /// The ids of itself and of what stands above it, by type; of several of one type the nearest, see [`lineages`].
    pub lineage: Vec<(Arc<str>, Arc<str>)>,
}

/// A realm that tells holders of tokens about them, as it is now.
#[derive(Clone, Debug)]
pub struct InfoRealm {
    state: Arc<RealmState>,
    loaded: Arc<LoadedRealm>,
}

/// Who holds a token, by the rules and the relationships of one moment.
#[derive(Clone, Debug)]
pub struct Holder {
    loaded: Arc<LoadedRealm>,
    graph: Arc<Graph>,
    caller: Arc<Caller>,
}

impl App {
    /// Says what a token may do.
    ///
    /// # Errors
    /// An unknown realm, or keys that cannot be had. A bad token is an answer.
    pub async fn token_info(
        &self,
        realm: &str,
        credentials: &Credentials,
    ) -> Result<Result<TokenInfo, Inactive>, Error> {
        let state = self.realm_of(realm, credentials)?;
        let holder = match self.holder(state, state.policies(), credentials).await? {
            Ok(holder) => holder,
            Err(inactive) => return Ok(Err(inactive)),
        };
        let info = self.in_turn(move || holder.info()).await;
        info.map(Ok).map_err(|_| Error::new(Kind::Internal, "ANSWER_MISSING", "the answer was not made"))
    }

    /// The realm of this name that tells holders of tokens about them; without a name, the one that alone trusts the
    /// token's issuer, or the only one. `None` when no name is given and none can be found.
    ///
    /// # Errors
    /// A realm that isn't there or tells nothing.
    pub fn info_realm(&self, name: &str, credentials: &Credentials) -> Result<Option<InfoRealm>, Error> {
        let state = match self.realm_of(name, credentials) {
            Ok(state) => Arc::clone(state),
            Err(error) if error.kind == Kind::NotFound => return Err(error),
            Err(_) => return Ok(None),
        };
        let loaded = state.policies();
        if loaded.realm.file.token_info.is_none() {
            let message = "the realm does not tell about tokens; see `[token_info]` in its realm.toml";
            return Err(Error::new(Kind::NotFound, "TOKEN_INFO_NOT_OFFERED", message));
        }
        Ok(Some(InfoRealm { state, loaded }))
    }

    /// Who holds the token of these credentials.
    ///
    /// # Errors
    /// Keys that cannot be had. A bad token is an answer.
    pub async fn token_holder(
        &self,
        realm: &InfoRealm,
        credentials: &Credentials,
    ) -> Result<Result<Holder, Inactive>, Error> {
        self.holder(&realm.state, Arc::clone(&realm.loaded), credentials).await
    }

    async fn holder(
        &self,
        state: &Arc<RealmState>,
        loaded: Arc<LoadedRealm>,
        credentials: &Credentials,
    ) -> Result<Result<Holder, Inactive>, Error> {
        Ok(match self.authenticate(state, &loaded.realm, credentials, self.proofs.call()).await? {
            Ok(caller) => Ok(Holder { graph: state.graph(), loaded, caller }),
            Err(reason) => Err(Inactive(Arc::clone(&reason.code))),
        })
    }
}

impl InfoRealm {
    /// What the realm says to whom it refuses for this reason, if it has words for it.
    pub fn denial(&self, code: &str) -> Option<Denial> {
        let realm = &self.loaded.realm;
        let has_words = realm.file.denials.iter().any(|(known, _)| **known == *code);
        has_words.then(|| refuse(realm, Outcome::Unauthenticated, Reason::plain(code, ""))).and_then(|told| told.denial)
    }

    /// What the realm says to a bad token: to any here, else for this reason, else to any anywhere.
    pub fn denial_of_token(&self, code: &str) -> Option<Denial> {
        ["TOKEN_INFO_UNAUTHENTICATED", code, "TOKEN"].into_iter().find_map(|code| self.denial(code))
    }

    /// Refusals of what a request holds have all their members, the empty ones too.
    pub fn has_empty_members(&self) -> bool {
        self.loaded.realm.file.token_info.as_ref().is_some_and(|settings| settings.has_empty_members)
    }

    /// The scheme words that tokens of the realm come with, `Bearer` first.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        let issuers = self.loaded.realm.file.issuers.iter();
        ["Bearer"].into_iter().chain(issuers.map(|issuer| &*issuer.scheme))
    }
}

impl Holder {
    /// What the realm wants shown; `None` in a realm that tells nothing.
    pub fn settings(&self) -> Option<&TokenInfoSettings> {
        self.loaded.realm.file.token_info.as_ref()
    }

    /// Who holds the token.
    pub fn principal(&self) -> &EntityId {
        &self.caller.principal.entity
    }

    /// The texts of one of the principal's attributes, and the ids of its entities, in order.
    pub fn texts(&self, attribute: &str) -> Vec<Arc<str>> {
        let items = match self.caller.principal.attributes.get(attribute) {
            Some(Value::List(items)) => items.as_slice(),
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(Arc::clone(text)),
            Value::Entity(entity) => Some(Arc::clone(&entity.id)),
            _ => None,
        };
        items.iter().filter_map(text).collect()
    }

    /// The name of the principal's claim set as its token writes it; empty without one.
    pub fn claim_set(&self) -> &str {
        self.caller.principal.claim_set.as_deref().unwrap_or_default()
    }

    /// The realm doesn't know the principal's claim set, and takes that for a fault of the configuration.
    pub fn is_claim_set_refused(&self) -> bool {
        let realm = &self.loaded.realm;
        let is_fault = realm.file.grants.as_ref().is_some_and(|grants| grants.unknown_claim_set == Unknown::Error);
        let is_named = |known: &Arc<str>| known.eq_ignore_ascii_case(self.claim_set());
        is_fault && realm.grants.as_ref().is_some_and(|grants| !grants.claim_sets().iter().any(is_named))
    }

    /// The actions that the grants name, by resource type, sorted.
    pub fn resources(&self) -> Actions {
        self.loaded.realm.grants.as_ref().map(|grants| grants.granted(self.claim_set())).unwrap_or_default()
    }

    /// The actions that the grants name on claims that begin like this, in any spelling that the realm names, and are no
    /// resource type; by what stands behind, sorted.
    pub fn claims_behind(&self, prefix: &str) -> Actions {
        let realm = &self.loaded.realm;
        let (Some(grants), Some(settings)) = (&realm.grants, &realm.file.grants) else { return Actions::new() };
        grants.claims_behind(self.claim_set(), prefix, settings)
    }

    /// All organizations that the principal's own contain, themselves included, each once; numbers in their order, then
    /// other ids in theirs. Those that no record describes are left out. The work grows with the answer.
    pub fn organizations(&self) -> Vec<Organization> {
        let Some(attribute) = self.settings().map(|settings| &settings.organizations) else { return Vec::new() };
        let own: Vec<&EntityId> = self.caller.principal.entities(attribute).collect();
        let Some(entity_type) = own.first().map(|entity| &entity.entity_type) else { return Vec::new() };
        let fact = |facts: &EntityFacts, name: &str| {
            facts.facts.iter().find(|(known, _)| **known == *name).map(|(_, fact)| Arc::clone(fact))
        };
        let kind_of = |node: NodeId| fact(self.graph.facts(node)?, "type");
        let described = |lineage: Lineage| {
            let facts = self.graph.facts(lineage.node)?;
            let (name, kind) = (fact(facts, "name").unwrap_or_default(), fact(facts, "type").unwrap_or_default());
            Some(Organization { id: lineage.id, name, kind, lineage: lineage.nearest })
        };
        let all = lineages(&self.graph, entity_type, self.nodes(&own), kind_of);
        let mut found: Vec<Organization> = all.into_iter().filter_map(described).collect();
        found.sort_by_cached_key(|organization| {
            (organization.id.parse::<i64>().unwrap_or(i64::MAX), Arc::clone(&organization.id))
        });
        found
    }

    /// The actions that the grants name on what is no resource type, by claim, sorted.
    fn claims(&self) -> Actions {
        self.loaded.realm.grants.as_ref().map(|grants| grants.claims(self.claim_set())).unwrap_or_default()
    }

    /// What the principal may do, its reach included.
    fn info(&self) -> TokenInfo {
        let principal = &self.caller.principal;
        let parents = self.loaded.realm.file.principal.parents.iter();
        let own: Vec<&EntityId> = parents.flat_map(|attribute| principal.entities(attribute)).collect();
        let stands_for_itself = |entity: &&&EntityId| self.graph.node(&entity.entity_type, &entity.id).is_none();
        let unknown = own.iter().filter(stands_for_itself).map(|entity| Reachable {
            entity: (*entity).clone(),
            facts: None,
            parents: Vec::new(),
        });
        let mut reachable: Vec<Reachable> = unknown.collect();
        reachable.extend(self.nodes(&own).into_iter().map(|node| self.reachable(node)));
        reachable.sort_by(|a, b| a.entity.cmp(&b.entity));
        reachable.dedup_by(|a, b| a.entity == b.entity);
        TokenInfo {
            principal: principal.entity.clone(),
            attributes: Arc::clone(&principal.attributes),
            reachable,
            resources: self.resources(),
            claims: self.claims(),
            expires_at_seconds: self.caller.expires_at_seconds,
        }
    }

    /// The entities and all of their types below them, each once.
    fn nodes(&self, own: &[&EntityId]) -> Vec<NodeId> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for entity in own {
            let Some(node) = self.graph.node(&entity.entity_type, &entity.id) else { continue };
            if !seen.contains(&node) {
                let below = self.graph.descendants_of_type(node, &entity.entity_type);
                found.extend(below.into_iter().filter(|node| seen.insert(*node)));
            }
        }
        found
    }

    fn reachable(&self, node: NodeId) -> Reachable {
        let mut parents: Vec<EntityId> =
            self.graph.parents(node).map(|(_, parent)| self.graph.entity(parent)).collect();
        parents.sort();
        parents.dedup();
        Reachable { entity: self.graph.entity(node), facts: self.graph.facts(node).cloned(), parents }
    }
}
