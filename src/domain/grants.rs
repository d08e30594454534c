//! Claim sets: which actions a client's claim set grants on a resource, and under which strategies.
//!
//! The table is a forest of resource claims; grants and defaults sit on its nodes. Everything is
//! resolved when the realm loads, so a decision only looks up. The rule is that of Ed-Fi's Data
//! Management Service: the nearest node up the lineage that grants the action to the claim set
//! decides; its own strategies count if it lists any, else those of the nearest node that has a
//! default entry for the action, an empty entry included.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value as Json;

use super::{
    fault::Fault,
    realm_file::GrantSettings,
    resource_type::{ResourceType, ResourceTypes, syntax_fault},
};

/// What a claim set grants for one action on one resource type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grant {
    /// The claim set names the resource, for whichever action.
    pub has_resource: bool,
    /// The claim set grants the action.
    pub is_granted: bool,
    /// The strategies, in the order of the table.
    pub strategies: Vec<Arc<str>>,
    /// The node that supplied the strategies.
    pub supplied_by: Option<Arc<str>>,
    /// Why the grant cannot be used: a fault of the configuration.
    pub fault: Option<Arc<str>>,
}

impl Grant {
    const NONE: Self =
        Self { has_resource: false, is_granted: false, strategies: Vec::new(), supplied_by: None, fault: None };

    fn faulty(fault: String) -> Self {
        Self { fault: Some(fault.into()), ..Self::NONE }
    }
}

/// Strategies by action.
type Actions = BTreeMap<Arc<str>, Vec<Arc<str>>>;
/// Granted actions, with the strategies that override the defaults.
type Granted = BTreeMap<Arc<str>, Option<Vec<Arc<str>>>>;
/// Resolved grants by resource type and action.
type Resolved = HashMap<Arc<str>, BTreeMap<Arc<str>, ResolvedGrant>>;

#[derive(Debug, Default)]
struct Node {
    parent: Option<Arc<str>>,
    defaults: Actions,
    claim_sets: BTreeMap<Arc<str>, Granted>,
}

/// A claim set by name: resource types, actions, strategies.
pub(super) type FlatClaimSet = (Arc<str>, Vec<(Arc<str>, Vec<(Arc<str>, Vec<Arc<str>>)>)>);

/// A grant with the number that plans are cached by.
#[derive(Clone, Debug)]
pub struct ResolvedGrant {
    /// Equal grants have equal numbers.
    pub number: u32,
    /// The grant.
    pub grant: Arc<Grant>,
}

/// The grants of a realm, resolved. Names of claim sets compare without ASCII case.
#[derive(Debug, Default)]
pub struct Grants {
    sets: HashMap<String, Resolved>,
    no_resource: Option<ResolvedGrant>,
    no_action: Option<ResolvedGrant>,
    known: BTreeMap<Arc<Grant>, u32>,
}

