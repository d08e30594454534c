//! The segment that an earlier run wrote last: its entries, their tree, and what to think of its end.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::{
    Mode,
    frame::{
        BODY_BYTES_MAX, Body, FOOTER_FRAME_BYTES, FrameReader, GROUP, GROUP_FRAME_BYTES, GroupEnd, HEADER_BYTES,
        PREFIX_BYTES, Step,
    },
    index::Placed,
    recovery::Before,
    writer::Span,
};
use crate::domain::{
    log_event::{EventKind, LogEvent},
    merkle::{Frontier, Hash, leaf_hash},
};

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a complete group.
    Good,
    /// With its footer.
    Sealed,
    /// With something that is no complete group, and nothing good behind it.
    Torn,
    /// With good groups behind something bad, or with a group that is not what was hashed.
    Damaged,
}

/// What was found in a segment.
#[derive(Debug)]
pub(super) struct LastSegment {
    /// Where the last of the complete groups ends, or the footer.
    pub length: u64,
    /// The tree of the log up to there.
    pub tree: Frontier,
    pub span: Span,
    pub end: End,
    pub before: Before,
}

/// The leaf that stands for an entry of which nothing is left. The tree is another one than it was from there on, which
/// whoever compares it with an earlier checkpoint sees.
pub(super) fn lost_leaf() -> Hash {
    leaf_hash(&[])
}

/// The most lost entries whose place in the tree is kept; beyond, none of the tree is.
pub(super) const LOST_MAX: u64 = 1 << 22;

/// Appends lost entries up to before the sequence number `next`.
fn append_lost(tree: &mut Frontier, next: u64) {
    if next.saturating_sub(tree.size()) > LOST_MAX {
        let size = next - 1;
        let hashes = (0..size.count_ones()).map(|_| lost_leaf()).collect();
        *tree = Frontier::from_hashes(size, hashes).unwrap_or_default();
    }
    while tree.size() + 1 < next {
        tree.append(lost_leaf());
    }
}

/// Appends the entries of a segment up to before the sequence number `next` to the tree, and lost ones for those that
/// are not there.
pub(super) fn replay(path: &Path, tree: &mut Frontier, next: u64) -> io::Result<()> {
    let mut frames = frames_of(path)?;
    loop {
        let plausible = tree.size() + 1..next;
        match frames.step()? {
            _ if plausible.is_empty() => break,
            Step::Frame { body, bytes, .. } => {
                if let Some((sequence, _)) = body.entry().filter(|(sequence, _)| plausible.contains(sequence)) {
                    let leaf = leaf_hash(bytes);
                    append_lost(tree, sequence);
                    tree.append(leaf);
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&plausible)? {
                    break;
                }
            }
            Step::End => break,
        }
    }
    append_lost(tree, next);
    Ok(())
}

fn frames_of(path: &Path) -> io::Result<FrameReader<File>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    Ok(FrameReader::new(file, HEADER_BYTES))
}

/// Entries that are not known to be complete yet: their group's end is still to come.
#[derive(Debug, Default)]
struct Pending {
    entries: Vec<(Placed, Hash)>,
    before: Before,
}

impl Pending {
    fn push(&mut self, offset: u64, end: u64, body: &Body<'_>, bytes: &[u8]) {
        let Some((sequence, time_us)) = body.entry() else { return };
        let placed = Placed { sequence, offset, end, time_us: time_us.unwrap_or_default() };
        self.entries.push((placed, leaf_hash(bytes)));
        self.before.last_us = time_us.or(self.before.last_us);
        self.before.has_stopped = false;
        if let Body::Event { event, .. } = *body
            && let Ok(event) = LogEvent::decode(event)
        {
            match event.kind {
                EventKind::Retention { first, last, .. } => self.before.deleted = Some((first, last, sequence)),
                EventKind::Stop => self.before.has_stopped = true,
                EventKind::Start { mode, .. } => self.before.mode = Mode::parse(&mode).map(Mode::number),
                _ => {}
            }
        }
    }
}

