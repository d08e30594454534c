//! Claim sets: which actions a client's claim set grants on a resource, and under which strategies.
//!
//! The table is a forest of resource claims; grants and defaults sit on its nodes. Everything is
//! resolved when the realm loads, so a decision only looks up. The two rules of inheritance are those of Ed-Fi's Data
//! Management Service (`nearest`) and of the Ed-Fi ODS/API (`first_override`); see [`Inheritance`].
//!
//! [`Inheritance`]: crate::domain::realm_file::Inheritance

mod fault;
mod forest;
pub mod table;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

pub use self::fault::{FAULTS_MAX, GrantFault};
use self::{
    fault::{ambiguous, no_metadata, strategy_fault},
    forest::{Forest, Found, Named, behind, folded, held, other_spellings, resolve},
    table::ClaimTable,
};
use super::{
    fault::Fault,
    realm_file::{GrantSettings, Unknown},
    resource_type::{ResourceType, ResourceTypes},
};

/// What a claim set grants for one action on one resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// The claim set names the resource, for whichever action.
    pub has_resource: bool,
    /// The claim set grants the action.
    pub is_granted: bool,
    /// The strategies, in the order of the table but for those that the realm puts last; each once.
    pub strategies: Vec<Arc<str>>,
    /// The claim that supplied the strategies.
    pub supplied_by: Option<Arc<str>>,
    /// The claim on which the action is granted.
    pub granted_by: Option<Arc<str>>,
    /// The resource's claim and those above it, nearest first; empty when the table doesn't know it.
    pub lineage: Arc<[Arc<str>]>,
    /// Why the grant cannot be used: a fault of the configuration.
    pub fault: Option<Arc<str>>,
}

/// Resolved grants by action.
type ByAction = BTreeMap<Arc<str>, ResolvedGrant>;
/// A claim set by name: resource types, actions, strategies.
pub(super) type FlatClaimSet = (Arc<str>, Vec<(Arc<str>, Vec<(Arc<str>, Vec<Arc<str>>)>)>);
/// Names, each with actions.
pub type NamedActions = Vec<(Arc<str>, Vec<Arc<str>>)>;

/// A grant with the number that plans are cached by.
#[derive(Clone, Debug)]
pub struct ResolvedGrant {
    /// Grants that ask the same of the policies have equal numbers.
    pub number: u32,
    /// The grant.
    pub grant: Arc<Grant>,
}

/// The number of a grant that is only assumed: nothing that is kept by it may be kept.
pub(super) const ASSUMED: u32 = u32::MAX - 1;

#[derive(Clone, Debug)]
struct ClaimSet {
    name: Arc<str>,
    resources: HashMap<Arc<str>, ByAction>,
    /// Leaf claims that no resource type has.
    others: NamedActions,
}

/// What holds for a resource type whoever asks.
#[derive(Clone, Debug)]
struct TypeEntry {
    not_in_set: ResolvedGrant,
    not_granted: ResolvedGrant,
    /// Nobody can be answered.
    is_unusable: bool,
}

/// The grants of a realm, resolved. Names of claim sets compare without ASCII case.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    sets: Arc<HashMap<String, ClaimSet>>,
    types: Arc<HashMap<Arc<str>, TypeEntry>>,
    unknown_set: Option<ResolvedGrant>,
    /// Leaf claims that no resource type has.
    dead: Vec<Arc<str>>,
    /// Resource types whose claim the table doesn't know.
    unknown_types: Vec<Arc<str>>,
    /// The actions that the table speaks of.
    actions: BTreeSet<Arc<str>>,
    numbers: BTreeMap<(bool, bool, Vec<Arc<str>>), u32>,
    known: HashSet<Arc<Grant>>,
}

