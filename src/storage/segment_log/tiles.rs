//! The hashes of a log's tree as files (C2SP tlog-tiles, <https://c2sp.org/tlog-tiles>, height 8): what proofs are made of,
//! also of entries that retention has deleted.
//!
//! `tile/<level>/<index>` holds 256 hashes of the tree's level `8 * level`. What is not full yet is a partial tile,
//! `<index>.p/<width>`; it is written with each checkpoint. Files appear whole, by renaming. All of them follow from the
//! segments, as long as those are there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::domain::merkle::{Frontier, Hash, node_hash, proof};

/// How many hashes a full tile holds.
pub(super) const WIDTH: usize = 256;
/// How many levels of the tree a tile spans.
const HEIGHT: u8 = 8;
/// The folder of all tiles, in the log's folder.
pub(super) const FOLDER: &str = "tile";
/// What a file's name ends with while it is written.
pub(super) const UNFINISHED: &str = ".tmp";

/// The path of a full tile in the log's folder.
pub(super) fn path(level: u8, index: u64) -> PathBuf {
    let mut path = Path::new(FOLDER).join(level.to_string());
    let digits = format!("{index:03}");
    let digits = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
    let groups = digits.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let last = digits.len() / 3 - 1;
    for (at, group) in groups.enumerate() {
        path.push(if at < last { format!("x{group}") } else { group });
    }
    path
}

/// The folder of a tile's partial versions.
pub(super) fn partial_folder(level: u8, index: u64) -> PathBuf {
    let mut path = path(level, index).into_os_string();
    path.push(".p");
    path.into()
}

/// The right edge of a tree, as far as its tiles are not full: all that is needed to append, and to make the tree's
/// root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    size: u64,
    /// The hashes of each level's last tile, fewer than 256.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// How many entries the tree has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry by its leaf hash. `full` is called with each tile that is full with it: level, index, hashes.
    ///
    /// # Errors
    /// What `full` fails with; then the edge is of no use any more.
    pub(super) fn append<E>(
        &mut self,
        leaf: Hash,
        mut full: impl FnMut(u8, u64, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut hash, mut level, mut count) = (leaf, 0_u8, self.size);
        loop {
            if usize::from(level) == self.levels.len() {
                self.levels.push(Vec::with_capacity(WIDTH));
            }
            let Some(tile) = self.levels.get_mut(usize::from(level)) else { break };
            tile.push(hash);
            if tile.len() < WIDTH {
                break;
            }
            full(level, count >> HEIGHT, tile)?;
            hash = top_of(tile);
            tile.clear();
            (level, count) = (level.saturating_add(1), count >> HEIGHT);
        }
        self.size = self.size.saturating_add(1);
        Ok(())
    }

    /// The tree itself; `None` when hashes of it are missing.
    pub(super) fn frontier(&self) -> Option<Frontier> {
        let mut hashes = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = tile.as_slice();
            while let Some(bits) = rest.len().checked_ilog2() {
                let (subtree, behind) = rest.split_at_checked(1 << bits)?;
                hashes.push(top_of(subtree));
                rest = behind;
            }
        }
        Frontier::from_hashes(self.size, hashes)
    }

    /// The tiles that are not full: level, index, hashes; empty ones are left out.
    pub(super) fn partial(&self) -> impl Iterator<Item = (u8, u64, &[Hash])> {
        (0_u8..)
            .zip(&self.levels)
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(|(level, hashes)| (level, self.index(level), hashes.as_slice()))
    }

    /// The index of a level's tile that is not full.
    fn index(&self, level: u8) -> u64 {
        shifted(self.size, level) >> HEIGHT
    }

    /// The hashes of a tile, if it is one of the edge's.
    fn hashes(&self, level: u8, index: u64) -> Option<&[Hash]> {
        (index == self.index(level)).then(|| self.levels.get(usize::from(level)).map_or(&[][..], Vec::as_slice))
    }
}

/// How many hashes the tile level has for so many entries.
pub(super) fn shifted(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0)
}

/// The hash of the perfect subtree over these hashes, of which there are a power of two.
pub(super) fn top_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => [0; 32],
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&top_of(left), &top_of(right))
        }
    }
}

/// The tiles of a log's folder.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    folder: PathBuf,
}

