//! Reads the segments, frame by frame, and holds what they say of themselves against what they hold.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::Check;
use crate::{
    domain::{
        log_event::{EventKind, LogEvent, LoggedEvent},
        merkle::{Frontier, Hash, leaf_hash},
    },
    storage::segment_log::{
        files::list_segments,
        frame::{
            BODY_BYTES_MAX, Body, Footer, FrameReader, GroupEnd, HEADER_BYTES, Header, PREFIX_BYTES, Step, push_footer,
        },
        last_segment::lost_leaf,
        tiles::{Tiles, WIDTH},
        writer::Span,
    },
};

/// The most entries between two ends of groups.
const GROUP_ENTRIES_MAX: usize = 1 << 20;
/// The most bytes behind a segment's last group that are looked into.
const TAIL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A segment file.
#[derive(Debug)]
struct SegmentFile {
    path: PathBuf,
    name: PathBuf,
    length: u64,
    header: Option<Header>,
}

/// The segment files of a log, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Segments(Vec<SegmentFile>);

/// An entry of a group whose end was not read yet.
#[derive(Debug)]
struct Staged {
    leaf: Hash,
    time_us: Option<i64>,
    event: Option<LoggedEvent>,
    kind: Kind,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Decision,
    Event,
    /// It cannot be read; its hash is that in the tiles.
    Lost,
}

/// The entries of a group whose end was not read yet.
#[derive(Debug, Default)]
struct Pending {
    entries: Vec<Staged>,
    /// Where bad frames are, and the first entry that each is about.
    bad: Vec<(u64, u64)>,
}

/// How reading a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Behind the footer.
    Footer,
    /// With a group, or with entries whose group has no end.
    Open,
    /// With bytes that are no frame, or no frame that may stand there.
    Bad { offset: u64 },
}

/// How far a segment was read.
#[derive(Debug)]
struct Progress {
    /// Where its last complete group, or its footer, ends.
    length: u64,
    span: Span,
    end: End,
    /// Entries of it could not be read.
    has_lost: bool,
}

impl Segments {
    pub(super) fn list(folder: &Path) -> io::Result<Self> {
        let mut segments = Vec::new();
        for (_, path) in list_segments(folder)? {
            let mut file = File::open(&path)?;
            let (length, header) = (file.metadata()?.len(), Header::read(&mut file)?);
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            segments.push(SegmentFile { path, name, length, header });
        }
        Ok(Self(segments))
    }

    pub(super) fn check(&self, check: &mut Check) -> io::Result<()> {
        for (at, segment) in self.0.iter().enumerate() {
            let after = self.0.get(at + 1..).unwrap_or_default();
            if begin(check, segment, at == 0)? {
                // What comes after the first entry of the next segment was written again there.
                let next = after.iter().find_map(|segment| segment.header.as_ref());
                let until = next.map_or(u64::MAX, Header::first_sequence);
                let progress = read(check, segment, until)?;
                judge(check, segment, after.first(), until, &progress)?;
            }
            check.report.bytes += segment.length;
        }
        if self.0.is_empty() {
            check.report.find("there are no segments: the log is gone".to_owned(), None, None, Some(1));
        }
        Ok(())
    }
}

/// Holds a segment's header against the log before it; `false` when its entries are not to be read.
fn begin(check: &mut Check, segment: &SegmentFile, is_first: bool) -> io::Result<bool> {
    let file = Some(segment.name.as_path());
    let expected = check.tree.size() + 1;
    let Some(header) = &segment.header else {
        check.report.find("the header is damaged".to_owned(), file, Some(0), Some(expected));
        return Ok(segment.length > HEADER_BYTES);
    };
    let first = header.first_sequence();
    if is_first {
        check.report.first_sequence = first;
        if first > 1 && !check.deleted(first - 1)? {
            check.resume(header)?;
        }
    } else if first > expected {
        let what = format!("entries {expected} to {} are missing before this segment", first - 1);
        check.report.find(what, file, None, Some(expected));
        check.resume(header)?;
    } else if first < expected {
        let what = format!("the segment begins with entry {first}, where {expected} should follow");
        check.report.find(what, file, Some(0), Some(first));
        return Ok(false);
    }
    if header.before == check.tree {
        check.said = None;
    } else if check.said.as_ref() != Some(&header.before) {
        let what = "the header says another tree of the entries before it than they have".to_owned();
        check.report.find(what, file, Some(0), Some(first));
        if check.is_proved() {
            check.said = Some(header.before.clone());
        } else {
            check.resume(header)?;
        }
    }
    Ok(true)
}

