//! What a realm knows its items by.

use std::{collections::BTreeMap, sync::Arc};

use super::{RecordRule, RelationRule, Relations};
use crate::domain::items::{Item, Items};

impl Relations {
    /// How the items of a resource type are known, if the service knows them.
    pub fn item(&self, resource_type: &str) -> Option<&Item> {
        self.items.get(resource_type)
    }

    /// The known resource types.
    pub(in crate::domain) fn items(&self) -> &Items {
        &self.items
    }

    /// The relations with their ends, by name.
    pub(in crate::domain) fn relations(&self) -> impl Iterator<Item = (&Arc<str>, &RelationRule)> {
        self.ends.iter()
    }

    /// The ends of a relation.
    pub(in crate::domain) fn ends(&self, relation: &str) -> Option<&RelationRule> {
        self.ends.get(relation)
    }
}

/// The names of the facts that records bring about an entity type; `None` where they bring none.
pub(super) fn said_of(records: &BTreeMap<Arc<str>, RecordRule>, entity: &str) -> Option<Vec<Arc<str>>> {
    let rules = records.values().filter_map(|rule| rule.facts.as_ref()).filter(|facts| *facts.entity == *entity);
    let mut is_said = false;
    let mut names: Vec<Arc<str>> = Vec::new();
    for facts in rules {
        is_said = true;
        names.extend(facts.constants.iter().chain(&facts.fields).map(|(name, _)| Arc::clone(name)));
    }
    names.sort();
    names.dedup();
    is_said.then_some(names)
}
