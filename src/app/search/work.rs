//! A search at work, piece by piece, so that others find a processor in between.

use std::sync::Arc;

use super::{Cursor, Found, footing::Footing};
use crate::{
    app::{
        App,
        authorize::{Remarks, Snapshot, Verified},
        counted::Unkept,
        error::Error,
        recent::ItemsKey,
    },
    domain::{
        access_request::{AccessRequest, Question},
        decide::decide,
        decision::{Effect, Outcome},
        decision_record::DecisionRecord,
        row_filter::Filter,
        search::{Known, Scope, is_within, known_items, question_about},
    },
};

/// The most resources that one piece finds: as many as one message holds.
pub const FOUND_MAX: usize = 500;
/// The most resources that one piece goes through.
const JUDGED_MAX: usize = 1_000;

/// A search at work. What it sees doesn't change; whether it may go on is looked at before each piece.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) app: Arc<App>,
    pub(super) snapshot: Snapshot,
    pub(super) caller: Verified,
    pub(super) footing: Footing,
    /// What the question about each resource is made from.
    pub(super) question: Question,
    pub(super) remarks: Remarks,
    pub(super) key: ItemsKey,
    pub(super) source: Source,
    /// The obligations that the answer names.
    pub(super) announced: Vec<Arc<str>>,
    pub(super) is_first_page: bool,
    /// How many resources were gone through, on all pages.
    pub(super) place: usize,
    /// A known item was left out, because it could not be asked about.
    pub(super) has_gap: bool,
    /// How many more resources the page may hold; `None` for all.
    pub(super) left: Option<usize>,
    /// How many more resources the page may go through.
    pub(super) judged_left: Option<usize>,
}

/// The resources that come into question.
#[derive(Debug)]
pub(super) enum Source {
    /// These.
    Candidates(Vec<AccessRequest>),
    /// Known items, not yet looked for, and what passes among them where that can be said.
    Unsought(Option<Filter>),
    /// These known items.
    Known(Arc<Known>),
}

/// What a piece of work brought.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) work: Box<Work>,
    pub(super) found: Vec<Found>,
    /// To be kept before anything is shown.
    pub(super) records: Unkept,
    /// The page ends here.
    pub(super) is_last: bool,
}

impl Work {
    /// Does the next piece.
    ///
    /// # Errors
    /// A decision that cannot be recorded: nothing of the piece is shown.
    pub(super) fn piece(mut work: Box<Self>) -> Result<Piece, Error> {
        if work.seek() {
            // That may have taken long.
            let records = work.unkept(Vec::new());
            return Ok(Piece { work, found: Vec::new(), records, is_last: false });
        }
        let (mut found, mut records) = (Vec::new(), Vec::new());
        let mut judged = 0;
        while !work.is_page_over() && found.len() < FOUND_MAX && judged < JUDGED_MAX {
            work.judge_next(&mut found, &mut records)?;
            judged += 1;
        }
        let (is_last, records) = (work.is_page_over(), work.unkept(records));
        Ok(Piece { work, found, records, is_last })
    }

    fn unkept(&self, records: Vec<DecisionRecord>) -> Unkept {
        self.app.unkept(&self.snapshot.state, records)
    }

    /// Where the next page starts, and whether nothing was left out so far. Keeps what the next page needs.
    pub(super) fn end(&self) -> (Option<Cursor>, bool) {
        let is_complete = match &self.source {
            Source::Candidates(_) => true,
            Source::Known(known) => known.is_complete && !self.has_gap,
            Source::Unsought(_) => false,
        };
        if self.place >= self.len() {
            return (None, is_complete);
        }
        let now_us = self.app.clock.now_us();
        let recent = &self.snapshot.state.recent;
        // Later pages don't make it last longer: what was taken away meanwhile must go out of sight some time.
        if self.is_first_page {
            recent.keep(Arc::clone(&self.snapshot.graph), self.footing.started_us, now_us);
        }
        if let Source::Known(known) = &self.source {
            recent.keep_items(self.key.clone(), Arc::clone(known), now_us);
        }
        let cursor = Cursor {
            revision: self.snapshot.graph.revision(),
            version: self.snapshot.loaded.realm.version.clone(),
            holder: Arc::clone(&self.key.holder),
            place: self.place,
            has_gap: self.has_gap,
        };
        (Some(cursor), is_complete)
    }