/// Reads a segment's frames and takes its complete groups in. A bad frame with a complete group behind it is told, and
/// costs no more than what it held, if the tiles know the hash of that: whether they do, the group's root says.
fn read(check: &mut Check, segment: &SegmentFile, until: u64) -> io::Result<Progress> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    let mut frames = FrameReader::new(file, HEADER_BYTES);
    let mut pending = Pending::default();
    let span = Span::starting_at(check.tree.size() + 1);
    let mut progress = Progress { length: HEADER_BYTES, span, end: End::Open, has_lost: false };
    loop {
        match frames.step()? {
            Step::End => {
                progress.end = pending.bad.first().map_or(End::Open, |(offset, _)| End::Bad { offset: *offset });
                return Ok(progress);
            }
            Step::Bad { offset } => {
                pending.bad.push((offset, check.tree.size() + pending.entries.len() as u64 + 1));
                let most = check.tree.size().saturating_add(GROUP_ENTRIES_MAX as u64);
                if !frames.resync(&(progress.span.first..until.min(most)))? {
                    return Ok(progress.ended_at(&pending, offset));
                }
            }
            Step::Frame { offset, end, body: Body::Group(group), .. } => {
                if !take_group(check, segment, offset, &group, &mut pending, &mut progress)? {
                    return Ok(progress.ended_at(&pending, offset));
                }
                progress.length = end;
                if check.tree.size() + 1 >= until {
                    // A footer may follow; whatever else does was written again.
                    if let Step::Frame { offset, end, body: Body::Footer(footer), .. } = frames.step()? {
                        check_footer(check, segment, offset, &footer, &progress);
                        (progress.length, progress.end) = (end, End::Footer);
                    }
                    return Ok(progress);
                }
            }
            Step::Frame { offset, end, body: Body::Footer(footer), .. } if pending.entries.is_empty() => {
                check_footer(check, segment, offset, &footer, &progress);
                (progress.length, progress.end) = (end, End::Footer);
                return Ok(progress);
            }
            Step::Frame { offset, body, bytes, .. } => {
                if !stage_next(check, &mut pending, &body, bytes)? {
                    return Ok(progress.ended_at(&pending, offset));
                }
            }
        }
    }
}

impl Progress {
    /// The segment cannot be read on at this place, or from the first bad frame before it.
    fn ended_at(mut self, pending: &Pending, offset: u64) -> Self {
        self.end = End::Bad { offset: pending.bad.first().map_or(offset, |(offset, _)| *offset) };
        self
    }
}

/// Stages the frame of the next entry; `false` when it is another.
fn stage_next(check: &Check, pending: &mut Pending, body: &Body<'_>, bytes: &[u8]) -> io::Result<bool> {
    let Some(sequence) = body.sequence() else { return Ok(false) };
    if !stage_lost(check, pending, sequence)? || pending.entries.len() >= GROUP_ENTRIES_MAX {
        return Ok(false);
    }
    let staged = stage(body, bytes);
    let is_entry = staged.is_some();
    pending.entries.extend(staged);
    Ok(is_entry)
}

/// Stages what bad frames held, up to before the entry `next`, by the hashes in the tiles; `false` when these are not
/// there, or it is not the next one.
fn stage_lost(check: &Check, pending: &mut Pending, next: u64) -> io::Result<bool> {
    let tiles = Tiles::of(&check.folder);
    loop {
        let index = check.tree.size() + pending.entries.len() as u64;
        if index + 1 >= next || pending.bad.is_empty() || pending.entries.len() >= GROUP_ENTRIES_MAX {
            return Ok(index + 1 == next);
        }
        let at = usize::try_from(index % WIDTH as u64).unwrap_or(0);
        let hashes = tiles.read(0, index / WIDTH as u64, at + 1)?;
        // Where the tiles have what stands for an entry that was lost before it was signed, nobody knows its hash.
        let leaf = hashes.and_then(|hashes| hashes.get(at).copied()).filter(|leaf| *leaf != lost_leaf());
        let Some(leaf) = leaf else { return Ok(false) };
        pending.entries.push(Staged { leaf, time_us: None, event: None, kind: Kind::Lost });
    }
}

