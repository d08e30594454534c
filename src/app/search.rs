//! `SearchResources`: the resources of a type that a token may act on, each decided as if it were asked about alone.

mod check;
mod footing;
mod page;
mod work;

use std::{sync::Arc, thread::available_parallelism};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

pub(in crate::app) use self::footing::{LIFE_US, outdated};
use self::{
    check::Checked,
    footing::{Footing, good_until},
    work::{Piece, Source, Work},
};
pub use self::{page::Searched, work::FOUND_MAX};
use crate::{
    app::{
        App,
        authorize::{Answer, AuthorizeRequest, Caller, Remarks, Snapshot, Verified},
        caller::{Presented, Right},
        credentials::Credentials,
        error::{Error, Kind},
        explain::Explain,
        open_question,
        ports::trace::carried_blocking,
        realm_state::RealmState,
        recent::ItemsKey,
        shadow::Seen,
    },
    domain::{
        access_request::{AccessRequest, FieldFault, Question},
        adapter::Adapter,
        decide::refuse,
        decision::{Effect, Outcome},
        id::{EntityId, PolicyVersion, Revision},
        replay::Judged,
        row_filter::ROW_FILTER,
        search::{self, AUTHORIZE_EACH, Opening},
        value::Attributes,
    },
};

/// The most candidates of a search.
pub const CANDIDATES_MAX: usize = 10_000;
/// The most searches that are under way at the same time, those of slow clients included.
pub const SEARCHES_MAX: usize = 256;

/// The most resources that a page with a size goes through before it ends with fewer resources than it could hold.
pub const PAGE_JUDGED_MAX: usize = 200_000;

/// A search as a transport hands it over.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// The realm's name; empty as in [`AuthorizeRequest`].
    pub realm: Arc<str>,
    /// What shows who asks.
    pub credentials: Credentials,
    /// What is asked about each resource: action, type, context and media type.
    pub question: Question,
    /// Only these resources; `None` for all that the service knows.
    pub candidates: Option<Vec<Candidate>>,
    /// Only resources within this entity.
    pub within: Option<EntityId>,
    /// Search relationships at least this fresh.
    pub at_least_revision: Revision,
    /// At most this many resources; `None` for all.
    pub page_size: Option<usize>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Only say whether the token may search, and under which row filter.
    pub filter_only: bool,
    /// The caller's request id.
    pub request_id: Arc<str>,
    /// Why the data is asked for, as the caller says.
    pub purpose: Arc<str>,
    /// What the call brought to show who makes it.
    pub presented: Presented,
    /// By which way it came.
    pub adapter: Adapter,
}

/// A resource that a search is to decide about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its id; may be empty.
    pub id: Arc<str>,
    /// Its stored values.
    pub attributes: Attributes,
}

/// Where a page ended. Holds no id of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The relationships that all pages see.
    pub revision: Revision,
    /// The policies that decide all pages.
    pub version: PolicyVersion,
    /// Stands for the principal.
    pub holder: Arc<str>,
    /// How many resources the pages so far went through.
    pub place: usize,
    /// One of them was left out, because it could not be asked about.
    pub has_gap: bool,
}

/// A resource that the token may act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: Arc<str>,
    /// Its place among the candidates; 0 without candidates.
    pub candidate: usize,
}

/// A part of the answer, in the order in which they come.
#[derive(Clone, Debug)]
pub enum Part {
    /// Whether the token may search; after a deny only the end follows.
    Answer(Box<Answer>),
    /// Resources, each decided and kept in the log.
    Found(Vec<Found>),
    /// The end of the page.
    End {
        /// Where the next page starts; `None` on the last one.
        next: Option<Cursor>,
        /// The pages so far hold every resource that the token may act on.
        is_complete: bool,
    },
}

