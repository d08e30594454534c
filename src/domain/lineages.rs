//! What stands above each of many entities, found for all of them together.
//!
//! Each entity learns from its parents what they have learnt already, so the work grows with the answer and not with
//! the entities times the depth of the tree.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use super::graph::{Graph, NodeId, TypeId};

/// An entity and what stands above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The entity's node.
    pub node: NodeId,
    /// The entity's id.
    pub id: Arc<str>,
    /// For each kind, in the order of their names, the id of the nearest entity of that kind: the entity itself counts
    /// first, then its parents, and so on. Of several equally near ones the least counts, numbers before other texts.
    pub nearest: Vec<(Arc<str>, Arc<str>)>,
}

/// The lineages of entities of one type, in the order in which they are given; each of them once.
///
/// Only ancestors of that type, reached through that type, count. `kind_of` says what kind an entity is; one without
/// a kind is passed through. Cycles end. Fast when those that stand above others come before them.
pub fn lineages(
    graph: &Graph,
    entity_type: &str,
    nodes: impl IntoIterator<Item = NodeId>,
    kind_of: impl Fn(NodeId) -> Option<Arc<str>>,
) -> Vec<Lineage> {
    let Some(entity_type) = graph.type_id(entity_type) else { return Vec::new() };
    let mut tree = Tree::new(graph, entity_type);
    for node in nodes {
        tree.place(node);
    }
    let given = tree.entries.len();
    tree.climb();
    tree.name_kinds(kind_of);
    tree.learn(given);
    tree.told(given)
}

/// A kind, how many steps above it stands, and where.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: usize,
    distance: u32,
    place: usize,
}

#[derive(Debug)]
struct Entry {
    node: NodeId,
    id: Arc<str>,
    /// The id as a number; what is none comes last.
    number: i64,
    children: Vec<usize>,
    /// One for each kind at most.
    steps: Vec<Step>,
    is_waiting: bool,
}

struct Tree<'g> {
    graph: &'g Graph,
    entity_type: TypeId,
    entries: Vec<Entry>,
    places: HashMap<NodeId, usize>,
    kinds: Vec<Arc<str>>,
}

impl<'g> Tree<'g> {
    fn new(graph: &'g Graph, entity_type: TypeId) -> Self {
        Self { graph, entity_type, entries: Vec::new(), places: HashMap::new(), kinds: Vec::new() }
    }

    /// The place of a node, which gets one if it has none.
    fn place(&mut self, node: NodeId) -> usize {
        let next = self.entries.len();
        let place = *self.places.entry(node).or_insert(next);
        if place == next {
            let id = self.graph.entity(node).id;
            let number = id.parse().unwrap_or(i64::MAX);
            self.entries.push(Entry { node, id, number, children: Vec::new(), steps: Vec::new(), is_waiting: true });
        }
        place
    }

    /// Adds all that stands above, and notes who is whose child.
    fn climb(&mut self) {
        let graph = self.graph;
        let mut place = 0;
        while let Some(node) = self.entries.get(place).map(|entry| entry.node) {
            for (_, parent) in graph.parents(node).filter(|(_, parent)| *parent != node) {
                if graph.type_of(parent) == Some(self.entity_type) {
                    let above = self.place(parent);
                    self.entries.get_mut(above).into_iter().for_each(|entry| entry.children.push(place));
                }
            }
            place += 1;
        }
    }

    /// Each entity is the nearest of its own kind.
    fn name_kinds(&mut self, kind_of: impl Fn(NodeId) -> Option<Arc<str>>) {
        let mut numbers: HashMap<Arc<str>, usize> = HashMap::new();
        for (place, entry) in self.entries.iter_mut().enumerate() {
            let Some(name) = kind_of(entry.node) else { continue };
            let next = self.kinds.len();
            let kind = *numbers.entry(Arc::clone(&name)).or_insert(next);
            if kind == next {
                self.kinds.push(name);
            }
            entry.steps.push(Step { kind, distance: 0, place });
        }
    }

