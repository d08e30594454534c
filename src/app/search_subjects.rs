//! Which of the principals that the service knows may do something: each decided as if it were asked about alone, and kept
//! in the log before it is shown.

use std::sync::Arc;

use serde_json::Map;

use super::{
    App,
    authorize::{AuthorizeRequest, Remarks, Snapshot},
    caller::Right,
    error::Error,
    open_question::{Asked, held},
    recent::ItemsKey,
    search::{Cursor, LIFE_US, PAGE_JUDGED_MAX, Searched, outdated},
    subject::caller_of,
};
use crate::domain::{
    access_request::AccessRequest,
    decide::decide,
    decision::{Effect, Reason},
    decision_record::DecisionRecord,
    replay::Judged,
    search::{Known, known_principals},
    value::Attributes,
};

/// The most principals that one piece of work goes through.
const JUDGED_MAX: usize = 1_000;

/// A page of a search for principals.
#[derive(Clone, Debug, Default)]
pub struct SubjectsRequest {
    /// The question; its credentials don't count.
    pub asked: AuthorizeRequest,
    /// The subject type that is searched, as the caller calls it.
    pub subject_type: Arc<str>,
    /// At most this many principals.
    pub page_size: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// A search at work. What it sees doesn't change.
struct Work {
    app: Arc<App>,
    snapshot: Snapshot,
    request: Box<AccessRequest>,
    remarks: Remarks,
    known: Arc<Known>,
    place: usize,
    judged: usize,
    page_size: usize,
    started_us: i64,
    page: Searched,
}

impl App {
    /// Searches the principals that may do what the question asks about. Of a question that the realm has no words for there
    /// are none.
    ///
    /// # Errors
    /// As [`App::authorize`]; a page of other relationships or policies than can still be seen; too many searches at once.
    pub async fn search_subjects(self: &Arc<Self>, request: SubjectsRequest) -> Result<Searched, Error> {
        let SubjectsRequest { asked, subject_type, page_size, after } = request;
        let started_us = self.clock.now_us();
        let (asker, state) = self.may_authorize(&asked, Right::SearchSubjects).await?;
        self.may_ask(&asked.presented, state.name.as_str(), Right::AskForSubject, &asked.request_id).await?;
        let _under_way = self.searches.begin()?;
        let snapshot = self.snapshot_of_page(state, &asked, after.as_ref()).await?;
        let remarks = asked.remarks(asker, Judged::Resource);
        let takes = |subject_type: &str| {
            let settings = snapshot.loaded.realm.file.authzen.as_ref();
            settings.is_some_and(|settings| settings.takes_subject(subject_type))
        };
        let checked = match held(&snapshot, &asked.question, asked.adapter).map_err(Error::invalid)? {
            Asked::Fit(_, checked) if takes(&subject_type) => Ok(checked),
            Asked::Fit(..) => Err(Box::new(Reason::plain(
                super::open_question::NOT_UNDERSTOOD,
                "the subject's type stands for no principal",
            ))),
            Asked::Unfit(reason) => Err(reason),
        };
        let request = match checked {
            Ok(request) => request,
            Err(reason) => {
                let nobody = Err(reason.clone());
                let (_, record) = self.deny_unfit(&snapshot, &nobody, &asked.question, *reason, &remarks, started_us);
                self.keep_one(&snapshot.state, record).await?;
                return Ok(Searched::nothing());
            }
        };
        let known = self.known_principals(&snapshot).await?;
        let place = after.as_ref().map_or(0, |cursor| cursor.place);
        let app = Arc::clone(self);
        let work = Work {
            app,
            snapshot,
            request,
            remarks,
            known,
            place,
            judged: 0,
            page_size,
            started_us,
            page: Searched::nothing(),
        };
        let is_first = after.is_none();
        self.work_off(work, is_first).await
    }

    /// Works piece by piece, so that others find a processor in between. Ends with who waits for it.
    async fn work_off(&self, work: Work, is_first: bool) -> Result<Searched, Error> {
        let mut work = Box::new(work);
        loop {
            work.check_current()?;
            let piece = self.in_turn(move || {
                let records = work.piece().map(|records| work.app.unkept(&work.snapshot.state, records));
                (work, records)
            });
            let (done, unkept) = piece.await?;
            work = done;
            unkept?.keep().await?;
            if work.is_page_over() {
                return Ok(work.end(is_first));
            }
        }
    }