impl Tiles {
    /// The tiles of the log in this folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes a full tile.
    pub(super) fn write(&self, level: u8, index: u64, hashes: &[Hash]) -> io::Result<()> {
        write_whole(&self.folder.join(path(level, index)), &hashes.concat())
    }

    /// Writes the partial tiles of an edge, and removes those that they take the place of.
    pub(super) fn write_partial(&self, edge: &Edge) -> io::Result<()> {
        for (level, index, hashes) in edge.partial() {
            let folder = self.folder.join(partial_folder(level, index));
            write_whole(&folder.join(hashes.len().to_string()), &hashes.concat())?;
            for width in 1..hashes.len() {
                remove(&folder.join(width.to_string()))?;
            }
        }
        Ok(())
    }

    /// Removes the partial versions of a tile that is full now.
    pub(super) fn remove_partial(&self, level: u8, index: u64) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(partial_folder(level, index))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The first `width` hashes of a tile, from the full one or the smallest partial one that has so many; `None` when
    /// there is none, or one of another length than it should have.
    pub(super) fn read(&self, level: u8, index: u64, width: usize) -> io::Result<Option<Vec<Hash>>> {
        if let Some(hashes) = read_hashes(&self.folder.join(path(level, index)), WIDTH)? {
            return Ok(Some(hashes.into_iter().take(width).collect()));
        }
        let folder = self.folder.join(partial_folder(level, index));
        for more in width..WIDTH {
            if let Some(hashes) = read_hashes(&folder.join(more.to_string()), more)? {
                return Ok(Some(hashes.into_iter().take(width).collect()));
            }
        }
        Ok(None)
    }

    /// A full tile is there, of the right length.
    pub(super) fn has(&self, level: u8, index: u64) -> bool {
        let length = fs::metadata(self.folder.join(path(level, index))).map(|metadata| metadata.len());
        length.is_ok_and(|length| length == (WIDTH * 32) as u64)
    }

    /// The edge of the tree of so many entries; `None` when a tile of it is missing.
    pub(super) fn edge(&self, size: u64) -> io::Result<Option<Edge>> {
        let mut edge = Edge { size, levels: Vec::new() };
        for level in 0..HEIGHT {
            let count = shifted(size, level);
            if count == 0 {
                break;
            }
            let width = usize::try_from(count % WIDTH as u64).unwrap_or(0);
            let hashes = if width == 0 { Some(Vec::new()) } else { self.read(level, count >> HEIGHT, width)? };
            let Some(mut hashes) = hashes else { return Ok(None) };
            hashes.reserve(WIDTH - hashes.len());
            edge.levels.push(hashes);
        }
        Ok(Some(edge))
    }

    /// The hash of the perfect subtree at a level of the tree (0 for leaves) and an index in it, as proofs need it.
    ///
    /// # Errors
    /// A tile that is missing or cannot be read.
    pub(super) fn node(&self, edge: &Edge, level: u8, index: u64) -> io::Result<Hash> {
        let (tile_level, inner) = (level / HEIGHT, level % HEIGHT);
        let first = index << inner;
        let (tile, at) = (first >> HEIGHT, usize::try_from(first % WIDTH as u64).unwrap_or(0));
        let width = 1_usize << inner;
        let missing = || {
            let path = path(tile_level, tile).display().to_string();
            io::Error::new(io::ErrorKind::NotFound, format!("`{path}` is missing"))
        };
        let read;
        let hashes = if let Some(hashes) = edge.hashes(tile_level, tile) {
            hashes
        } else {
            read = self.read(tile_level, tile, at + width)?.ok_or_else(missing)?;
            &read
        };
        hashes.get(at..at + width).map(top_of).ok_or_else(missing)
    }

    /// The root of the tree of the edge.
    pub(super) fn root(&self, edge: &Edge) -> io::Result<Hash> {
        proof::root(edge.size, |level, index| self.node(edge, level, index))
    }
}

