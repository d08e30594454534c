//! Relationships that records brought once and don't any more, apart from those that hold.
//!
//! There are few of them, so they may take more memory each; those that hold pay nothing for them.

use imbl::{OrdMap, OrdSet};

use super::{NodeId, RelationId, Reverse, TypeId};

/// The removed relationships of all nodes. A clone costs a pointer.
#[derive(Clone, Default)]
pub(super) struct Removed {
    /// How many records remember each one.
    forward: OrdMap<(NodeId, RelationId, NodeId), u32>,
    /// The same relationships, from the other end.
    reverse: OrdSet<Reverse>,
}

impl Removed {
    /// Notes that one more record remembers that `parent` was a parent; says whether none did before.
    pub(super) fn add(&mut self, (node, node_type): (NodeId, TypeId), relation: RelationId, parent: NodeId) -> bool {
        let records = self.forward.entry((node, relation, parent)).or_default();
        *records = records.saturating_add(1);
        let is_first = *records == 1;
        if is_first {
            self.reverse.insert((parent, node_type, relation, node));
        }
        is_first
    }

    /// Notes that one record less remembers that `parent` was a parent; says whether none does any more.
    pub(super) fn remove(&mut self, (node, node_type): (NodeId, TypeId), relation: RelationId, parent: NodeId) -> bool {
        let edge = (node, relation, parent);
        match self.forward.get_mut(&edge) {
            None => false,
            Some(records) if *records > 1 => {
                *records -= 1;
                false
            }
            Some(_) => {
                self.forward.remove(&edge);
                self.reverse.remove(&(parent, node_type, relation, node));
                true
            }
        }
    }

    /// The former parents of a node, ordered by relation, then by node.
    pub(super) fn parents(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        let range = (node, RelationId::FIRST, NodeId::FIRST)..=(node, RelationId::LAST, NodeId::LAST);
        self.forward.range(range).map(|((_, relation, parent), _)| (*relation, *parent))
    }

    /// The former children of a node, ordered by type, relation and node.
    pub(super) fn children(&self, node: NodeId) -> impl Iterator<Item = (RelationId, NodeId)> {
        let range = (node, TypeId::FIRST, RelationId::FIRST, NodeId::FIRST)
            ..=(node, TypeId::LAST, RelationId::LAST, NodeId::LAST);
        self.reverse.range(range).map(|(_, _, relation, child)| (*relation, *child))
    }

    /// How many relationships there are.
    pub(super) fn len(&self) -> usize {
        self.forward.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.forward.is_empty() && self.reverse.is_empty()
    }
}