/// A search under way. Dropping it ends it.
#[derive(Debug)]
pub struct Search {
    answer: Option<Box<Answer>>,
    /// What is left to do; `None` once the end was given or an error.
    rest: Option<Rest>,
    workers: Arc<Semaphore>,
    _under_way: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Rest {
    Work(Box<Work>),
    /// Only the end is left.
    End {
        next: Option<Cursor>,
        is_complete: bool,
    },
}

/// How many searches there may be, and how many may work at the same time: the others wait for their turn after each
/// piece of work.
#[derive(Debug)]
pub(super) struct Searches {
    under_way: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Default for Searches {
    /// At most half of the processors search, so that single questions find one.
    fn default() -> Self {
        let workers = available_parallelism().map_or(1, |count| (count.get() / 2).max(1));
        Self { under_way: Arc::new(Semaphore::new(SEARCHES_MAX)), workers: Arc::new(Semaphore::new(workers)) }
    }
}

impl Searches {
    /// A place among the searches that are under way.
    ///
    /// # Errors
    /// All are taken.
    pub(in crate::app) fn begin(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.under_way).try_acquire_owned().map_err(|_| {
            let message = format!("there are {SEARCHES_MAX} searches under way");
            Error::new(Kind::ResourceExhausted, "TOO_MANY_SEARCHES", message)
        })
    }
}

impl App {
    /// How many searches are under way.
    pub fn searches_under_way(&self) -> usize {
        SEARCHES_MAX - self.searches.under_way.available_permits()
    }

    /// Starts a search: checks the request, decides whether the token may search at all and keeps that decision.
    ///
    /// # Errors
    /// As [`App::authorize`]; a page token of other relationships or policies than can still be seen; too many searches
    /// at once.
    pub async fn search(self: &Arc<Self>, request: SearchRequest) -> Result<Search, Error> {
        let started_us = self.clock.now_us();
        let asked = request.asked();
        let (asker, state) = self.may_authorize(&asked, Right::SearchResources).await?;
        let under_way = self.searches.begin()?;
        let snapshot = self.snapshot_of_page(state, &asked, request.after.as_ref()).await?;
        let remarks = asked.remarks(Arc::clone(&asker), Judged::Search);
        let question = request.question.clone();
        let checked = match checked(&snapshot, asker, request).await? {
            Ok(checked) => checked,
            Err(faults) => return self.search_in_vain(under_way, snapshot, &asked, &question, faults, &remarks).await,
        };
        let moment = self.moment_of(&snapshot);
        let verified = self.verify_for(&snapshot, &asked, self.proofs.call()).await?;
        let Opening { decision, filter } = self.opening(&snapshot, &verified, &checked.about).await?;
        let holder = verified.as_ref().map(|caller| holder(&snapshot.state, caller)).unwrap_or_default();
        if verified.is_ok() && checked.after.as_ref().is_some_and(|cursor| cursor.holder != holder) {
            return Err(Error::invalid_field("page_token", "belongs to another principal than the token"));
        }
        let record = self.record(&snapshot, &verified, &checked.about, &decision, &remarks, started_us)?;
        if let Ok(caller) = &verified {
            let seen = || Seen::of(&snapshot, caller, &checked.question, Judged::Search, &decision, &record);
            snapshot.state.shadow.offer(seen);
        }
        let is_allowed = decision.outcome.effect() == Effect::Allow;
        let announced = decision.obligations.iter().map(|duty| Arc::clone(&duty.id)).collect();
        let answer = Box::new(Answer {
            decision_id: record.id,
            decision,
            data_revision: record.data_revision,
            principal: record.principal.clone(),
            explanation: None,
        });
        self.keep_one(&snapshot.state, record).await?;
        let rest = if is_allowed && !checked.filter_only {
            let key = items_key(&snapshot, &checked, holder);
            let source = match checked.candidates {
                Some(candidates) => Source::Candidates(candidates),
                None => Source::Unsought(filter),
            };
            let until_seconds =
                verified.as_ref().map_or(0, |caller| good_until(caller, started_us.div_euclid(1_000_000)));
            let (place, has_gap) = checked.after.as_ref().map_or((0, false), |cursor| (cursor.place, cursor.has_gap));
            Rest::Work(Box::new(Work {
                app: Arc::clone(self),
                snapshot,
                caller: verified,
                footing: Footing::new(asked, moment, until_seconds, started_us),
                question: checked.question,
                remarks: checked.remarks,
                key,
                source,
                announced,
                is_first_page: checked.after.is_none(),
                place,
                has_gap,
                left: checked.page_size,
                judged_left: checked.page_size.map(|_| PAGE_JUDGED_MAX),
            }))
        } else {
            // Of a refused search nothing is left out.
            Rest::End { next: None, is_complete: !is_allowed }
        };
        let workers = Arc::clone(&self.searches.workers);
        Ok(Search { answer: Some(answer), rest: Some(rest), workers, _under_way: under_way })
    }

