//! Questions to the decision log, and its records.

pub(crate) mod export;
pub(crate) mod replay;
pub(crate) mod tail;

use prost_types::Timestamp;

use super::{
    super::page_token::{self, Binding},
    Faults, NAME_BYTES_MAX, PURPOSE_BYTES_MAX, authorization, entity, texts, timestamp, value,
};
use crate::{
    app::{
        decisions::{DecisionQuery, Texts},
        error::Error,
        ports::RecordPage,
        retention::Plan,
    },
    domain::{
        adapter::Adapter,
        decision::{Effect, Outcome},
        decision_record::{DecisionRecord, LoggedDecision, RecordKind, RecordedSubject},
        id::{DecisionId, EntityId},
        log_event::{EventKind, Gap, GapCause, LogEvent, LoggedEvent},
        record_filter::{Order, PageRequest, RecordFilter},
    },
    proto::v1 as pb,
};

/// A question to the log, and where its page starts.
pub(crate) struct Query {
    pub(crate) realm: String,
    pub(crate) conditions: DecisionQuery,
    pub(crate) page: PageRequest,
    /// Makes the next page's token.
    pub(crate) binding: Binding,
}

pub(crate) fn query(mut request: pb::QueryDecisionsRequest) -> Result<Query, Error> {
    let token = std::mem::take(&mut request.page_token);
    let size = std::mem::take(&mut request.page_size);
    let binding = Binding::of("QueryDecisions", &request);
    let pb::QueryDecisionsRequest {
        realm,
        from,
        until,
        principal,
        person,
        entity,
        resource_type,
        resource_id,
        action,
        decision,
        outcome,
        reason,
        policy,
        request_id,
        order,
        page_size: _,
        page_token: _,
        client,
        actor,
        kind,
        names,
        purpose,
    } = request;
    let mut faults = Faults::default();
    let filter = RecordFilter {
        from_us: from.and_then(|time| faults.time("from", time)),
        until_us: until.and_then(|time| faults.time("until", time)),
        principal: faults.optional_text("principal", principal, EntityId::ID_BYTES_MAX),
        entities: Vec::new(),
        resource_type: faults.optional_text("resource_type", resource_type, NAME_BYTES_MAX),
        resource_ids: Vec::new(),
        action: faults.optional_text("action", action, NAME_BYTES_MAX),
        effect: faults.effect(decision),
        outcome: faults.outcome(outcome),
        reason: faults.optional_text("reason", reason, NAME_BYTES_MAX),
        policy: faults.optional_text("policy", policy, NAME_BYTES_MAX),
        request_id: faults.optional_text("request_id", request_id, NAME_BYTES_MAX),
        client: faults.optional_text("client", client, EntityId::ID_BYTES_MAX),
        actor: faults.optional_text("actor", actor, EntityId::ID_BYTES_MAX),
        kind: faults.kind(kind),
    };
    if resource_id.len() > EntityId::ID_BYTES_MAX {
        faults.add("resource_id", format!("is longer than {} bytes", EntityId::ID_BYTES_MAX));
    }
    let conditions = DecisionQuery {
        filter,
        person: faults.optional_entity("person", person),
        entity: faults.optional_entity("entity", entity),
        resource_id: Some(resource_id).filter(|id| !id.is_empty()),
        names,
        texts: Texts::Hidden,
        purpose: faults.optional_text("purpose", purpose, PURPOSE_BYTES_MAX).unwrap_or_default(),
    };
    let order = faults.order(order);
    let after = binding.cursor(&token).and_then(|cursor| cursor.as_deref().map(sequence).transpose());
    let after = after.map_err(|error| faults.0.extend(error.fields)).ok().flatten();
    let page = PageRequest { order, size: super::page_size(size), after };
    faults.none_or(Query { realm, conditions, page, binding })
}

fn sequence(cursor: &[u8]) -> Result<u64, Error> {
    cursor.try_into().map(u64::from_be_bytes).map_err(|_| page_token::malformed())
}

impl Faults {
    /// Microseconds since the epoch, rounded up: records have no finer times, so "at or after" and "before" keep
    /// their meaning.
    pub(super) fn time(&mut self, field: &str, time: Timestamp) -> Option<i64> {
        let Timestamp { seconds, nanos } = time;
        // 0001-01-01 to 9999-12-31, as google.protobuf.Timestamp has it.
        let is_valid = (-62_135_596_800..=253_402_300_799).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
        if !is_valid {
            self.add(field, "is no time, expected 0 to 999,999,999 nanos and a year from 1 to 9999");
            return None;
        }
        Some(seconds * 1_000_000 + (i64::from(nanos) + 999) / 1_000)
    }

