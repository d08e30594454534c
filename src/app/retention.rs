//! Retention: what of a decision log is old enough, or too much, and is deleted. Whole segments, oldest first.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    app::{
        App,
        decisions::PAGE_SIZE_MAX,
        error::Error,
        ports::{LogSegment, RecordPage},
        privacy::held_entities,
        realm_state::RealmState,
    },
    domain::{
        decision::Outcome,
        decision_record::{DecisionRecord, RecordKind},
        id::{EntityId, RealmName},
        identity::Pseudonym,
        mask::Masking,
        record_filter::{Order, PageRequest, RecordFilter},
        sealed_facts,
    },
};

/// What a deployment says about how long a realm's decisions are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Entries that are older than so many days go; at least 1.
    pub days: Option<u32>,
    /// The oldest entries go while the log's segments are longer than this together.
    pub bytes: Option<u64>,
    /// Nothing goes, whatever the other rules say.
    pub is_held: bool,
}

/// The rules of each realm that has some.
pub type AllRules = BTreeMap<RealmName, Rules>;

/// What would be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The first and the last entry that would go; `None` when nothing would.
    pub range: Option<(u64, u64)>,
    /// The bytes of these.
    pub bytes: u64,
    /// The segments of these.
    pub segments: usize,
    /// The rule that they go by.
    pub rule: String,
    /// Why more is kept than the rules say; empty when nothing stands in the way.
    pub kept_because: String,
}

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// How far the time of one segment may be ahead of the one before and still be believed. A clock that jumps ahead by
/// years so ages nothing by more than this an hour, and is seen before it does harm.
const STEP_US: i64 = 7 * DAY_US;

impl Rules {
    /// The rules in words; empty where there are none.
    pub fn words(&self) -> String {
        let rules: Vec<String> = self.days.map(by_age).into_iter().chain(self.bytes.map(by_size)).collect();
        match (rules.is_empty(), self.is_held) {
            (true, _) => String::new(),
            (false, false) => rules.join(", or "),
            (false, true) => format!("{}; held", rules.join(", or ")),
        }
    }

    /// What goes of these segments, oldest first, now. `keep_from` is the first entry that must stay whatever the rules
    /// say.
    pub fn plan(&self, segments: &[LogSegment], now_us: i64, keep_from: Option<u64>) -> Plan {
        let old = self.days.map_or(0, |days| old_segments(segments, now_us, days));
        let wanted = old.max(self.bytes.map_or(0, |bytes| excess_segments(segments, bytes)));
        if wanted == 0 {
            return Plan::default();
        }
        if self.is_held {
            return Plan { kept_because: "the realm is held".to_owned(), ..Plan::default() };
        }
        let may_go = |segment: &&LogSegment| keep_from.is_none_or(|first| segment.last < first);
        let going: Vec<&LogSegment> = segments.iter().take(wanted).take_while(may_go).collect();
        let kept_because = if going.len() < wanted { "a person is under legal hold" } else { "" }.to_owned();
        let (Some(first), Some(last)) = (going.first(), going.last()) else {
            return Plan { kept_because, ..Plan::default() };
        };
        let rule = match (self.days, self.bytes) {
            (Some(days), _) if going.len() <= old => by_age(days),
            (_, Some(bytes)) => by_size(bytes),
            (_, None) => self.words(),
        };
        let bytes = going.iter().map(|segment| segment.bytes).sum();
        Plan { range: Some((first.first, last.last)), bytes, segments: going.len(), rule, kept_because }
    }
}

fn by_age(days: u32) -> String {
    format!("older than {days} {}", if days == 1 { "day" } else { "days" })
}

fn by_size(bytes: u64) -> String {
    format!("beyond {bytes} bytes")
}

/// How many of the oldest segments are older than so many days.
///
/// A segment is as old as its newest entry, and never older than those before it: a clock that was set back for a while
/// makes nothing old. And the present is believed only as far as the segments lead up to it.
fn old_segments(segments: &[LogSegment], now_us: i64, days: u32) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let reached = segments
        .iter()
        .fold(first.newest_us, |reached, segment| reached.max(segment.newest_us.min(reached.saturating_add(STEP_US))));
    let before_us = now_us.min(reached.saturating_add(STEP_US)).saturating_sub(i64::from(days).saturating_mul(DAY_US));
    let mut newest_us = i64::MIN;
    let is_old = |segment: &&LogSegment| {
        newest_us = newest_us.max(segment.newest_us);
        segment.is_deletable && newest_us < before_us
    };
    segments.iter().take_while(is_old).count()
}

/// How many of the oldest segments must go so that the rest is no longer than this together.
fn excess_segments(segments: &[LogSegment], bytes_max: u64) -> usize {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let is_excess = |segment: &&LogSegment| {
        let is_excess = segment.is_deletable && bytes > bytes_max;
        bytes = bytes.saturating_sub(segment.bytes);
        is_excess
    };
    segments.iter().take_while(is_excess).count()
}