impl Grants {
    /// Reads the table and resolves it for every resource type.
    ///
    /// # Errors
    /// Every fault, each naming the claim.
    pub(super) fn parse(content: &str, settings: &GrantSettings, types: &ResourceTypes) -> Result<Self, Vec<Fault>> {
        let table = ClaimTable::parse(&settings.file, content)?;
        let tangles = table.tangles(|name| folded(name, settings)).into_iter();
        let mut wrong: Vec<String> = tangles.map(|(claim, what)| format!("claim `{claim}`: {what}")).collect();
        let mut names: BTreeMap<String, Arc<str>> = BTreeMap::new();
        for name in table.claim_set_names() {
            if names.contains_key(&name.to_ascii_lowercase()) {
                wrong.push(format!("claim set `{name}` differs from another only in case, and case doesn't count"));
            }
            names.insert(name.to_ascii_lowercase(), name);
        }
        if !wrong.is_empty() {
            let fault = |message: String| {
                let unknown = message.rsplit('`').nth(1).unwrap_or_default().to_owned();
                Fault::in_file(&settings.file, message).near(&unknown, table.claims.iter().map(|claim| &*claim.name))
            };
            return Err(wrong.into_iter().map(fault).collect());
        }
        Ok(Self::resolve(&table, settings, types, names))
    }

