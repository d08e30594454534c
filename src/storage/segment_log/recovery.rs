//! What an earlier run left behind: looks through the last segment, cuts a torn end, sets a damaged file aside.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    files::{list_segments, sync_folder},
    frame::{Body, FrameReader, HEADER_BYTES, Header, MAGIC_OF_FORMAT_1, SEQUENCES, Step},
    index::Segment,
    last_segment::{End, LastSegment, look_through_last, lost_leaf, replay},
    signed_tree::{newest_checkpoint, signed_tree},
    writer::Span,
};
use crate::domain::merkle::Frontier;

/// Where writing goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    /// All segments that hold entries or may do so.
    pub segments: Vec<Arc<Segment>>,
    /// The tree of all entries.
    pub tree: Frontier,
    /// The number of the next new segment.
    pub next_number: u64,
    /// The last segment, if it can be written on.
    pub open_segment: Option<Reopened>,
    /// How the run before ended.
    pub before: Before,
    /// Something of it cannot be read.
    pub is_damaged: bool,
    /// How many entries its newest checkpoint is of; `None` when it has none.
    pub signed: Option<u64>,
}

/// A segment that is written on.
#[derive(Debug)]
pub(super) struct Reopened {
    pub number: u64,
    pub path: PathBuf,
    pub length: u64,
    pub span: Span,
    /// When it was made, in microseconds since the epoch.
    pub created_us: i64,
}

/// What an earlier run says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// The time of the last entry; `None` when there is none.
    pub last_us: Option<i64>,
    /// The number of the mode in which it was written, if that is known.
    pub mode: Option<u16>,
    /// The last entry says that the run stopped in order.
    pub has_stopped: bool,
    /// The last entries that the log says were deleted, from the first to the last, and the entry that says so.
    pub deleted: Option<(u64, u64, u64)>,
    /// What was cut off at the end may have been a complete group once.
    pub is_suspect: bool,
}

/// Looks through a folder.
pub(super) fn recover(folder: &Path) -> io::Result<Recovered> {
    let files = list_segments(folder)?;
    files.iter().try_for_each(|(_, path)| refuse_format_1(path))?;
    let next_number = files.last().map_or(1, |(number, _)| number + 1);
    let mut readable = Vec::new();
    let mut lost = None;
    for (number, path) in files {
        if let Some(first) = first_sequence(&path)? {
            // What a lost segment held is missing from the numbers of its neighbours; the very first has none before it.
            if let (Some((number, path)), true) = (lost.take(), readable.is_empty()) {
                readable.push((number, path, 1));
            }
            readable.push((number, path, first));
        } else if !set_aside_if_unborn(&path)? {
            lost = Some((number, path));
        }
    }
    let mut found = Recovered {
        segments: Vec::new(),
        tree: Frontier::new(),
        next_number,
        open_segment: None,
        before: Before::default(),
        is_damaged: false,
        signed: newest_checkpoint(folder).map(|checkpoint| checkpoint.size),
    };
    let signed = signed_tree(folder);
    recover_last(&mut found, readable, signed.as_ref().map_or(0, Frontier::size))?;
    if let Some((number, path)) = lost {
        found.segments.push(Arc::new(Segment::new(number, path, found.tree.size() + 1)));
        found.tree.append(lost_leaf());
        found.open_segment = None;
        found.before.is_suspect = true;
        found.is_damaged = true;
    }
    if let Some(signed) = signed {
        go_on_from(&mut found, signed)?;
    }
    Ok(found)
}

/// Goes on from the tree that was signed and the entries behind it, if the segments say something else: what they have
/// lost keeps its hashes, and the next checkpoint continues the one before.
fn go_on_from(found: &mut Recovered, mut tree: Frontier) -> io::Result<()> {
    let next = found.tree.size().max(tree.size()) + 1;
    let ends = found.segments.iter().skip(1).map(|segment| segment.first_sequence).chain([next]);
    for (segment, end) in found.segments.iter().zip(ends) {
        if tree.size() + 1 < end {
            replay(&segment.path, &mut tree, end)?;
        }
    }
    if tree != found.tree {
        if !found.is_damaged {
            let entries = tree.size();
            tracing::error!(
                entries,
                "the segments of the decision log are not what was signed; they are kept as they are"
            );
        }
        found.tree = tree;
        found.open_segment = None;
        found.is_damaged = true;
    }
    Ok(())
}