    /// A search that the realm has no words for: it is denied, which is kept, and finds nothing.
    async fn search_in_vain(
        &self,
        under_way: OwnedSemaphorePermit,
        snapshot: Snapshot,
        asked: &AuthorizeRequest,
        question: &Question,
        faults: Vec<FieldFault>,
        remarks: &Remarks,
    ) -> Result<Search, Error> {
        let started_us = self.clock.now_us();
        let verified = self.verify_for(&snapshot, asked, self.proofs.call()).await?;
        let reason = open_question::not_understood(faults);
        let (decision, record) = self.deny_unfit(&snapshot, &verified, question, reason, remarks, started_us);
        let (decision_id, data_revision, principal) = (record.id, record.data_revision, record.principal.clone());
        self.keep_one(&snapshot.state, record).await?;
        let answer = Some(Box::new(Answer { decision, decision_id, data_revision, principal, explanation: None }));
        let rest = Some(Rest::End { next: None, is_complete: true });
        Ok(Search { answer, rest, workers: Arc::clone(&self.searches.workers), _under_way: under_way })
    }

    /// Whether the token may search at all.
    async fn opening(&self, snapshot: &Snapshot, verified: &Verified, about: &AccessRequest) -> Result<Opening, Error> {
        let (loaded, graph) = (Arc::clone(&snapshot.loaded), Arc::clone(&snapshot.graph));
        match verified {
            Ok(caller) => {
                let (caller, about) = (Arc::clone(caller), about.clone());
                self.in_turn(move || search::open(&loaded.realm, &caller.principal, &about, &graph)).await
            }
            Err(reason) => {
                let decision = refuse(&loaded.realm, Outcome::Unauthenticated, (**reason).clone());
                Ok(Opening { decision, filter: None })
            }
        }
    }

    /// Does work that may take long when it has its turn among the searches, where it holds up nobody else.
    ///
    /// # Errors
    /// The work was cut off.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = turn(&self.searches.workers).await?;
        // The turn ends with the work, even where nobody waits for it any more.
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// What a page of a search is made of: the state that the pages before saw, if there were any.
    pub(super) async fn snapshot_of_page(
        &self,
        state: Arc<RealmState>,
        asked: &AuthorizeRequest,
        after: Option<&Cursor>,
    ) -> Result<Snapshot, Error> {
        match after {
            None => self.snapshot(state, asked.at_least_revision).await,
            Some(cursor) => self.snapshot_again(state, asked, cursor),
        }
    }