    /// Tells children what their parents know, until nobody learns anything new.
    fn learn(&mut self, given: usize) {
        // Those above all that was given come first, the farthest of them at the very front.
        let mut waiting: VecDeque<usize> = (given..self.entries.len()).rev().chain(0..given).collect();
        while let Some(place) = waiting.pop_front() {
            let Some(entry) = self.entries.get_mut(place) else { continue };
            entry.is_waiting = false;
            // INVARIANT: nobody is its own child, so what is taken out here is not looked for meanwhile.
            let (steps, children) = (mem::take(&mut entry.steps), mem::take(&mut entry.children));
            waiting.extend(children.iter().filter(|child| self.tell(**child, &steps)));
            if let Some(entry) = self.entries.get_mut(place) {
                (entry.steps, entry.children) = (steps, children);
            }
        }
    }

    /// Tells a child what one of its parents knows; says whether it has to wait for its own children to be told.
    fn tell(&mut self, child: usize, steps: &[Step]) -> bool {
        let Some(mut known) = self.entries.get_mut(child).map(|entry| mem::take(&mut entry.steps)) else {
            return false;
        };
        let mut is_news = false;
        for step in steps {
            let step = Step { distance: step.distance.saturating_add(1), ..*step };
            match known.iter_mut().find(|old| old.kind == step.kind) {
                None => known.push(step),
                Some(old) if self.rank(&step) < self.rank(old) => *old = step,
                Some(_) => continue,
            }
            is_news = true;
        }
        let Some(entry) = self.entries.get_mut(child) else { return false };
        entry.steps = known;
        is_news && !mem::replace(&mut entry.is_waiting, true)
    }

    /// The nearest first, then the least id.
    fn rank(&self, step: &Step) -> (u32, Option<(i64, &Arc<str>)>) {
        (step.distance, self.entries.get(step.place).map(|entry| (entry.number, &entry.id)))
    }