fn recover_last(found: &mut Recovered, mut readable: Vec<(u64, PathBuf, u64)>, signed: u64) -> io::Result<()> {
    let Some((number, path, first)) = readable.pop() else { return Ok(()) };
    let header = read_header(&path)?;
    let tree = match &header {
        Some(header) => header.before.clone(),
        None => tree_before(&readable, first)?,
    };
    let mut last = look_through_last(&path, tree)?;
    if last.tree.size() < signed {
        // Entries that were signed were on disk: no write was cut short here, something was lost.
        last.end = End::Damaged;
        last.before.is_suspect = true;
    }
    found.before = last.before;
    found.before.mode = last.before.mode.or(header.as_ref().map(|header| header.mode));
    if let (None, Some((_, path, first))) = (last.before.last_us, readable.last()) {
        // Made, but nothing written to it yet: how the run ended stands in the one before.
        let tree = tree_before(&readable, *first)?;
        let earlier = look_through_last(path, tree)?.before;
        found.before = Before { mode: earlier.mode.or(found.before.mode), ..earlier };
    }
    let unread = readable.into_iter().map(|(number, path, first)| Arc::new(Segment::new(number, path, first)));
    found.segments.extend(unread);
    // A file whose header is damaged is not written to any more.
    let writable = match last.end {
        End::Good => header,
        End::Sealed => None,
        End::Torn => header.filter(|_| cut_and_tell(&path, last.length)),
        End::Damaged => {
            tracing::error!(segment = %path.display(), "the last segment of the decision log is damaged; it is kept as it is");
            found.segments.push(Arc::new(Segment::new(number, path, first)));
            found.is_damaged = true;
            found.tree = last.tree;
            return Ok(());
        }
    };
    let LastSegment { length, tree, span, .. } = last;
    if let Some(Header { created_us, .. }) = writable {
        found.open_segment = Some(Reopened { number, path: path.clone(), length, span, created_us });
    }
    found.tree = tree;
    found.segments.push(Arc::new(Segment::new(number, path, first)));
    Ok(())
}

/// The tree of all entries before the one with sequence number `first`, from the newest of the segments before it whose
/// header is good and all that follow.
fn tree_before(segments: &[(u64, PathBuf, u64)], first: u64) -> io::Result<Frontier> {
    let mut tree = Frontier::new();
    let mut start = 0;
    for (at, (_, path, _)) in segments.iter().enumerate().rev() {
        if let Some(header) = read_header(path)? {
            (tree, start) = (header.before, at);
            break;
        }
    }
    let ends = segments.iter().skip(start + 1).map(|(_, _, first)| *first).chain([first]);
    for ((_, path, _), end) in segments.iter().skip(start).zip(ends) {
        replay(path, &mut tree, end)?;
    }
    Ok(tree)
}

fn refuse_format_1(path: &Path) -> io::Result<()> {
    let mut magic = [0; 8];
    let read = File::open(path)?.read_exact(&mut magic);
    if read.is_ok() && magic == MAGIC_OF_FORMAT_1 {
        let message = format!(
            "`{}` was written by an earlier pre-release, whose format is not read any more; move the folder aside",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Cuts a torn end. A full disk must not keep the log from opening: when it cannot be cut, the file is left behind as
/// it is, and writing goes on in a new one, whose first sequence number says where this one ends.
fn cut_and_tell(path: &Path, length: u64) -> bool {
    match cut(path, length) {
        Ok(kept) => {
            tracing::warn!(segment = %path.display(), kept = %kept.display(), "cut the torn end of the decision log");
            true
        }
        Err(error) => {
            tracing::warn!(segment = %path.display(), %error, "left the torn end of the decision log");
            false
        }
    }
}

/// The sequence number with which a segment starts: from its header, else from its first good frame.
pub(super) fn first_sequence(path: &Path) -> io::Result<Option<u64>> {
    if let Some(header) = read_header(path)? {
        return Ok(Some(header.first_sequence()));
    }
    let mut frames = FrameReader::new(File::open(path)?, 0);
    loop {
        match frames.step()? {
            Step::Frame { body, .. } => {
                let first = match body {
                    Body::Group(end) => Some(end.first),
                    Body::Footer(footer) => Some(footer.first),
                    _ => body.entry().map(|(sequence, _)| sequence),
                };
                if let Some(first) = first {
                    return Ok(Some(first).filter(|first| SEQUENCES.contains(first)));
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&SEQUENCES)? {
                    return Ok(None);
                }
            }
            Step::End => return Ok(None),
        }
    }
}

fn read_header(path: &Path) -> io::Result<Option<Header>> {
    Header::read(&mut File::open(path)?)
}

/// A file without a good header and without one good frame. A header is durable before the first record is written:
/// a file no longer than a header never held one and is put out of the way; a longer one is somebody's loss.
/// Returns whether it was put out of the way.
fn set_aside_if_unborn(path: &Path) -> io::Result<bool> {
    if fs::metadata(path)?.len() > HEADER_BYTES {
        tracing::error!(segment = %path.display(), "no record of this segment of the decision log can be read");
        return Ok(false);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".torn");
    fs::rename(path, aside)?;
    Ok(true)
}

/// Cuts a segment to this length and returns the file that keeps the cut bytes.
fn cut(path: &Path, length: u64) -> io::Result<PathBuf> {
    let (kept, mut aside) = new_torn_file(path)?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(length))?;
    let copied = io::copy(&mut file, &mut aside).and_then(|_| aside.sync_all());
    if let Err(error) = copied {
        // Half a copy is of no use; the original is still whole.
        let _copied_or_not = fs::remove_file(&kept);
        return Err(error);
    }
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    file.set_len(length)?;
    file.sync_all()?;
    Ok(kept)
}

/// A new file `<segment>.torn`, or with a number behind it when the name is taken.
fn new_torn_file(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut attempt = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if attempt == 1 { ".torn".to_owned() } else { format!(".torn.{attempt}") });
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            made => return made.map(|file| (name.into(), file)),
        }
    }
}
