//! Finds records: piece by piece from either end, by the index where there is one, by reading everything where not.

mod page;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    io,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering::SeqCst},
};

#[cfg(test)]
pub(super) use self::page::query_within;
pub(super) use self::page::{Page, query};
use super::{
    blocks::{
        catalogue::Block,
        file::{IndexError, IndexFile, RUN},
        indexer::Index,
        open::Lost,
        positions::Positions,
        terms::Term,
        view::{Found, Known, Piece, View},
    },
    frame::Body,
    index::Segment,
    scan::{Entry, entry_at, scan},
    seal::LogKey,
};
use crate::app::ports::LogError;
use crate::domain::{
    decision_record::{DecisionRecord, LoggedDecision},
    id::DecisionId,
    log_event::LogEvent,
    record_filter::Order,
};

/// How far the time in a decision's id may be from the record's time, in microseconds.
const ID_TIME_SLACK_US: i64 = 5_000_000;

/// Finds the record of this id. Looks first where its time says (RFC 9562 section 5.7: the first 48 bits are
/// milliseconds), then everywhere else.
///
/// # Errors
/// [`LogError::Unreadable`] when it is not found and a part of the log is lost, in which it may be.
pub(super) fn get(index: &Index, key: &LogKey, id: DecisionId) -> Result<Option<LoggedDecision>, LogError> {
    let conditions = vec![vec![index.terms().decision(id)]];
    let view = index.view(&conditions);
    let time_us = i64::try_from(id.0 >> 80).unwrap_or(i64::MAX).saturating_mul(1000);
    let is_near = |piece: &Piece| {
        let (min_us, max_us) = piece.times();
        min_us <= time_us.saturating_add(ID_TIME_SLACK_US) && max_us >= time_us.saturating_sub(ID_TIME_SLACK_US)
    };
    let wanted = Wanted {
        conditions,
        times: (None, None),
        sequences: (0, u64::MAX),
        order: Order::NewestFirst,
        most: 1,
        most_bytes: usize::MAX,
        matches: &|record| record.id == id,
    };
    let mut search = Search::new(index, &view, key, wanted);
    let (near, far): (Vec<_>, Vec<_>) = view.pieces.iter().rev().partition(|piece| is_near(piece));
    for piece in near.into_iter().chain(far) {
        search.visit(piece);
        if let Some(found) = search.found.pop() {
            return Ok(Some(found));
        }
    }
    if search.lost.is_empty() {
        return Ok(None);
    }
    Err(LogError::Unreadable("the record may be in a damaged part of it".to_owned()))
}

/// What is looked for.
struct Wanted<'a> {
    /// What the index can say of it.
    conditions: Vec<Vec<Term>>,
    /// From this time, and before this one.
    times: (Option<i64>, Option<i64>),
    /// From this sequence number to this one.
    sequences: (u64, u64),
    order: Order,
    /// At most so many records.
    most: usize,
    /// No further record once those that were found are so long together, in bytes.
    most_bytes: usize,
    /// What is said of the record itself; the index may show others.
    matches: &'a dyn Fn(&DecisionRecord) -> bool,
}

impl Wanted<'_> {
    fn may_be_at(&self, min_us: i64, max_us: i64) -> bool {
        let (from, until) = self.times;
        min_us <= max_us && from.is_none_or(|from| max_us >= from) && until.is_none_or(|until| min_us < until)
    }

    fn is_wanted(&self, sequence: u64) -> bool {
        (self.sequences.0..=self.sequences.1).contains(&sequence)
    }
}

/// A search through the pieces of a view.
struct Search<'a> {
    index: &'a Index,
    view: &'a View,
    key: &'a LogKey,
    wanted: Wanted<'a>,
    /// The open segments, by number.
    files: HashMap<u64, File>,
    /// What was found, in the order of the visits.
    found: Vec<LoggedDecision>,
    /// How long that is, in bytes on disk.
    bytes: usize,
    /// Events of pieces that are not indexed.
    events: BTreeMap<u64, LogEvent>,
    /// What of the visited pieces is lost, and in which file.
    lost: Vec<(Arc<Segment>, Lost)>,
}