    fn snapshot_again(
        &self,
        state: Arc<RealmState>,
        asked: &AuthorizeRequest,
        cursor: &Cursor,
    ) -> Result<Snapshot, Error> {
        let expired = |message: &str| Error::new(Kind::FailedPrecondition, "PAGE_TOKEN_EXPIRED", message.to_owned());
        if cursor.revision < asked.at_least_revision {
            return Err(expired(
                "the first page saw older relationships than are asked for; expected a search from its \
                                first page on",
            ));
        }
        let (loaded, newest) = (state.policies(), state.graph());
        let graph = if newest.revision() == cursor.revision {
            Some(newest)
        } else {
            state.recent.find(cursor.revision, self.clock.now_us())
        };
        // What other policies let through isn't shown any more.
        if let Some(graph) = graph.filter(|_| loaded.realm.version == cursor.version) {
            return Ok(Snapshot { state, loaded, graph });
        }
        Err(expired(
            "what the first page saw is not kept any more, or the policies have changed since; expected a search \
                     from its first page on",
        ))
    }
}

impl Search {
    /// The next part; `None` after the end. Resources come as soon as some were found and are kept in the log.
    ///
    /// # Errors
    /// A log that cannot take the decisions; what the search stands on has changed meanwhile, or it took too long. Then
    /// nothing follows.
    pub async fn next(&mut self) -> Result<Option<Part>, Error> {
        if let Some(answer) = self.answer.take() {
            return Ok(Some(Part::Answer(answer)));
        }
        loop {
            let mut work = match self.rest.take() {
                None => return Ok(None),
                Some(Rest::End { next, is_complete }) => return Ok(Some(Part::End { next, is_complete })),
                Some(Rest::Work(work)) => work,
            };
            let turn = loop {
                let turn = turn(&self.workers).await?;
                if work.is_current()? {
                    break turn;
                }
                // Others work while keys are fetched.
                drop(turn);
                work.verify_again().await?;
            };
            // The turn ends with the work, even where nobody waits for it any more.
            let piece = blocking(move || {
                let piece = Work::piece(work);
                drop(turn);
                piece
            });
            let Piece { work, found, records, is_last } = piece.await??;
            records.keep().await?;
            self.rest = Some(if is_last {
                let (next, is_complete) = work.end();
                Rest::End { next, is_complete }
            } else {
                Rest::Work(work)
            });
            if !found.is_empty() {
                return Ok(Some(Part::Found(found)));
            }
        }
    }
}

impl SearchRequest {
    /// The part that a single question has too.
    fn asked(&self) -> AuthorizeRequest {
        AuthorizeRequest {
            realm: Arc::clone(&self.realm),
            credentials: self.credentials.clone(),
            question: Question::default(),
            at_least_revision: self.at_least_revision,
            request_id: Arc::clone(&self.request_id),
            purpose: Arc::clone(&self.purpose),
            explain: Explain::default(),
            presented: self.presented.clone(),
            adapter: self.adapter,
        }
    }
}

fn items_key(snapshot: &Snapshot, checked: &Checked, holder: Arc<str>) -> ItemsKey {
    ItemsKey {
        revision: snapshot.graph.revision(),
        version: snapshot.loaded.realm.version.clone(),
        action: Arc::clone(&checked.about.action),
        resource_type: Arc::clone(&checked.about.resource_type.name),
        context: checked.about.context.clone(),
        within: checked.within.clone(),
        holder,
    }
}

/// The request held against the realm; of a question that may be about anything, the faults apart.
async fn checked(
    snapshot: &Snapshot,
    asker: Arc<str>,
    request: SearchRequest,
) -> Result<Result<Checked, Vec<FieldFault>>, Error> {
    let is_open = open_question::is_open(request.adapter);
    let (loaded, graph) = (Arc::clone(&snapshot.loaded), Arc::clone(&snapshot.graph));
    match blocking(move || check::check(&loaded.realm, &graph, asker, request)).await? {
        Err(error) if is_open && !error.fields.is_empty() => Ok(Err(error.fields)),
        checked => checked.map(Ok),
    }
}

/// Stands for the principal in page tokens: another token of the same principal continues a search.
fn holder(state: &RealmState, caller: &Caller) -> Arc<str> {
    let (entity, attributes) = (&caller.principal.entity, &caller.principal.attributes);
    // A text that no other principal has; nothing reads it again.
    state.people.hashes.pseudonym("search", &format!("{entity:?} {attributes:?}"))
}

/// Waits for a turn to work.
async fn turn(workers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(workers).acquire_owned().await.map_err(|_| failed("there are no workers"))
}

/// Runs what takes long where it holds up nobody else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    spawn_blocking(carried_blocking(work)).await.map_err(|error| failed(&error.to_string()))
}

fn failed(why: &str) -> Error {
    Error::new(Kind::Internal, "SEARCH_FAILED", format!("the search could not be finished: {why}"))
}
