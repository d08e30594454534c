//! What is wrong with grants that nevertheless load: requests that meet one are refused as a configuration error.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Grants;
use crate::domain::{fault::Code, realm_file::GrantSettings, resource_type::ResourceType, schema::RealmSchema};

/// A grant that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantFault {
    /// The claim set; empty when it is so for all.
    pub claim_set: Arc<str>,
    /// The resource type.
    pub resource_type: Arc<str>,
    /// The action; empty when it is so for all.
    pub action: Arc<str>,
    /// The claim that supplied the strategies; empty when none did.
    pub supplied_by: Arc<str>,
    /// What is wrong.
    pub message: Arc<str>,
}

/// The most faults that are listed.
pub const FAULTS_MAX: usize = 1_000;
/// The most names that a warning lists.
const NAMES_MAX: usize = 3;

impl Grants {
    /// The grants that cannot be used, sorted; the first [`FAULTS_MAX`].
    pub fn faults(&self) -> Vec<GrantFault> {
        let mut faults = self.all_faults();
        faults.sort();
        faults.truncate(FAULTS_MAX);
        faults
    }

    /// How many grants cannot be used.
    pub fn fault_count(&self) -> usize {
        self.all_faults().len()
    }

    fn all_faults(&self) -> Vec<GrantFault> {
        let none = Arc::<str>::default;
        let unusable = self.types.iter().filter(|(_, entry)| entry.is_unusable).filter_map(|(name, entry)| {
            let message = entry.not_in_set.grant.fault.clone()?;
            let resource_type = Arc::clone(name);
            Some(GrantFault { claim_set: none(), resource_type, action: none(), supplied_by: none(), message })
        });
        let granted = self.sets.values().flat_map(|set| {
            let resources = set.resources.iter();
            resources
                .flat_map(move |(name, actions)| actions.iter().map(move |(action, found)| (set, name, action, found)))
        });
        let granted = granted.filter_map(|(set, name, action, found)| {
            Some(GrantFault {
                claim_set: Arc::clone(&set.name),
                resource_type: Arc::clone(name),
                action: Arc::clone(action),
                supplied_by: found.grant.supplied_by.clone().unwrap_or_default(),
                message: found.grant.fault.clone()?,
            })
        });
        unusable.chain(granted).collect()
    }

    /// What an author of the table should look at: grants that cannot be used, by what is wrong with them, and names that
    /// lead nowhere. Each with its code, a name of the table that it is about, and a sentence. None keeps the realm from
    /// loading.
    pub(in crate::domain) fn findings(&self, schema: &RealmSchema) -> Vec<(Code, Option<Arc<str>>, String)> {
        let mut by_message: BTreeMap<Arc<str>, Vec<GrantFault>> = BTreeMap::new();
        for fault in self.all_faults() {
            by_message.entry(Arc::clone(&fault.message)).or_default().push(fault);
        }
        let unusable = by_message.into_values().filter_map(unusable);
        let mut findings: Vec<_> = unusable.map(|message| (Code::UnusableGrant, None, message)).collect();
        let unknown_actions = self.actions.iter().filter(|action| !schema.actions.contains_key(*action));
        for action in unknown_actions {
            let message = format!("the action `{action}` is not in the schema");
            findings.push((Code::UngrantableAction, Some(Arc::clone(action)), message));
        }
        // Those that cannot be used at all are told above.
        let is_usable = |name: &&Arc<str>| self.types.get(*name).is_some_and(|entry| !entry.is_unusable);
        let unknown_types = self.unknown_types.iter().filter(is_usable).cloned().collect();
        for (code, names, one, many) in [
            (
                Code::UnknownClaim,
                self.dead.clone(),
                "claim belongs to no resource type",
                "claims belong to no resource type",
            ),
            (
                Code::UnclaimedType,
                unknown_types,
                "resource type has no claim in the table",
                "resource types have no claim in the table",
            ),
        ] {
            let first = names.iter().min().cloned();
            findings.extend(listed(names, one, many).map(|message| (code, first, message)));
        }
        findings
    }
}

