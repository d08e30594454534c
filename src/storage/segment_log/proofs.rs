//! What a log shows of its tree to who asks: checkpoints, proofs, stored bytes.

use std::{io, sync::Arc};

use tokio::sync::watch;

use super::{SegmentLog, Signing, checkpoints::Checkpoints, entries, tiles::Tiles};
use crate::{
    app::ports::{DecisionLog as _, LogError},
    domain::{checkpoint::SignedCheckpoint, log_event::EventKind, signed_note::VerifierKey},
    storage::checkpoint_key::CheckpointKey,
};

impl SegmentLog {
    /// Makes checkpoints from now on, also of what is kept already.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the configured origin is not the one that the log began with. A key that is missing
    /// or cannot sign stops no decision and is no error here: the status says so.
    pub fn sign(&self, signing: Signing) -> Result<(), LogError> {
        let unavailable = |reason| LogError::Unavailable(format!("folder `{}`: {reason}", self.folder.display()));
        self.shared.appended.listen(&self.folder, signing).map_err(unavailable)
    }

    /// Has checkpoints signed with another key from now on: keeps an event that says so, then a checkpoint by both keys.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; trying again with the same key finishes it.
    pub async fn rotate_key(&self, key: CheckpointKey) -> Result<(), LogError> {
        let checkpoints = self.signed()?;
        if checkpoints.keys().first() == Some(key.verifier()) {
            return Ok(());
        }
        let sequence = self.note(EventKind::KeyChange { verifier_key: key.verifier().to_string().into() }).await?;
        checkpoints.rotate(key, sequence).await.map_err(LogError::Unavailable)
    }

    /// The number of the last entry whose tiles are on disk, those of `sequence` if possible: retention may delete
    /// entries up to there, and their proofs stay. 0 when no checkpoints are made. Blocks.
    pub fn tiles_durable_up_to(&self, sequence: u64) -> u64 {
        self.shared.appended.checkpoints().map_or(0, |checkpoints| checkpoints.tiles_durable_up_to(sequence))
    }

    /// The keys that verify this log's checkpoints, newest first.
    pub(super) fn known_keys(&self) -> Vec<VerifierKey> {
        self.shared.appended.checkpoints().map(|checkpoints| checkpoints.keys()).unwrap_or_default()
    }

    pub(super) async fn new_checkpoint(&self) -> Result<Arc<SignedCheckpoint>, LogError> {
        self.signed()?.now().await.map_err(|fault| LogError::Unavailable(format!("no checkpoint: {fault}")))
    }

    pub(super) fn all_checkpoints(&self) -> watch::Receiver<Option<Arc<SignedCheckpoint>>> {
        let none = || watch::Sender::new(None).subscribe();
        self.shared.appended.checkpoints().map_or_else(none, |checkpoints| checkpoints.subscribe())
    }

    /// Makes a proof on a thread that may block.
    pub(super) async fn prove<T: Send + 'static>(
        &self,
        prove: impl FnOnce(&Checkpoints, &Tiles) -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<Option<T>, LogError> {
        let (checkpoints, tiles) = (self.signed()?, Tiles::of(&self.folder));
        let proving = tokio::task::spawn_blocking(move || prove(&checkpoints, &tiles));
        let proved = proving.await.map_err(|error| LogError::Unreadable(error.to_string()))?;
        proved.map_err(|error| LogError::Unreadable(error.to_string()))
    }

    pub(super) async fn stored_entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        let folder = self.folder.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = None;
            entries::read(&folder, sequence..=sequence, |_, bytes| {
                found = Some(bytes.to_vec());
                Ok(())
            })?;
            Ok(found)
        });
        let read: io::Result<_> = reading.await.map_err(|error| LogError::Unreadable(error.to_string()))?;
        read.map_err(|error| LogError::Unreadable(error.to_string()))
    }

    fn signed(&self) -> Result<Arc<Checkpoints>, LogError> {
        let none = || LogError::Unavailable("it makes no checkpoints".to_owned());
        self.shared.appended.checkpoints().map(Arc::clone).ok_or_else(none)
    }
}
