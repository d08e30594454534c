//! What the index keeps on disk: opening it, believing it, and throwing away what is not to be believed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    mem,
    path::Path,
    sync::Arc,
};

use super::{Shared, State};
use crate::{
    domain::log_event::LogEvent,
    storage::segment_log::{
        blocks::{
            catalogue::{Block, Catalogue, CatalogueError},
            file::{self, RUN},
        },
        index::Bounded,
        scan::{Entry, checksum_at, entry_at},
    },
};

impl Shared {
    /// Opens the catalogue if it is not open, and gives blocks that could not be written another try.
    pub(super) fn mend(&self) {
        let open = self.state().catalogue.clone();
        if let Some(catalogue) = open {
            if catalogue.has_room() {
                self.state().blocks.retain(|_, block| block.checksum.is_some() || block.last.is_none());
            }
            return;
        }
        let Some(folder) = &self.folder else { return };
        if mem::take(&mut self.state().is_broken) {
            match Catalogue::make_anew(folder, self.terms.fingerprint()) {
                Ok(catalogue) => self.load(folder, catalogue, Vec::new()),
                Err(error) => self.warn(&error, "the index of the decision log cannot be made anew"),
            }
            return;
        }
        match Catalogue::open(folder, self.terms.fingerprint()) {
            Ok((catalogue, blocks)) => self.load(folder, catalogue, blocks),
            Err(error) => self.warn(&error, "the index of the decision log cannot be opened; reading it takes longer"),
        }
    }

    pub(super) fn warn(&self, error: &CatalogueError, what: &str) {
        tracing::warn!(error = error as &dyn std::error::Error, folder = ?self.folder, "{what}");
    }

    /// Takes the blocks of an earlier run that are about the segments that are there.
    fn load(&self, folder: &Path, catalogue: Catalogue, blocks: Vec<Block>) {
        let segments = self.segments.segments();
        let mut state = State::default();
        for block in blocks {
            let reached = state.blocks.last_key_value().map_or(0, |(_, last)| last.next);
            let events = (block.first >= reached).then(|| self.check(&segments, &catalogue, &block)).flatten();
            if let Some(events) = events {
                state.events.extend(events);
                state.blocks.insert(block.first, Arc::new(block));
            } else {
                state.damaged.push(Arc::new(block));
            }
        }
        remove_strays(folder, &state.blocks);
        state.catalogue = Some(Arc::new(catalogue));
        *self.state() = state;
    }

    /// The events of a block that is what was indexed.
    fn check(&self, segments: &[Bounded], catalogue: &Catalogue, block: &Block) -> Option<Vec<(u64, LogEvent)>> {
        let at = segments.partition_point(|bounded| bounded.segment.first_sequence <= block.first).checked_sub(1)?;
        let bounded = segments.get(at)?;
        if bounded.segment.number != block.segment || block.next > bounded.next {
            return None;
        }
        let segment = File::open(&bounded.segment.path).ok()?;
        let (last, checksum) = block.last?;
        if checksum_at(&segment, last).ok()? != Some(checksum) {
            return None;
        }
        let index = file::IndexFile::open(&catalogue.path(block.first), block.checksum?).ok()?;
        let event = |sequence: &u64| {
            let place = usize::try_from(sequence.checked_sub(block.first)?).ok()?;
            let offset = (*index.offsets(place / RUN).ok()?.get(place % RUN)?)?;
            match entry_at(&segment, offset, *sequence, &self.log_key).ok()??.0 {
                Entry::Event(logged) => Some((*sequence, logged.event)),
                Entry::Decision(_) => None,
            }
        };
        block.events.iter().map(event).collect()
    }

    pub(super) fn forget_damaged(&self) {
        let (catalogue, damaged) = {
            let mut state = self.state();
            // Blocks whose segment was deleted.
            let first = self.segments.first_sequence();
            let kept = state.blocks.split_off(&first);
            let gone = mem::replace(&mut state.blocks, kept);
            state.damaged.extend(gone.into_values());
            state.events = state.events.split_off(&first);
            let mut damaged = mem::take(&mut state.damaged);
            // One that was made anew already has taken the place of what was damaged.
            damaged.retain(|block| !state.blocks.contains_key(&block.first));
            (state.catalogue.clone(), damaged)
        };
        let Some(catalogue) = catalogue else { return };
        for block in damaged.iter().filter(|block| block.checksum.is_some()) {
            if let Err(error) = catalogue.forget(block) {
                self.warn(&error, "a part of the index of the decision log cannot be deleted");
                self.judge(&error);
            }
        }
    }

    /// After an error of the engine, what the database holds is not to be trusted.
    pub(super) fn judge(&self, error: &CatalogueError) {
        if matches!(error, CatalogueError::Engine(_) | CatalogueError::Panic) {
            self.state().give_up_catalogue();
        }
    }
}

/// Deletes what no block of the catalogue needs: files of blocks that were not finished.
fn remove_strays(folder: &Path, blocks: &BTreeMap<u64, Arc<Block>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let block = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let is_ours = path.extension().is_some_and(|extension| extension == "idx" || extension == "tmp");
        let is_needed = path.extension().is_some_and(|extension| extension == "idx")
            && block.is_some_and(|block: u64| blocks.contains_key(&block));
        if is_ours && !is_needed {
            // What stays is overwritten when its block is made again.
            let _gone_or_not = fs::remove_file(path);
        }
    }
}