    fn effect(&mut self, decision: i32) -> Option<Effect> {
        match pb::Decision::try_from(decision) {
            Ok(pb::Decision::Unspecified) => None,
            Ok(pb::Decision::Allow) => Some(Effect::Allow),
            Ok(pb::Decision::Deny) => Some(Effect::Deny),
            Err(_) => self.unknown_number("decision", decision),
        }
    }

    fn outcome(&mut self, outcome: i32) -> Option<Outcome> {
        match pb::Outcome::try_from(outcome) {
            Ok(pb::Outcome::Unspecified) => None,
            Ok(pb::Outcome::Allowed) => Some(Outcome::Allowed),
            Ok(pb::Outcome::NotPermitted) => Some(Outcome::NotPermitted),
            Ok(pb::Outcome::Forbidden) => Some(Outcome::Forbidden),
            Ok(pb::Outcome::Indeterminate) => Some(Outcome::Indeterminate),
            Ok(pb::Outcome::Unauthenticated) => Some(Outcome::Unauthenticated),
            Err(_) => self.unknown_number("outcome", outcome),
        }
    }

    fn kind(&mut self, kind: i32) -> Option<RecordKind> {
        match pb::RecordKind::try_from(kind) {
            Ok(pb::RecordKind::Unspecified) => None,
            Ok(pb::RecordKind::Decision) => Some(RecordKind::Decision),
            Ok(pb::RecordKind::Reading) => Some(RecordKind::Reading),
            Err(_) => self.unknown_number("kind", kind),
        }
    }

    fn order(&mut self, order: i32) -> Order {
        match pb::DecisionOrder::try_from(order) {
            Ok(pb::DecisionOrder::Unspecified | pb::DecisionOrder::NewestFirst) => Order::NewestFirst,
            Ok(pb::DecisionOrder::OldestFirst) => Order::OldestFirst,
            Err(_) => self.unknown_number("order", order).unwrap_or_default(),
        }
    }

    fn unknown_number<T>(&mut self, field: &str, number: i32) -> Option<T> {
        self.add(field, format!("is {number}, expected a value of the enumeration"));
        None
    }
}

pub(crate) fn page(page: RecordPage, binding: &Binding) -> pb::QueryDecisionsResponse {
    let RecordPage { decisions, next_after, is_complete, events } = page;
    pb::QueryDecisionsResponse {
        decisions: decisions.iter().map(record).collect(),
        next_page_token: next_after.map(|after| binding.token(&after.to_be_bytes())).unwrap_or_default(),
        complete: is_complete,
        events: events.iter().map(event).collect(),
    }
}

pub(crate) fn retention_plan((rules, plan): (String, Plan)) -> pb::PlanRetentionResponse {
    let Plan { range, bytes, segments, rule, kept_because } = plan;
    let (first_sequence, last_sequence) = range.unwrap_or_default();
    let segments = u32::try_from(segments).unwrap_or(u32::MAX);
    pb::PlanRetentionResponse { rules, first_sequence, last_sequence, bytes, segments, rule, kept_because }
}

pub(crate) fn get(request: pb::GetDecisionRequest) -> Result<(String, DecisionId), Error> {
    let pb::GetDecisionRequest { realm, decision_id } = request;
    let id = decision_id.parse().map_err(|error| Error::invalid_field("decision_id", format!("is {error}")))?;
    Ok((realm, id))
}

pub(crate) fn found(decision: &LoggedDecision) -> pb::GetDecisionResponse {
    pb::GetDecisionResponse { decision: Some(record(decision)) }
}

fn record(decision: &LoggedDecision) -> pb::DecisionRecord {
    let LoggedDecision { sequence, record } = decision;
    let DecisionRecord {
        id,
        time_us,
        outcome,
        reasons,
        determining_policies,
        action,
        resource_type,
        resource_id,
        subjects,
        principal,
        issuer,
        attributes,
        policy_version,
        data_revision,
        request_id,
        duration_us,
        obligations,
        actor,
        client,
        purpose,
        kind,
        facts: _,
        caller,
        adapter,
    } = record;
    pb::DecisionRecord {
        decision_id: id.to_string(),
        sequence: *sequence,
        time: Some(timestamp(*time_us)),
        decision: authorization::effect(outcome.effect()).into(),
        outcome: authorization::outcome(*outcome).into(),
        reasons: reasons.iter().map(authorization::reason).collect(),
        determining_policies: texts(determining_policies),
        action: action.to_string(),
        resource_type: resource_type.to_string(),
        resource_id: resource_id.to_string(),
        subjects: subjects.iter().map(subject).collect(),
        principal: principal.as_ref().map(entity),
        issuer: issuer.to_string(),
        attributes: value::attributes(attributes),
        policy_version: policy_version.to_string(),
        data_revision: data_revision.0,
        request_id: request_id.to_string(),
        duration_us: *duration_us,
        obligations: texts(obligations),
        actor: actor.as_ref().map(entity),
        client: client.to_string(),
        purpose: purpose.to_string(),
        kind: match kind {
            RecordKind::Decision => pb::RecordKind::Decision,
            RecordKind::Reading => pb::RecordKind::Reading,
        }
        .into(),
        caller: caller.to_string(),
        adapter: adapter.map_or("", Adapter::as_str).to_owned(),
    }
}

