//! Decisions are counted when they are kept: what the log could not take was no answer.

use std::sync::Arc;

use crate::{
    app::{
        App,
        error::Error,
        ports::meter::{Decided, Meter},
        realm_state::RealmState,
    },
    domain::{decision::Effect, decision_record::DecisionRecord},
};

/// What is counted of a record.
struct Counted {
    is_allowed: bool,
    reason: Option<Arc<str>>,
    adapter: &'static str,
    duration_us: u32,
}

impl Counted {
    fn of(record: &DecisionRecord) -> Self {
        Self {
            is_allowed: record.outcome.effect() == Effect::Allow,
            reason: record.reasons.first().map(|reason| Arc::clone(&reason.code)),
            adapter: record.adapter.unwrap_or_default().as_str(),
            duration_us: record.duration_us,
        }
    }

    fn note(&self, meter: &dyn Meter, state: &RealmState) {
        meter.decided(&Decided {
            realm: &state.name,
            is_allowed: self.is_allowed,
            reason: self.reason.as_deref().unwrap_or_default(),
            adapter: self.adapter,
            duration_us: u64::from(self.duration_us),
        });
    }
}

impl App {
    /// Keeps one decision in the realm's log, and counts it then.
    ///
    /// # Errors
    /// The log cannot take it; the decision must not be answered then.
    pub(super) async fn keep_one(&self, state: &RealmState, record: DecisionRecord) -> Result<(), Error> {
        let counted = Counted::of(&record);
        state.log.append(vec![record]).await?;
        counted.note(&*self.meter, state);
        Ok(())
    }

    /// Decisions of a realm that are made one after the other, and are to be kept.
    pub(super) fn unkept(&self, state: &Arc<RealmState>, records: Vec<DecisionRecord>) -> Unkept {
        Unkept { state: Arc::clone(state), meter: Arc::clone(&self.meter), records }
    }
}

/// Decisions that were made and are not kept yet. Should nobody wait for them any more, because a caller left or its time was
/// over, they are kept all the same: the log says what was decided until then.
#[derive(Debug)]
pub(super) struct Unkept {
    state: Arc<RealmState>,
    meter: Arc<dyn Meter>,
    records: Vec<DecisionRecord>,
}

impl Unkept {
    /// The realm.
    pub(super) fn state(&self) -> &Arc<RealmState> {
        &self.state
    }

    /// The decisions, in the order in which they were made.
    pub(super) fn records(&self) -> &[DecisionRecord] {
        &self.records
    }

    /// One more.
    pub(super) fn push(&mut self, record: DecisionRecord) {
        self.records.push(record);
    }

    /// Keeps the decisions in the realm's log, all or none, and counts them then.
    ///
    /// # Errors
    /// The log cannot take them; none of the decisions may be answered then.
    pub(super) async fn keep(mut self) -> Result<(), Error> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Ok(());
        }
        keep(Arc::clone(&self.state), Arc::clone(&self.meter), records).await
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        let records = std::mem::take(&mut self.records);
        // Without a runtime the service has ended, and with it the log.
        if !records.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let kept = keep(Arc::clone(&self.state), Arc::clone(&self.meter), records);
            runtime.spawn(async move {
                if let Err(error) = kept.await {
                    tracing::warn!(code = error.reason, "decisions that nobody waited for could not be kept");
                }
            });
        }
    }
}

async fn keep(state: Arc<RealmState>, meter: Arc<dyn Meter>, records: Vec<DecisionRecord>) -> Result<(), Error> {
    let counted: Vec<_> = records.iter().map(Counted::of).collect();
    state.log.append(records).await?;
    for counted in counted {
        counted.note(&*meter, &state);
    }
    Ok(())
}