impl<'a> Search<'a> {
    fn new(index: &'a Index, view: &'a View, key: &'a LogKey, wanted: Wanted<'a>) -> Self {
        let (files, found, events, lost) = (HashMap::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { index, view, key, wanted, files, found, bytes: 0, events, lost }
    }

    fn has_enough(&self) -> bool {
        self.found.len() >= self.wanted.most || self.is_too_long()
    }

    /// What was found is as long as it may be.
    fn is_too_long(&self) -> bool {
        self.bytes >= self.wanted.most_bytes
    }

    /// Looks for records in a piece, until there are enough.
    fn visit(&mut self, piece: &Piece) {
        let (before, bytes_before) = (self.found.len(), self.bytes);
        let lost = match &piece.known {
            Known::Nothing => None,
            Known::Lost(block) => Some(block.lost.clone()),
            Known::Memory(found) => self.in_memory(piece, found).ok().map(|()| found.lost.clone()),
            Known::File(block) => match self.in_file(piece, block) {
                Ok(()) => Some(block.lost.clone()),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        block = block.first,
                        "an index file is of no use"
                    );
                    self.index.distrust(block);
                    None
                }
            },
        };
        if let Some(lost) = lost {
            self.lost.extend(lost.into_iter().map(|lost| (Arc::clone(&piece.segment), lost)));
        } else {
            self.found.truncate(before);
            self.bytes = bytes_before;
            self.scan(piece);
        }
    }

    fn in_memory(&mut self, piece: &Piece, found: &Found) -> Result<(), IndexError> {
        let (min_us, max_us) = found.times;
        if !self.wanted.may_be_at(min_us, max_us) {
            return Ok(());
        }
        self.fetch(piece, &found.places, |place| Ok(found.offset(place)))
    }

    fn in_file(&mut self, piece: &Piece, block: &Block) -> Result<(), IndexError> {
        let (Some(checksum), Some(catalogue)) = (block.checksum, &self.view.catalogue) else {
            return Err(IndexError::Damaged("there is none"));
        };
        if !self.wanted.may_be_at(block.min_us, block.max_us) {
            return Ok(());
        }
        let file = IndexFile::open(&catalogue.path(block.first), checksum)?;
        let index = self.index;
        let posting = |term| {
            catalogue.posting(term, block.first).map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "the index of the decision log failed");
                index.distrust_catalogue();
                IndexError::Damaged("the catalogue cannot be read")
            })
        };
        let mut places = file.find(&self.wanted.conditions, posting)?;
        if self.wanted.times != (None, None) {
            places.keep(&file.within(self.wanted.times.0, self.wanted.times.1));
        }
        let mut run: Option<(usize, Vec<Option<u64>>)> = None;
        self.fetch(piece, &places, |place| {
            let (wanted, at) = (usize::from(place) / RUN, usize::from(place) % RUN);
            let offsets = match run.take() {
                Some((known, offsets)) if known == wanted => offsets,
                _ => file.offsets(wanted)?,
            };
            let offset = offsets.get(at).copied().flatten();
            run = Some((wanted, offsets));
            Ok(offset)
        })
    }

    /// Reads the entries at these places and keeps those that match.
    fn fetch(
        &mut self,
        piece: &Piece,
        places: &Positions,
        mut offset_of: impl FnMut(u16) -> Result<Option<u64>, IndexError>,
    ) -> Result<(), IndexError> {
        let order = self.wanted.order;
        let mut fetch = |place: u16| -> Result<ControlFlow<()>, IndexError> {
            let sequence = piece.first + u64::from(place);
            if !self.wanted.is_wanted(sequence) || self.view.events.contains_key(&sequence) {
                return Ok(ControlFlow::Continue(()));
            }
            let Some(offset) = offset_of(place)? else { return Ok(ControlFlow::Continue(())) };
            let key = self.key;
            match entry_at(self.file(&piece.segment)?, offset, sequence, key)? {
                Some((Entry::Decision(logged), bytes)) if (self.wanted.matches)(&logged.record) => {
                    self.found.push(logged);
                    self.bytes = self.bytes.saturating_add(bytes);
                }
                Some(_) => {}
                None => return Err(IndexError::Damaged("an entry is not where it was")),
            }
            Ok(if self.has_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let mut places: Box<dyn Iterator<Item = u16>> = match order {
            Order::NewestFirst => Box::new(places.descending()),
            Order::OldestFirst => Box::new(places.ascending()),
        };
        let ended = places.find_map(|place| match fetch(place) {
            Ok(ControlFlow::Continue(())) => None,
            Ok(ControlFlow::Break(())) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        ended.unwrap_or(Ok(()))
    }

    fn file(&mut self, segment: &Segment) -> io::Result<&File> {
        let open = match self.files.remove(&segment.number) {
            Some(file) => file,
            None => File::open(&segment.path)?,
        };
        Ok(self.files.entry(segment.number).or_insert(open))
    }

    /// Reads all of a piece. Holds as many records as are wanted at most.
    fn scan(&mut self, piece: &Piece) {
        let room = self.wanted.most.saturating_sub(self.found.len());
        let mut matching = Matching::new(room, self.wanted.most_bytes.saturating_sub(self.bytes));
        let mut lost = Losses::new(piece.first);
        let is_newest_first = self.wanted.order == Order::NewestFirst;
        let wanted = &self.wanted;
        let events = &mut self.events;
        let key = self.key;
        let read = scan(&piece.segment.path, piece.offset, piece.first, piece.next, |place, body| {
            let is_full = !is_newest_first && matching.is_full();
            let is_needed = wanted.is_wanted(place.sequence) && wanted.may_be_at(place.time_us, place.time_us);
            if is_full || (!is_needed && matches!(body, Body::Decision { .. })) {
                // Its checksum is good; whether it can be opened matters to who wants it.
                lost.read(place.sequence, place.time_us);
                return ControlFlow::Continue(());
            }
            match Entry::open(body, key) {
                Some(Entry::Decision(logged)) => {
                    lost.read(place.sequence, place.time_us);
                    if (wanted.matches)(&logged.record) {
                        let Body::Decision { sealed, .. } = body else { return ControlFlow::Continue(()) };
                        matching.push(logged, sealed.len());
                    }
                }
                Some(Entry::Event(logged)) => {
                    lost.read(place.sequence, place.time_us);
                    events.insert(logged.sequence, logged.event);
                }
                None => {}
            }
            ControlFlow::Continue(())
        });
        if read.is_err() && self.index.is_deleted(piece.first) {
            return;
        }
        if let Err(error) = read {
            if piece.segment.is_deleted.load(SeqCst) {
                return;
            }
            // A bad sector hides a part of the log, not the log.
            tracing::error!(%error, segment = %piece.segment.path.display(), "a part of the decision log cannot be read");
        }
        self.bytes = self.bytes.saturating_add(matching.bytes);
        let matching = matching.records.into_iter().map(|(logged, _)| logged);
        if is_newest_first {
            self.found.extend(matching.rev());
        } else {
            self.found.extend(matching);
        }
        self.lost.extend(lost.finish(piece.next).into_iter().map(|lost| (Arc::clone(&piece.segment), lost)));
    }

    /// Reads the events of a piece that is not indexed, and nothing else.
    fn scan_events(&mut self, piece: &Piece) {
        let (key, events) = (self.key, &mut self.events);
        let read = scan(&piece.segment.path, piece.offset, piece.first, piece.next, |_, body| {
            if let Some(Entry::Event(logged)) = Entry::open_event(body, key) {
                events.insert(logged.sequence, logged.event);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::error!(%error, segment = %piece.segment.path.display(), "a part of the decision log cannot be read");
        }
    }
}

/// Records that were read in order: of those that match, the last that there is room for.
struct Matching {
    /// Each with its length, in bytes.
    records: VecDeque<(LoggedDecision, usize)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Matching {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.most || self.bytes >= self.most_bytes
    }

    /// Takes a record, and lets go of the first ones that are too many with it.
    fn push(&mut self, logged: LoggedDecision, bytes: usize) {
        self.records.push_back((logged, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        while let Some((_, first)) = self.records.front() {
            let without = self.bytes.saturating_sub(*first);
            if self.records.len() <= self.most && without < self.most_bytes {
                return;
            }
            self.bytes = without;
            self.records.pop_front();
        }
    }
}

impl Piece {
    /// The earliest and latest time that an entry of it may have.
    fn times(&self) -> (i64, i64) {
        match &self.known {
            Known::File(block) => (block.min_us, block.max_us),
            Known::Memory(found) => found.times,
            Known::Nothing | Known::Lost(_) => (i64::MIN, i64::MAX),
        }
    }
}

/// Notes what is lost while entries are read in order.
struct Losses {
    expected: u64,
    last_us: i64,
    lost: Vec<Lost>,
}

impl Losses {
    fn new(first: u64) -> Self {
        Self { expected: first, last_us: i64::MIN, lost: Vec::new() }
    }

    fn read(&mut self, sequence: u64, time_us: i64) {
        self.lose_until(sequence, time_us);
        (self.expected, self.last_us) = (sequence + 1, time_us);
    }

    fn lose_until(&mut self, sequence: u64, next_us: i64) {
        if self.expected < sequence {
            let (min_us, max_us) = (self.last_us.saturating_sub(SLACK_US), next_us.saturating_add(SLACK_US));
            self.lost.push(Lost { first: self.expected, last: sequence - 1, min_us, max_us });
        }
    }

    fn finish(mut self, next: u64) -> Vec<Lost> {
        self.lose_until(next, i64::MAX);
        self.lost
    }
}

/// How far the times of neighbours may be out of order, in microseconds.
const SLACK_US: i64 = 60_000_000;
