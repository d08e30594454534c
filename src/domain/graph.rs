//! The relationships of one realm in memory: who is whose parent, seen at one revision.
//!
//! Every relation makes its object a parent of its subject: of `Student enrolled_at School`, the school
//! is the student's parent. A [`Graph`] is a snapshot that never changes under a reader; a clone costs a
//! few pointers. The writer clones it, applies a batch and publishes the result, so nobody waits for a
//! writer and nobody sees half a batch.
//!
//! What a record brought and does not any more, the realm may want to remember: such removed relationships stand
//! apart, and only [`Graph::parents_removed`] and [`Graph::children_removed`] show them.

mod known;
mod parents;
mod query;
mod removed;

use std::{fmt, sync::Arc};

use imbl::{OrdMap, OrdSet};

use self::{parents::Parents, removed::Removed};
use super::{
    breadth_first::breadth_first,
    id::{EntityId, Revision},
    interner::{Interner, Names},
    relationship::{Effect, EntityFacts, Record, RecordKey, Relationship, Written},
};

pub(crate) use self::known::Steps;
pub use self::query::RelationshipQuery;
pub use super::interner::{NodeId, RelationId, TypeId};

/// How large a graph is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entities that records have named since the graph was made, those of later clones and deleted records included.
    pub entities: usize,
    /// Relationships, each once however many records bring it.
    pub edges: usize,
    /// Removed relationships, each once however many records remember it.
    pub removed: usize,
}

/// From an object to its child. The child's type comes first, so that a district's schools are found without
/// passing its students.
type Reverse = (NodeId, TypeId, RelationId, NodeId);

/// The relationships and facts of one realm at one revision.
#[derive(Clone)]
pub struct Graph {
    revision: Revision,
    /// Shared by all clones, append-only.
    interner: Arc<Interner>,
    types: Arc<Names>,
    relations: Arc<Names>,
    /// How many records bring each relationship: it is gone when the last of them is.
    forward: Parents,
    /// The same relationships, from the other end.
    reverse: OrdSet<Reverse>,
    /// What records brought and don't any more.
    removed: Removed,
    /// What each record says about an entity.
    facts: OrdMap<(NodeId, RecordKey), Arc<EntityFacts>>,
    /// When a type's relationships or facts last changed; types that aren't here didn't since `loaded`.
    touched: OrdMap<TypeId, Revision>,
    loaded: Revision,
}

impl Graph {
    /// The empty graph, at revision 0.
    pub fn new() -> Self {
        let interner = Interner::new();
        Self {
            revision: Revision::default(),
            types: interner.types().latest(),
            relations: interner.relations().latest(),
            interner: Arc::new(interner),
            forward: Parents::default(),
            reverse: OrdSet::new(),
            removed: Removed::default(),
            facts: OrdMap::new(),
            touched: OrdMap::new(),
            loaded: Revision::default(),
        }
    }

    /// The revision that this snapshot shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Adds a record of the store, which must not be here yet. [`Graph::set_revision`] ends the loading.
    pub fn insert(&mut self, record: &Record) {
        self.change(None, Some(record));
    }

