//! The parents of every node, so that finding those of one touches as little memory as can be.
//!
//! Nearly every node has one parent or none, and numbers of nodes are dense: a persistent vector by number finds them
//! in one place. A clone costs a pointer; a change copies a piece of the vector.

use std::sync::Arc;

use imbl::Vector;

use super::{NodeId, RelationId};

/// A parent, the relation that makes it one, and how many records bring that relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) relation: RelationId,
    pub(super) node: NodeId,
    records: u32,
}

/// The parents of one node, sorted by relation, then by node.
#[derive(Clone, Debug, Default)]
enum Few {
    #[default]
    None,
    One(Parent),
    // INVARIANT: at least two.
    More(Arc<Vec<Parent>>),
}

impl Few {
    fn as_slice(&self) -> &[Parent] {
        match self {
            Self::None => &[],
            Self::One(parent) => std::slice::from_ref(parent),
            Self::More(parents) => parents,
        }
    }

    fn of(parents: Vec<Parent>) -> Self {
        match parents.as_slice() {
            [] => Self::None,
            [parent] => Self::One(*parent),
            _ => Self::More(Arc::new(parents)),
        }
    }
}

/// The parents of all nodes.
#[derive(Clone, Default)]
pub(super) struct Parents {
    by_number: Vector<Few>,
    count: usize,
}

impl Parents {
    /// Notes that one more record makes `parent` a parent; says whether it wasn't one before.
    pub(super) fn add(&mut self, node: NodeId, relation: RelationId, parent: NodeId) -> bool {
        let mut parents = self.of(node).to_vec();
        let found = parents.binary_search_by_key(&(relation, parent), |known| (known.relation, known.node));
        match found.map(|place| parents.get_mut(place)) {
            Ok(Some(known)) => known.records = known.records.saturating_add(1),
            Ok(None) => {}
            Err(place) => parents.insert(place, Parent { relation, node: parent, records: 1 }),
        }
        self.put(node, parents);
        self.count += usize::from(found.is_err());
        found.is_err()
    }

    /// Notes that one record less makes `parent` a parent; says whether it is none any more.
    pub(super) fn remove(&mut self, node: NodeId, relation: RelationId, parent: NodeId) -> bool {
        let mut parents = self.of(node).to_vec();
        let found = parents.binary_search_by_key(&(relation, parent), |known| (known.relation, known.node));
        let Ok(place) = found else { return false };
        let is_last = parents.get(place).is_none_or(|known| known.records <= 1);
        if is_last {
            parents.remove(place);
            self.count -= 1;
        } else if let Some(known) = parents.get_mut(place) {
            known.records -= 1;
        }
        self.put(node, parents);
        is_last
    }

    /// The parents of a node, sorted by relation, then by node.
    pub(super) fn of(&self, node: NodeId) -> &[Parent] {
        self.by_number.get(node.0 as usize).map_or(&[], Few::as_slice)
    }

    /// Every node that has parents, with them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &[Parent])> {
        let numbered = (0..).map(NodeId).zip(&self.by_number);
        numbered.map(|(node, parents)| (node, parents.as_slice())).filter(|(_, parents)| !parents.is_empty())
    }

    /// How many relationships there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn put(&mut self, node: NodeId, parents: Vec<Parent>) {
        let number = node.0 as usize;
        while self.by_number.len() <= number {
            self.by_number.push_back(Few::None);
        }
        self.by_number.set(number, Few::of(parents));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(parents: &Parents, node: u32) -> Vec<(u16, u32)> {
        parents.of(NodeId(node)).iter().map(|parent| (parent.relation.0, parent.node.0)).collect()
    }

    #[test]
    fn a_parent_stays_until_its_last_record_is_gone() {
        let (node, relation, parent) = (NodeId(70), RelationId(1), NodeId(3));
        let mut parents = Parents::default();
        assert!(parents.add(node, relation, parent) && !parents.add(node, relation, parent));
        let before = parents.clone();
        assert!(!parents.remove(node, relation, parent) && parents.remove(node, relation, parent));
        assert!(!parents.remove(node, relation, parent));
        assert_eq!((parents.len(), nodes(&parents, 70)), (0, vec![]));
        assert_eq!((before.len(), nodes(&before, 70)), (1, vec![(1, 3)]));
    }

    #[test]
    fn parents_are_sorted_by_relation_and_node() {
        let mut parents = Parents::default();
        for (relation, parent) in [(2, 1), (1, 9), (1, 4)] {
            parents.add(NodeId(0), RelationId(relation), NodeId(parent));
        }
        assert_eq!(nodes(&parents, 0), [(1, 4), (1, 9), (2, 1)]);
        assert_eq!(nodes(&parents, 1), []);
        assert_eq!(parents.iter().count(), 1);
    }
}
