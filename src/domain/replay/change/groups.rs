//! Changes counted by where they come from.

use std::{collections::BTreeMap, sync::Arc};

use super::{Cause, Change, Made};
use crate::domain::{
    decision::Outcome,
    decision_record::DecisionRecord,
    id::{DecisionId, EntityId},
};

/// The most causes that are told apart; the decisions of further ones are counted without a group.
pub const CHANGE_GROUPS_MAX: usize = 1_000;

/// The most decisions that a group names.
pub const CHANGE_EXAMPLES_MAX: usize = 5;

/// How many decisions came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// The same.
    pub same: u64,
    /// Allowed or denied as before, otherwise than before.
    pub otherwise: u64,
    /// Allowed that were denied.
    pub newly_allowed: u64,
    /// Denied that were allowed.
    pub newly_denied: u64,
}

impl ChangeCounts {
    /// Counts a decision.
    pub fn add(&mut self, change: Change) {
        let number = match change {
            Change::NewlyAllowed => &mut self.newly_allowed,
            Change::NewlyDenied => &mut self.newly_denied,
            Change::Otherwise => &mut self.otherwise,
            Change::Same => &mut self.same,
        };
        *number += 1;
    }

    /// How many there are.
    pub fn all(&self) -> u64 {
        let Self { same, otherwise, newly_allowed, newly_denied } = self;
        same + otherwise + newly_allowed + newly_denied
    }
}

/// A decision that changes, as the log names it and people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeExample {
    /// The key into the decision log.
    pub id: DecisionId,
    /// When it was decided, in microseconds since the epoch.
    pub time_us: i64,
    /// The principal.
    pub principal: Option<EntityId>,
    /// The action.
    pub action: Arc<str>,
    /// The resource type.
    pub resource_type: Arc<str>,
    /// The resource's id; may be empty.
    pub resource_id: Arc<str>,
    /// How it came about, and how it would.
    pub outcomes: (Outcome, Outcome),
    /// The codes of the reasons, before and after.
    pub codes: (Vec<Arc<str>>, Vec<Arc<str>>),
}

impl ChangeExample {
    /// The example that a record is of what it would be.
    pub fn of(record: &DecisionRecord, after: Made<'_>) -> Self {
        let before = Made::from(record);
        Self {
            id: record.id,
            time_us: record.time_us,
            principal: record.principal.clone(),
            action: Arc::clone(&record.action),
            resource_type: Arc::clone(&record.resource_type),
            resource_id: Arc::clone(&record.resource_id),
            outcomes: (before.outcome, after.outcome),
            codes: (before.codes().cloned().collect(), after.codes().cloned().collect()),
        }
    }
}

/// The decisions that change for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeGroup {
    /// What becomes of them.
    pub change: Change,
    /// Why.
    pub cause: Cause,
    /// How many they are.
    pub decisions: u64,
    /// The first of them, in the order in which they were found; at most [`CHANGE_EXAMPLES_MAX`].
    pub examples: Vec<ChangeExample>,
}

/// What became of decisions, counted by cause. Holds a bounded part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    counts: ChangeCounts,
    groups: BTreeMap<(Change, Cause), (u64, Vec<ChangeExample>)>,
    ungrouped: u64,
}

impl Changes {
    /// Counts a decision that comes out the same.
    pub fn add_same(&mut self) {
        self.counts.add(Change::Same);
    }

    /// Counts a decision that changes. The example is only made where it is kept.
    pub fn add(&mut self, change: Change, cause: Cause, example: impl FnOnce() -> ChangeExample) {
        self.counts.add(change);
        let key = (change, cause);
        if self.groups.len() >= CHANGE_GROUPS_MAX && !self.groups.contains_key(&key) {
            self.ungrouped += 1;
            return;
        }
        let (decisions, examples) = self.groups.entry(key).or_default();
        *decisions += 1;
        if examples.len() < CHANGE_EXAMPLES_MAX {
            examples.push(example());
        }
    }

    /// How many came out how.
    pub fn counts(&self) -> ChangeCounts {
        self.counts
    }

    /// Decisions that change for causes beyond [`CHANGE_GROUPS_MAX`].
    pub fn ungrouped(&self) -> u64 {
        self.ungrouped
    }

    /// The groups: newly allowed first, then newly denied, then the rest, the largest of each first.
    pub fn groups(&self) -> Vec<ChangeGroup> {
        let groups = self.groups.iter().map(|((change, cause), (decisions, examples))| ChangeGroup {
            change: *change,
            cause: cause.clone(),
            decisions: *decisions,
            examples: examples.clone(),
        });
        let mut groups: Vec<ChangeGroup> = groups.collect();
        groups.sort_by_key(|group| (group.change, std::cmp::Reverse(group.decisions)));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::{super::How, *};

    fn cause(policy: &str) -> Cause {
        Cause { policy: Some(policy.into()), effect: None, how: How::Added, clause: None, code: Arc::default() }
    }

    fn example(id: u128) -> ChangeExample {
        ChangeExample {
            id: DecisionId(id),
            time_us: 0,
            principal: None,
            action: Arc::default(),
            resource_type: Arc::default(),
            resource_id: Arc::default(),
            outcomes: (Outcome::Allowed, Outcome::Forbidden),
            codes: (Vec::new(), Vec::new()),
        }
    }

    #[test]
    fn groups_come_by_change_and_size_with_their_first_examples() {
        let mut changes = Changes::default();
        changes.add_same();
        for (change, policy, times) in
            [(Change::NewlyDenied, "a", 2), (Change::NewlyAllowed, "b", 1), (Change::NewlyDenied, "c", 8)]
        {
            (0..times).for_each(|id| changes.add(change, cause(policy), || example(id)));
        }
        let counts = ChangeCounts { same: 1, otherwise: 0, newly_allowed: 1, newly_denied: 10 };
        assert_eq!((changes.counts(), counts.all()), (counts, 12));
        let groups = changes.groups();
        let told: Vec<_> =
            groups.iter().map(|group| (group.cause.policy.as_deref().unwrap(), group.decisions)).collect();
        assert_eq!(told, [("b", 1), ("c", 8), ("a", 2)]);
        let ids: Vec<u128> = groups[1].examples.iter().map(|example| example.id.0).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn causes_beyond_the_bound_are_counted_without_a_group() {
        let mut changes = Changes::default();
        for number in 0..CHANGE_GROUPS_MAX + 3 {
            changes.add(Change::Otherwise, cause(&number.to_string()), || example(0));
        }
        changes.add(Change::Otherwise, cause("0"), || example(1));
        assert_eq!((changes.groups().len(), changes.ungrouped()), (CHANGE_GROUPS_MAX, 3));
        assert_eq!(changes.counts().otherwise, CHANGE_GROUPS_MAX as u64 + 4);
        assert_eq!(changes.groups()[0].decisions, 2);
    }
}