    fn resolve(
        table: &ClaimTable,
        settings: &GrantSettings,
        types: &ResourceTypes,
        names: BTreeMap<String, Arc<str>>,
    ) -> Self {
        let forest = Forest::new(table, settings);
        let mut grants = Self::default();
        grants.unknown_set = Some(grants.numbered(match settings.unknown_claim_set {
            Unknown::Deny => Grant::default(),
            Unknown::Error => Grant { fault: Some(no_metadata()), ..Grant::default() },
        }));
        let mut named: Vec<(&ResourceType, Named<'_>)> = Vec::new();
        for resource_type in types.values() {
            let found = resource_type.claim.as_ref().map_or(Found::Unknown, |claim| forest.find(claim));
            grants.add_type(resource_type, &found, settings);
            if let Found::Known(claim) = found {
                named.push((resource_type, claim));
            }
        }
        let used: HashSet<_> =
            named.iter().filter_map(|(_, named)| named.lineage.first()).map(|leaf| &leaf.name).collect();
        let others: Vec<_> = forest.leaves().filter(|(_, claim)| !used.contains(&claim.name)).collect();
        grants.dead = others.iter().map(|(_, claim)| Arc::clone(&claim.name)).collect();
        let granted = table.claims.iter().flat_map(|claim| claim.claim_sets.iter().flat_map(|(_, actions)| actions));
        let defaults = table.claims.iter().flat_map(|claim| &claim.defaults).map(|(action, _)| action);
        grants.actions = granted.map(|(action, _)| action).chain(defaults).cloned().collect();
        for (key, name) in names {
            let resources = named.iter().filter_map(|(resource_type, named)| {
                let actions = grants.actions_of(&name, named, resource_type, settings)?;
                Some((Arc::clone(&resource_type.name), actions))
            });
            let resources = resources.collect();
            let others = others.iter().map(|(index, claim)| (Arc::clone(&claim.name), forest.lineage(*index)));
            let others = others.map(|(claim, lineage)| (claim, actions(&held(&lineage, &name))));
            let others = others.filter(|(_, actions)| !actions.is_empty()).collect();
            Arc::make_mut(&mut grants.sets).insert(key, ClaimSet { name, resources, others });
        }
        grants
    }

    fn add_type(&mut self, resource_type: &ResourceType, found: &Found<'_>, settings: &GrantSettings) {
        let fault = match found {
            Found::Known(_) => None,
            Found::Ambiguous(claims) => Some(ambiguous(claims)),
            Found::Unknown => Some(no_metadata()).filter(|_| settings.unknown_resource == Unknown::Error),
        };
        let lineage = match found {
            Found::Known(named) => names(named),
            Found::Unknown | Found::Ambiguous(_) => Arc::default(),
        };
        if matches!(found, Found::Unknown) {
            self.unknown_types.push(Arc::clone(&resource_type.name));
        }
        let is_unusable = fault.is_some();
        let not_in_set = Grant { lineage, fault, ..Grant::default() };
        let not_granted = Grant { has_resource: true, ..not_in_set.clone() };
        let entry =
            TypeEntry { not_in_set: self.numbered(not_in_set), not_granted: self.numbered(not_granted), is_unusable };
        Arc::make_mut(&mut self.types).insert(Arc::clone(&resource_type.name), entry);
    }

    /// The grants of a claim set on a resource type; `None` when it doesn't have the resource.
    fn actions_of(
        &mut self,
        claim_set: &str,
        named: &Named<'_>,
        resource_type: &ResourceType,
        settings: &GrantSettings,
    ) -> Option<ByAction> {
        let held = held(&named.lineage, claim_set);
        let granted = actions(&held).into_iter().filter_map(|action| {
            let source = resolve(&named.lineage, &held, &action, settings.inheritance)?;
            let strategies = in_order(source.strategies, &settings.last);
            let matched = Some(&source.granted_by);
            let fault = strategy_fault(&strategies, matched, &named.spellings, &action, resource_type, settings);
            let grant = Grant {
                has_resource: true,
                is_granted: true,
                strategies,
                supplied_by: source.supplied_by,
                granted_by: Some(source.granted_by),
                lineage: names(named),
                fault: fault.map(Arc::from),
            };
            Some((action, self.numbered(grant)))
        });
        let granted: ByAction = granted.collect();
        (!held.is_empty()).then_some(granted)
    }

    /// Adds claim sets whose strategies are taken as they are, without any lineage: for tests of policies.
    pub(super) fn add_flat(&mut self, sets: Vec<FlatClaimSet>, settings: &GrantSettings, types: &ResourceTypes) {
        for (name, resources) in sets {
            let resolved = resources.into_iter().filter_map(|(resource, actions)| {
                let resource_type = types.get(&resource)?;
                let claim = resource_type.claim.clone();
                let lineage: Arc<[Arc<str>]> = claim.iter().cloned().collect();
                let actions = actions.into_iter().map(|(action, strategies)| {
                    let strategies = in_order(&strategies, &settings.last);
                    let fault = strategy_fault(&strategies, claim.as_ref(), &lineage, &action, resource_type, settings);
                    let grant = Grant {
                        has_resource: true,
                        is_granted: true,
                        strategies,
                        supplied_by: claim.clone(),
                        granted_by: claim.clone(),
                        lineage: Arc::clone(&lineage),
                        fault: fault.map(Arc::from),
                    };
                    (action, self.numbered(grant))
                });
                Some((resource, actions.collect()))
            });
            let resources = resolved.collect();
            Arc::make_mut(&mut self.sets)
                .insert(name.to_ascii_lowercase(), ClaimSet { name, resources, others: Vec::new() });
        }
    }

    /// A grant of the action with these strategies on the resource type's own claim, whoever asks; `None` where they can't
    /// be used for it.
    pub(super) fn assumed(
        &self,
        strategies: &[Arc<str>],
        action: &str,
        resource_type: &ResourceType,
        settings: &GrantSettings,
    ) -> Option<Grant> {
        let strategies = in_order(strategies, &settings.last);
        let claim = resource_type.claim.clone();
        let lineage = self.lineage(&resource_type.name);
        let fault = strategy_fault(&strategies, claim.as_ref(), &lineage, action, resource_type, settings);
        let (supplied_by, granted_by) = (claim.clone(), claim);
        let usable =
            Grant { has_resource: true, is_granted: true, strategies, supplied_by, granted_by, lineage, fault: None };
        fault.is_none().then_some(usable)
    }

    /// What the claim set grants for the action on the resource type.
    pub fn find(&self, claim_set: &str, resource_type: &str, action: &str) -> ResolvedGrant {
        let nothing = || ResolvedGrant {
            number: u32::MAX,
            grant: Arc::new(Grant { fault: Some(no_metadata()), ..Grant::default() }),
        };
        let Some(entry) = self.types.get(resource_type) else { return nothing() };
        if entry.is_unusable {
            return entry.not_in_set.clone();
        }
        match self.sets.get(&claim_set.to_ascii_lowercase()) {
            None => match &self.unknown_set {
                Some(unknown) if unknown.grant.fault.is_some() => unknown.clone(),
                Some(_) => entry.not_in_set.clone(),
                None => nothing(),
            },
            Some(set) => match set.resources.get(resource_type) {
                None => entry.not_in_set.clone(),
                Some(actions) => actions.get(action).unwrap_or(&entry.not_granted).clone(),
            },
        }
    }

    /// The resource types that a claim set names, with the actions it grants, sorted.
    pub fn granted(&self, claim_set: &str) -> NamedActions {
        let Some(set) = self.sets.get(&claim_set.to_ascii_lowercase()) else { return Vec::new() };
        let mut list: Vec<_> = set
            .resources
            .iter()
            .map(|(name, actions)| {
                let granted = actions.iter().filter(|(_, resolved)| resolved.grant.is_granted);
                (Arc::clone(name), granted.map(|(action, _)| Arc::clone(action)).collect::<Vec<_>>())
            })
            .filter(|(_, actions)| !actions.is_empty())
            .collect();
        list.sort();
        list
    }

    /// The claims that are no resource type's, for example services, with the actions that the claim set grants on them or
    /// above them, sorted. Groups are left out.
    pub fn claims(&self, claim_set: &str) -> NamedActions {
        let set = self.sets.get(&claim_set.to_ascii_lowercase());
        let mut list: NamedActions = set.map(|set| set.others.clone()).unwrap_or_default();
        list.sort();
        list
    }

    /// Of these the ones that begin with the prefix, as it is written or in another spelling that the realm names, under
    /// what stands behind it. A name that several spellings share has the actions of all.
    pub fn claims_behind(&self, claim_set: &str, prefix: &str, settings: &GrantSettings) -> NamedActions {
        let others = other_spellings(prefix, settings);
        let prefixes: Vec<&str> = [prefix].into_iter().chain(others.iter().map(|other| &**other)).collect();
        let mut named: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (claim, actions) in self.claims(claim_set) {
            let name = prefixes.iter().find_map(|prefix| behind(&claim, prefix, settings));
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                named.entry(name.into()).or_default().extend(actions);
            }
        }
        named.into_iter().map(|(name, actions)| (name, actions.into_iter().collect())).collect()
    }

