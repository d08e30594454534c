//! Relationships as they were: read forward from the beginning of a file, revision by revision.

use std::{
    collections::VecDeque,
    io, mem,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Shared, effects,
    frame::{EpochKey, Frame, FrameReader, Header, Place, Step},
    list, unusable,
};
use crate::{
    app::ports::archive::{ArchiveError, Past, PastGraph},
    domain::{
        graph::Graph,
        id::Revision,
        relationship::{Effect, Written},
    },
    storage::record::Names,
};

/// How many revisions that were asked for are remembered, to go back to or on from. A snapshot costs what has changed
/// since.
const SEEN_MAX: usize = 64;

/// Reads relationships as they were.
#[derive(Debug)]
pub(super) struct Walker {
    shared: Arc<Shared>,
    key: Arc<EpochKey>,
    /// What was answered last: question after question is about the same revision.
    last: Option<Last>,
    cursor: Option<Cursor>,
    /// The latest at the back.
    seen: VecDeque<Seen>,
    names: Names,
}

/// The relationships of a revision at the times at which they are read from the same file.
#[derive(Debug)]
struct Last {
    revision: Revision,
    /// From when the file counts, and when the next one does, in microseconds since the epoch.
    times_us: Range<i64>,
    past: PastGraph,
}

/// A place in a file, and the relationships there.
#[derive(Debug)]
struct Cursor {
    reader: FrameReader,
    graph: Graph,
    /// The base was read.
    has_begun: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    number: u64,
    offset: u64,
    graph: Arc<Graph>,
}

impl Walker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (key, _) = shared.view();
        Self { shared, key, last: None, cursor: None, seen: VecDeque::new(), names: Names::default() }
    }

    /// Forgets what was read when something was forgotten meanwhile: it isn't shown any more.
    fn keep_up(&mut self) {
        let (key, _) = self.shared.view();
        if key.epoch != self.key.epoch {
            *self = Self::new(Arc::clone(&self.shared));
        }
    }

    /// The relationships of a revision in one file; `None` when it ends before.
    fn in_file(
        &mut self,
        header: &Header,
        path: &Path,
        revision: Revision,
    ) -> Result<Option<Arc<Graph>>, ArchiveError> {
        let of_file = |seen: &&Seen| seen.number == header.number && seen.graph.revision() <= revision;
        let seen = self.seen.iter().filter(of_file).max_by_key(|seen| seen.graph.revision()).cloned();
        if let Some(exact) = seen.as_ref().filter(|seen| seen.graph.revision() == revision) {
            return Ok(Some(Arc::clone(&exact.graph)));
        }
        let failed = |error: io::Error| unusable(path, &error);
        let at_hand = self.cursor.take().filter(|cursor| {
            cursor.reader.header.number == header.number && cursor.has_begun && cursor.graph.revision() <= revision
        });
        let mut cursor = match (at_hand, seen) {
            (Some(cursor), seen)
                if seen.as_ref().is_none_or(|seen| seen.graph.revision() <= cursor.graph.revision()) =>
            {
                cursor
            }
            (_, seen) => {
                let (_, open) = self.shared.view();
                let limit = open.filter(|(number, _)| *number == header.number).map_or(u64::MAX, |(_, length)| length);
                let Some(mut reader) = FrameReader::open(path, limit).map_err(failed)? else { return Ok(None) };
                match seen {
                    Some(Seen { offset, graph, .. }) => {
                        reader.seek(offset).map_err(failed)?;
                        Cursor { reader, graph: Graph::clone(&graph), has_begun: true }
                    }
                    None => Cursor { reader, graph: Graph::new(), has_begun: false },
                }
            }
        };
        while !cursor.has_begun || cursor.graph.revision() < revision {
            if !cursor.step(&self.key, &mut self.names, path)? {
                return Ok(None);
            }
        }
        let graph = Arc::new(cursor.graph.clone());
        self.seen.push_back(Seen { number: header.number, offset: cursor.reader.offset, graph: Arc::clone(&graph) });
        if self.seen.len() > SEEN_MAX {
            self.seen.pop_front();
        }
        self.cursor = Some(cursor);
        Ok(Some(graph).filter(|graph| graph.revision() == revision))
    }
}