impl App {
    /// What the realm's rules would delete now, with the rules in words.
    ///
    /// # Errors
    /// An unknown realm, a log that cannot be read.
    pub async fn plan_retention(&self, realm: &str) -> Result<(String, Plan), Error> {
        let state = self.realm(realm)?;
        let rules = self.retention.get(&state.name).copied().unwrap_or_default();
        let plan = self.plan_of(state, &rules).await?;
        Ok((rules.words(), plan))
    }

    async fn plan_of(&self, state: &RealmState, rules: &Rules) -> Result<Plan, Error> {
        if rules.days.is_none() && rules.bytes.is_none() {
            return Ok(Plan::default());
        }
        let segments = state.log.segments().await?;
        let keep_from = match rules.plan(&segments, self.clock.now_us(), None).range {
            Some((_, last)) => first_of_held(state, last).await?,
            None => None,
        };
        Ok(rules.plan(&segments, self.clock.now_us(), keep_from))
    }

    /// Deletes what the rules of every realm say. What fails is logged, and tried again the next time.
    pub async fn retain(&self) {
        for (name, rules) in &self.retention {
            let Ok(state) = self.realm(name.as_str()) else { continue };
            if let Err(error) = self.retain_one(state, rules).await {
                tracing::error!(realm = %name, %error, "retention failed; nothing that was not said in the log is gone");
            }
        }
    }

    async fn retain_one(&self, state: &Arc<RealmState>, rules: &Rules) -> Result<(), Error> {
        // Nobody comes under hold between the plan and the deletion.
        let _alone = state.privacy.lock().await;
        let Plan { range, bytes, rule, kept_because, .. } = self.plan_of(state, rules).await?;
        if !kept_because.is_empty() {
            tracing::info!(realm = %state.name, kept_because, "retention keeps more than the rules say");
        }
        let Some((_, last)) = range else { return Ok(()) };
        if let Some((first, last)) = state.log.delete_until(last, &rule).await? {
            tracing::info!(realm = %state.name, first, last, bytes, rule, "old decisions deleted");
        }
        Ok(())
    }
}

/// The first entry up to this one in which a person has a part who is under legal hold. Every entry is looked at: what a
/// mask took away, and what is only among the facts, no question to the log would find.
async fn first_of_held(state: &RealmState, last: u64) -> Result<Option<u64>, Error> {
    let held = Held::of(state);
    if held.entities.is_empty() {
        return Ok(None);
    }
    let mut after = None;
    loop {
        let page = PageRequest { order: Order::OldestFirst, size: PAGE_SIZE_MAX, after };
        let RecordPage { decisions, is_complete, next_after, .. } =
            state.log.query(RecordFilter::default(), page).await?;
        // What cannot be read could be about anybody.
        if !is_complete {
            return Ok(Some(state.log.status().first_sequence));
        }
        let mut going = decisions.iter().take_while(|found| found.sequence <= last);
        if let Some(found) = going.find(|found| held.has_a_part_in(&found.record)) {
            return Ok(Some(found.sequence));
        }
        after = next_after;
        if after.is_none_or(|after| after >= last) {
            return Ok(None);
        }
    }
}

/// Who is under legal hold, as the log may call them.
struct Held {
    entities: Vec<EntityId>,
    pseudonyms: HashSet<Pseudonym>,
    principals: HashSet<Arc<str>>,
    actors: HashSet<Arc<str>>,
    resources: HashSet<Arc<str>>,
}

impl Held {
    fn of(state: &RealmState) -> Self {
        let entities = held_entities(state);
        // The masks of today need not be those of the day when an entry was made.
        let called = |field: &str| {
            let hash = |entity: &EntityId| state.people.as_asked(|_| Masking::Hash, field, &entity.id);
            entities.iter().flat_map(|entity| [Arc::clone(&entity.id), hash(entity)]).collect()
        };
        let (principals, actors, resources) = (called("principal"), called("actor"), called("resource_id"));
        let pseudonyms = entities.iter().filter_map(|entity| entity.id.parse().ok()).collect();
        Self { entities, pseudonyms, principals, actors, resources }
    }

