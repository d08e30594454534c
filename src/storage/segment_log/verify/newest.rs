//! A quick look at a log that may be written meanwhile: its newest checkpoint, held against its keys and its tiles.

use std::{io, path::Path};

use crate::{
    domain::{checkpoint::Checkpoint, signed_note::SignedNote},
    storage::segment_log::{checkpoint_files::CheckpointFiles, tiles::Tiles},
};

/// What a log's newest checkpoint is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// There is none yet.
    Missing,
    /// It is signed by a key that the log's folder names, and the tree of its tiles is the one that it says.
    Good(Checkpoint),
    /// It is not; why, in a sentence.
    Bad(String),
}

/// Looks at the newest checkpoint of the log in this folder. Takes no lock, changes nothing, and reads one tile a level: a
/// service may be writing. Whether the folder's own keys can be trusted, and whether the entries are whole, is for
/// [`super::verify`].
///
/// # Errors
/// A file that cannot be read.
pub fn newest(folder: &Path) -> io::Result<Newest> {
    let files = CheckpointFiles::of(folder);
    let keys = match files.keys() {
        Ok(keys) => keys,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Newest::Bad(error.to_string())),
        Err(error) => return Err(error),
    };
    let Some(text) = files.last_note()? else { return Ok(Newest::Missing) };
    let note = match SignedNote::parse(&text) {
        Ok(note) => note,
        Err(error) => return Ok(Newest::Bad(error.to_string())),
    };
    if let Err(error) = note.verified_by(&keys) {
        return Ok(Newest::Bad(format!("is signed by none of the log's keys: {error}")));
    }
    let checkpoint = match Checkpoint::parse(note.text()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Ok(Newest::Bad(error.to_string())),
    };
    let tiles = Tiles::of(folder);
    let Some(edge) = tiles.edge(checkpoint.size)? else {
        return Ok(Newest::Bad(format!("is over {} entries, and tiles of them are missing", checkpoint.size)));
    };
    match tiles.root(&edge) {
        Ok(root) if root == checkpoint.root => Ok(Newest::Good(checkpoint)),
        Ok(_) => Ok(Newest::Bad(format!("is over {} entries, and the log's tree is another one", checkpoint.size))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Newest::Bad(error.to_string())),
        Err(error) => Err(error),
    }
}