impl Cursor {
    /// Goes on by the base or by one revision; `false` when no whole one follows.
    fn step(&mut self, key: &EpochKey, names: &mut Names, path: &Path) -> Result<bool, ArchiveError> {
        let mut pending: Vec<Effect> = Vec::new();
        loop {
            // What follows a frame that can't be read isn't shown: a new file has begun there.
            let Step::Frame(mut frame) = self.reader.step().map_err(|error| unusable(path, &error))? else {
                return Ok(false);
            };
            let Place { is_base, is_end, revision, .. } = frame.place;
            let is_next = if self.has_begun { revision.0 == self.graph.revision().0 + 1 } else { is_base };
            let opened = is_next.then(|| read(key, self.reader.header.number, &mut frame, names)).flatten();
            let Some(effects) = opened else {
                return Err(ArchiveError::Damaged(format!("`{}` holds what was never written to it", path.display())));
            };
            if is_base {
                let records = effects.iter().filter_map(|effect| match effect {
                    Effect::Created(record) => Some(record),
                    _ => None,
                });
                records.for_each(|record| self.graph.insert(record));
            } else {
                pending.extend(effects);
            }
            if is_end && is_base {
                self.graph.set_revision(revision);
                self.has_begun = true;
                return Ok(true);
            }
            if is_end {
                self.graph.apply(&Written { revision, effects: mem::take(&mut pending) });
                return Ok(true);
            }
        }
    }
}

/// The effects of a frame; `None` when they are not those that were sealed.
pub(super) fn read(key: &EpochKey, number: u64, frame: &mut Frame, names: &mut Names) -> Option<Vec<Effect>> {
    effects::read(key.open(number, frame)?, names).ok()
}

/// The headers of all files of an epoch, the oldest first.
fn headers(shared: &Shared, key: &EpochKey) -> Result<Vec<(Header, PathBuf)>, ArchiveError> {
    let files = list(&shared.folder, key.epoch).map_err(|error| unusable(&shared.folder, &error))?;
    let mut headers = Vec::with_capacity(files.len());
    for (number, path) in files {
        let opened = FrameReader::open(&path, u64::MAX).map_err(|error| unusable(&path, &error))?;
        let header = opened.map(|reader| reader.header);
        match header.filter(|header| header.number == number && header.epoch == key.epoch) {
            Some(header) => headers.push((header, path)),
            None => {
                tracing::warn!(file = %path.display(), "the start of a history file cannot be read; it is passed over");
            }
        }
    }
    Ok(headers)
}

/// The newest revision that was known at a time.
pub(super) fn revision_at(shared: &Shared, time_us: i64) -> Result<Option<Revision>, ArchiveError> {
    let (key, open) = shared.view();
    let begun = headers(shared, &key)?.into_iter().rfind(|(header, _)| header.known_us <= time_us);
    let Some((header, path)) = begun else { return Ok(None) };
    let limit = open.filter(|(number, _)| *number == header.number).map_or(u64::MAX, |(_, length)| length);
    let failed = |error: io::Error| unusable(&path, &error);
    let Some(mut reader) = FrameReader::open(&path, limit).map_err(failed)? else { return Ok(None) };
    let mut newest = header.revision;
    while let Step::Frame(frame) = reader.step().map_err(failed)? {
        let Place { is_base, is_end, revision, known_us } = frame.place;
        if !is_base && known_us > time_us {
            break;
        }
        if is_end {
            newest = revision;
        }
    }
    Ok(Some(newest))
}

impl Past for Walker {
    fn at(&mut self, revision: Revision, time_us: i64) -> Result<Option<PastGraph>, ArchiveError> {
        self.keep_up();
        let is_it = |last: &&Last| last.revision == revision && last.times_us.contains(&time_us);
        if let Some(last) = self.last.as_ref().filter(is_it) {
            return Ok(Some(last.past.clone()));
        }
        let files = headers(&self.shared, &self.key)?;
        // The likeliest first: the newest that had begun by then.
        let mut fitting: Vec<&(Header, PathBuf)> =
            files.iter().filter(|(header, _)| header.revision <= revision).collect();
        fitting.sort_by_key(|(header, _)| (header.known_us > time_us, std::cmp::Reverse(header.number)));
        for (place, (header, path)) in fitting.iter().enumerate() {
            let Some(graph) = self.in_file(header, path, revision)? else { continue };
            let past = PastGraph { graph, is_forgetful: header.is_forgetful(revision) };
            if place == 0 && header.known_us <= time_us {
                // Files that begin from now on are for later times.
                let later = files.iter().map(|(other, _)| other.known_us).filter(|known_us| *known_us > time_us).min();
                let times_us = header.known_us..later.unwrap_or(i64::MAX);
                self.last = Some(Last { revision, times_us, past: past.clone() });
            }
            return Ok(Some(past));
        }
        Ok(None)
    }
}