impl Grants {
    /// Reads the table and resolves it for every resource type.
    ///
    /// # Errors
    /// Every fault, each naming the claim.
    pub(super) fn parse(content: &str, settings: &GrantSettings, types: &ResourceTypes) -> Result<Self, Vec<Fault>> {
        let nodes = parse_nodes(&settings.file, content)?;
        let mut grants = Self::default();
        grants.no_resource = Some(grants.numbered(Grant::NONE));
        grants.no_action = Some(grants.numbered(Grant { has_resource: true, ..Grant::NONE }));
        let names = nodes.values().flat_map(|node| node.claim_sets.keys());
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            if grants.sets.contains_key(&name.to_ascii_lowercase()) {
                let message = format!("claim set `{name}` differs from another only in case, and case doesn't count");
                return Err(vec![Fault::in_file(&settings.file, message)]);
            }
            let mut resources = HashMap::new();
            for resource_type in types.values() {
                let lineage = lineage(&nodes, resource_type.claim.as_ref());
                let held: Vec<_> = lineage.iter().filter_map(|(_, node)| node.claim_sets.get(name)).collect();
                let actions: BTreeMap<_, _> = held
                    .iter()
                    .flat_map(|actions| actions.keys())
                    .map(|action| {
                        let grant = resolve(&lineage, name, action, resource_type, settings);
                        (Arc::clone(action), grants.numbered(grant))
                    })
                    .collect();
                if !held.is_empty() {
                    resources.insert(Arc::clone(&resource_type.name), actions);
                }
            }
            grants.sets.insert(name.to_ascii_lowercase(), resources);
        }
        Ok(grants)
    }

    /// Adds claim sets whose strategies are taken as they are, without any lineage: for tests of policies.
    pub(super) fn add_flat(&mut self, sets: Vec<FlatClaimSet>, settings: &GrantSettings, types: &ResourceTypes) {
        for (name, resources) in sets {
            let resolved = resources.into_iter().filter_map(|(resource, actions)| {
                let resource_type = types.get(&resource)?;
                let claim = resource_type.claim.clone();
                let actions = actions.into_iter().map(|(action, strategies)| {
                    let fault = strategy_fault(&strategies, claim.as_ref(), &action, resource_type, settings);
                    let fault = fault.map(Arc::from);
                    let grant =
                        Grant { has_resource: true, is_granted: true, strategies, supplied_by: claim.clone(), fault };
                    (action, self.numbered(grant))
                });
                Some((resource, actions.collect()))
            });
            let resolved = resolved.collect();
            self.sets.insert(name.to_ascii_lowercase(), resolved);
        }
    }

    /// What the claim set grants for the action on the resource type.
    pub fn find(&self, claim_set: &str, resource_type: &str, action: &str) -> ResolvedGrant {
        let none = |grant: &Option<ResolvedGrant>| {
            grant.clone().unwrap_or(ResolvedGrant { number: 0, grant: Arc::new(Grant::NONE) })
        };
        let Some(resources) = self.sets.get(&claim_set.to_ascii_lowercase()) else {
            let fault = "No security metadata has been configured for this resource.".to_owned();
            return ResolvedGrant { number: u32::MAX, grant: Arc::new(Grant::faulty(fault)) };
        };
        match resources.get(resource_type) {
            None => none(&self.no_resource),
            Some(actions) => actions.get(action).cloned().unwrap_or_else(|| none(&self.no_action)),
        }
    }

    /// The resource types that a claim set names, with the actions it grants, sorted.
    pub fn granted(&self, claim_set: &str) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let Some(resources) = self.sets.get(&claim_set.to_ascii_lowercase()) else { return Vec::new() };
        let mut list: Vec<_> = resources
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

    fn numbered(&mut self, grant: Grant) -> ResolvedGrant {
        if let Some((grant, number)) = self.known.get_key_value(&grant) {
            return ResolvedGrant { number: *number, grant: Arc::clone(grant) };
        }
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let grant = Arc::new(grant);
        self.known.insert(Arc::clone(&grant), number);
        ResolvedGrant { number, grant }
    }
}

type Lineage<'a> = Vec<(Arc<str>, &'a Node)>;

/// The claim and its ancestors, nearest first; a cycle ends it.
fn lineage<'a>(nodes: &'a BTreeMap<Arc<str>, Node>, claim: Option<&Arc<str>>) -> Lineage<'a> {
    let mut lineage: Lineage<'a> = Vec::new();
    let mut next = claim.cloned();
    while let Some((name, node)) = next.take().and_then(|claim| Some((Arc::clone(&claim), nodes.get(&claim)?))) {
        if lineage.iter().any(|(seen, _)| *seen == name) {
            break;
        }
        lineage.push((name, node));
        next.clone_from(&node.parent);
    }
    lineage
}

