//! From where a filter's resources can be found.

use std::{collections::BTreeSet, sync::Arc};

use super::{Condition, Filter, Test, tested_type};
use crate::domain::{id::EntityId, principal::Principal, realm::Realm, resource_type::ResourceType, value::Value};

/// Entities from which every value that passes can be reached in the graph, downwards or by no step at all, sorted;
/// `None` when the filter doesn't bound the values of this subject.
///
/// A value that is tested through a link is reached as what it links to: the entity of the same id and another type.
pub fn generators(
    filter: &Filter,
    realm: &Realm,
    principal: &Principal,
    resource_type: &ResourceType,
    subject: usize,
) -> Option<Vec<EntityId>> {
    let view = View { realm, principal, resource_type, subject };
    view.roots(filter).map(|roots| roots.into_iter().collect())
}

struct View<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    resource_type: &'a ResourceType,
    subject: usize,
}

impl View<'_> {
    fn roots(&self, filter: &Filter) -> Option<BTreeSet<EntityId>> {
        match filter {
            Filter::None => Some(BTreeSet::new()),
            Filter::All | Filter::Not(_) => None,
            // Each part bounds them all: the one with the fewest roots will do.
            Filter::AllOf(parts) => parts.iter().filter_map(|part| self.roots(part)).min_by_key(BTreeSet::len),
            Filter::AnyOf(parts) => parts.iter().try_fold(BTreeSet::new(), |mut roots, part| {
                roots.extend(self.roots(part)?);
                Some(roots)
            }),
            Filter::Is(test) if test.subject == self.subject => self.roots_of(test),
            Filter::Is(_) => None,
        }
    }

    fn roots_of(&self, test: &Test) -> Option<BTreeSet<EntityId>> {
        let tested = tested_type(self.realm, self.resource_type, test)?;
        match &test.condition {
            Condition::OneOf(values) => values
                .iter()
                .map(|value| if let Value::Entity(entity) = value { Some(entity.clone()) } else { None })
                .collect(),
            Condition::Within(above) => {
                // What contains an entity by its prefix is not in the graph.
                if types_above(self.realm, &tested).iter().any(|name| self.realm.relations.prefixes(name).is_some()) {
                    return None;
                }
                let mut roots: BTreeSet<EntityId> = above.iter().cloned().collect();
                // Nor is what contains the principal by its token.
                if !self.principal.parents.is_empty() {
                    roots.insert(self.principal.entity.clone());
                }
                Some(roots)
            }
            Condition::HasValue | Condition::Contains(_) | Condition::Includes(_) => None,
        }
    }
}

/// The type and the types of whatever may contain its entities by stored relationships.
pub(super) fn types_above(realm: &Realm, entity_type: &Arc<str>) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::from([Arc::clone(entity_type)]);
    let mut open = vec![Arc::clone(entity_type)];
    while let Some(current) = open.pop() {
        for (_, rule) in realm.relations.relation_rules().filter(|(_, rule)| rule.subject == current) {
            if found.insert(Arc::clone(&rule.object)) {
                open.push(Arc::clone(&rule.object));
            }
        }
    }
    found
}