/// The hashes of a file; `None` when it is not there or has not so many.
pub(super) fn read_hashes(path: &Path, count: usize) -> io::Result<Option<Vec<Hash>>> {
    match fs::read(path) {
        Ok(bytes) => {
            let (hashes, rest) = bytes.as_chunks::<32>();
            Ok((hashes.len() == count && rest.is_empty()).then(|| hashes.to_vec()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file so that it appears whole under its name; makes the folders above it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    match fs::write(&unfinished, bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&unfinished, bytes)?;
        }
        written => written?,
    }
    fs::rename(&unfinished, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::domain::merkle::leaf_hash;

    fn leaf(number: u64) -> Hash {
        leaf_hash(&number.to_le_bytes())
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        for (level, index, expected) in [
            (0, 0, "tile/0/000"),
            (0, 999, "tile/0/999"),
            (3, 1000, "tile/3/x001/000"),
            (0, 1_234_067, "tile/0/x001/x234/067"),
            (1, 67_000, "tile/1/x067/000"),
        ] {
            assert_eq!(path(level, index), Path::new(expected));
            assert_eq!(partial_folder(level, index), Path::new(&format!("{expected}.p")));
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_that_the_specification_says() {
        let (mut edge, mut full) = (Edge::default(), [0; 4]);
        for number in 0..70_000 {
            let counted: Result<(), Infallible> = edge.append(leaf(number), |level, index, hashes| {
                assert_eq!((index, hashes.len()), (full[usize::from(level)], WIDTH));
                full[usize::from(level)] += 1;
                Ok(())
            });
            counted.unwrap();
        }
        assert_eq!(full, [273, 1, 0, 0]);
        let partial: Vec<_> = edge.partial().map(|(level, index, hashes)| (level, index, hashes.len())).collect();
        assert_eq!(partial, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
    }

    #[test]
    fn roots_and_proofs_from_tiles_are_those_of_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = Tiles::of(folder.path());
        let (mut edge, mut frontier) = (Edge::default(), Frontier::new());
        for number in 0..1500_u64 {
            edge.append(leaf(number), |level, index, hashes| tiles.write(level, index, hashes)).unwrap();
            frontier.append(leaf(number));
            if number % 97 != 0 && number != 1499 {
                continue;
            }
            tiles.write_partial(&edge).unwrap();
            let root = frontier.root();
            assert_eq!(tiles.root(&edge).unwrap(), root);
            assert_eq!(edge.frontier().as_ref(), Some(&frontier));
            let size = frontier.size();
            assert_eq!(tiles.edge(size).unwrap().as_ref(), Some(&edge));
            for index in [0, number / 2, number] {
                let path = proof::inclusion(index, size, |level, index| tiles.node(&edge, level, index)).unwrap();
                assert!(proof::verifies_inclusion(&leaf(index), index, size, &path.unwrap(), &root), "{index} {size}");
            }
        }
    }

    #[test]
    fn an_older_edge_is_read_from_fuller_tiles_and_a_missing_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = Tiles::of(folder.path());
        let (mut edge, mut edges) = (Edge::default(), vec![Edge::default()]);
        for number in 0..600 {
            edge.append(leaf(number), |level, index, hashes| tiles.write(level, index, hashes)).unwrap();
            edges.push(edge.clone());
        }
        tiles.write_partial(&edge).unwrap();
        for (size, expected) in (0_u64..).zip(&edges) {
            let found = tiles.edge(size).unwrap().unwrap();
            assert_eq!(tiles.root(&found).unwrap(), tiles.root(expected).unwrap(), "{size}");
        }
        assert_eq!(tiles.edge(601).unwrap(), None, "beyond the tree");
        fs::write(folder.path().join(path(0, 1)), [0; 31]).unwrap();
        assert_eq!(tiles.edge(300).unwrap(), None);
        assert!(!tiles.has(0, 1) && tiles.has(0, 0));
        assert!(tiles.node(&edge, 0, 300).is_err());
    }

    #[test]
    fn only_the_newest_partial_tile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = Tiles::of(folder.path());
        let mut edge = Edge::default();
        for number in 0..5 {
            edge.append(leaf(number), |level, index, hashes| tiles.write(level, index, hashes)).unwrap();
            tiles.write_partial(&edge).unwrap();
        }
        let partial = folder.path().join(partial_folder(0, 0));
        let names: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["5"]);
        tiles.remove_partial(0, 0).unwrap();
        tiles.remove_partial(0, 0).unwrap();
        assert!(!partial.exists());
    }
}
