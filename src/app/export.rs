//! Exports: all decisions of a question in the order of the log, and what vouches for them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    app::{
        App,
        decisions::{DecisionQuery, PAGE_SIZE_MAX},
        error::{Error, Kind},
        ports::RecordPage,
        readers::Place,
    },
    domain::{
        checkpoint::SignedCheckpoint,
        decision_record::LoggedDecision,
        log_event::{EventKind, LoggedEvent},
        merkle::proof::InclusionProof,
        record_filter::{Order, PageRequest},
    },
};

/// Of which decisions an export has proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proofs {
    /// Of the first and the last one.
    OfEnds,
    /// Of each.
    OfEach,
}

/// An export under way: what was kept when it began, page by page.
#[derive(Debug)]
pub struct Export {
    app: Arc<App>,
    realm: Arc<str>,
    query: DecisionQuery,
    proofs: Proofs,
    /// The tree that the export is proved by.
    tree: Arc<SignedCheckpoint>,
    first: u64,
    last: u64,
    /// Everything up to here was looked at; `None` at the end.
    after: Option<u64>,
    found: Found,
    /// A place among those who read for long.
    _place: Place,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    count: u64,
    incomplete: bool,
    events: Vec<LoggedEvent>,
    seen: HashSet<Vec<u8>>,
    first: Option<u64>,
    last: Option<u64>,
}

/// A page of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPart {
    /// The decisions, oldest first.
    pub decisions: Vec<LoggedDecision>,
    /// The proof of each, where proofs of each were asked for.
    pub proofs: Vec<InclusionProof>,
    /// What happened to the log in between, each event once in an export.
    pub events: Vec<LoggedEvent>,
    /// Entries that were looked at, or could be skipped.
    pub done: u64,
    /// Entries in all.
    pub total: u64,
}

/// What an export held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The first sequence number that was looked at; 0 when the log was empty.
    pub first_sequence: u64,
    /// The last one.
    pub last_sequence: u64,
    /// How many decisions there were.
    pub count: u64,
    /// Every decision of the range is there and could be read.
    pub is_complete: bool,
    /// All events of the range, oldest first.
    pub events: Vec<LoggedEvent>,
    /// The signed checkpoint of the tree that holds them.
    pub checkpoint: Arc<str>,
    /// The proofs of the first and the last decision, of one alone where they are the same.
    pub proofs: Vec<InclusionProof>,
}

impl App {
    /// Begins an export of all that is kept of a question now.
    ///
    /// # Errors
    /// An unknown realm, a wrong question, a log that cannot be read; too many other exports.
    pub async fn export_decisions(
        self: &Arc<Self>,
        realm: &str,
        query: DecisionQuery,
        proofs: Proofs,
    ) -> Result<Export, Error> {
        let state = Arc::clone(self.realm(realm)?);
        let place = state.readers.export()?;
        // Before the range is looked at, so that the tree holds all of it.
        let tree = state.log.checkpoint().await?;
        let first = state.log.status().first_sequence;
        let export = Export {
            app: Arc::clone(self),
            realm: realm.into(),
            query,
            proofs,
            first,
            last: tree.checkpoint.size,
            tree,
            after: Some(0),
            found: Found::default(),
            _place: place,
        };
        // A wrong question is told before the first page.
        self.query_decisions(realm, export.query.clone(), Export::page(0, 1)).await?;
        Ok(export)
    }
}

impl Export {
    fn page(after: u64, size: usize) -> PageRequest {
        PageRequest { order: Order::OldestFirst, size, after: Some(after) }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// A log that cannot be read: then the export has no end.
    pub async fn next(&mut self) -> Result<Option<ExportPart>, Error> {
        let Some(after) = self.after.filter(|after| *after < self.last) else { return Ok(None) };
        let page = self.app.query_decisions(&self.realm, self.query.clone(), Self::page(after, PAGE_SIZE_MAX)).await?;
        let RecordPage { mut decisions, next_after, is_complete, events } = page;
        decisions.retain(|found| found.sequence <= self.last);
        self.after = next_after;
        let events = self.found.take(&decisions, events, is_complete, self.last);
        let total = (self.last + 1).saturating_sub(self.first.max(1));
        let done = next_after.map_or(total, |after| (after + 1).saturating_sub(self.first.max(1)).min(total));
        let proofs = match self.proofs {
            Proofs::OfEnds => Vec::new(),
            Proofs::OfEach => self.prove(decisions.iter().map(|found| found.sequence)).await?,
        };
        Ok(Some(ExportPart { decisions, proofs, events, done, total }))
    }

    /// Proves entries by the export's own checkpoint.
    async fn prove(&self, sequences: impl Iterator<Item = u64>) -> Result<Vec<InclusionProof>, Error> {
        let log = &self.app.realm(&self.realm)?.log;
        let mut proofs = Vec::new();
        for sequence in sequences {
            let proof = log.prove_inclusion(sequence, self.tree.checkpoint.size).await?;
            let missing = || {
                let message = format!("entry {sequence} cannot be proved by the checkpoint of this export");
                Error::new(Kind::Internal, "PROOF_MISSING", message)
            };
            proofs.push(proof.ok_or_else(missing)?);
        }
        Ok(proofs)
    }

    /// What the export held.
    ///
    /// # Errors
    /// A log that cannot prove what it gave.
    pub async fn finish(self) -> Result<Exported, Error> {
        let ends: BTreeSet<u64> = self.found.first.into_iter().chain(self.found.last).collect();
        let proofs = self.prove(ends.into_iter()).await?;
        let Found { count, incomplete, mut events, seen: _, first: _, last: _ } = self.found;
        events.sort_by_key(|event| (event.event.time_us, event.sequence));
        Ok(Exported {
            first_sequence: self.first,
            last_sequence: self.last,
            count,
            is_complete: !incomplete,
            events,
            checkpoint: Arc::clone(&self.tree.note),
            proofs,
        })
    }
}

impl Found {
    /// Notes a page, and gives the events that no earlier page had.
    fn take(
        &mut self,
        decisions: &[LoggedDecision],
        events: Vec<LoggedEvent>,
        is_complete: bool,
        last: u64,
    ) -> Vec<LoggedEvent> {
        self.count += decisions.len() as u64;
        self.incomplete |= !is_complete;
        self.first = self.first.or(decisions.first().map(|found| found.sequence));
        self.last = decisions.last().map(|found| found.sequence).or(self.last);
        let is_of_now = |event: &LoggedEvent| {
            // A gap is told late, and damage has no place.
            event.sequence <= last || matches!(event.event.kind, EventKind::Gap(_) | EventKind::Damage { .. })
        };
        let mut new: Vec<LoggedEvent> = events.into_iter().filter(is_of_now).collect();
        new.retain(|event| {
            let mut name = event.sequence.to_be_bytes().to_vec();
            if event.sequence == 0 {
                name.extend(event.event.encode());
            }
            self.seen.insert(name)
        });
        self.events.extend(new.iter().cloned());
        new
    }
}
