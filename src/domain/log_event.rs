//! What happens to a decision log itself, kept in it as entries of their own.

use std::sync::Arc;

use super::codec::{CodecError, Reader, Writer};

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The place; decisions and events are numbered together, from 1. 0 for damage, which has no place.
    pub sequence: u64,
    /// The event.
    pub event: LogEvent,
}

/// Something that happened to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// When it was kept, in microseconds since the epoch.
    pub time_us: i64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Decisions are missing.
    Gap(Gap),
    /// The machine's clock was changed; both in microseconds since the epoch.
    ClockChange {
        /// What the clock should have said.
        before_us: i64,
        /// What it said.
        after_us: i64,
    },
    /// A person was erased.
    Erasure {
        /// The pseudonyms that stood for the person.
        pseudonyms: Vec<Arc<str>>,
        /// The legal basis.
        basis: Arc<str>,
        /// Who erased.
        caller: Arc<str>,
    },
    /// A person was put under legal hold, or the hold was lifted.
    LegalHold {
        /// The pseudonyms that stand for the person.
        pseudonyms: Vec<Arc<str>>,
        /// It is held now.
        is_held: bool,
        /// Why.
        reason: Arc<str>,
        /// Who did it.
        caller: Arc<str>,
    },
    /// The entries from `first` to `last` were deleted; their hashes stay.
    Retention {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// The rule that they were deleted by.
        rule: Arc<str>,
    },
    /// Checkpoints are signed with another key from here on.
    KeyChange {
        /// The new verifier key (C2SP signed-note).
        verifier_key: Arc<str>,
    },
    /// A process began to write.
    Start {
        /// The version of the service.
        version: Arc<str>,
        /// The mode's word.
        mode: Arc<str>,
    },
    /// A process stopped in order; nothing was lost.
    Stop,
    /// A part of the log cannot be read. Found when reading, never kept.
    Damage {
        /// The file's name.
        file: Arc<str>,
        /// The first sequence number that may be missing.
        first: u64,
        /// The last one.
        last: u64,
    },
}

/// Decisions that were answered and are not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The time of the first one, in microseconds since the epoch; of a crash, of the last entry before it.
    pub from_us: i64,
    /// The time of the last one; of a crash, of the next start.
    pub until_us: i64,
    /// Why.
    pub cause: GapCause,
    /// How many allows; 0 of a crash, where nobody knows.
    pub allowed: u64,
    /// How many denials, likewise.
    pub denied: u64,
}

/// Why decisions are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// The log could not take them, and was told to answer all the same.
    Dropped,
    /// The process or the machine stopped without warning.
    Crash,
}

impl LogEvent {
    /// Holds what people wrote or what stands for people: kept sealed.
    pub fn is_private(&self) -> bool {
        matches!(self.kind, EventKind::Erasure { .. } | EventKind::LegalHold { .. })
    }

    /// The event's bytes, in the terms of [`super::codec`]: the time, a byte for the kind, the kind's fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        out.i64(self.time_us);
        match &self.kind {
            EventKind::Gap(gap) => {
                out.byte(1);
                out.i64(gap.from_us);
                out.i64(gap.until_us);
                out.byte(match gap.cause {
                    GapCause::Dropped => 1,
                    GapCause::Crash => 2,
                });
                out.u64(gap.allowed);
                out.u64(gap.denied);
            }
            EventKind::ClockChange { before_us, after_us } => {
                out.byte(2);
                out.i64(*before_us);
                out.i64(*after_us);
            }
            EventKind::Erasure { pseudonyms, basis, caller } => {
                out.byte(3);
                write_texts(&mut out, pseudonyms);
                out.str(basis);
                out.str(caller);
            }
            EventKind::LegalHold { pseudonyms, is_held, reason, caller } => {
                out.byte(4);
                write_texts(&mut out, pseudonyms);
                out.bool(*is_held);
                out.str(reason);
                out.str(caller);
            }
            EventKind::Retention { first, last, rule } => {
                out.byte(5);
                out.u64(*first);
                out.u64(*last);
                out.str(rule);
            }
            EventKind::KeyChange { verifier_key } => {
                out.byte(6);
                out.str(verifier_key);
            }
            EventKind::Start { version, mode } => {
                out.byte(7);
                out.str(version);
                out.str(mode);
            }
            EventKind::Stop => out.byte(8),
            EventKind::Damage { file, first, last } => {
                out.byte(9);
                out.str(file);
                out.u64(*first);
                out.u64(*last);
            }
        }
        out.into_bytes()
    }

    /// Reads an event from its bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of an event.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let time_us = input.i64()?;
        let kind = read_kind(&mut input)?;
        input.finish()?;
        Ok(Self { time_us, kind })
    }
}