    /// Says which revision the records that were inserted show.
    pub fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
        self.loaded = revision;
        self.touched.clear();
    }

    /// Applies what one durable batch did. Batches come in the order of their revisions.
    ///
    /// A name is left out when there is no number left for it: beyond 65,536 entity types, 65,536 relations,
    /// or about 4 thousand million entities.
    pub fn apply(&mut self, written: &Written) {
        self.revision = self.revision.max(written.revision);
        for effect in &written.effects {
            match effect {
                Effect::Unchanged => {}
                Effect::Created(after) => self.change(None, Some(after)),
                Effect::Replaced { before, after } | Effect::Removed { before, after } => {
                    self.change(Some(before), Some(after));
                }
                Effect::Deleted(before) => self.change(Some(before), None),
            }
        }
    }

    /// The node of an entity, if any record has ever named it. Asking makes no node.
    pub fn node(&self, entity_type: &str, id: &str) -> Option<NodeId> {
        self.interner.find(self.types.number(entity_type)?, id).map(NodeId)
    }

    /// The entity of a node. Allocates its id; [`Graph::with_name`] does not.
    ///
    /// A node of another graph may have no entity here: then type and id are empty.
    pub fn entity(&self, node: NodeId) -> EntityId {
        self.interner.read(node.0, |named| {
            let (entity_type, id) =
                named.map_or_else(Default::default, |(number, id)| (self.type_name(TypeId(number)), id));
            EntityId { entity_type, id: id.into() }
        })
    }

    /// Lends the type and the id of a node to `read`, which runs under a lock: it must be short and must not ask the
    /// graph again.
    ///
    /// A node of another graph may have no entity here: then type and id are empty.
    pub fn with_name<T>(&self, node: NodeId, read: impl FnOnce(&str, &str) -> T) -> T {
        self.interner.read(node.0, |named| {
            let Some((entity_type, id)) = named else { return read("", "") };
            match self.types.name(entity_type) {
                Some(entity_type) => read(entity_type, id),
                None => read(&self.type_name(TypeId(entity_type)), id),
            }
        })
    }

    /// The type of this name, if a record has brought an entity of it.
    pub fn type_id(&self, entity_type: &str) -> Option<TypeId> {
        self.types.number(entity_type).map(TypeId)
    }

    /// The type of a node; `None` for a node of another graph that has no entity here.
    pub fn type_of(&self, node: NodeId) -> Option<TypeId> {
        self.interner.read(node.0, |named| named.map(|(entity_type, _)| TypeId(entity_type)))
    }

    /// The name of a type; empty for a type of another graph that has no name here.
    pub fn type_name(&self, entity_type: TypeId) -> Arc<str> {
        self.interner.types().name(&self.types, entity_type.0)
    }

    /// The relation of this name, if a record has brought a relationship of it.
    pub fn relation_id(&self, relation: &str) -> Option<RelationId> {
        self.relations.number(relation).map(RelationId)
    }

    /// The name of a relation; empty for a relation of another graph that has no name here.
    pub fn relation_name(&self, relation: RelationId) -> Arc<str> {
        self.interner.relations().name(&self.relations, relation.0)
    }

    /// What is said about an entity itself. Of several records that say something, the one with the greatest key
    /// counts, in whatever order they came.
    pub fn facts(&self, node: NodeId) -> Option<&Arc<EntityFacts>> {
        let least = RecordKey { resource: Arc::default(), key: Arc::default() };
        let said = match node.0.checked_add(1) {
            Some(next) => self.facts.range((node, least.clone())..(NodeId(next), least)).next_back(),
            None => self.facts.range((node, least)..).next_back(),
        };
        said.map(|(_, facts)| facts)
    }

    /// The parents of a node with the relation that makes each one, ordered by relation, then by node. An entity that
    /// is a parent by two relations comes twice.
    pub fn parents(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        self.parents_by(node, RelationId::ALL)
    }

    /// The children of a node with the relation that makes each one, ordered by type, relation and node.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        let range = (node, TypeId::FIRST, RelationId::FIRST, NodeId::FIRST)
            ..=(node, TypeId::LAST, RelationId::LAST, NodeId::LAST);
        self.reverse.range(range).map(|(_, _, relation, child)| (*relation, *child))
    }

    /// The former parents of a node: those that some record made its parents and does not any more. One that another
    /// record makes a parent still, or again, is among [`Graph::parents`] too. Ordered by relation, then by node.
    pub fn parents_removed(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        self.removed.parents(node)
    }

    /// The former children of a node, as [`Graph::parents_removed`] has them from the other end. Ordered by type,
    /// relation and node.
    pub fn children_removed(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        self.removed.children(node)
    }

    /// Every ancestor of a node once, the nearest first, the node itself left out. Cycles end.
    ///
    /// `enter` is asked once about each ancestor that is met. One that it refuses is left out and not gone through;
    /// what lies behind it may still be reached by another path.
    pub fn ancestors(&self, node: NodeId, mut enter: impl FnMut(NodeId) -> bool) -> Vec<NodeId> {
        breadth_first(node, |node, meet| self.parents(node).for_each(|(_, parent)| meet(parent)), &mut enter)
    }

    /// The node and its descendants of one type that are reached through that type only: of an organization, the
    /// organizations below it. Each once, the node itself first, then the nearest. Children of other types cost nothing.
    pub fn descendants_of_type(&self, node: NodeId, entity_type: &str) -> Vec<NodeId> {
        let mut found = vec![node];
        if let Some(entity_type) = self.type_id(entity_type) {
            let below = |node, meet: &mut dyn FnMut(NodeId)| {
                self.children_by(node, entity_type, RelationId::ALL).for_each(|(_, child)| meet(child));
            };
            found.extend(breadth_first(node, below, &mut |_| true));
        }
        found
    }

    /// The revision at which a relationship, a removed one or a fact of a subject of this type last changed, so that
    /// callers can keep what they derive from it. Never older than the change; that of the load for what has not changed since.
    pub fn type_revision(&self, entity_type: &str) -> Revision {
        self.type_id(entity_type).and_then(|entity_type| self.touched.get(&entity_type)).copied().unwrap_or(self.loaded)
    }

    /// How large the graph is.
    pub fn counts(&self) -> Counts {
        Counts { entities: self.interner.len(), edges: self.forward.len(), removed: self.removed.len() }
    }

    /// Puts what one record says in place of what it said before. What comes is added before what goes is removed,
    /// so a relationship that stays is not touched.
    fn change(&mut self, before: Option<&Record>, after: Option<&Record>) {
        for relationship in after.iter().flat_map(|record| &record.relationships) {
            self.add_edge(relationship);
        }
        for relationship in before.iter().flat_map(|record| &record.relationships) {
            self.remove_edge(relationship);
        }
        for relationship in after.iter().flat_map(|record| &record.removed) {
            self.add_removed(relationship);
        }
        for relationship in before.iter().flat_map(|record| &record.removed) {
            self.remove_removed(relationship);
        }
        let before = before.and_then(|record| Some((&record.key, record.facts.as_ref()?)));
        let after = after.and_then(|record| Some((&record.key, record.facts.as_ref()?)));
        if before != after {
            if let Some((key, facts)) = before {
                self.remove_facts(key, facts);
            }
            if let Some((key, facts)) = after {
                self.add_facts(key, facts);
            }
        }
    }

    fn add_edge(&mut self, relationship: &Relationship) {
        let Some(((subject, subject_type), relation, object)) = self.intern_ends(relationship) else { return };
        if self.forward.add(subject, relation, object) {
            self.reverse.insert((object, subject_type, relation, subject));
            self.touch(subject_type);
        }
    }

    fn remove_edge(&mut self, relationship: &Relationship) {
        let Some(((subject, subject_type), relation, object)) = self.find_ends(relationship) else { return };
        if self.forward.remove(subject, relation, object) {
            self.reverse.remove(&(object, subject_type, relation, subject));
            self.touch(subject_type);
        }
    }

    fn add_removed(&mut self, relationship: &Relationship) {
        let Some((subject, relation, object)) = self.intern_ends(relationship) else { return };
        if self.removed.add(subject, relation, object) {
            self.touch(subject.1);
        }
    }

    fn remove_removed(&mut self, relationship: &Relationship) {
        let Some((subject, relation, object)) = self.find_ends(relationship) else { return };
        if self.removed.remove(subject, relation, object) {
            self.touch(subject.1);
        }
    }

    fn add_facts(&mut self, key: &RecordKey, facts: &EntityFacts) {
        if let Some((entity_type, node)) = self.intern(&facts.entity) {
            self.facts.insert((node, key.clone()), Arc::new(facts.clone()));
            self.touch(entity_type);
        }
    }

    fn remove_facts(&mut self, key: &RecordKey, facts: &EntityFacts) {
        if let Some(node) = self.find(&facts.entity)
            && self.facts.remove(&(node, key.clone())).is_some()
            && let Some(entity_type) = self.type_of(node)
        {
            self.touch(entity_type);
        }
    }

    fn intern(&mut self, entity: &EntityId) -> Option<(TypeId, NodeId)> {
        let entity_type = self.interner.types().intern(&mut self.types, &entity.entity_type)?;
        Some((TypeId(entity_type), NodeId(self.interner.intern(entity_type, &entity.id)?)))
    }

    fn intern_ends(
        &mut self,
        Relationship { subject, relation, object }: &Relationship,
    ) -> Option<((NodeId, TypeId), RelationId, NodeId)> {
        let ((subject_type, subject), (_, object)) = (self.intern(subject)?, self.intern(object)?);
        let relation = self.interner.relations().intern(&mut self.relations, relation)?;
        Some(((subject, subject_type), RelationId(relation), object))
    }

    fn find_ends(
        &self,
        Relationship { subject, relation, object }: &Relationship,
    ) -> Option<((NodeId, TypeId), RelationId, NodeId)> {
        let (subject, object) = (self.find(subject)?, self.find(object)?);
        Some(((subject, self.type_of(subject)?), self.relation_id(relation)?, object))
    }

    fn find(&self, entity: &EntityId) -> Option<NodeId> {
        self.node(&entity.entity_type, &entity.id)
    }

    fn touch(&mut self, entity_type: TypeId) {
        if self.touched.get(&entity_type) != Some(&self.revision) {
            self.touched.insert(entity_type, self.revision);
        }
    }

    fn parents_by(
        &self,
        node: NodeId,
        (first, last): (RelationId, RelationId),
    ) -> impl Iterator<Item = (RelationId, NodeId)> {
        let asked = self.forward.of(node).iter().filter(move |parent| (first..=last).contains(&parent.relation));
        asked.map(|parent| (parent.relation, parent.node))
    }

    fn children_by(
        &self,
        node: NodeId,
        entity_type: TypeId,
        (first, last): (RelationId, RelationId),
    ) -> impl Iterator<Item = (RelationId, NodeId)> {
        let range = (node, entity_type, first, NodeId::FIRST)..=(node, entity_type, last, NodeId::LAST);
        self.reverse.range(range).map(|(_, _, relation, child)| (*relation, *child))
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

/// Sizes only: ids are people.
impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { entities, edges, removed } = self.counts();
        f.debug_struct("Graph")
            .field("revision", &self.revision.0)
            .field("entities", &entities)
            .field("edges", &edges)
            .field("removed", &removed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
