//! A log at one moment, cut into pieces of which each is read in its own way.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    catalogue::{Block, Catalogue},
    indexer::State,
    open::{Lost, MISSING, OpenBlock},
    positions::Positions,
    terms::Term,
};
use crate::{
    domain::log_event::LogEvent,
    storage::segment_log::{
        frame::HEADER_BYTES,
        index::{Bounded, Segment},
    },
};

/// A log at one moment.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct View {
    /// All of it, oldest first.
    pub pieces: Vec<Piece>,
    /// The events of the pieces that are indexed.
    pub events: BTreeMap<u64, LogEvent>,
    /// Where postings are; without it no index file is of use.
    pub catalogue: Option<Arc<Catalogue>>,
    /// The first sequence number that is still there; 1 of an empty log.
    pub first: u64,
    /// The one after the last.
    pub next: u64,
}

/// A run of entries of a segment.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct Piece {
    /// The segment.
    pub segment: Arc<Segment>,
    /// The sequence number of the first entry.
    pub first: u64,
    /// The one after the last.
    pub next: u64,
    /// Where the first entry starts, or something before it.
    pub offset: u64,
    /// What is known of it.
    pub known: Known,
}

/// What the index knows of a piece.
#[derive(Debug)]
pub(in crate::storage::segment_log) enum Known {
    /// Its block has a file.
    File(Arc<Block>),
    /// Its block is in memory.
    Memory(Found),
    /// Nothing is left of it.
    Lost(Arc<Block>),
    /// Nothing: it has to be scanned.
    Nothing,
}

/// What a block in memory has for a question.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct Found {
    /// The places of entries that satisfy the conditions.
    pub places: Positions,
    /// Where each entry of the block starts in the segment.
    offsets: Vec<u32>,
    base: u64,
    /// Its earliest and its latest time.
    pub times: (i64, i64),
    /// What of it is lost.
    pub lost: Vec<Lost>,
}

impl Found {
    fn of(block: &OpenBlock, conditions: &[Vec<Term>]) -> Self {
        let places = block.find(conditions);
        Self { places, offsets: block.offsets.clone(), base: block.base, times: block.times(), lost: block.lost() }
    }

    /// Where the entry at this place starts; `None` of a lost one.
    pub(in crate::storage::segment_log) fn offset(&self, place: u16) -> Option<u64> {
        let offset = self.offsets.get(usize::from(place)).filter(|offset| **offset != MISSING)?;
        Some(self.base + u64::from(*offset))
    }
}

impl View {
    /// What a state says of these segments.
    pub(super) fn of(state: &State, segments: Vec<Bounded>, conditions: &[Vec<Term>]) -> Self {
        let first = segments.first().map_or(1, |bounded| bounded.segment.first_sequence);
        let next = segments.last().map_or(first, |bounded| bounded.next);
        let mut pieces = Vec::with_capacity(state.blocks.len() + segments.len() + 2);
        for bounded in segments {
            cut(state, &bounded, conditions, &mut pieces);
        }
        Self { pieces, events: state.events.clone(), catalogue: state.catalogue.clone(), first, next }
    }
}

/// Adds the pieces of a segment.
fn cut(state: &State, Bounded { segment, next }: &Bounded, conditions: &[Vec<Term>], pieces: &mut Vec<Piece>) {
    let (mut at, mut offset) = (segment.first_sequence, HEADER_BYTES);
    let mut add = |first: u64, next: u64, offset: u64, known: Known| {
        if first < next {
            pieces.push(Piece { segment: Arc::clone(segment), first, next, offset, known });
        }
    };
    let in_memory = [state.sealing.as_deref(), state.open.as_ref()].into_iter().flatten();
    let mut in_memory: Vec<&OpenBlock> =
        in_memory.filter(|open| open.segment == segment.number && open.count() > 0).collect();
    in_memory.sort_by_key(|open| open.first);
    let mut in_memory = in_memory.into_iter().peekable();
    let mut blocks = state.blocks.range(at..at.max(*next)).map(|(_, block)| block).peekable();
    loop {
        let block_first = blocks.peek().map(|block| block.first);
        let memory_first = in_memory.peek().map(|open| open.first);
        match (block_first, memory_first) {
            (Some(first), memory) if memory.is_none_or(|memory| first <= memory) => {
                let Some(block) = blocks.next() else { break };
                if first < at || block.segment != segment.number {
                    continue;
                }
                add(at, first, offset, Known::Nothing);
                let known = match (block.checksum, block.last) {
                    (Some(_), _) if state.catalogue.is_some() => Known::File(Arc::clone(block)),
                    (None, None) => Known::Lost(Arc::clone(block)),
                    _ => Known::Nothing,
                };
                add(first, block.next, block.base, known);
                (at, offset) = (block.next, block.end);
            }
            (_, Some(first)) => {
                let Some(open) = in_memory.next() else { break };
                if first < at || open.next() > *next {
                    continue;
                }
                add(at, first, offset, Known::Nothing);
                add(first, open.next(), open.base, Known::Memory(Found::of(open, conditions)));
                (at, offset) = (open.next(), open.end);
            }
            (_, None) => break,
        }
    }
    add(at, *next, offset, Known::Nothing);
}
