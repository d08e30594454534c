//! Finds records: chunk by chunk from either end, past the chunks whose times do not fit.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::atomic::Ordering::SeqCst,
};

use super::{
    frame::{Body, FrameReader, Step},
    index::{Bounded, Chunk},
    seal::LogKey,
};
use crate::app::ports::{LogError, RecordPage};
use crate::domain::{
    decision_record::{DecisionRecord, LoggedDecision},
    id::DecisionId,
    record_filter::{Order, PageRequest, RecordFilter},
};

/// How far the time in a decision's id may be from the record's time, in microseconds.
const ID_TIME_SLACK_US: i64 = 5_000_000;

/// Finds a page of records. Holds the page and one chunk in memory.
pub(super) fn query(
    segments: &[Bounded],
    key: &LogKey,
    filter: &RecordFilter,
    page: PageRequest,
) -> Result<RecordPage, LogError> {
    let size = page.size.max(1);
    let mut found = RecordPage { decisions: Vec::new(), next_after: None, is_complete: true, events: Vec::new() };
    let is_wanted = |sequence: u64| match (page.order, page.after) {
        (_, None) => true,
        (Order::NewestFirst, Some(after)) => sequence < after,
        (Order::OldestFirst, Some(after)) => sequence > after,
    };
    walk(segments, page, |path, chunk| {
        let fits = filter.from_us.is_none_or(|from| chunk.max_us >= from)
            && filter.until_us.is_none_or(|until| chunk.min_us < until);
        if !fits {
            return Ok(Walk::On);
        }
        let mut matching = Vec::new();
        let is_whole = read_chunk(path, chunk, |entry| {
            let Body::Decision { sequence, id, time_us, sealed } = entry else { return true };
            if !is_wanted(sequence) {
                return true;
            }
            let Some(record) = open(key, id, time_us, sealed) else { return false };
            if filter.matches(&record) {
                matching.push(LoggedDecision { sequence, record });
            }
            true
        })?;
        found.is_complete &= is_whole;
        if page.order == Order::NewestFirst {
            matching.reverse();
        }
        for decision in matching {
            if found.decisions.len() == size {
                found.next_after = found.decisions.last().map(|last| last.sequence);
                return Ok(Walk::Stop);
            }
            found.decisions.push(decision);
        }
        Ok(Walk::On)
    })?;
    Ok(found)
}

/// Finds the record of this id. Looks first where its time says (RFC 9562 section 5.7: the first 48 bits are
/// milliseconds), then everywhere else, which reads the whole log when there is no such record.
pub(super) fn get(segments: &[Bounded], key: &LogKey, id: DecisionId) -> Result<Option<LoggedDecision>, LogError> {
    let time_us = i64::try_from(id.0 >> 80).unwrap_or(i64::MAX).saturating_mul(1000);
    let is_near = |chunk: &Chunk| {
        chunk.min_us <= time_us.saturating_add(ID_TIME_SLACK_US)
            && chunk.max_us >= time_us.saturating_sub(ID_TIME_SLACK_US)
    };
    let mut found = None;
    let mut is_whole = true;
    for wants_near in [true, false] {
        let newest_first = PageRequest { order: Order::NewestFirst, size: 1, after: None };
        walk(segments, newest_first, |path, chunk| {
            if is_near(chunk) != wants_near {
                return Ok(Walk::On);
            }
            is_whole &= read_chunk(path, chunk, |entry| match entry {
                Body::Decision { sequence, id: other, time_us, sealed } if other == id => {
                    let record = open(key, id, time_us, sealed);
                    found = record.map(|record| LoggedDecision { sequence, record });
                    found.is_some()
                }
                _ => true,
            })?;
            Ok(if found.is_some() { Walk::Stop } else { Walk::On })
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    if is_whole { Ok(None) } else { Err(LogError::Unreadable("the record may be in a damaged part of it".to_owned())) }
}

/// Opens a record. What cannot be opened was changed after it was sealed, whatever its checksum says.
fn open(key: &LogKey, id: DecisionId, time_us: i64, sealed: &[u8]) -> Option<DecisionRecord> {
    let bytes = key.open_decision(id, time_us, sealed).ok()?;
    DecisionRecord::decode(&bytes).ok()
}

enum Walk {
    On,
    Stop,
}

/// Hands the chunks with records beyond the page's cursor to `each`, in the page's order.
fn walk(
    segments: &[Bounded],
    page: PageRequest,
    mut each: impl FnMut(&Path, &Chunk) -> Result<Walk, LogError>,
) -> Result<(), LogError> {
    let is_ahead = |first: u64, next: u64| match (page.order, page.after) {
        (_, None) => first < next,
        (Order::NewestFirst, Some(after)) => first < next && first < after,
        (Order::OldestFirst, Some(after)) => first < next && next > after.saturating_add(1),
    };
    let mut segments: Vec<_> =
        segments.iter().filter(|bounded| is_ahead(bounded.segment.first_sequence, bounded.next)).collect();
    if page.order == Order::NewestFirst {
        segments.reverse();
    }
    for Bounded { segment, next } in segments {
        let mut chunks = match segment.chunks(*next) {
            Ok(chunks) => chunks,
            Err(_) if segment.is_deleted.load(SeqCst) => continue,
            Err(error) => return Err(unreadable(&segment.path, &error)),
        };
        if page.order == Order::NewestFirst {
            chunks.reverse();
        }
        for chunk in chunks.iter().filter(|chunk| is_ahead(chunk.first, chunk.next)) {
            match each(&segment.path, chunk) {
                Ok(Walk::Stop) => return Ok(()),
                Ok(Walk::On) => {}
                Err(_) if segment.is_deleted.load(SeqCst) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Hands the entries of a chunk to `each`, oldest first, each once; `each` says whether it could read the entry.
/// Returns whether all entries of the chunk were there and could be read.
fn read_chunk(path: &Path, chunk: &Chunk, mut each: impl FnMut(Body<'_>) -> bool) -> Result<bool, LogError> {
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    file.seek(SeekFrom::Start(chunk.offset)).map_err(|error| unreadable(path, &error))?;
    let mut frames = FrameReader::new(file.take(chunk.end - chunk.offset), chunk.offset);
    let mut expected = chunk.first;
    let mut is_whole = !chunk.is_damaged;
    let mut read = || -> io::Result<()> {
        loop {
            match frames.step()? {
                Step::Frame { body, .. } => {
                    let entry = body.entry().filter(|(sequence, _)| (expected..chunk.next).contains(sequence));
                    if let Some((sequence, _)) = entry {
                        let is_read = each(body);
                        is_whole &= is_read && sequence == expected;
                        expected = sequence + 1;
                    }
                }
                Step::Bad { .. } => {
                    if !frames.resync(&(expected..chunk.next))? {
                        return Ok(());
                    }
                }
                Step::End => return Ok(()),
            }
        }
    };
    if let Err(error) = read() {
        // A bad sector hides a chunk, not the log.
        tracing::error!(%error, segment = %path.display(), "a part of the decision log cannot be read");
        return Ok(false);
    }
    Ok(is_whole && expected == chunk.next)
}

fn unreadable(path: &Path, error: &io::Error) -> LogError {
    LogError::Unreadable(format!("`{}`: {error}", path.display()))
}