fn read_kind(input: &mut Reader<'_>) -> Result<EventKind, CodecError> {
    Ok(match input.byte()? {
        1 => EventKind::Gap(Gap {
            from_us: input.i64()?,
            until_us: input.i64()?,
            cause: match input.byte()? {
                1 => GapCause::Dropped,
                2 => GapCause::Crash,
                byte => return Err(CodecError::Choice { what: "cause of a gap", byte }),
            },
            allowed: input.u64()?,
            denied: input.u64()?,
        }),
        2 => EventKind::ClockChange { before_us: input.i64()?, after_us: input.i64()? },
        3 => EventKind::Erasure { pseudonyms: read_texts(input)?, basis: input.shared()?, caller: input.shared()? },
        4 => EventKind::LegalHold {
            pseudonyms: read_texts(input)?,
            is_held: input.bool()?,
            reason: input.shared()?,
            caller: input.shared()?,
        },
        5 => EventKind::Retention { first: input.u64()?, last: input.u64()?, rule: input.shared()? },
        6 => EventKind::KeyChange { verifier_key: input.shared()? },
        7 => EventKind::Start { version: input.shared()?, mode: input.shared()? },
        8 => EventKind::Stop,
        9 => EventKind::Damage { file: input.shared()?, first: input.u64()?, last: input.u64()? },
        byte => return Err(CodecError::Choice { what: "kind of event", byte }),
    })
}

fn write_texts(out: &mut Writer, texts: &[Arc<str>]) {
    out.count(texts.len());
    for text in texts {
        out.str(text);
    }
}

fn read_texts(input: &mut Reader<'_>) -> Result<Vec<Arc<str>>, CodecError> {
    let count = input.count()?;
    (0..count).map(|_| input.shared()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each_kind() -> Vec<EventKind> {
        let gap = |cause| EventKind::Gap(Gap { from_us: -1, until_us: 5, cause, allowed: 3, denied: 4 });
        let (pseudonyms, text) = (vec!["p1".into(), "p2".into()], |text: &str| Arc::<str>::from(text));
        vec![
            gap(GapCause::Dropped),
            gap(GapCause::Crash),
            EventKind::ClockChange { before_us: 1, after_us: -2 },
            EventKind::Erasure { pseudonyms: pseudonyms.clone(), basis: text("basis"), caller: text("caller") },
            EventKind::LegalHold { pseudonyms, is_held: true, reason: text("why"), caller: text("who") },
            EventKind::Retention { first: 1, last: 700, rule: text("older than 400 days") },
            EventKind::KeyChange { verifier_key: text("key") },
            EventKind::Start { version: text("1"), mode: text("strict") },
            EventKind::Stop,
            EventKind::Damage { file: text("00000001.seg"), first: 2, last: 3 },
        ]
    }

    #[test]
    fn events_of_every_kind_read_back_and_cut_ones_are_refused() {
        for kind in one_of_each_kind() {
            let event = LogEvent { time_us: 1_700_000_000_000_000, kind };
            let bytes = event.encode();
            assert_eq!(LogEvent::decode(&bytes), Ok(event));
            for cut in 0..bytes.len() {
                assert!(LogEvent::decode(&bytes[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn what_people_wrote_is_private() {
        let private =
            one_of_each_kind().into_iter().filter(|kind| LogEvent { time_us: 0, kind: kind.clone() }.is_private());
        assert_eq!(private.count(), 2);
    }
}
