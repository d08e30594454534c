//! Texts and names of entities that a realm's policies mention: what one of them could be mistaken for.

use std::collections::{BTreeMap, BTreeSet};

use super::anatomy::{Literal, anatomy};
use crate::domain::{policy_set::SourceFile, realm::Realm};

/// How many are tried for one that is well typed.
const TRIED_MAX: usize = 12;

/// What literals could be taken for.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Names of entities by type, quoted.
    entities: BTreeMap<String, BTreeSet<String>>,
    /// Texts by what they are compared with, quoted.
    texts: BTreeMap<String, BTreeSet<String>>,
}

impl Pool {
    /// The literals of all policies, and all actions.
    pub(super) fn of(realm: &Realm, files: &[SourceFile]) -> Self {
        let mut pool = Self::default();
        for policy in realm.policies.iter() {
            let file = files.iter().find(|file| file.path == policy.fault("").file);
            let text = file.and_then(|file| file.content.get(policy.span.clone())).unwrap_or_default();
            for Literal { text, entity_type, before, .. } in anatomy(text).into_iter().flat_map(|found| found.literals)
            {
                match entity_type {
                    Some(entity_type) => pool.entities.entry(entity_type).or_default().insert(text),
                    None => pool.texts.entry(before).or_default().insert(text),
                };
            }
        }
        for uid in realm.schema.action_uids.values() {
            let (entity_type, id) = (uid.type_name().to_string(), format!("\"{}\"", uid.id().escaped()));
            pool.entities.entry(entity_type).or_default().insert(id);
        }
        pool
    }

    /// What a literal could be taken for, the likeliest first: texts of the same place before others, and those that
    /// follow it in the alphabet. Never empty: a name that nobody knows is the last.
    pub(super) fn others(&self, literal: &Literal, policy: &str) -> Vec<String> {
        let own = &literal.text;
        let unknown = format!("{}~\"", own.strip_suffix('"').unwrap_or(own));
        let groups: Vec<&BTreeSet<String>> = match &literal.entity_type {
            Some(entity_type) => self.entities.get(entity_type).into_iter().collect(),
            None => self.texts.get(&literal.before).into_iter().chain(self.texts.values()).collect(),
        };
        let mut found: Vec<String> = Vec::new();
        for group in groups {
            let after = group.iter().filter(|text| *text > own);
            let before = group.iter().filter(|text| *text < own);
            for text in after.chain(before) {
                // What the policy names anyway would only be taken out.
                if !policy.contains(text.as_str()) && !found.contains(text) {
                    found.push(text.clone());
                }
            }
        }
        found.truncate(TRIED_MAX);
        found.push(unknown);
        let whole = |text: String| literal.entity_type.as_ref().map_or(text.clone(), |name| format!("{name}::{text}"));
        found.into_iter().map(whole).collect()
    }
}
