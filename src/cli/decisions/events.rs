//! What happened to the log, in a sentence and as JSON.

use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use crate::proto::v1::{
    ClockChange, Damage, Erasure, Gap, GapCause, KeyChange, LegalHold, LogEvent, LogStart, LogStop, Retention,
    log_event::Event,
};

/// The event in the words of the proto file.
pub(super) fn json(event: &LogEvent) -> Json {
    let LogEvent { sequence, time: when, event } = event;
    let (name, what) = match event {
        None => ("unknown", Json::Null),
        Some(Event::Gap(gap)) => {
            let Gap { from, until, cause: _, allowed, denied } = gap;
            let cause = match gap.cause() {
                GapCause::Dropped => "dropped",
                GapCause::Crash => "crash",
                GapCause::Unspecified => "unknown",
            };
            let (from, until) = (time(from.as_ref()), time(until.as_ref()));
            ("gap", json!({ "from": from, "until": until, "cause": cause, "allowed": allowed, "denied": denied }))
        }
        Some(Event::ClockChange(ClockChange { before, after })) => {
            ("clock_change", json!({ "before": time(before.as_ref()), "after": time(after.as_ref()) }))
        }
        Some(Event::Erasure(Erasure { pseudonyms, basis, caller })) => {
            ("erasure", json!({ "pseudonyms": pseudonyms, "basis": basis, "caller": caller }))
        }
        Some(Event::LegalHold(LegalHold { pseudonyms, held, reason, caller })) => {
            ("legal_hold", json!({ "pseudonyms": pseudonyms, "held": held, "reason": reason, "caller": caller }))
        }
        Some(Event::Retention(Retention { first_sequence, last_sequence, rule })) => {
            ("retention", json!({ "first_sequence": first_sequence, "last_sequence": last_sequence, "rule": rule }))
        }
        Some(Event::KeyChange(KeyChange { verifier_key })) => ("key_change", json!({ "verifier_key": verifier_key })),
        Some(Event::Start(LogStart { version, mode })) => ("start", json!({ "version": version, "mode": mode })),
        Some(Event::Stop(LogStop {})) => ("stop", json!({})),
        Some(Event::Damage(Damage { file, first_sequence, last_sequence })) => {
            ("damage", json!({ "file": file, "first_sequence": first_sequence, "last_sequence": last_sequence }))
        }
    };
    json!({ "sequence": sequence, "time": time(when.as_ref()), name: what })
}

/// The event for a person, with a word in capitals first.
pub(super) fn sentence(event: &LogEvent) -> String {
    let when = || shown(event.time.as_ref());
    match &event.event {
        None => "UNKNOWN: something that this program does not know happened to the log".to_owned(),
        Some(Event::Gap(gap)) => {
            let (from, until) = (shown(gap.from.as_ref()), shown(gap.until.as_ref()));
            match gap.cause() {
                GapCause::Crash => format!(
                    "GAP: decisions between {from} and {until} may be missing, nobody knows how many: the service ended \
                     without warning"
                ),
                _ => format!(
                    "GAP: {} decisions ({} allowed, {} denied) between {from} and {until} are missing: the log could not \
                     take them",
                    gap.allowed.saturating_add(gap.denied),
                    gap.allowed,
                    gap.denied
                ),
            }
        }
        Some(Event::ClockChange(ClockChange { before, after })) => {
            format!("CLOCK: the clock was changed from {} to {}", shown(before.as_ref()), shown(after.as_ref()))
        }
        Some(Event::Erasure(Erasure { pseudonyms, basis, caller })) => {
            format!("ERASURE: {caller} erased {} at {}: {basis}", pseudonyms.join(", "), when())
        }
        Some(Event::LegalHold(LegalHold { pseudonyms, held, reason, caller })) => {
            let what = if *held { "holds" } else { "lets go of" };
            format!("LEGAL HOLD: {caller} {what} {} at {}: {reason}", pseudonyms.join(", "), when())
        }
        Some(Event::Retention(Retention { first_sequence, last_sequence, rule })) => {
            format!("RETENTION: entries {first_sequence} to {last_sequence} were deleted at {}: {rule}", when())
        }
        Some(Event::KeyChange(KeyChange { verifier_key })) => {
            format!("KEY: checkpoints are signed with {verifier_key} from {} on", when())
        }
        Some(Event::Start(LogStart { version, mode })) => {
            format!("START: version {version} began to write at {}, mode {mode}", when())
        }
        Some(Event::Stop(LogStop {})) => format!("STOP: the service stopped in order at {}", when()),
        Some(Event::Damage(Damage { file, first_sequence, last_sequence })) => {
            format!("DAMAGE: {file} cannot be read; entries {first_sequence} to {last_sequence} may be missing")
        }
    }
}

fn time(time: Option<&Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}

fn shown(time: Option<&Timestamp>) -> String {
    time.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_how_many_decisions_are_missing_or_that_nobody_knows() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let gap = |cause: GapCause| LogEvent {
            sequence: 7,
            time: at(20),
            event: Some(Event::Gap(Gap { from: at(0), until: at(10), cause: cause.into(), allowed: 10, denied: 2 })),
        };
        assert_eq!(
            sentence(&gap(GapCause::Dropped)),
            "GAP: 12 decisions (10 allowed, 2 denied) between 1970-01-01T00:00:00Z and 1970-01-01T00:00:10Z are missing: \
             the log could not take them"
        );
        assert!(sentence(&gap(GapCause::Crash)).contains("nobody knows how many"));
        assert_eq!(
            json(&gap(GapCause::Dropped)),
            json!({
                "sequence": 7, "time": "1970-01-01T00:00:20Z",
                "gap": {
                    "from": "1970-01-01T00:00:00Z", "until": "1970-01-01T00:00:10Z", "cause": "dropped",
                    "allowed": 10, "denied": 2
                }
            })
        );
    }
}
