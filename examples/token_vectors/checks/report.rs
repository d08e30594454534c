//! What came of all vectors, in counts and in words.

use std::fmt;

use super::service::Answer;
use super::vectors::{Expect, Vector};

/// The findings of a file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    accepted: Share,
    refused: Share,
    reasons: Share,
    mistakes: Vec<String>,
    notes: Vec<String>,
}

/// Some of all.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    right: usize,
    all: usize,
}

impl Report {
    pub(crate) fn new(notes: Vec<String>) -> Self {
        Self { notes, ..Self::default() }
    }

    /// Notes the answers to a vector, of a service that has not seen its token and of one that has.
    pub(crate) fn add(&mut self, vector: &Vector, fresh: &Answer, cached: &Answer) {
        let mut faults = faults(vector, fresh, cached);
        let is_right = |answer: &Answer| (answer.code == "OK") == (vector.expect == Expect::Accept);
        let is_right = is_right(fresh) && is_right(cached);
        match vector.expect {
            Expect::Accept => self.accepted.count(is_right),
            Expect::Reject => {
                self.refused.count(is_right);
                self.reasons.count([fresh, cached].iter().all(|answer| vector.accept_reasons.contains(&answer.code)));
            }
        }
        let place = format!("{} {}", vector.id, vector.title);
        self.mistakes.extend(faults.drain(..).map(|fault| format!("{place}: {fault}")));
        if faults.is_empty() && fresh.code != vector.reason {
            self.notes.push(format!("{place}: {}, usual is {}", fresh.code, vector.reason));
        }
    }

    /// Every vector came out as it should, and there was one.
    pub(crate) fn is_whole(&self) -> bool {
        let Self { accepted, refused, reasons, .. } = self;
        let is_whole = [accepted, refused, reasons].iter().all(|share| share.right == share.all);
        is_whole && self.mistakes.is_empty() && accepted.all + refused.all > 0
    }
}

fn faults(vector: &Vector, fresh: &Answer, cached: &Answer) -> Vec<String> {
    let mut faults = Vec::new();
    for (answer, service) in [(fresh, "new"), (cached, "known")] {
        if !vector.accept_reasons.contains(&answer.code) {
            faults.push(format!("{} to a {service} token, expected {}", answer.code, vector.reason));
        }
        if vector.no_outbound && answer.is_outbound {
            faults.push(format!("keys were asked for, for a {service} token"));
        }
        let expected = vector.audit.as_ref().and_then(|audit| audit.actor.as_deref());
        if expected.is_some() && answer.actor.as_deref() != expected {
            faults.push(format!("the record of a {service} token has another actor than expected"));
        }
    }
    if fresh.code != cached.code {
        faults.push(format!("{} to a new token, {} to a known one", fresh.code, cached.code));
    }
    if fresh.is_cached || vector.expect == Expect::Accept && !cached.is_cached {
        faults.push("what was verified is not kept as it should be".to_owned());
    }
    faults
}

impl Share {
    fn count(&mut self, is_right: bool) {
        self.all += 1;
        self.right += usize::from(is_right);
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.right, self.all)
    }
}

/// Notes, then the mistakes, then the counts; the last line is for machines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, refused, reasons, mistakes, notes } = self;
        notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        mistakes.iter().try_for_each(|mistake| writeln!(f, "MISTAKE {mistake}"))?;
        writeln!(f, "accepted {accepted} refused {refused} reasons {reasons}")
    }
}