/// One sentence for all grants with the same fault, with the first of them as the example.
fn unusable(mut faults: Vec<GrantFault>) -> Option<String> {
    faults.sort();
    let count = faults.len();
    let GrantFault { claim_set, resource_type, action, supplied_by, message } = faults.into_iter().next()?;
    if claim_set.is_empty() {
        return Some(format!("{count} resource types cannot be used, for example `{resource_type}`: {message}"));
    }
    let from = if supplied_by.is_empty() { String::new() } else { format!(", strategies from `{supplied_by}`") };
    let grants = if count == 1 {
        "1 grant cannot be used".to_owned()
    } else {
        format!("{count} grants cannot be used, for example")
    };
    Some(format!("{grants} `{claim_set}` `{action}` `{resource_type}`{from}: {message}"))
}

fn listed(mut names: Vec<Arc<str>>, one: &str, many: &str) -> Option<String> {
    names.sort();
    let what = if names.len() == 1 { one } else { many };
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len().checked_sub(shown.len()).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    (!names.is_empty()).then(|| format!("{} {what}: {}{more}", names.len(), shown.join(", ")))
}

/// The text of Ed-Fi's problem details where nothing is known of a resource, or of a claim set.
pub(super) fn no_metadata() -> Arc<str> {
    "No security metadata has been configured for this resource.".into()
}

/// The text of Ed-Fi's problem details where a resource's claim is known by two spellings.
pub(super) fn ambiguous(claims: &[Arc<str>]) -> Arc<str> {
    let claims = claims.join(", ");
    format!(
        "Authorization metadata was found for more than one of the supplied resource claims ('{claims}') resulting in an ambiguous basis for authorization."
    )
    .into()
}

/// Why these strategies cannot decide about this action on this resource type. The texts are those of Ed-Fi's problem details.
pub(super) fn strategy_fault(
    strategies: &[Arc<str>],
    granted_by: Option<&Arc<str>>,
    spellings: &[Arc<str>],
    action: &str,
    resource_type: &ResourceType,
    settings: &GrantSettings,
) -> Option<String> {
    if strategies.is_empty() {
        let (claims, matched) = (quoted(spellings), granted_by.map_or("", |claim| claim));
        return Some(format!(
            "No authorization strategies were defined for the requested action '{action}' against resource URIs [{claims}] matched by the caller's claim '{matched}'."
        ));
    }
    let known = |strategy: &Arc<str>| settings.strategies.iter().find(|(name, _)| name == strategy);
    let usable = settings.usable.iter().find(|(name, _)| **name == *action).map(|(_, usable)| usable);
    let only = |strategy: &Arc<str>| settings.only.iter().find(|(name, _)| name == strategy);
    let is_unusable = |strategy: &Arc<str>| {
        usable.is_some_and(|usable| !usable.contains(strategy))
            || only(strategy).is_some_and(|(_, actions)| !actions.iter().any(|name| **name == *action))
    };
    let unknown = strategies.iter().filter(|strategy| known(strategy).is_none() || is_unusable(strategy));
    let unknown: Vec<_> = unknown.cloned().collect();
    if !unknown.is_empty() {
        let names = quoted(&unknown);
        return Some(format!(
            "Could not find authorization strategy implementations for the following strategy names: {names}."
        ));
    }
    let blind = strategies.iter().find(|strategy| {
        let attributes = known(strategy).map(|(_, attributes)| attributes.as_slice()).unwrap_or_default();
        !attributes.is_empty() && !resource_type.subjects.iter().any(|subject| attributes.contains(&subject.attribute))
    })?;
    let names = context_names(blind, resource_type, settings);
    Some(format!(
        "Authorization strategy '{blind}' processed the authorization context names {names} and produced no authorization subjects, meaning no authorization filtering will be performed. Are you using the correct authorization strategy for this resource?"
    ))
}

/// The values of a resource type that strategies of this one's kind look at: those that share an attribute with it.
fn context_names(strategy: &str, resource_type: &ResourceType, settings: &GrantSettings) -> String {
    let known = settings.strategies.iter();
    let own = known.clone().filter(|(name, _)| **name == *strategy).flat_map(|(_, attributes)| attributes);
    let own: BTreeSet<_> = own.collect();
    let kin = known.filter(|(_, attributes)| attributes.iter().any(|attribute| own.contains(attribute)));
    let looked_at: BTreeSet<_> = kin.flat_map(|(_, attributes)| attributes).collect();
    let subjects = resource_type.subjects.iter().filter(|subject| looked_at.contains(&subject.attribute));
    let names: Vec<_> = subjects.map(|subject| Arc::clone(&subject.name)).collect();
    if names.is_empty() { "''".to_owned() } else { quoted(&names) }
}

fn quoted(names: &[Arc<str>]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