    /// The claim sets as the table writes them, sorted.
    pub fn claim_sets(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.sets.values().map(|set| Arc::clone(&set.name)).collect();
        names.sort();
        names
    }

    /// The claim of a resource type and those above it, nearest first; empty when the table doesn't know it.
    pub fn lineage(&self, resource_type: &str) -> Arc<[Arc<str>]> {
        self.types.get(resource_type).map(|entry| Arc::clone(&entry.not_in_set.grant.lineage)).unwrap_or_default()
    }

    fn numbered(&mut self, grant: Grant) -> ResolvedGrant {
        let asks = (grant.has_resource, grant.is_granted, grant.strategies.clone());
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(asks).or_insert(next);
        if let Some(grant) = self.known.get(&grant) {
            return ResolvedGrant { number, grant: Arc::clone(grant) };
        }
        let grant = Arc::new(grant);
        self.known.insert(Arc::clone(&grant));
        ResolvedGrant { number, grant }
    }
}

fn names(named: &Named<'_>) -> Arc<[Arc<str>]> {
    named.lineage.iter().map(|claim| Arc::clone(&claim.name)).collect()
}

/// The granted actions, sorted.
fn actions(held: &[(&table::Claim, &table::Granted)]) -> Vec<Arc<str>> {
    let granted: BTreeSet<_> = held.iter().flat_map(|(_, granted)| granted.iter()).map(|(action, _)| action).collect();
    granted.into_iter().cloned().collect()
}

/// Each strategy once, at its first place; those that come last after all others.
fn in_order(strategies: &[Arc<str>], last: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut seen = BTreeSet::new();
    let mut ordered: Vec<_> = strategies.iter().filter(|strategy| seen.insert(Arc::clone(strategy))).cloned().collect();
    ordered.sort_by_key(|strategy| last.iter().position(|other| other == strategy).map_or(0, |place| place + 1));
    ordered
}

#[cfg(test)]
mod tests;
