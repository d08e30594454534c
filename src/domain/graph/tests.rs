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
            let mut named: Vec<_> =
                found.iter().map(|(relation, node)| (graph.relation_name(*relation), graph.entity(*node))).collect();
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