    /// The principals that come into question, as the pages before saw them.
    async fn known_principals(&self, snapshot: &Snapshot) -> Result<Arc<Known>, Error> {
        let key = items_key(snapshot);
        if let Some(known) = snapshot.state.recent.items(&key, self.clock.now_us()) {
            return Ok(known);
        }
        let (loaded, graph) = (Arc::clone(&snapshot.loaded), Arc::clone(&snapshot.graph));
        let applications = snapshot.state.applications();
        let known = self.in_turn(move || {
            let entity = &loaded.realm.file.principal.entity;
            let further = applications
                .iter()
                .filter(|application| loaded.realm.relations.entity_id(entity, &application.id).is_ok());
            known_principals(&loaded.realm, &graph, further.map(|application| &*application.id))
        });
        Ok(Arc::new(known.await?))
    }
}

/// What the principals that come into question depend on. No search for resources has a key without an action.
fn items_key(snapshot: &Snapshot) -> ItemsKey {
    ItemsKey {
        revision: snapshot.graph.revision(),
        version: snapshot.loaded.realm.version.clone(),
        action: Arc::default(),
        resource_type: Arc::default(),
        context: Attributes::default(),
        within: None,
        holder: Arc::default(),
    }
}

impl Work {
    /// The search may go on as it is.
    ///
    /// # Errors
    /// Its time is over, or other policies decide now.
    fn check_current(&self) -> Result<(), Error> {
        if self.app.clock.now_us().saturating_sub(self.started_us) >= LIFE_US {
            return Err(outdated("it has taken five minutes, which is as long as one may; expected a search in pages"));
        }
        if self.snapshot.state.policies().realm.version != self.snapshot.loaded.realm.version {
            return Err(outdated("the policies have changed since it began; expected a new search"));
        }
        Ok(())
    }

    fn is_page_over(&self) -> bool {
        let is_full = self.page.found.len() >= self.page_size || self.judged >= PAGE_JUDGED_MAX;
        is_full || self.place >= self.known.ids.len()
    }

    /// Does the next piece; the records are to be kept before anything of it is shown.
    fn piece(&mut self) -> Result<Vec<DecisionRecord>, Error> {
        let mut records = Vec::new();
        for _ in 0..JUDGED_MAX {
            if self.is_page_over() {
                break;
            }
            records.extend(self.judge_next()?);
        }
        Ok(records)
    }

    /// Goes through one principal.
    fn judge_next(&mut self) -> Result<Option<DecisionRecord>, Error> {
        let known = Arc::clone(&self.known);
        let id = known.ids.get(self.place).unwrap_or_default();
        self.place += 1;
        self.judged += 1;
        let (state, realm) = (&self.snapshot.state, &self.snapshot.loaded.realm);
        // Of whom something is missing that the schema requires, nothing could be decided.
        let Ok((principal, until_seconds)) = self.app.principal_of_id(state, realm, id, Map::new()) else {
            return Ok(None);
        };
        let started_us = self.app.clock.now_us();
        let decision = decide(realm, &principal, &self.request, &self.snapshot.graph);
        if decision.outcome.effect() != Effect::Allow {
            return Ok(None);
        }
        let caller = self.app.unrevoked(state, Arc::new(caller_of(state, realm, principal, until_seconds)?));
        let Ok(found) = &caller else { return Ok(None) };
        let record = self.app.record(&self.snapshot, &caller, &self.request, &decision, &self.remarks, started_us)?;
        self.page.take(&found.principal.entity.id, &decision);
        Ok(Some(record))
    }

    /// The page, with what the next one needs.
    fn end(self, is_first: bool) -> Searched {
        let mut page = self.page;
        page.is_complete = self.known.is_complete;
        if self.place < self.known.ids.len() {
            let (recent, now_us) = (&self.snapshot.state.recent, self.app.clock.now_us());
            if is_first {
                recent.keep(Arc::clone(&self.snapshot.graph), self.started_us, now_us);
            }
            recent.keep_items(items_key(&self.snapshot), Arc::clone(&self.known), now_us);
            page.next = Some(self.snapshot.cursor(self.place));
        }
        page
    }
}
