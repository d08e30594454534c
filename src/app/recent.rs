//! Recent relationships, so that the pages of a search see what its first page saw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{
    graph::Graph,
    id::{EntityId, PolicyVersion, Revision},
    search::Known,
    value::Attributes,
};

/// The most snapshots that are kept of one realm.
const SNAPSHOTS_MAX: usize = 32;
/// How long one is kept after the last search that saw it as its first page began, in microseconds.
const KEPT_US: i64 = 5 * 60 * 1_000_000;
/// The most searches whose items are kept, of one realm.
const ITEMS_MAX: usize = 64;
/// The most memory that kept items take in one realm, in bytes.
const ITEMS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the known items of a search depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemsKey {
    pub(super) revision: Revision,
    pub(super) version: PolicyVersion,
    pub(super) action: Arc<str>,
    pub(super) resource_type: Arc<str>,
    pub(super) context: Attributes,
    pub(super) within: Option<EntityId>,
    /// Stands for the principal and its attributes.
    pub(super) holder: Arc<str>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    snapshots: Vec<(i64, Arc<Graph>)>,
    /// The oldest first.
    items: Vec<(i64, ItemsKey, Arc<Known>)>,
}

/// The recent snapshots of one realm, bounded in number and age.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

impl Recent {
    /// The snapshot of this revision, if it is still there.
    pub(super) fn find(&self, revision: Revision, now_us: i64) -> Option<Arc<Graph>> {
        let kept = self.at(now_us);
        kept.snapshots.iter().find(|(_, graph)| graph.revision() == revision).map(|(_, graph)| Arc::clone(graph))
    }

    /// Keeps a snapshot that a first page has seen, which began at `since_us`; not one that is too old by now.
    pub(super) fn keep(&self, graph: Arc<Graph>, since_us: i64, now_us: i64) {
        if !is_recent(since_us, now_us) {
            return;
        }
        let mut kept = self.at(now_us);
        let earlier = kept.snapshots.iter().find(|(_, other)| other.revision() == graph.revision());
        let since_us = earlier.map_or(since_us, |(earlier_us, _)| since_us.max(*earlier_us));
        kept.snapshots.retain(|(_, other)| other.revision() != graph.revision());
        let place = kept.snapshots.partition_point(|(other_us, _)| *other_us <= since_us);
        kept.snapshots.insert(place, (since_us, graph));
        let excess = kept.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        kept.snapshots.drain(..excess);
    }

    /// The items that an earlier page went through.
    pub(super) fn items(&self, key: &ItemsKey, now_us: i64) -> Option<Arc<Known>> {
        let kept = self.at(now_us);
        kept.items.iter().find(|(_, other, _)| other == key).map(|(_, _, known)| Arc::clone(known))
    }

    /// Keeps items for the pages that follow. Without them a page finds them anew, at its own cost.
    pub(super) fn keep_items(&self, key: ItemsKey, known: Arc<Known>, now_us: i64) {
        let mut kept = self.at(now_us);
        kept.items.retain(|(_, other, _)| *other != key);
        kept.items.push((now_us, key, known));
        let mut bytes: usize = kept.items.iter().map(|(_, _, known)| known.ids.bytes()).sum();
        let excess = kept.items.iter().scan(kept.items.len(), |left, (_, _, known)| {
            let is_too_much = *left > ITEMS_MAX || bytes > ITEMS_BYTES_MAX;
            *left -= 1;
            bytes -= known.ids.bytes();
            is_too_much.then_some(())
        });
        let excess = excess.count();
        kept.items.drain(..excess);
    }

    /// What is kept, without what is too old.
    fn at(&self, now_us: i64) -> MutexGuard<'_, Kept> {
        // What a panic leaves behind is whole: each step replaces one entry of a list.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.snapshots.retain(|(since_us, _)| is_recent(*since_us, now_us));
        kept.items.retain(|(since_us, ..)| is_recent(*since_us, now_us));
        kept
    }
}

fn is_recent(since_us: i64, now_us: i64) -> bool {
    now_us.saturating_sub(since_us) < KEPT_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::search::IdList;

    fn graph(revision: u64) -> Arc<Graph> {
        let mut graph = Graph::new();
        graph.set_revision(Revision(revision));
        Arc::new(graph)
    }

    #[test]
    fn a_snapshot_is_kept_for_a_while_and_the_oldest_goes_first() {
        let recent = Recent::default();
        recent.keep(graph(1), 0, 0);
        assert!(recent.find(Revision(1), KEPT_US - 1).is_some() && recent.find(Revision(2), 0).is_none());
        recent.keep(graph(1), 10, 20);
        // An older search of the same doesn't take it away, and one that began too long ago leaves nothing.
        recent.keep(graph(1), 5, 20);
        recent.keep(graph(3), 20 - KEPT_US, 20);
        assert!(recent.find(Revision(3), 20).is_none());
        assert!(recent.find(Revision(1), KEPT_US + 9).is_some());
        assert!(recent.find(Revision(1), KEPT_US + 10).is_none());
        for revision in 0..=u64::try_from(SNAPSHOTS_MAX).unwrap() {
            recent.keep(graph(revision), 20, 20);
        }
        assert!(recent.find(Revision(0), 20).is_none() && recent.find(Revision(1), 20).is_some());
    }

    #[test]
    fn items_take_bounded_memory() {
        let key = |name: usize| ItemsKey {
            revision: Revision(1),
            version: PolicyVersion("v".into()),
            action: "Read".into(),
            resource_type: "students".into(),
            context: Attributes::default(),
            within: None,
            holder: name.to_string().into(),
        };
        let known = |bytes: usize| {
            let mut ids = IdList::default();
            ids.push(&"x".repeat(bytes));
            Arc::new(Known { ids, is_complete: true })
        };
        let recent = Recent::default();
        let third = ITEMS_BYTES_MAX / 3;
        (0..3).for_each(|name| recent.keep_items(key(name), known(third), 0));
        let is_kept = |name: usize| recent.items(&key(name), 0).is_some();
        assert_eq!([0, 1, 2].map(is_kept), [false, true, true]);
        recent.keep_items(key(3), known(ITEMS_BYTES_MAX), 0);
        assert_eq!([1, 2, 3].map(is_kept), [false; 3]);
        (0..=ITEMS_MAX).for_each(|name| recent.keep_items(key(name), known(1), 0));
        assert_eq!([0, 1, ITEMS_MAX].map(is_kept), [false, true, true]);
    }
}