/// Takes an entry's frame; `None` when it is none, or an event that cannot be read.
fn stage(body: &Body<'_>, bytes: &[u8]) -> Option<Staged> {
    let leaf = leaf_hash(bytes);
    Some(match *body {
        Body::Decision { time_us, .. } => Staged { leaf, time_us: Some(time_us), event: None, kind: Kind::Decision },
        Body::SealedEvent { time_us, .. } => Staged { leaf, time_us: Some(time_us), event: None, kind: Kind::Event },
        Body::Event { sequence, event } => {
            let event = LogEvent::decode(event).ok()?;
            let time_us = Some(event.time_us);
            Staged { leaf, time_us, event: Some(LoggedEvent { sequence, event }), kind: Kind::Event }
        }
        Body::Group(_) | Body::Footer(_) | Body::Other => return None,
    })
}

/// Takes the entries of a group in, and holds its end against them; `false` when it is not the end of these. The end of a
/// group before it may be among what is lost.
fn take_group(
    check: &mut Check,
    segment: &SegmentFile,
    offset: u64,
    group: &GroupEnd,
    pending: &mut Pending,
    progress: &mut Progress,
) -> io::Result<bool> {
    let GroupEnd { first: said_first, last: said_last, count, tree_size, root } = *group;
    if !stage_lost(check, pending, said_last.saturating_add(1))? {
        return Ok(false);
    }
    let first = check.tree.size() + 1;
    let last = check.tree.size() + pending.entries.len() as u64;
    let is_first = said_first == first || (said_first > first && !pending.bad.is_empty());
    let is_count = said_first <= last && u64::from(count) == last + 1 - said_first;
    if !is_first || !is_count || tree_size != last || pending.entries.is_empty() {
        return Ok(false);
    }
    for (offset, sequence) in pending.bad.drain(..) {
        check.report.find("the frame is damaged".to_owned(), Some(&segment.name), Some(offset), Some(sequence));
    }
    for entry in pending.entries.drain(..) {
        progress.has_lost |= entry.kind == Kind::Lost;
        take_entry(check, entry, &mut progress.span)?;
    }
    if !check.is_any_tree(|tree| tree.root() == root) {
        let what = format!("entries {first} to {last} are not those that were written as a group");
        check.report.find(what, Some(&segment.name), Some(offset), Some(first));
        check.is_doubtful = true;
    }
    Ok(true)
}

fn take_entry(check: &mut Check, entry: Staged, span: &mut Span) -> io::Result<()> {
    if let Some(LoggedEvent { sequence, event: LogEvent { kind: EventKind::KeyChange { verifier_key }, .. } }) =
        &entry.event
    {
        check.notes.key_change(*sequence, verifier_key, &mut check.report);
    }
    check.leaf(entry.leaf)?;
    let report = &mut check.report;
    match entry.kind {
        Kind::Decision => report.decisions += 1,
        Kind::Event => report.events += 1,
        Kind::Lost => {}
    }
    if let Some(time_us) = entry.time_us {
        span.take_in(time_us);
        report.first_us = Some(report.first_us.map_or(time_us, |first| first.min(time_us)));
        report.last_us = Some(report.last_us.map_or(time_us, |last| last.max(time_us)));
    }
    if let Some(event) = entry.event {
        report.take_event(event);
    }
    Ok(())
}

fn footer_of(tree: &Frontier, span: &Span) -> Footer {
    let Span { first, min_us, max_us } = *span;
    let last = tree.size();
    Footer { first, last, count: (last + 1).saturating_sub(first), min_us, max_us, tree_size: last, root: tree.root() }
}