fn resolve(
    lineage: &Lineage<'_>,
    claim_set: &str,
    action: &str,
    resource_type: &ResourceType,
    settings: &GrantSettings,
) -> Grant {
    let granting = lineage.iter().find_map(|(claim, node)| Some((claim, node.claim_sets.get(claim_set)?.get(action)?)));
    let Some((claim, overriding)) = granting else { return Grant { has_resource: true, ..Grant::NONE } };
    let overriding =
        overriding.as_ref().filter(|strategies| !strategies.is_empty()).map(|strategies| (claim, strategies));
    let default = || lineage.iter().find_map(|(claim, node)| Some((claim, node.defaults.get(action)?)));
    let (supplied_by, strategies) = match overriding.or_else(default) {
        Some((claim, strategies)) => (Some(Arc::clone(claim)), strategies.clone()),
        None => (None, Vec::new()),
    };
    let fault = strategy_fault(&strategies, supplied_by.as_ref(), action, resource_type, settings);
    Grant { has_resource: true, is_granted: true, strategies, supplied_by, fault: fault.map(Arc::from) }
}

/// Why these strategies cannot decide about this action on this resource type. The texts are those of Ed-Fi's problem details.
fn strategy_fault(
    strategies: &[Arc<str>],
    supplied_by: Option<&Arc<str>>,
    action: &str,
    resource_type: &ResourceType,
    settings: &GrantSettings,
) -> Option<String> {
    let claim = resource_type.claim.as_deref().unwrap_or_default();
    if strategies.is_empty() {
        let matched = supplied_by.map_or(claim, |claim| claim);
        return Some(format!(
            "No authorization strategies were defined for the requested action '{action}' against resource URIs ['{claim}'] matched by the caller's claim '{matched}'."
        ));
    }
    let known = |strategy: &Arc<str>| settings.strategies.iter().find(|(name, _)| name == strategy);
    let quoted = |names: Vec<&Arc<str>>| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let usable = settings.usable.iter().find(|(name, _)| **name == *action).map(|(_, usable)| usable);
    let unknown: Vec<_> = strategies
        .iter()
        .filter(|strategy| known(strategy).is_none() || usable.is_some_and(|usable| !usable.contains(*strategy)))
        .collect();
    if !unknown.is_empty() {
        let names = quoted(unknown);
        return Some(format!(
            "Could not find authorization strategy implementations for the following strategy names: {names}."
        ));
    }
    let blind = strategies.iter().find(|strategy| {
        let attributes = known(strategy).map(|(_, attributes)| attributes.as_slice()).unwrap_or_default();
        !attributes.is_empty() && !resource_type.subjects.iter().any(|subject| attributes.contains(&subject.attribute))
    })?;
    Some(format!(
        "The authorization strategy '{blind}' produced no authorization subjects for resource '{}'.",
        resource_type.name
    ))
}

fn parse_nodes(file: &str, content: &str) -> Result<BTreeMap<Arc<str>, Node>, Vec<Fault>> {
    let json: Json = serde_json::from_str(content).map_err(|error| vec![syntax_fault(file, content, &error)])?;
    let Some(claims) = json.get("claims").and_then(Json::as_object) else {
        return Err(vec![Fault::in_file(file, "`claims` is missing, expected an object of resource claims")]);
    };
    let mut faults = Vec::new();
    let mut nodes = BTreeMap::new();
    for (claim, body) in claims {
        let mut wrong = |what: &str| faults.push(Fault::in_file(file, format!("claim `{claim}`: {what}")));
        let parent = match body.get("parent") {
            None | Some(Json::Null) => None,
            Some(Json::String(parent)) if claims.contains_key(parent) => Some(Arc::from(parent.as_str())),
            Some(_) => {
                wrong("`parent` names no claim of this file");
                None
            }
        };
        let mut node = Node { parent, ..Node::default() };
        for (action, strategies) in body.get("defaults").and_then(Json::as_object).into_iter().flatten() {
            match texts(strategies) {
                Some(strategies) => drop(node.defaults.insert(action.as_str().into(), strategies)),
                None => wrong(&format!("`defaults.{action}` is no list of strategies")),
            }
        }
        for (set, actions) in body.get("claim_sets").and_then(Json::as_object).into_iter().flatten() {
            let granted: &mut Granted = node.claim_sets.entry(set.as_str().into()).or_default();
            for (action, strategies) in actions.as_object().into_iter().flatten() {
                if strategies.is_null() {
                    granted.insert(action.as_str().into(), None);
                } else if let Some(strategies) = texts(strategies) {
                    granted.insert(action.as_str().into(), Some(strategies));
                } else {
                    wrong(&format!("`claim_sets.{set}.{action}` is neither null nor a list of strategies"));
                }
            }
        }
        nodes.insert(Arc::from(claim.as_str()), node);
    }
    if faults.is_empty() { Ok(nodes) } else { Err(faults) }
}

