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
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::relationship::{Change, settle};

    const ENTITIES: [(&str, &str); 10] = [
        ("Student", "1"),
        ("Student", "2"),
        ("Student", "3"),
        ("Contact", "1"),
        ("Organization", "1"),
        ("Organization", "2"),
        ("Organization", "3"),
        ("Organization", "4"),
        ("Organization", "5"),
        ("Unheard", "of"),
    ];
    const RELATIONS: [&str; 3] = ["enrolled_at", "part_of", "contact_of"];

    fn entity(place: usize) -> EntityId {
        let (entity_type, id) = ENTITIES[place];
        EntityId::new(entity_type, id)
    }

    fn relationship(subject: usize, relation: &str, object: usize) -> Relationship {
        Relationship { subject: entity(subject), relation: relation.into(), object: entity(object) }
    }

    fn key(key: &str) -> RecordKey {
        RecordKey { resource: "associations".into(), key: key.into() }
    }

    fn record(name: &str, relationships: Vec<Relationship>) -> Record {
        Record::new(key(name), relationships, None)
    }

    fn facts(place: usize, name: &str) -> EntityFacts {
        EntityFacts { entity: entity(place), facts: vec![("name".into(), name.into())] }
    }

    /// The records as they are now: what every answer is computed from again, the slow and plain way.
    #[derive(Clone, Debug, Default)]
    struct Model {
        records: BTreeMap<RecordKey, Record>,
        revision: u64,
    }

    impl Model {
        /// Does what a store does with a batch. What is a part of something is not remembered.
        fn write(&mut self, changes: Vec<Change>) -> Written {
            let remembered = ["enrolled_at", "contact_of"].into_iter().map(Arc::from).collect();
            let mut effects = Vec::new();
            for change in changes {
                let effect = settle(self.records.get(change.key()).cloned(), change, &remembered);
                effect.keep_in(&mut self.records);
                effects.push(effect);
            }
            self.revision += u64::from(effects.iter().any(|effect| *effect != Effect::Unchanged));
            Written { revision: Revision(self.revision), effects }
        }

        fn put(&mut self, record: Record) -> Written {
            self.write(vec![Change::Put(record)])
        }

        fn delete(&mut self, name: &str) -> Written {
            self.write(vec![Change::Delete(key(name))])
        }

        fn edges(&self) -> BTreeSet<Relationship> {
            self.records.values().flat_map(|record| record.relationships.iter().cloned()).collect()
        }

        fn removed(&self) -> BTreeSet<Relationship> {
            self.records.values().flat_map(|record| record.removed.iter().cloned()).collect()
        }

        fn facts(&self, entity: &EntityId) -> Option<&EntityFacts> {
            self.records.values().filter_map(|record| record.facts.as_ref()).rfind(|facts| facts.entity == *entity)
        }

        /// What a type's revision stands for.
        fn of_type(&self, entity_type: &str) -> [Vec<Relationship>; 2] {
            let of_type = |edges: BTreeSet<Relationship>| {
                edges.into_iter().filter(|edge| *edge.subject.entity_type == *entity_type).collect()
            };
            [of_type(self.edges()), of_type(self.removed())]
        }

        /// What else it stands for.
        fn facts_of_type(&self, entity_type: &str) -> Vec<EntityFacts> {
            let facts = self.records.values().filter_map(|record| record.facts.clone());
            facts.filter(|facts| *facts.entity.entity_type == *entity_type).collect()
        }
    }

    /// How many steps each entity is away from `start`, which is left out.
    fn distances(start: &EntityId, next: impl Fn(&EntityId) -> Vec<EntityId>) -> BTreeMap<EntityId, usize> {
        let mut found = BTreeMap::new();
        let mut level = vec![start.clone()];
        for distance in 1.. {
            level = level.iter().flat_map(&next).collect();
            level.retain(|entity| entity != start && !found.contains_key(entity));
            found.extend(level.iter().map(|entity| (entity.clone(), distance)));
            if level.is_empty() {
                break;
            }
        }
        found
    }

    fn check_order(graph: &Graph, found: &[NodeId], expected: &BTreeMap<EntityId, usize>) {
        let steps: Vec<usize> = found.iter().map(|node| expected[&graph.entity(*node)]).collect();
        assert!(steps.is_sorted(), "not the nearest first: {steps:?}");
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "one comes twice");
    }

    /// Asks the graph everything and compares with the model.
    fn check(graph: &Graph, model: &Model) {
        let (edges, removed) = (model.edges(), model.removed());
        let Counts { edges: edge_count, removed: removed_count, entities: _ } = graph.counts();
        assert_eq!(graph.revision(), Revision(model.revision));
        assert_eq!((edge_count, removed_count), (edges.len(), removed.len()));
        for (entity_type, id) in ENTITIES {
            let entity = EntityId::new(entity_type, id);
            let Some(node) = graph.node(&entity.entity_type, &entity.id) else {
                assert!(edges.union(&removed).all(|edge| edge.subject != entity && edge.object != entity));
                assert_eq!(model.facts(&entity), None);
                continue;
            };
            assert_eq!(graph.entity(node), entity);
            assert_eq!(graph.type_name(graph.type_of(node).unwrap()), entity.entity_type);
            assert!(graph.with_name(node, |found_type, found_id| (found_type, found_id) == (entity_type, id)));
            assert_eq!(graph.facts(node).map(|facts| &**facts), model.facts(&entity));

            let named = |found: Vec<(RelationId, NodeId)>| -> Vec<(Arc<str>, EntityId)> {
                let mut named: Vec<_> = found
                    .iter()
                    .map(|(relation, node)| (graph.relation_name(*relation), graph.entity(*node)))
                    .collect();
                named.sort();
                named
            };
            let with = |edges: &BTreeSet<Relationship>, end: fn(&Relationship) -> (&EntityId, &EntityId)| {
                let ends = edges.iter().filter(|edge| *end(edge).0 == entity);
                let mut named: Vec<_> = ends.map(|edge| (Arc::clone(&edge.relation), end(edge).1.clone())).collect();
                named.sort();
                named
            };
            assert_eq!(named(graph.parents(node).collect()), with(&edges, |edge| (&edge.subject, &edge.object)));
            assert_eq!(named(graph.children(node).collect()), with(&edges, |edge| (&edge.object, &edge.subject)));
            let (parents, children) = (graph.parents_removed(node).collect(), graph.children_removed(node).collect());
            assert_eq!(named(parents), with(&removed, |edge| (&edge.subject, &edge.object)));
            assert_eq!(named(children), with(&removed, |edge| (&edge.object, &edge.subject)));
            check_walks(graph, &edges, &entity, node);
        }
    }

    fn check_walks(graph: &Graph, edges: &BTreeSet<Relationship>, entity: &EntityId, node: NodeId) {
        let parents = |child: &EntityId| -> Vec<EntityId> {
            edges.iter().filter(|edge| edge.subject == *child).map(|edge| edge.object.clone()).collect()
        };
        check_order(graph, &graph.ancestors(node, |_| true), &distances(entity, parents));

        let may_enter = |entity: &EntityId| *entity.id != *"2";
        let mut asked = Vec::new();
        let entered = graph.ancestors(node, |node| {
            asked.push(node);
            may_enter(&graph.entity(node))
        });
        let some_parents = |child: &EntityId| parents(child).into_iter().filter(may_enter).collect();
        check_order(graph, &entered, &distances(entity, some_parents));
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "asked twice");

        let organizations_below = |parent: &EntityId| -> Vec<EntityId> {
            let below = edges.iter().filter(|edge| edge.object == *parent).map(|edge| edge.subject.clone());
            below.filter(|child| *child.entity_type == *"Organization").collect()
        };
        let found = graph.descendants_of_type(node, "Organization");
        assert_eq!(found.first(), Some(&node));
        check_order(graph, &found[1..], &distances(entity, organizations_below));
        assert_eq!(graph.descendants_of_type(node, "Unknown"), [node]);
    }

    fn check_query(graph: &Graph, model: &Model, query: &RelationshipQuery) {
        let expected: Vec<Relationship> = model.edges().into_iter().filter(|edge| fits(edge, query)).collect();
        assert_eq!(graph.relationships(query, None, usize::MAX), expected);
        assert_eq!(graph.relationships(query, None, 0), []);
        let mut paged: Vec<Relationship> = Vec::new();
        loop {
            let page = graph.relationships(query, paged.last(), 2);
            paged.extend(page.iter().cloned());
            if page.len() < 2 {
                break;
            }
        }
        assert_eq!(paged, expected);
    }

    fn fits(edge: &Relationship, query: &RelationshipQuery) -> bool {
        query.subject.as_ref().is_none_or(|subject| edge.subject == *subject)
            && query.relation.as_ref().is_none_or(|relation| edge.relation == *relation)
            && query.object.as_ref().is_none_or(|object| edge.object == *object)
    }

    fn some_query() -> impl Strategy<Value = RelationshipQuery> {
        let end = || proptest::option::of((0..ENTITIES.len()).prop_map(entity));
        let relation = proptest::option::of(prop::sample::select(&["enrolled_at", "part_of", "unknown"][..]));
        (end(), relation, end()).prop_map(|(subject, relation, object)| RelationshipQuery {
            subject,
            relation: relation.map(Into::into),
            object,
        })
    }

    /// Few entities and few keys, so that records are replaced, edges doubled, and cycles and diamonds are common.
    fn some_change() -> impl Strategy<Value = Change> {
        let named = 0..ENTITIES.len() - 1;
        let edge = (named.clone(), prop::sample::select(&RELATIONS[..]), named.clone())
            .prop_map(|(subject, relation, object)| relationship(subject, relation, object));
        let facts = (named, "[ab]").prop_map(|(place, name)| facts(place, &name));
        let record = (prop::collection::vec(edge, 0..4), proptest::option::weighted(0.4, facts));
        ("[a-l]", 0..8, record).prop_map(|(name, kind, (relationships, facts))| match kind {
            0 => Change::Forget(key(&name)),
            1 | 2 => Change::Delete(key(&name)),
            _ => Change::Put(Record::new(key(&name), relationships, facts)),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_answer_is_that_of_the_records(
            batches in prop::collection::vec(prop::collection::vec(some_change(), 1..5), 1..20),
            queries in prop::collection::vec(some_query(), 4),
        ) {
            let (mut graph, mut model) = (Graph::new(), Model::default());
            let mut snapshots = Vec::new();
            for batch in batches {
                snapshots.push((graph.clone(), model.clone()));
                let (before, touched) = (model.clone(), ["Student", "Contact", "Organization"]);
                let then = touched.map(|entity_type| graph.type_revision(entity_type));
                graph.apply(&model.write(batch));
                for (entity_type, then) in touched.iter().zip(then) {
                    let now = graph.type_revision(entity_type);
                    prop_assert!(then <= now && now <= graph.revision());
                    let is_changed = before.of_type(entity_type) != model.of_type(entity_type)
                        || before.facts_of_type(entity_type) != model.facts_of_type(entity_type);
                    prop_assert!(!is_changed || now == graph.revision());
                }
                check(&graph, &model);
                for query in &queries {
                    check_query(&graph, &model, query);
                }
            }
            // Whoever still reads an older snapshot sees what it showed.
            for (graph, model) in &snapshots {
                check(graph, model);
            }

            let mut loaded = Graph::new();
            model.records.values().rev().for_each(|record| loaded.insert(record));
            loaded.set_revision(Revision(model.revision));
            check(&loaded, &model);
            prop_assert_eq!(loaded.type_revision("Student"), Revision(model.revision));

            let keys: Vec<RecordKey> = model.records.keys().cloned().collect();
            graph.apply(&model.write(keys.iter().cloned().map(Change::Delete).collect()));
            check(&graph, &model);
            prop_assert_eq!((graph.counts().edges, graph.reverse.len(), graph.facts.len()), (0, 0, 0));
            graph.apply(&model.write(keys.into_iter().map(Change::Forget).collect()));
            check(&graph, &model);
            prop_assert_eq!((graph.counts().removed, graph.removed.is_empty()), (0, true));
        }
    }

    #[test]
    fn a_relationship_that_two_records_bring_stays_until_both_are_gone() {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        for name in ["a", "b"] {
            graph.apply(&model.put(record(name, vec![relationship(0, "part_of", 4)])));
        }
        let student = graph.node("Student", "1").unwrap();
        for (name, parents, changed_at) in [("a", 1, 1), ("a", 1, 1), ("b", 0, 4)] {
            graph.apply(&model.delete(name));
            assert_eq!(graph.parents(student).count(), parents);
            if parents == 1 {
                assert_eq!(graph.type_revision("Student"), Revision(changed_at), "nothing changed for readers");
            }
        }
        assert_eq!(graph.type_revision("Student"), graph.revision());
    }

    #[test]
    fn a_removed_relationship_that_two_records_remember_stays_until_both_are_forgotten() {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        for name in ["a", "b"] {
            graph.apply(&model.put(record(name, vec![relationship(0, "enrolled_at", 4)])));
            graph.apply(&model.delete(name));
        }
        let student = graph.node("Student", "1").unwrap();
        assert_eq!((graph.parents(student).count(), graph.type_revision("Student")), (0, Revision(4)));
        for (name, parents, changed_at) in [("a", 1, 4), ("b", 0, 6)] {
            graph.apply(&model.write(vec![Change::Forget(key(name))]));
            assert_eq!(graph.parents_removed(student).count(), parents);
            assert_eq!(graph.type_revision("Student"), Revision(changed_at));
        }
    }

    #[test]
    fn a_record_that_is_replaced_leaves_what_stays_untouched() {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        graph.apply(&model.put(record("a", vec![relationship(0, "enrolled_at", 4), relationship(4, "part_of", 5)])));
        graph.apply(&model.put(record("a", vec![relationship(0, "enrolled_at", 6), relationship(4, "part_of", 5)])));
        assert_eq!((graph.type_revision("Student"), graph.type_revision("Organization")), (Revision(2), Revision(1)));
        check(&graph, &model);
    }

    #[test]
    fn of_several_facts_those_of_the_greatest_key_count_whenever_they_came() {
        for order in [["a", "b"], ["b", "a"]] {
            let (mut graph, mut model) = (Graph::new(), Model::default());
            for name in order {
                graph.apply(&model.put(Record { facts: Some(facts(4, name)), ..record(name, Vec::new()) }));
            }
            let node = graph.node("Organization", "1").unwrap();
            assert_eq!(**graph.facts(node).unwrap(), facts(4, "b"));
            graph.apply(&model.delete("b"));
            assert_eq!(**graph.facts(node).unwrap(), facts(4, "a"));
            graph.apply(&model.delete("a"));
            assert_eq!(graph.facts(node), None);
        }
    }

    #[test]
    fn a_long_chain_and_a_wide_fan_are_walked_to_the_end() {
        let mut graph = Graph::new();
        let organization = |n: u32| EntityId::new("Organization", n.to_string());
        let edge = |subject, object| Relationship { subject, relation: "part_of".into(), object };
        for n in 0..500 {
            let up = vec![edge(organization(n), organization(n + 1)), edge(organization(0), organization(1_000 + n))];
            graph.insert(&record(&n.to_string(), up));
        }
        let bottom = graph.node("Organization", "0").unwrap();
        let found = graph.ancestors(bottom, |_| true);
        assert_eq!(found.len(), 1_000);
        assert_eq!(found.last(), graph.node("Organization", "500").as_ref());
        let top = graph.node("Organization", "500").unwrap();
        assert_eq!(graph.descendants_of_type(top, "Organization").len(), 501);
    }

    #[test]
    fn asking_about_strangers_makes_no_entity() {
        let mut graph = Graph::new();
        graph.apply(&Model::default().put(record("a", vec![relationship(0, "enrolled_at", 4)])));
        assert_eq!(graph.node("Student", "stranger"), None);
        let query = RelationshipQuery { object: Some(EntityId::new("School", "stranger")), ..Default::default() };
        assert_eq!(graph.relationships(&query, None, 10), []);
        graph.apply(&Written {
            revision: Revision(2),
            effects: vec![Effect::Deleted(record("never there", vec![relationship(1, "taught_by", 9)]))],
        });
        assert_eq!(graph.counts(), Counts { entities: 2, edges: 1, removed: 0 });
    }

    #[test]
    fn a_node_that_is_younger_than_the_snapshot_has_a_name_and_no_parents() {
        let old = Graph::new();
        let mut new = old.clone();
        new.apply(&Model::default().put(record("a", vec![relationship(0, "enrolled_at", 4)])));
        let student = new.node("Student", "1").unwrap();
        assert_eq!((old.node("Student", "1"), old.entity(student)), (None, entity(0)));
        assert!(old.with_name(student, |entity_type, id| (entity_type, id) == ENTITIES[0]));
        assert_eq!((old.parents(student).count(), new.parents(student).count()), (0, 1));
        assert_eq!(Graph::new().entity(student), EntityId::new("", ""));
    }

    #[test]
    fn debug_shows_sizes_and_no_ids() {
        let mut graph = Graph::new();
        graph.apply(&Model::default().put(record("a", vec![relationship(0, "enrolled_at", 4)])));
        assert_eq!(format!("{graph:?}"), "Graph { revision: 1, entities: 2, edges: 1, removed: 0, .. }");
    }
}
