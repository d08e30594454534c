//! The tree that a log's newest checkpoint was made of, from the tiles alone. A start holds what the segments say against
//! it, and goes on with it where they have lost something: an entry that cannot be read keeps its place and its hash.

use std::{path::Path, slice};

use super::{checkpoint_files::CheckpointFiles, tiles::Tiles};
use crate::domain::{checkpoint::Checkpoint, merkle::Frontier};

/// The newest checkpoint in the folder of a log, by the key that the folder names last; `None` when there is no good one.
pub(super) fn newest_checkpoint(folder: &Path) -> Option<Checkpoint> {
    let files = CheckpointFiles::of(folder);
    let (keys, note) = (files.keys().ok()?, files.last_note().ok()??);
    Checkpoint::open(&note, slice::from_ref(keys.last()?)).ok()
}

/// The tree of that checkpoint; `None` when there is none, or tiles of it are missing or are not those that it was made of.
pub(super) fn signed_tree(folder: &Path) -> Option<Frontier> {
    let Checkpoint { size, root, .. } = newest_checkpoint(folder)?;
    let tree = Tiles::of(folder).edge(size).ok()??.frontier()?;
    (tree.root() == root).then_some(tree)
}
