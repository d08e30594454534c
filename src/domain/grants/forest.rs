//! The claims as a forest: lineages, and the rules by which a claim set's strategies are inherited.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::table::{Claim, ClaimTable, Granted};
use crate::domain::realm_file::{Addressable, ClaimCase, GrantSettings, Inheritance};

/// The claims, found by name, each with its parent.
#[derive(Debug)]
pub(super) struct Forest<'a> {
    settings: &'a GrantSettings,
    claims: &'a [Claim],
    by_name: HashMap<String, usize>,
    groups: BTreeSet<usize>,
}

/// What the table says of the claim that a resource type names.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// No spelling of it is known, or it is a group where only single claims count.
    Unknown,
    /// More than one spelling is known: these.
    Ambiguous(Vec<Arc<str>>),
    /// It is known.
    Known(Named<'a>),
}

/// A known claim with what stands above it.
#[derive(Clone, Debug)]
pub(super) struct Named<'a> {
    /// The claim and its ancestors, nearest first.
    pub(super) lineage: Vec<&'a Claim>,
    /// The spellings by which it was looked for.
    pub(super) spellings: Vec<Arc<str>>,
}

/// The strategies of a granted action, and where they come from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source<'a> {
    /// The claim on which the action is granted.
    pub(super) granted_by: Arc<str>,
    /// The claim that supplied the strategies.
    pub(super) supplied_by: Option<Arc<str>>,
    /// The strategies, as the table lists them.
    pub(super) strategies: &'a [Arc<str>],
}

impl<'a> Forest<'a> {
    /// Takes a table that has no tangles.
    pub(super) fn new(table: &'a ClaimTable, settings: &'a GrantSettings) -> Self {
        let fold = |name: &str| folded(name, settings);
        let by_name: HashMap<_, _> =
            table.claims.iter().enumerate().map(|(index, claim)| (fold(&claim.name), index)).collect();
        let parents = table.claims.iter().filter_map(|claim| by_name.get(&fold(claim.parent.as_deref()?)));
        let groups = parents.copied().collect();
        Self { settings, claims: &table.claims, by_name, groups }
    }

    /// Looks for the claim of a resource type, as it is written and in the other spellings that the realm names.
    pub(super) fn find(&self, claim: &Arc<str>) -> Found<'a> {
        let others = other_spellings(claim, self.settings);
        let is_known = |name: &&Arc<str>| self.by_name.contains_key(&folded(name, self.settings));
        let known: Vec<_> = [claim].into_iter().chain(&others).filter(is_known).cloned().collect();
        let [name] = known.as_slice() else {
            return if known.is_empty() { Found::Unknown } else { Found::Ambiguous(known) };
        };
        let Some(index) = self.by_name.get(&folded(name, self.settings)) else { return Found::Unknown };
        if self.settings.addressable == Addressable::Leaves && self.groups.contains(index) {
            return Found::Unknown;
        }
        let is_written = folded(name, self.settings) == folded(claim, self.settings);
        let spellings = if is_written { vec![Arc::clone(claim)] } else { others };
        Found::Known(Named { lineage: self.lineage(*index), spellings })
    }

    /// The claim and its ancestors, nearest first.
    pub(super) fn lineage(&self, index: usize) -> Vec<&'a Claim> {
        let mut lineage = Vec::new();
        let mut next = self.claims.get(index);
        // A table without tangles has no cycle; the bound keeps one from hanging the load.
        while let Some(claim) = next.filter(|_| lineage.len() < self.claims.len()) {
            lineage.push(claim);
            let parent = claim.parent.as_deref().and_then(|parent| self.by_name.get(&folded(parent, self.settings)));
            next = parent.and_then(|index| self.claims.get(*index));
        }
        lineage
    }

    /// The claims without children, with their places.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (usize, &'a Claim)> {
        self.claims.iter().enumerate().filter(|(index, _)| !self.groups.contains(index))
    }
}

/// The other spellings of a claim, or of how claims begin: what the realm names in place of the longest prefix that fits.
pub(super) fn other_spellings(claim: &str, settings: &GrantSettings) -> Vec<Arc<str>> {
    let fitting = settings.claim_prefixes.iter().filter_map(|(prefix, others)| {
        let rest = behind(claim, prefix, settings)?;
        Some((prefix.len(), rest, others))
    });
    let Some((_, rest, others)) = fitting.max_by_key(|(length, ..)| *length) else { return Vec::new() };
    let mut spellings: Vec<Arc<str>> = Vec::new();
    for spelling in others.iter().map(|other| format!("{other}{rest}")) {
        let is_new = |other: &str| folded(other, settings) != folded(&spelling, settings);
        if is_new(claim) && spellings.iter().all(|other| is_new(other)) {
            spellings.push(spelling.into());
        }
    }
    spellings
}

/// What stands behind the prefix in a claim that begins with it.
pub(super) fn behind<'a>(claim: &'a str, prefix: &str, settings: &GrantSettings) -> Option<&'a str> {
    let (start, rest) = (claim.get(..prefix.len())?, claim.get(prefix.len()..)?);
    (folded(start, settings) == folded(prefix, settings)).then_some(rest)
}

/// A name as it is compared.
pub(super) fn folded(name: &str, settings: &GrantSettings) -> String {
    match settings.claim_case {
        ClaimCase::Ignore => name.to_ascii_lowercase(),
        ClaimCase::Exact => name.to_owned(),
    }
}

/// What the claim set is granted on these claims, nearest first.
pub(super) fn held<'a>(lineage: &[&'a Claim], claim_set: &str) -> Vec<(&'a Claim, &'a Granted)> {
    let of = |claim: &'a Claim| claim.claim_sets.iter().find(|(name, _)| **name == *claim_set);
    lineage.iter().filter_map(|claim| of(claim).map(|(_, granted)| (*claim, granted))).collect()
}

/// The strategies of an action, if the claim set grants it.
pub(super) fn resolve<'a>(
    lineage: &[&'a Claim],
    held: &[(&'a Claim, &'a Granted)],
    action: &str,
    inheritance: Inheritance,
) -> Option<Source<'a>> {
    let mut granting = held.iter().filter_map(|(claim, granted)| {
        let (_, strategies) = granted.iter().find(|(name, _)| **name == *action)?;
        Some((*claim, strategies.as_deref().unwrap_or_default()))
    });
    let (claim, own) = granting.next()?;
    let overriding = match inheritance {
        Inheritance::Nearest => Some((claim, own)).filter(|(_, strategies)| !strategies.is_empty()),
        Inheritance::FirstOverride => {
            std::iter::once((claim, own)).chain(granting).find(|(_, strategies)| !strategies.is_empty())
        }
    };
    let supplied = overriding.or_else(|| {
        let mut defaults = lineage.iter().filter_map(|claim| {
            let (_, strategies) = claim.defaults.iter().find(|(name, _)| **name == *action)?;
            Some((*claim, strategies.as_slice()))
        });
        match inheritance {
            Inheritance::Nearest => defaults.next(),
            Inheritance::FirstOverride => defaults.find(|(_, strategies)| !strategies.is_empty()),
        }
    });
    let granted_by = Arc::clone(&claim.name);
    Some(match supplied {
        Some((supplier, strategies)) => {
            Source { granted_by, supplied_by: Some(Arc::clone(&supplier.name)), strategies }
        }
        None => Source { granted_by, ..Source::default() },
    })
}
