//! Walks a graph by its levels, each node once, so that cycles end.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::interner::NodeId;

/// All nodes that `next` leads to from `start`, each once, `start` itself left out, the nearest first; `enter` may
/// refuse a node, and is asked once about each.
pub(crate) fn breadth_first(
    start: NodeId,
    next: impl Fn(NodeId, &mut dyn FnMut(NodeId)),
    enter: &mut dyn FnMut(NodeId) -> bool,
) -> Vec<NodeId> {
    let mut seen = Seen::Few(vec![start]);
    let mut found = Vec::new();
    let mut current = start;
    let mut place = 0;
    loop {
        next(current, &mut |node| {
            if seen.insert(node) && enter(node) {
                found.push(node);
            }
        });
        let Some(following) = found.get(place) else { return found };
        current = *following;
        place += 1;
    }
}

/// The nodes that were met. Mostly fewer than ten, and then a list is faster than a set.
enum Seen {
    Few(Vec<NodeId>),
    Many(HashSet<NodeId, RandomState>),
}

impl Seen {
    const FEW: usize = 32;

    /// False when it was met before.
    fn insert(&mut self, node: NodeId) -> bool {
        match self {
            Self::Few(nodes) if nodes.contains(&node) => false,
            Self::Few(nodes) if nodes.len() < Self::FEW => {
                nodes.push(node);
                true
            }
            Self::Few(nodes) => {
                let mut many: HashSet<_, _> = nodes.iter().copied().collect();
                many.insert(node);
                *self = Self::Many(many);
                true
            }
            Self::Many(nodes) => nodes.insert(node),
        }
    }
}