fn texts(value: &Json) -> Option<Vec<Arc<str>>> {
    value.as_array()?.iter().map(|text| text.as_str().map(Arc::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "grants.json";

    fn settings() -> GrantSettings {
        let strategies = [("Free", vec![]), ("ByPlace", vec!["place"])];
        let strategies = strategies
            .into_iter()
            .map(|(name, attributes)| (name.into(), attributes.into_iter().map(Arc::from).collect()))
            .collect();
        let usable = vec![("Changes".into(), vec!["Free".into()])];
        GrantSettings { file: SETTINGS.into(), claim_set: "claimSet".into(), strategies, usable }
    }

    fn types() -> ResourceTypes {
        let resource_type = ResourceType {
            name: "pupils".into(),
            entity: "Resource".into(),
            claim: Some("leaf".into()),
            subjects: Vec::new(),
            has_lacks: true,
            required_members: Vec::new(),
        };
        ResourceTypes::from([("pupils".into(), Arc::new(resource_type))])
    }

    fn found(leaf: &str, root: &str, action: &str) -> Grant {
        let content = format!(r#"{{"claims":{{"leaf":{{"parent":"root",{leaf}}},"root":{{"parent":null,{root}}}}}}}"#);
        let grants = Grants::parse(&content, &settings(), &types()).unwrap();
        (*grants.find("sis", "pupils", action).grant).clone()
    }

    #[test]
    fn the_nearest_grant_decides_and_its_own_strategies_come_before_any_default() {
        let root = r#""claim_sets":{"SIS":{"Read":["ByPlace"]}},"defaults":{"Read":["ByPlace"]}"#;
        let own = found(r#""claim_sets":{"SIS":{"Read":["Free"]}}"#, root, "Read");
        assert_eq!((own.strategies, own.supplied_by), (vec!["Free".into()], Some("leaf".into())));
        let shielded = found(r#""claim_sets":{"SIS":{"Read":null}},"defaults":{"Read":["Free"]}"#, root, "Read");
        assert_eq!((shielded.strategies, shielded.supplied_by), (vec!["Free".into()], Some("leaf".into())));
        let inherited = found(r#""claim_sets":{}"#, root, "Read");
        assert_eq!(inherited.supplied_by, Some("root".into()));
    }

    #[test]
    fn what_cannot_decide_is_a_fault_and_no_grant() {
        let root =
            r#""claim_sets":{"SIS":{"Read":null,"Changes":["ByPlace"],"Write":["Other"]}},"defaults":{"Read":[]}"#;
        let leaf = r#""defaults":{}"#;
        for (action, text) in
            [("Read", "No authorization strategies"), ("Changes", "Could not find"), ("Write", "'Other'")]
        {
            let fault = found(leaf, root, action).fault.unwrap();
            assert!(fault.contains(text), "{action}: {fault}");
        }
        let blind = found(leaf, r#""claim_sets":{"SIS":{"Read":["ByPlace"]}}"#, "Read").fault.unwrap();
        assert!(blind.contains("no authorization subjects"), "{blind}");
        assert!(!found(leaf, root, "Delete").is_granted);
    }

    #[test]
    fn claim_sets_that_differ_only_in_case_are_a_fault() {
        let content = r#"{"claims":{"leaf":{"parent":null,"claim_sets":{"SIS":{"Read":null},"sis":{"Read":null}}}}}"#;
        let faults = Grants::parse(content, &settings(), &types()).unwrap_err();
        assert_eq!(&*faults[0].message, "claim set `sis` differs from another only in case, and case doesn't count");
    }
}