    /// One of them has a part in the decision, or could have: something of it was not kept, or cannot be read.
    fn has_a_part_in(&self, record: &DecisionRecord) -> bool {
        let is_named = |entity: &Option<EntityId>, names: &HashSet<Arc<str>>| {
            entity.as_ref().is_some_and(|entity| names.contains(&entity.id))
        };
        let is_among_facts = || {
            let is_decided = record.kind == RecordKind::Decision && record.outcome != Outcome::Unauthenticated;
            match sealed_facts::people_of(&record.facts) {
                _ if record.facts.is_empty() => is_decided,
                Ok(people) => people.iter().any(|person| self.pseudonyms.contains(person)),
                Err(_) => true,
            }
        };
        is_named(&record.principal, &self.principals)
            || is_named(&record.actor, &self.actors)
            || self.resources.contains(&record.resource_id)
            || self.entities.iter().any(|entity| record.names(entity))
            || is_among_facts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000_000;

    /// Segments of ten entries and 100 bytes, so many days old; the last one is open.
    fn segments(days_old: &[i64]) -> Vec<LogSegment> {
        let count = days_old.len();
        let segment = |(at, days): (u64, &i64)| LogSegment {
            first: at * 10 + 1,
            last: at * 10 + 10,
            bytes: 100,
            newest_us: NOW - days * DAY_US,
            is_deletable: at + 1 < count as u64,
        };
        (0..).zip(days_old).map(segment).collect()
    }

    fn last(plan: &Plan) -> u64 {
        plan.range.map_or(0, |(first, last)| {
            assert_eq!(first, 1, "the oldest go first");
            last
        })
    }

    #[test]
    fn what_is_older_than_the_rule_goes() {
        let rules = Rules { days: Some(30), ..Rules::default() };
        for (days_old, expected) in [
            (&[33, 31, 29, 24, 17, 10, 5, 0][..], 20),
            (&[31, 30, 29, 24, 17, 10, 5, 0], 10),
            (&[29, 28, 24, 17, 10, 5, 0], 0),
            (&[], 0),
            (&[400], 0),
            (&[60, 54, 48, 42, 40], 0),
            // A log that was quiet for months catches up with the present week by week.
            (&[400, 399, 398, 0], 0),
        ] {
            assert_eq!(last(&rules.plan(&segments(days_old), NOW, None)), expected, "{days_old:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_old() {
        let rules = Rules { days: Some(30), ..Rules::default() };
        // The third segment was written while the clock was a year behind.
        assert_eq!(last(&rules.plan(&segments(&[3, 2, 367, 1, 0]), NOW, None)), 0);
        assert_eq!(last(&rules.plan(&segments(&[40, 34, 28, 22, 400, 16, 10, 5, 0]), NOW, None)), 20);
    }

    #[test]
    fn a_clock_that_jumps_ahead_ages_nothing_at_once() {
        let rules = Rules { days: Some(30), ..Rules::default() };
        let year = 365 * DAY_US;
        let fresh = segments(&[5, 4, 3, 2, 1, 0]);
        assert_eq!(last(&rules.plan(&fresh, NOW + year, None)), 0, "the clock alone");
        // Segments that were written with the wrong clock.
        let mut jumped = segments(&[5, 4, 3, -365, -365, -365]);
        assert_eq!(last(&rules.plan(&jumped, NOW + year, None)), 0);
        jumped.extend(segments(&[-365; 40]));
        assert!(last(&rules.plan(&jumped, NOW + year, None)) > 0, "what lasts for days is believed");
    }

    #[test]
    fn what_is_too_much_goes_and_the_open_segment_never() {
        for (bytes, expected) in [(500, 0), (499, 10), (400, 10), (399, 20), (1, 40), (0, 40)] {
            let rules = Rules { bytes: Some(bytes), ..Rules::default() };
            let plan = rules.plan(&segments(&[4, 3, 2, 1, 0]), NOW, None);
            assert_eq!(last(&plan), expected, "{bytes}");
            assert_eq!(plan.bytes, expected * 10);
        }
    }

    #[test]
    fn a_hold_keeps_what_comes_after_it_too() {
        let rules = Rules { days: Some(30), bytes: Some(750), is_held: false };
        let segments = segments(&[37, 33, 31, 25, 19, 13, 7, 0]);
        let plan = rules.plan(&segments, NOW, None);
        assert_eq!((last(&plan), &*plan.rule, &*plan.kept_because), (30, "older than 30 days", ""));
        for (keep_from, expected) in [(1, 0), (10, 0), (11, 10), (25, 20), (30, 20), (31, 30)] {
            let plan = rules.plan(&segments, NOW, Some(keep_from));
            assert_eq!(last(&plan), expected, "{keep_from}");
            assert_eq!(plan.kept_because.is_empty(), expected == 30);
        }
        let held = Rules { is_held: true, ..rules };
        let plan = held.plan(&segments, NOW, None);
        assert_eq!((plan.range, &*plan.kept_because), (None, "the realm is held"));
        assert_eq!(held.words(), "older than 30 days, or beyond 750 bytes; held");
        assert_eq!(Rules::default().plan(&segments, NOW, None), Plan::default());
    }

    #[test]
    fn the_rule_that_is_told_is_the_one_that_counted() {
        let rules = Rules { days: Some(30), bytes: Some(650), is_held: false };
        let by_size = rules.plan(&segments(&[32, 28, 22, 18, 14, 10, 5, 0]), NOW, None);
        assert_eq!((last(&by_size), &*by_size.rule), (20, "beyond 650 bytes"));
        let by_age = rules.plan(&segments(&[36, 33, 31, 25, 19, 13, 7, 0]), NOW, None);
        assert_eq!((last(&by_age), &*by_age.rule), (30, "older than 30 days"));
    }
}
