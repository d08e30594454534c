//! What an earlier run left, or an attempt that failed: where the newest checkpoint and the tiles stand, and whether the log
//! is still the one that was signed.

use std::{
    io,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{Keeper, UNSYNCED_TILES_MAX, lock};
use crate::{
    domain::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        merkle::{
            Hash,
            proof::{self, ConsistencyProof},
        },
        signed_note::VerifierKey,
    },
    storage::{
        checkpoint_key::CheckpointKey,
        segment_log::{
            entries,
            tiles::{self, Edge, WIDTH},
        },
    },
};

impl Keeper {
    /// Finds out where the newest checkpoint and the tiles stand, and builds the tiles again that are missing.
    pub(super) fn take_up(&mut self, durable: u64) -> io::Result<Edge> {
        let newest = self.newest_stored()?;
        let size = newest.as_ref().map_or(0, |newest| newest.checkpoint.size);
        if size > durable {
            return Err(
                self.contradiction("the log ends before its newest checkpoint: entries were lost or taken away")
            );
        }
        let is_root = |root: Hash| newest.as_ref().is_none_or(|newest| newest.checkpoint.root == root);
        let kept = self.tiles.edge(size)?.filter(|edge| self.tiles.root(edge).is_ok_and(is_root));
        let kept = kept.map(|edge| io::Result::Ok(self.has_recent_tiles(&edge)?.then_some(edge)));
        let edge = match kept.transpose().map(Option::flatten)? {
            Some(edge) => edge,
            None => self.rebuild(size)?,
        };
        if !is_root(self.tiles.root(&edge)?) {
            return Err(self.contradiction("the log is not the one that its newest checkpoint was made of"));
        }
        if !self.continues_kept(&edge, durable)? {
            let kept = self.kept.name();
            return Err(self.contradiction(&format!(
                "entries that were signed are gone or changed: the log is not the one that the checkpoint in keys/{kept} \
                 was made of; restore it, or say with `hallpass decisions keys rotate --restored` that an older state was \
                 put back on purpose"
            )));
        }
        self.inner.is_contradicted.store(false, SeqCst);
        self.is_unsure = false;
        self.newest = newest.as_ref().map(|newest| newest.checkpoint.clone());
        if let Some(newest) = newest {
            *lock(&self.inner.edge) = Arc::new(edge.clone());
            self.inner.newest.send_replace(Some(Arc::new(newest)));
        }
        Ok(edge)
    }

    /// The newest checkpoint in the log's folder.
    fn newest_stored(&self) -> io::Result<Option<SignedCheckpoint>> {
        let Some(note) = self.files.newest()? else { return Ok(None) };
        // The key that signs now signed it too, whatever else the folder calls a key.
        let keys: Vec<VerifierKey> = self.key.iter().map(|key| key.verifier().clone()).collect();
        let damaged = |error| io::Error::other(format!("the newest stored checkpoint {error}"));
        let checkpoint = Checkpoint::open(&note, &keys).map_err(damaged)?;
        // A rename that did not reach the disk.
        self.files.set_newest(&note)?;
        Ok(Some(SignedCheckpoint { checkpoint, note: note.into() }))
    }

    /// The log, whose tree up to its newest checkpoint this is, goes on from what the checkpoint beside the key was made of.
    fn continues_kept(&mut self, edge: &Edge, durable: u64) -> io::Result<bool> {
        let (Some(note), Some(key)) = (self.kept.read()?, &self.key) else { return Ok(true) };
        let keys = self.signing.seeds.iter().filter_map(|seed| CheckpointKey::new(seed, key.verifier().name()));
        let keys: Vec<VerifierKey> = keys.map(|key| key.verifier().clone()).collect();
        let Ok(Checkpoint { origin, size, root }) = Checkpoint::open(&note, &keys) else { return Ok(false) };
        if origin != *key.verifier().name() || size > durable {
            return Ok(false);
        }
        if size < edge.size() {
            let path = proof::consistency(size, edge.size(), |level, index| self.tiles.node(edge, level, index))?;
            let proof = path.map(|path| ConsistencyProof { first_size: size, second_size: edge.size(), path });
            let newest = self.tiles.root(edge)?;
            return Ok(proof.is_some_and(|proof| proof.verifies(&root, &newest)));
        }
        let mut edge = edge.clone();
        self.catch_up(&mut edge, size)?;
        Ok(self.tiles.root(&edge)? == root)
    }

    /// The log is another one than what was signed.
    fn contradiction(&self, reason: &str) -> io::Error {
        self.inner.is_contradicted.store(true, SeqCst);
        self.unlike(reason)
    }

    /// The tiles that a loss of power may have taken are all there. After a run that did not stop in order each is hashed
    /// into the one above it: it may have its length and not its bytes.
    fn has_recent_tiles(&self, edge: &Edge) -> io::Result<bool> {
        for level in 0_u8..8 {
            let full = tiles::shifted(edge.size(), level) / WIDTH as u64;
            for index in full.saturating_sub(2 * UNSYNCED_TILES_MAX)..full {
                let is_there = if self.is_unsure {
                    let hashes = self.tiles.read(level, index, WIDTH)?;
                    let above = self.tiles.node(edge, 8 * (level + 1), index);
                    hashes.is_some_and(|hashes| above.is_ok_and(|above| above == tiles::top_of(&hashes)))
                } else {
                    self.tiles.has(level, index)
                };
                if !is_there {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Builds the tiles of so many entries from the segments; of what retention deleted, from the lowest tiles.
    fn rebuild(&mut self, size: u64) -> io::Result<Edge> {
        let mut edge = Edge::default();
        let kept = entries::first_sequence(&self.folder)?.unwrap_or(1).saturating_sub(1).min(size);
        tracing::info!(folder = %self.folder.display(), entries = size, "making the decision log's tiles again");
        while edge.size() < kept {
            let index = edge.size() / WIDTH as u64;
            let width = usize::try_from((kept - edge.size()).min(WIDTH as u64)).unwrap_or(WIDTH);
            let missing = || io::Error::other("tiles of deleted entries are missing; restore them from a backup");
            for leaf in self.tiles.read(0, index, width)?.ok_or_else(missing)? {
                self.append(&mut edge, leaf)?;
            }
        }
        self.catch_up(&mut edge, size)?;
        self.tiles.write_partial(&edge)?;
        Ok(edge)
    }
}
