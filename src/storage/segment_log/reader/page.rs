//! A page of an answer: its records, what happened to the log meanwhile, and whether that is all.

use std::collections::BTreeMap;

use super::{Known, LogKey, Search, View, Wanted};
use crate::app::ports::RecordPage;
use crate::domain::{
    log_event::{EventKind, LogEvent, LoggedEvent},
    record_filter::{Order, PageRequest, RecordFilter},
};
use crate::storage::segment_log::blocks::indexer::Index;

/// A page ends with the record that makes it so long, in bytes on disk: readers hold whole pages in memory.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// A page, and how far the log reached when it was made.
#[derive(Debug)]
pub(in super::super) struct Page {
    pub page: RecordPage,
    /// The sequence number of the last entry of the log.
    pub last: u64,
}

/// Finds a page of records. Holds the page in memory, and of each block what the question is about.
pub(in super::super) fn query(index: &Index, key: &LogKey, filter: &RecordFilter, page: PageRequest) -> Page {
    query_within(index, key, filter, page, PAGE_BYTES)
}

/// Finds a page of records that ends with the one that makes it so long, in bytes.
pub(in super::super) fn query_within(
    index: &Index,
    key: &LogKey,
    filter: &RecordFilter,
    page: PageRequest,
    most_bytes: usize,
) -> Page {
    let conditions = index.terms().conditions_of(filter);
    let view = index.view(&conditions);
    let sequences = match (page.order, page.after) {
        (_, None) => (0, u64::MAX),
        (Order::NewestFirst, Some(after)) => (0, after.saturating_sub(1)),
        (Order::OldestFirst, Some(after)) => (after.saturating_add(1), u64::MAX),
    };
    let size = page.size.max(1);
    let wanted = Wanted {
        conditions,
        times: (filter.from_us, filter.until_us),
        sequences,
        order: page.order,
        // One more says whether there is a next page.
        most: size.saturating_add(1),
        most_bytes,
        matches: &|record| filter.matches(record),
    };
    let mut search = Search::new(index, &view, key, wanted);
    let has_times = filter.from_us.is_some() || filter.until_us.is_some();
    // A gap may be kept anywhere, and so may the note of what was deleted.
    let needs_all_events = has_times || view.first > 1;
    let count = view.pieces.len();
    let in_order = |at: usize| if page.order == Order::NewestFirst { count - 1 - at } else { at };
    for piece in (0..count).filter_map(|at| view.pieces.get(in_order(at))) {
        let is_beyond = piece.next <= sequences.0 || piece.first > sequences.1;
        if !is_beyond && !search.has_enough() {
            search.visit(piece);
        }
        // A visit ends where there are enough records, and events may follow.
        let is_visited_whole = !is_beyond && !search.has_enough();
        if needs_all_events && !is_visited_whole && matches!(piece.known, Known::Nothing) {
            search.scan_events(piece);
        }
    }
    // Where it ended for its length, more may follow.
    let is_too_long = search.is_too_long();
    let Search { mut found, events, lost, .. } = search;
    let has_more = found.len() > size || is_too_long;
    found.truncate(size);
    let next_after = found.last().map(|last| last.sequence).filter(|_| has_more);
    let span = match (page.order, next_after) {
        (_, None) => sequences,
        (Order::NewestFirst, Some(last)) => (last, sequences.1),
        (Order::OldestFirst, Some(last)) => (sequences.0, last),
    };
    let mut all_events = view.events.clone();
    all_events.extend(events);
    let told = Told { view: &view, filter, has_times, span, is_first: page.after.is_none() };
    let (mut events, mut is_complete) = told.events(&all_events);
    for (segment, lost) in lost {
        let is_spanned = lost.first <= span.1 && lost.last >= span.0;
        if is_spanned && told.touches(lost.min_us, lost.max_us) {
            is_complete = false;
            let file = segment.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            events.push(damage(file, lost.first, lost.last));
        }
    }
    events.sort_by_key(place_of);
    Page { page: RecordPage { decisions: found, next_after, is_complete, events }, last: view.next - 1 }
}

/// Damage stands where the entries stood that it took.
fn place_of(logged: &LoggedEvent) -> u64 {
    match logged.event.kind {
        EventKind::Damage { first, .. } => first,
        _ => logged.sequence,
    }
}

fn damage(file: String, first: u64, last: u64) -> LoggedEvent {
    let kind = EventKind::Damage { file: file.into(), first, last };
    LoggedEvent { sequence: 0, event: LogEvent { time_us: 0, kind } }
}

/// What is told beside the records of a page.
struct Told<'a> {
    view: &'a View,
    filter: &'a RecordFilter,
    has_times: bool,
    /// The sequence numbers that the page spans.
    span: (u64, u64),
    is_first: bool,
}

impl Told<'_> {
    /// The question asks about a time in this range.
    fn touches(&self, min_us: i64, max_us: i64) -> bool {
        self.filter.from_us.is_none_or(|from| max_us >= from) && self.filter.until_us.is_none_or(|until| min_us < until)
    }

    /// The events to tell, and whether they leave the answer complete.
    fn events(&self, all: &BTreeMap<u64, LogEvent>) -> (Vec<LoggedEvent>, bool) {
        let (mut told, mut is_complete) = (Vec::new(), true);
        let spanned = |sequence: u64| (self.span.0..=self.span.1).contains(&sequence);
        let spans_start = self.span.0 < self.view.first;
        let deleted = |event: &LogEvent| match event.kind {
            EventKind::Retention { last, .. } => last,
            _ => 0,
        };
        let deleted_until = all.values().map(deleted).max().unwrap_or(0);
        for (sequence, event) in all {
            let is_told = match event.kind {
                EventKind::Start { .. } | EventKind::Stop => false,
                EventKind::Gap(gap) => {
                    let touches = self.touches(gap.from_us, gap.until_us);
                    // With times asked for, a gap counts where its decisions would have been.
                    is_complete &= !(touches && (self.has_times || spanned(*sequence)));
                    spanned(*sequence) || (self.has_times && touches && self.is_first)
                }
                EventKind::Retention { last, .. } if spans_start && last == deleted_until => {
                    is_complete &= !self.touches_deleted();
                    spanned(*sequence) || self.touches_deleted()
                }
                _ => spanned(*sequence),
            };
            if is_told {
                told.push(LoggedEvent { sequence: *sequence, event: event.clone() });
            }
        }
        if spans_start && self.view.first > deleted_until.saturating_add(1) && self.touches_deleted() {
            is_complete = false;
            told.push(damage(String::new(), deleted_until + 1, self.view.first - 1));
        }
        (told, is_complete)
    }

    /// The question asks about a time of which entries are gone from the start of the log: they were not later than
    /// the first that is left, as far as clocks go forward.
    fn touches_deleted(&self) -> bool {
        let first_us = self.view.pieces.first().map_or(i64::MAX, |piece| piece.times().1.max(piece.times().0));
        self.touches(i64::MIN, first_us)
    }
}