/// An event of the log.
pub(crate) fn event(event: &LoggedEvent) -> pb::LogEvent {
    let LoggedEvent { sequence, event: LogEvent { time_us, kind } } = event;
    pb::LogEvent { sequence: *sequence, time: Some(timestamp(*time_us)), event: Some(event_kind(kind)) }
}

fn event_kind(kind: &EventKind) -> pb::log_event::Event {
    use pb::log_event::Event;
    match kind {
        EventKind::Gap(Gap { from_us, until_us, cause, allowed, denied }) => Event::Gap(pb::Gap {
            from: Some(timestamp(*from_us)),
            until: Some(timestamp(*until_us)),
            cause: match cause {
                GapCause::Dropped => pb::GapCause::Dropped,
                GapCause::Crash => pb::GapCause::Crash,
            }
            .into(),
            allowed: *allowed,
            denied: *denied,
        }),
        EventKind::ClockChange { before_us, after_us } => Event::ClockChange(pb::ClockChange {
            before: Some(timestamp(*before_us)),
            after: Some(timestamp(*after_us)),
        }),
        EventKind::Erasure { pseudonyms, basis, caller } => Event::Erasure(pb::Erasure {
            pseudonyms: texts(pseudonyms),
            basis: basis.to_string(),
            caller: caller.to_string(),
        }),
        EventKind::LegalHold { pseudonyms, is_held, reason, caller } => Event::LegalHold(pb::LegalHold {
            pseudonyms: texts(pseudonyms),
            held: *is_held,
            reason: reason.to_string(),
            caller: caller.to_string(),
        }),
        EventKind::Retention { first, last, rule } => {
            Event::Retention(pb::Retention { first_sequence: *first, last_sequence: *last, rule: rule.to_string() })
        }
        EventKind::KeyChange { verifier_key } => {
            Event::KeyChange(pb::KeyChange { verifier_key: verifier_key.to_string() })
        }
        EventKind::Start { version, mode } => {
            Event::Start(pb::LogStart { version: version.to_string(), mode: mode.to_string() })
        }
        EventKind::Stop => Event::Stop(pb::LogStop {}),
        EventKind::Damage { file, first, last } => {
            Event::Damage(pb::Damage { file: file.to_string(), first_sequence: *first, last_sequence: *last })
        }
    }
}

fn subject(subject: &RecordedSubject) -> pb::RecordedSubject {
    let RecordedSubject { attribute, entity, is_pseudonym, is_proposed } = subject;
    let EntityId { entity_type, id } = entity;
    pb::RecordedSubject {
        attribute: attribute.to_string(),
        r#type: entity_type.to_string(),
        id: id.to_string(),
        is_pseudonym: *is_pseudonym,
        is_proposed: *is_proposed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_meaning_in_microseconds() {
        for (seconds, nanos, expected) in [
            (0, 0, Some(0)),
            (1, 1_000, Some(1_000_001)),
            (1, 1, Some(1_000_001)),
            (-1, 999_999_999, Some(0)),
            (253_402_300_799, 999_999_999, Some(253_402_300_800_000_000)),
            (253_402_300_800, 0, None),
            (i64::MIN, 0, None),
            (0, -1, None),
            (0, 1_000_000_000, None),
        ] {
            let mut faults = Faults::default();
            assert_eq!(faults.time("from", Timestamp { seconds, nanos }), expected, "{seconds} {nanos}");
            assert_eq!(faults.0.len(), usize::from(expected.is_none()));
        }
        for us in [0, 1, -1, 1_790_000_000_123_456] {
            assert_eq!(Faults::default().time("from", timestamp(us)), Some(us));
        }
    }

    #[test]
    fn all_faults_of_a_question_come_back_at_once() {
        let request = pb::QueryDecisionsRequest {
            from: Some(Timestamp { seconds: 0, nanos: -1 }),
            person: Some(pb::EntityReference { r#type: String::new(), id: "1".to_owned() }),
            resource_id: "x".repeat(513),
            decision: 3,
            outcome: -1,
            order: 9,
            page_token: "?".to_owned(),
            ..pb::QueryDecisionsRequest::default()
        };
        let error = query(request).err().unwrap();
        let fields: Vec<_> = error.fields.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["from", "decision", "outcome", "resource_id", "person.type", "order", "page_token"]);
    }
}
