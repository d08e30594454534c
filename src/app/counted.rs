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

    /// Keeps decisions in the realm's log, all or none, and counts them then.
    ///
    /// # Errors
    /// The log cannot take them; none of the decisions may be answered then.
    pub(super) async fn keep_all(&self, state: &RealmState, records: Vec<DecisionRecord>) -> Result<(), Error> {
        let counted: Vec<_> = records.iter().map(Counted::of).collect();
        state.log.append(records).await?;
        for counted in counted {
            counted.note(&*self.meter, state);
        }
        Ok(())
    }
}