    fn told(self, given: usize) -> Vec<Lineage> {
        let named = |step: &Step| {
            let kind = self.kinds.get(step.kind)?;
            Some((Arc::clone(kind), Arc::clone(&self.entries.get(step.place)?.id)))
        };
        let told = self.entries.iter().take(given).map(|entry| {
            let mut nearest: Vec<_> = entry.steps.iter().filter_map(named).collect();
            nearest.sort();
            Lineage { node: entry.node, id: Arc::clone(&entry.id), nearest }
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        id::EntityId,
        relationship::{EntityFacts, Record, RecordKey, Relationship},
    };

    /// An organization, its kind, and those it belongs to.
    type Organization = (i64, &'static str, Vec<i64>);

    fn entity(id: i64) -> EntityId {
        EntityId::new("Organization", id.to_string())
    }

    fn graph(organizations: &[Organization]) -> Graph {
        let mut graph = Graph::new();
        for (id, kind, parents) in organizations {
            let relationships = parents.iter().map(|parent| Relationship {
                subject: entity(*id),
                relation: "belongs_to".into(),
                object: entity(*parent),
            });
            let facts = vec![("type".into(), (*kind).into())];
            let key = RecordKey { resource: "organizations".into(), key: id.to_string().into() };
            let facts = (!kind.is_empty()).then(|| EntityFacts { entity: entity(*id), facts });
            graph.insert(&Record::new(key, relationships.collect(), facts));
        }
        graph
    }

    fn kind_of(graph: &Graph, node: NodeId) -> Option<Arc<str>> {
        graph.facts(node).and_then(|facts| facts.facts.first()).map(|(_, kind)| Arc::clone(kind))
    }

    fn found(graph: &Graph, ids: &[i64]) -> Vec<(i64, Vec<(String, i64)>)> {
        let nodes = ids.iter().filter_map(|id| graph.node("Organization", &id.to_string()));
        let found = lineages(graph, "Organization", nodes, |node| kind_of(graph, node));
        let named = |(kind, id): &(Arc<str>, Arc<str>)| (kind.to_string(), id.parse().unwrap());
        found.iter().map(|lineage| (lineage.id.parse().unwrap(), lineage.nearest.iter().map(named).collect())).collect()
    }

    #[track_caller]
    fn check(organizations: &[Organization], id: i64, expected: &[(&str, i64)]) {
        let expected: Vec<_> = expected.iter().map(|(kind, id)| ((*kind).to_owned(), *id)).collect();
        assert_eq!(found(&graph(organizations), &[id]), [(id, expected)]);
    }

    #[test]
    fn all_kinds_above_are_told_and_those_of_no_kind_are_passed_through() {
        let organizations =
            [(1, "State", vec![]), (2, "", vec![1]), (3, "District", vec![2]), (4, "School", vec![3, 99])];
        check(&organizations, 4, &[("District", 3), ("School", 4), ("State", 1)]);
        check(&organizations, 2, &[("State", 1)]);
    }

    #[test]
    fn of_several_of_one_kind_the_nearest_counts_then_the_least_number() {
        check(&[(1, "District", vec![]), (2, "District", vec![1])], 2, &[("District", 2)]);
        let diamond = [
            (9, "State", vec![]),
            (10, "State", vec![]),
            (3, "District", vec![10]),
            (4, "District", vec![9]),
            (5, "School", vec![4, 3]),
        ];
        check(&diamond, 5, &[("District", 3), ("School", 5), ("State", 9)]);
        let near_and_far =
            [(1, "State", vec![]), (2, "State", vec![]), (3, "District", vec![1]), (5, "School", vec![3, 2])];
        check(&near_and_far, 5, &[("District", 3), ("School", 5), ("State", 2)]);
    }

    #[test]
    fn cycles_end_and_hide_nothing() {
        let cycle = [(9, "State", vec![]), (1, "A", vec![2]), (2, "B", vec![1, 9]), (3, "C", vec![3, 1])];
        check(&cycle, 1, &[("A", 1), ("B", 2), ("State", 9)]);
        check(&cycle, 2, &[("A", 1), ("B", 2), ("State", 9)]);
        check(&cycle, 3, &[("A", 1), ("B", 2), ("C", 3), ("State", 9)]);
    }

    /// One entity after the other, by plain search: the nearest of each kind, the least id first.
    fn plainly(graph: &Graph, id: i64) -> Vec<(String, i64)> {
        let node = graph.node("Organization", &id.to_string()).unwrap();
        let (mut nearest, mut seen, mut level): (Vec<(String, i64)>, Vec<NodeId>, Vec<NodeId>) =
            (Vec::new(), Vec::new(), vec![node]);
        while !level.is_empty() {
            let mut here: Vec<(i64, NodeId)> =
                level.iter().map(|node| (graph.entity(*node).id.parse().unwrap(), *node)).collect();
            here.sort_by_key(|(id, _)| *id);
            for (id, node) in here {
                let kind = kind_of(graph, node).map(|kind| kind.to_string());
                if let Some(kind) = kind.filter(|kind| nearest.iter().all(|(known, _)| known != kind)) {
                    nearest.push((kind, id));
                }
            }
            seen.extend(&level);
            level = level.iter().flat_map(|node| graph.parents(*node)).map(|(_, parent)| parent).collect();
            level.retain(|node| !seen.contains(node));
        }
        nearest.sort();
        nearest
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_together_are_told_what_each_alone_would_find(
            parents in prop::collection::vec((prop::sample::select(&["", "A", "B", "C"][..]), prop::collection::vec(0_i64..12, 0..3)), 12),
            order in Just((0_i64..12).collect::<Vec<_>>()).prop_shuffle(),
            count in 1_usize..12,
        ) {
            let organizations: Vec<Organization> =
                (0..).zip(parents).map(|(id, (kind, parents))| (id, kind, parents)).collect();
            let graph = graph(&organizations);
            for (id, nearest) in found(&graph, &order[..count]) {
                prop_assert_eq!(nearest, plainly(&graph, id));
            }
        }
    }
}