    /// Looks for known items, once; `false` when there is nothing to look for.
    fn seek(&mut self) -> bool {
        let Source::Unsought(filter) = &self.source else { return false };
        let earlier = self.snapshot.state.recent.items(&self.key, self.app.clock.now_us());
        self.source = Source::Known(earlier.unwrap_or_else(|| Arc::new(self.known(filter.as_ref()))));
        true
    }

    fn known(&self, filter: Option<&Filter>) -> Known {
        let realm = &self.snapshot.loaded.realm;
        let name = &self.key.resource_type;
        let about = realm.resource_types.get(name).zip(realm.relations.item(name));
        let (Some((resource_type, item)), Ok(caller)) = (about, &self.caller) else { return Known::default() };
        let scope = Scope { item, resource_type, filter, within: self.key.within.as_ref() };
        known_items(realm, &caller.principal, &self.snapshot.graph, scope)
    }

    fn len(&self) -> usize {
        match &self.source {
            Source::Candidates(candidates) => candidates.len(),
            Source::Known(known) => known.ids.len(),
            Source::Unsought(_) => usize::MAX,
        }
    }

    fn is_page_over(&self) -> bool {
        self.place >= self.len() || self.left == Some(0) || self.judged_left == Some(0)
    }

    /// Goes through one resource. A candidate is recorded whatever comes of it, a known item when it is shown.
    fn judge_next(&mut self, found: &mut Vec<Found>, records: &mut Vec<DecisionRecord>) -> Result<(), Error> {
        let place = self.place;
        self.place += 1;
        self.judged_left = self.judged_left.map(|left| left.saturating_sub(1));
        let known;
        let (request, candidate) = if let Source::Candidates(candidates) = &self.source {
            let Some(request) = candidates.get(place) else { return Ok(()) };
            (request, Some(place))
        } else {
            let Some(request) = self.request_at(place) else {
                self.has_gap = true;
                return Ok(());
            };
            known = request;
            (&known, None)
        };
        let (Ok(caller), graph) = (&self.caller, &self.snapshot.graph) else { return Ok(()) };
        if self
            .key
            .within
            .as_ref()
            .is_some_and(|within| !is_within(&self.snapshot.loaded.realm, graph, request, within))
        {
            return Ok(());
        }
        let started_us = self.app.clock.now_us();
        let decision = decide(&self.snapshot.loaded.realm, &caller.principal, request, graph);
        let is_announced = decision.obligations.iter().all(|duty| self.announced.contains(&duty.id));
        // Nobody is shown what was allowed on a condition that they weren't told.
        let is_allowed = decision.outcome.effect() == Effect::Allow && is_announced;
        if is_allowed || candidate.is_some() {
            let (snapshot, remarks) = (&self.snapshot, &self.remarks);
            records.push(self.app.record(snapshot, &self.caller, request, &decision, remarks, started_us)?);
        }
        if is_allowed {
            found.push(Found { id: Arc::clone(&request.resource_id), candidate: candidate.unwrap_or(0) });
            self.left = self.left.map(|left| left.saturating_sub(1));
        } else if candidate.is_none() && (decision.outcome == Outcome::Indeterminate || !is_announced) {
            self.has_gap = true;
        }
        Ok(())
    }

    /// The question about the known item at a place.
    fn request_at(&self, place: usize) -> Option<AccessRequest> {
        let Source::Known(known) = &self.source else { return None };
        let realm = &self.snapshot.loaded.realm;
        let resource_type = realm.resource_types.get(&self.key.resource_type)?;
        let item = realm.relations.item(&self.key.resource_type)?;
        let (graph, id) = (&self.snapshot.graph, known.ids.get(place)?);
        let question = question_about(graph, item, resource_type, id, &self.question)?;
        AccessRequest::check(realm, &question).ok()
    }
}
