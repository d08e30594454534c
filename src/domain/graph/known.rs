//! Which entities a snapshot knows, and what lies below one.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::{Graph, NodeId, RecordKey, RelationId, TypeId};

/// The way of a walk downwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    /// The types that it goes through, each with the types of the children that it goes on to.
    pub(crate) down: Vec<(TypeId, Vec<TypeId>)>,
    /// The types to whose entities removed relationships lead too.
    pub(crate) past: Vec<TypeId>,
}

impl Graph {
    /// A record of this snapshot says something about the entity, or relates it to another one or did so. A node alone
    /// says nothing: other snapshots share it.
    pub(crate) fn is_known(&self, node: NodeId) -> bool {
        let is_related = self.parents(node).next().is_some() || self.children(node).next().is_some();
        is_related || self.facts(node).is_some() || self.parents_removed(node).next().is_some()
    }

    /// Hands every known entity of these types to `each`, until `each` says that it is enough. One that several records
    /// speak of comes several times.
    pub(crate) fn each_known(&self, types: &[TypeId], mut each: impl FnMut(NodeId) -> bool) {
        let is_asked = |node: &NodeId| self.type_of(*node).is_some_and(|of| types.contains(&of));
        let has_parents = |node: NodeId| self.parents(node).next().is_some();
        let with_parents = self.forward.iter().map(|(node, _)| node);
        let with_children = self.with_children().filter(|node| !has_parents(*node));
        let spoken_of = self.facts.keys().map(|(node, _)| *node);
        let spoken_of = spoken_of.filter(|node| !has_parents(*node) && self.children(*node).next().is_none());
        let mut known = with_parents.chain(with_children).chain(spoken_of).filter(is_asked);
        while known.next().is_some_and(&mut each) {}
    }

    /// Hands every entity that records say something about to `each`, some several times, until it is enough.
    pub(crate) fn each_spoken_of(&self, entity_type: TypeId, mut each: impl FnMut(NodeId) -> bool) {
        let spoken_of = self.facts.keys().map(|(node, _): &(NodeId, RecordKey)| *node);
        let mut asked = spoken_of.filter(|node| self.type_of(*node) == Some(entity_type));
        while asked.next().is_some_and(&mut each) {}
    }

    /// The children of one type by one relation.
    pub(crate) fn children_of(
        &self,
        node: NodeId,
        entity_type: TypeId,
        relation: RelationId,
    ) -> impl Iterator<Item = NodeId> {
        self.children_by(node, entity_type, (relation, relation)).map(|(_, child)| child)
    }

    /// Hands the roots and all that lies below them by these steps to `each`, each node once, until `each` says that
    /// it is enough. Children of types that no step leads to cost nothing.
    pub(crate) fn each_below(&self, roots: &[NodeId], steps: &Steps, mut each: impl FnMut(NodeId) -> bool) {
        let mut met: HashSet<NodeId, RandomState> = HashSet::default();
        let mut open: Vec<NodeId> = roots.iter().copied().filter(|root| met.insert(*root)).collect();
        while let Some(node) = open.pop() {
            if !each(node) {
                return;
            }
            let of = self.type_of(node);
            let next = steps.down.iter().filter(|(from, _)| Some(*from) == of).flat_map(|(_, next)| next);
            for child_type in next {
                let below = self.children_by(node, *child_type, RelationId::ALL).map(|(_, child)| child);
                open.extend(below.filter(|child| met.insert(*child)));
            }
            if !steps.past.is_empty() {
                let was_below = self.children_removed(node).map(|(_, child)| child);
                let has_past = |child: &NodeId| self.type_of(*child).is_some_and(|of| steps.past.contains(&of));
                open.extend(was_below.filter(|child| has_past(child) && met.insert(*child)));
            }
        }
    }

    /// Every node that has children, once.
    fn with_children(&self) -> impl Iterator<Item = NodeId> {
        let mut from = Some(NodeId::FIRST);
        std::iter::from_fn(move || {
            let least = (from?, TypeId::FIRST, RelationId::FIRST, NodeId::FIRST);
            let (found, ..) = *self.reverse.range(least..).next()?;
            from = found.0.checked_add(1).map(NodeId);
            Some(found)
        })
    }
}