/// Looks through a segment, behind the entries of this tree.
pub(super) fn look_through_last(path: &Path, tree: Frontier) -> io::Result<LastSegment> {
    let length_in_file = path.metadata()?.len();
    let mut frames = frames_of(path)?;
    let span = Span::starting_at(tree.size() + 1);
    let (length, before) = (HEADER_BYTES, Before::default());
    let mut found = LastSegment { length, tree, span, end: End::Good, before };
    let mut pending = Pending::default();
    loop {
        let first = found.tree.size() + 1;
        let expected = first + pending.entries.len() as u64;
        match frames.step()? {
            Step::Frame { offset, end, body, bytes } if body.entry().is_some_and(|entry| entry.0 == expected) => {
                pending.push(offset, end, &body, bytes);
            }
            Step::Frame { end, body: Body::Group(group), .. } if is_end_of(&group, first, expected) => {
                if !found.accept(&mut pending, end, &group) {
                    return judge(frames, found.damaged(), pending, length_in_file);
                }
            }
            Step::Frame { end, body: Body::Footer(_), .. } if pending.entries.is_empty() => {
                (found.length, found.end) = (end, End::Sealed);
            }
            Step::Frame { body: Body::Other, .. } => {}
            Step::End if found.length == length_in_file => return Ok(found),
            Step::End => {
                found.end = End::Torn;
                return Ok(found);
            }
            Step::Frame { body, .. } => {
                found.before.is_suspect = true;
                let is_group = matches!(body, Body::Group(_));
                let found = if is_group { found.damaged() } else { found };
                return judge(frames, found, pending, length_in_file);
            }
            Step::Bad { offset } => {
                found.before.is_suspect = !is_cut_short(path, offset, pending.entries.is_empty())?;
                return judge(frames, found, pending, length_in_file);
            }
        }
    }
}

impl LastSegment {
    fn damaged(self) -> Self {
        Self { end: End::Damaged, ..self }
    }

    /// Takes in the entries of a group that ends here; `false` when they are not those that were hashed when they were
    /// written.
    fn accept(&mut self, pending: &mut Pending, end: u64, group: &GroupEnd) -> bool {
        for (placed, leaf) in pending.entries.drain(..) {
            self.tree.append(leaf);
            self.span.take_in(placed.time_us);
        }
        self.before = Before { is_suspect: self.before.is_suspect, ..pending.before };
        self.length = end;
        group.tree_size == self.tree.size() && group.root == self.tree.root()
    }
}

/// The group holds the entries from `first` to before `next`, and nothing else.
fn is_end_of(group: &GroupEnd, first: u64, next: u64) -> bool {
    group.first == first && group.last == next - 1 && u64::from(group.count) == next - first && next > first
}

/// What stands at the end of the file is what a write leaves that was cut short: its first bytes, as they were to be. A
/// frame that is there whole and is not good was changed later, or parts of its write were lost.
fn is_cut_short(path: &Path, offset: u64, is_between_groups: bool) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let rest = file.metadata()?.len().saturating_sub(offset);
    if rest < PREFIX_BYTES as u64 + 1 || (is_between_groups && rest <= FOOTER_FRAME_BYTES as u64) {
        return Ok(true);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut start = [0; PREFIX_BYTES + 1];
    file.read_exact(&mut start)?;
    let [a, b, c, d, .., kind] = start;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let is_whole = PREFIX_BYTES as u64 + length <= rest;
    let is_whole_group = kind == GROUP && rest >= GROUP_FRAME_BYTES as u64;
    Ok((1..=BODY_BYTES_MAX as u64).contains(&length) && !is_whole && !is_whole_group)
}

/// Decides what a bad frame means: a complete group behind it says that it was good once.
fn judge(
    mut frames: FrameReader<File>,
    mut found: LastSegment,
    mut pending: Pending,
    length_in_file: u64,
) -> io::Result<LastSegment> {
    if found.end != End::Damaged {
        found.end = End::Torn;
    }
    // No group holds more entries than the file has bytes.
    let next = found.tree.size() + 1;
    let plausible = next..next.saturating_add(length_in_file);
    loop {
        match frames.step()? {
            Step::Frame { body: Body::Group(group), .. } if plausible.contains(&group.last) => {
                found.end = End::Damaged;
                for (placed, leaf) in pending.entries.drain(..) {
                    if placed.sequence > found.tree.size() {
                        append_lost(&mut found.tree, placed.sequence);
                        found.tree.append(leaf);
                    }
                }
                append_lost(&mut found.tree, group.last + 1);
                found.before = Before { is_suspect: true, ..pending.before };
            }
            Step::Frame { offset, end, body, bytes } => {
                if body.entry().is_some_and(|(sequence, _)| plausible.contains(&sequence)) {
                    pending.push(offset, end, &body, bytes);
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&plausible)? {
                    return Ok(found);
                }
            }
            Step::End => return Ok(found),
        }
    }
}
