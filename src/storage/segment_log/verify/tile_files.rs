//! Holds the files of tiles against the tree.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Report;
use crate::{
    domain::merkle::Hash,
    storage::segment_log::tiles::{self, UNFINISHED, WIDTH},
};

/// The tile of a level that is being filled.
#[derive(Debug, Default)]
struct Filling {
    hashes: Vec<Hash>,
    /// So many of the hashes at the start are not known: their entries could not be read.
    unknown: usize,
    /// How many tiles of the level are full.
    full: u64,
    /// The level's full tiles are looked at from this one on.
    looked_at_from: u64,
}

/// The check of a log's tiles.
#[derive(Debug)]
pub(super) struct TileCheck {
    folder: PathBuf,
    /// The tiles of a tree of so many entries must be there.
    required: u64,
    levels: Vec<Filling>,
    /// The widest partial tile that was found of each level's unfinished tile.
    widest: Vec<usize>,
}

impl TileCheck {
    pub(super) fn new(folder: &Path, required: u64) -> Self {
        Self { folder: folder.to_owned(), required, levels: Vec::new(), widest: Vec::new() }
    }

    /// Takes a node of the tree that is complete.
    pub(super) fn node(&mut self, level: u8, index: u64, hash: &Hash, report: &mut Report) -> io::Result<()> {
        if !level.is_multiple_of(8) {
            return Ok(());
        }
        let level = level / 8;
        if self.levels.len() <= usize::from(level) {
            self.levels.resize_with(usize::from(level) + 1, Filling::default);
        }
        let Some(filling) = self.levels.get_mut(usize::from(level)) else { return Ok(()) };
        filling.hashes.push(*hash);
        if filling.hashes.len() < WIDTH {
            return Ok(());
        }
        let tile = index / WIDTH as u64;
        // The tile belongs to the trees that are at least so large.
        let end = (tile + 1).checked_shl(8 * (u32::from(level) + 1)).unwrap_or(u64::MAX);
        compare(&self.folder, level, tile, filling, end <= self.required, report)?;
        filling.hashes.clear();
        (filling.unknown, filling.full) = (0, tile + 1);
        Ok(())
    }

    /// Goes on with a tree of so many entries, whose hashes are not known.
    pub(super) fn resume(&mut self, size: u64) {
        for (level, filling) in (0_u8..).zip(&mut self.levels) {
            let count = tiles::shifted(size, level);
            filling.unknown = usize::try_from(count % WIDTH as u64).unwrap_or(0);
            filling.hashes = vec![[0; 32]; filling.unknown];
            filling.full = count / WIDTH as u64;
            filling.looked_at_from = filling.full;
        }
        for level in self.levels.len()..8 {
            let count = tiles::shifted(size, u8::try_from(level).unwrap_or(u8::MAX));
            if count == 0 {
                break;
            }
            let unknown = usize::try_from(count % WIDTH as u64).unwrap_or(0);
            let full = count / WIDTH as u64;
            let hashes = vec![[0; 32]; unknown];
            self.levels.push(Filling { hashes, unknown, full, looked_at_from: full });
        }
    }