fn check_footer(check: &mut Check, segment: &SegmentFile, offset: u64, footer: &Footer, progress: &Progress) {
    let mut span = progress.span;
    if progress.has_lost {
        // Their times are lost with them.
        (span.min_us, span.max_us) = (footer.min_us.min(span.min_us), footer.max_us.max(span.max_us));
    }
    if !check.is_any_tree(|tree| *footer == footer_of(tree, &span)) {
        let what = "the footer is not that of the segment's entries".to_owned();
        check.report.find(what, Some(&segment.name), Some(offset), Some(span.first));
    }
}

/// Decides what it means that a segment ends as it does.
fn judge(
    check: &mut Check,
    segment: &SegmentFile,
    after: Option<&SegmentFile>,
    until: u64,
    progress: &Progress,
) -> io::Result<()> {
    let Progress { length, end, span, has_lost: _ } = progress;
    let (file, next) = (Some(segment.name.as_path()), check.tree.size() + 1);
    if *end == End::Footer {
        if *length < segment.length {
            let what = "there are bytes behind the segment's footer".to_owned();
            check.report.find(what, file, Some(*length), None);
        }
        return Ok(());
    }
    let Some(after) = after else { return judge_last(check, segment, progress) };
    if next < until {
        let offset = if let End::Bad { offset } = end { *offset } else { *length };
        let what = if offset < segment.length { "the frame is damaged" } else { "the segment's end is missing" };
        check.report.find(what.to_owned(), file, Some(offset), Some(next));
        return Ok(());
    }
    let rest = segment.length.saturating_sub(*length);
    if rest > TAIL_BYTES_MAX || !is_left_behind(check, segment, after, span, *length)? {
        let what = "the bytes behind the segment's last group are neither its footer nor entries".to_owned();
        check.report.find(what, file, Some(*length), Some(next));
        return Ok(());
    }
    let name = segment.name.display();
    check.report.remarks.push(format!(
        "`{name}` ends without its footer, after a write that failed; its last {rest} bytes stand in the next segment"
    ));
    Ok(())
}

/// The bytes behind a segment's last group are those of a write that failed: of a footer that did not become whole, or of
/// what was written again at the start of the next segment.
fn is_left_behind(
    check: &Check,
    segment: &SegmentFile,
    after: &SegmentFile,
    span: &Span,
    length: u64,
) -> io::Result<bool> {
    let rest = read_from(&segment.path, length, u64::MAX)?;
    let mut footer = Vec::new();
    push_footer(&mut footer, &footer_of(&check.tree, span));
    if footer.starts_with(&rest) {
        return Ok(rest.len() < footer.len());
    }
    Ok(read_from(&after.path, HEADER_BYTES, rest.len() as u64)? == rest)
}

fn read_from(path: &Path, offset: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last segment may end with a write under way, when the copy was made of a log at work.
fn judge_last(check: &mut Check, segment: &SegmentFile, progress: &Progress) -> io::Result<()> {
    let (file, next) = (Some(segment.name.as_path()), check.tree.size() + 1);
    let rest = segment.length.saturating_sub(progress.length);
    if let End::Bad { offset } = progress.end
        && !is_cut_off(segment, offset)?
    {
        check.report.find("the frame is damaged".to_owned(), file, Some(offset), Some(next));
    } else if rest > 0 {
        let name = segment.name.display();
        check
            .report
            .remarks
            .push(format!("the last {rest} bytes of `{name}` are a write under way, and no entries yet"));
    }
    Ok(())
}

/// The bytes at this place are the beginning of a frame whose end is missing.
fn is_cut_off(segment: &SegmentFile, offset: u64) -> io::Result<bool> {
    let left = segment.length.saturating_sub(offset);
    let prefix = read_from(&segment.path, offset, PREFIX_BYTES as u64)?;
    let Some((length, _)) = prefix.split_first_chunk::<4>() else { return Ok(true) };
    let length = u64::from(u32::from_le_bytes(*length));
    let is_length = (1..=BODY_BYTES_MAX as u64).contains(&length);
    Ok(left < PREFIX_BYTES as u64 || (is_length && PREFIX_BYTES as u64 + length > left))
}
