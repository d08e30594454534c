//! Following the decision log as it grows.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        App,
        decisions::{DecisionQuery, Texts, log_filter, with_names},
        error::{Error, Kind},
        readers::Place,
        realm_state::RealmState,
    },
    domain::{decision_record::LoggedDecision, log_event::LoggedEvent, record_filter::RecordFilter},
};

/// Somebody who follows a realm's log.
#[derive(Debug)]
pub struct Tail {
    state: Arc<RealmState>,
    filter: RecordFilter,
    names: bool,
    texts: Texts,
    /// A place among those who read for long.
    _place: Place,
    /// Everything up to here was looked at.
    after: u64,
    stopping: CancellationToken,
}

/// What was kept since the part before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPart {
    /// The decisions, oldest first; a few hundred at most.
    pub decisions: Vec<LoggedDecision>,
    /// What happened to the log between them.
    pub events: Vec<LoggedEvent>,
    /// Everything up to here was looked at: where to go on.
    pub sequence: u64,
}

impl App {
    /// Begins to follow the decisions of a question, behind the entry `after`, or with what is kept from now on.
    ///
    /// # Errors
    /// An unknown realm, a wrong question, a place that the log has not reached; too many others who follow it.
    pub fn tail_decisions(&self, realm: &str, query: DecisionQuery, after: Option<u64>) -> Result<Tail, Error> {
        let state = Arc::clone(self.realm(realm)?);
        let (names, texts) = (query.names, query.texts);
        let filter = log_filter(&state, query)?;
        let last = state.log.status().entries;
        if after.is_some_and(|after| after > last) {
            let message = format!("is behind the log's last entry, which is number {last}");
            return Err(Error::invalid_field("after_sequence", message));
        }
        let (place, stopping) = (state.readers.tail()?, self.stopping().clone());
        Ok(Tail { state, filter, names, texts, _place: place, after: after.unwrap_or(last), stopping })
    }

    /// Ends everybody who follows a log: the service is about to stop.
    pub fn end_tails(&self) {
        self.stopping().cancel();
    }
}

impl Tail {
    /// Waits until something was kept, and returns what of it matches, which may be nothing.
    ///
    /// # Errors
    /// A log that cannot be read, a service that stops; the text says where to go on.
    pub async fn next(&mut self) -> Result<TailPart, Error> {
        let follow = self.state.log.follow(self.after, self.filter.clone());
        let page = tokio::select! {
            biased;
            () = self.stopping.cancelled() => {
                let message = format!("the service is stopping; everything up to entry {} was looked at", self.after);
                return Err(Error::new(Kind::Unavailable, "STOPPING", message));
            }
            page = follow => self.texts.of_page(page?),
        };
        self.after = page.next_after.unwrap_or(self.after).max(self.after);
        let mut decisions = page.decisions;
        if self.names {
            decisions = decisions.into_iter().map(|found| with_names(&self.state, found)).collect();
        }
        Ok(TailPart { decisions, events: page.events, sequence: self.after })
    }
}