    /// Looks at what files there are: each must be one of the tree's, and those that are required must be there.
    pub(super) fn finish(&mut self, report: &mut Report) -> io::Result<()> {
        self.widest = vec![0; self.levels.len()];
        let root = self.folder.join(tiles::FOLDER);
        if root.is_dir() {
            for entry in fs::read_dir(root)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                match number(&name).and_then(|level| u8::try_from(level).ok()) {
                    Some(level) if usize::from(level) < self.levels.len() => {
                        self.look_below(level, 0, &entry.path(), report)?;
                    }
                    _ => self.foreign(&entry.path(), report),
                }
            }
        }
        for (level, filling) in (0_u8..).zip(&self.levels) {
            let count = tiles::shifted(self.required, level);
            let width = usize::try_from(count % WIDTH as u64).unwrap_or(0);
            let widest = self.widest.get(usize::from(level)).copied().unwrap_or(0);
            if width > 0 && count / WIDTH as u64 == filling.full && widest < width {
                let path = tiles::partial_folder(level, filling.full).join(width.to_string());
                report.find("the tile is missing".to_owned(), Some(&path), None, None);
            }
        }
        Ok(())
    }

    /// Looks at a folder of a level's tiles whose indexes begin with these digits.
    fn look_below(&mut self, level: u8, prefix: u64, folder: &Path, report: &mut Report) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let index = |digits: &str| (digits.len() == 3).then(|| number_of_digits(digits)).flatten();
            let index = |digits: &str| index(digits).and_then(|low| prefix.checked_mul(1000)?.checked_add(low));
            let kind = entry.file_type()?;
            if let (true, Some(prefix)) = (kind.is_dir(), name.strip_prefix('x').and_then(index)) {
                self.look_below(level, prefix, &path, report)?;
            } else if let (true, Some(index)) = (kind.is_dir(), name.strip_suffix(".p").and_then(index)) {
                self.look_at_partial(level, index, &path, report)?;
            } else if let (true, Some(index)) = (kind.is_file(), index(&name)) {
                let is_one = self.levels.get(usize::from(level)).is_some_and(|filling| index < filling.full);
                if !is_one || path != self.folder.join(tiles::path(level, index)) {
                    self.foreign(&path, report);
                }
            } else {
                self.foreign(&path, report);
            }
        }
        Ok(())
    }

    fn look_at_partial(&mut self, level: u8, tile: u64, folder: &Path, report: &mut Report) -> io::Result<()> {
        let Some(filling) = self.levels.get(usize::from(level)) else { return Ok(()) };
        let full = match tile.cmp(&filling.full) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => tiles::read_hashes(&self.folder.join(tiles::path(level, tile)), WIDTH)?,
            std::cmp::Ordering::Greater => Some(Vec::new()),
        };
        let is_unfinished = full.is_none() && tile == filling.full;
        let (hashes, unknown) = match &full {
            Some(full) => (full.as_slice(), 0),
            None if is_unfinished => (filling.hashes.as_slice(), filling.unknown),
            // The full one is missing, which is told already.
            None => return Ok(()),
        };
        let mut widest = 0;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let width = path.file_name().and_then(|name| name.to_str()).and_then(number);
            let width = width.and_then(|width| usize::try_from(width).ok());
            match width.filter(|width| (1..=hashes.len().min(WIDTH - 1)).contains(width)) {
                Some(width) => {
                    let expected = hashes.get(unknown.min(width)..width).unwrap_or_default();
                    let found = tiles::read_hashes(&path, width)?.unwrap_or_default();
                    if found.len() != width || found.get(unknown.min(width)..) != Some(expected) {
                        let name = path.strip_prefix(&self.folder).unwrap_or(&path);
                        report.find("the tile is not the log's".to_owned(), Some(name), None, None);
                    }
                    widest = widest.max(width);
                }
                None => self.foreign(&path, report),
            }
        }
        if let (true, Some(slot)) = (is_unfinished, self.widest.get_mut(usize::from(level))) {
            *slot = widest;
        }
        Ok(())
    }

    fn foreign(&self, path: &Path, report: &mut Report) {
        let name = path.strip_prefix(&self.folder).unwrap_or(path);
        if name.to_string_lossy().ends_with(UNFINISHED) {
            report.remarks.push(format!("`{}` is an unfinished write", name.display()));
        } else {
            report.find("is no tile of this log".to_owned(), Some(name), None, None);
        }
    }
}

/// Holds a full tile against the tree, and names the first hash that differs.
fn compare(
    folder: &Path,
    level: u8,
    tile: u64,
    filling: &Filling,
    is_required: bool,
    report: &mut Report,
) -> io::Result<()> {
    let path = tiles::path(level, tile);
    let missing = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let found = match fs::read(folder.join(&path)) {
        Ok(bytes) => bytes,
        Err(error) if missing(&error) => {
            if is_required {
                report.find("the tile is missing".to_owned(), Some(&path), None, None);
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let (hashes, rest) = found.as_chunks::<32>();
    let unknown = filling.unknown;
    let is_same = rest.is_empty() && hashes.len() == WIDTH && hashes.get(unknown..) == filling.hashes.get(unknown..);
    if is_same {
        return Ok(());
    }
    let pairs = hashes.iter().zip(&filling.hashes).skip(unknown);
    let at = unknown + pairs.take_while(|(found, expected)| found == expected).count();
    let sequence = (level == 0).then(|| tile * WIDTH as u64 + at as u64 + 1);
    report.find("the tile is not the log's".to_owned(), Some(&path), Some(at as u64 * 32), sequence);
    Ok(())
}

/// A decimal number as the specification writes it.
fn number(text: &str) -> Option<u64> {
    number_of_digits(text).filter(|_| text == "0" || !text.starts_with('0'))
}

fn number_of_digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}
