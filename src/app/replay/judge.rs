//! Decides one record after the other again, as it was decided.

mod candidate;
mod principals;

use std::sync::Arc;

pub(super) use candidate::Candidate;
use principals::Principals;

use crate::{
    app::{
        people::Opened,
        ports::archive::{Archive, ArchiveError, Past, PastGraph},
        realm_state::{LoadedRealm, RealmState},
    },
    domain::{
        access_request::{AccessRequest, Unfit},
        decision::{Decision, Outcome},
        decision_record::{DecisionRecord, LoggedDecision, RecordKind},
        id::PolicyVersion,
        realm::Realm,
        replay::{Cause, Change, Facts, Made, Side, cause, change, decide_again, is_same},
    },
};

/// How many versions of the policies are at hand, compiled.
const VERSIONS_MAX: usize = 8;

/// What came of a record.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The same as it was.
    Same,
    /// The same: nothing that differs between the candidate and the policies of its moment is for such a question.
    Untouched,
    /// Something else; and what that comes from, where it comes from other policies.
    Different(Box<(Decision, Option<(Change, Cause)>)>),
    /// There was nothing but a token that wasn't good.
    RefusedToken,
    /// It can't be decided again; the code of why.
    NotReplayed(&'static str),
}

/// Policies as they were.
#[derive(Clone, Debug)]
enum Policies {
    /// Those that decide now.
    Present(Arc<LoadedRealm>),
    Past(Arc<Realm>),
    /// The code of why they aren't there.
    Missing(&'static str),
}

/// Who decides again, with what it has at hand for that.
#[derive(Debug)]
pub(super) struct Judge {
    state: Arc<RealmState>,
    archive: Archive,
    past: Box<dyn Past>,
    /// The relationships of all decisions; `None` for those of each one's moment.
    as_of: Option<PastGraph>,
    /// The policies of all decisions; `None` for those of each one's moment.
    candidate: Option<Candidate>,
    /// The latest used at the back.
    versions: Vec<(PolicyVersion, Policies)>,
    principals: Principals,
}

impl Judge {
    pub(super) fn new(
        state: Arc<RealmState>,
        archive: Archive,
        as_of: Option<PastGraph>,
        candidate: Option<Candidate>,
    ) -> Self {
        let past = archive.history.past();
        Self { state, archive, past, as_of, candidate, versions: Vec::new(), principals: Principals::default() }
    }

    /// What comes of each record, in their order.
    pub(super) fn all(&mut self, records: &[LoggedDecision]) -> Vec<Verdict> {
        let mut places: Vec<usize> = (0..records.len()).collect();
        // Going back in the history costs more than going on.
        places.sort_by_key(|place| records.get(*place).map(|logged| logged.record.data_revision));
        let mut verdicts: Vec<(usize, Verdict)> = Vec::with_capacity(records.len());
        for place in places {
            let verdict = records.get(place).map(|logged| self.verdict(&logged.record));
            verdicts.extend(verdict.map(|verdict| (place, verdict)));
        }
        verdicts.sort_by_key(|(place, _)| *place);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn verdict(&mut self, record: &DecisionRecord) -> Verdict {
        if record.kind == RecordKind::Reading {
            return Verdict::NotReplayed("READING");
        }
        if record.outcome == Outcome::Unauthenticated {
            return Verdict::RefusedToken;
        }
        self.judged(record).unwrap_or_else(Verdict::NotReplayed)
    }

    /// # Errors
    /// The code of why it can't be decided again.
    fn judged(&mut self, record: &DecisionRecord) -> Result<Verdict, &'static str> {
        let policies = self.policies(&record.policy_version);
        let realm = match &policies {
            Policies::Present(loaded) => &loaded.realm,
            Policies::Past(realm) => realm,
            Policies::Missing(code) => return Err(*code),
        };
        if let Some(candidate) = &mut self.candidate {
            let versions = &self.archive.versions;
            candidate.beside(realm, || versions.get(&record.policy_version).ok().flatten().map(|kept| kept.files));
            if !candidate.touches(realm, record) {
                return Ok(Verdict::Untouched);
            }
        }
        let facts = self.facts(record)?;
        let PastGraph { graph, is_forgetful } = self.relationships(record)?;
        let (judged, who) = (facts.judged, Arc::clone(&facts.principal));
        let request = AccessRequest::again(realm, facts.into_question(record)).ok_or("FACTS_DAMAGED")?;
        if let Some(candidate) = &mut self.candidate {
            if !candidate.reads_alike() {
                return Err("CLAIMS_READ_OTHERWISE");
            }
            let new = &*candidate.realm;
            let asked = request.anew(realm, new).map_err(Unfit::code)?;
            let principal = self.principals.of(new, record, &who).ok_or("PRINCIPAL_UNFIT")?;
            let decision = decide_again(judged, new, &principal, &asked, &graph);
            let (before, after) = (Made::from(record), Made::from(&decision));
            let change = change(before, after);
            if change == Change::Same {
                return Ok(Verdict::Same);
            }
            if is_forgetful {
                return Err("HISTORY_FORGOTTEN");
            }
            let was = self.principals.of(realm, record, &who).ok_or("FACTS_DAMAGED")?;
            let old = Side { realm, principal: &was, request: &request, made: before };
            let new = Side { realm: new, principal: &principal, request: &asked, made: after };
            let cause = cause(change, old, new, &graph);
            return Ok(Verdict::Different(Box::new((decision, Some((change, cause))))));
        }
        let principal = self.principals.of(realm, record, &who).ok_or("FACTS_DAMAGED")?;
        let decision = decide_again(judged, realm, &principal, &request, &graph);
        if is_same(record, &decision) {
            return Ok(Verdict::Same);
        }
        // What was forgotten since can be what made the difference.
        if is_forgetful { Err("HISTORY_FORGOTTEN") } else { Ok(Verdict::Different(Box::new((decision, None)))) }
    }

    /// What is kept beside a record.
    ///
    /// # Errors
    /// The code of why it can't be used.
    fn facts(&self, record: &DecisionRecord) -> Result<Box<Facts>, &'static str> {
        match self.state.people.opened(record) {
            Opened::Facts(facts) if facts.is_masked => Err("FACTS_MASKED"),
            Opened::Facts(facts) => Ok(facts),
            Opened::Nothing => Err("FACTS_MISSING"),
            Opened::Erased => Err("PERSON_ERASED"),
            Opened::Damaged => Err("FACTS_DAMAGED"),
        }
    }

    fn relationships(&mut self, record: &DecisionRecord) -> Result<PastGraph, &'static str> {
        if let Some(as_of) = &self.as_of {
            return Ok(as_of.clone());
        }
        match self.past.at(record.data_revision, record.time_us) {
            Ok(found) => found.ok_or("HISTORY_MISSING"),
            Err(error) => {
                tracing::warn!(realm = %self.state.name, %error, "relationships of the past cannot be read");
                Err("HISTORY_DAMAGED")
            }
        }
    }

    /// The policies of a version, compiled once while they are used.
    fn policies(&mut self, version: &PolicyVersion) -> Policies {
        if let Some(place) = self.versions.iter().position(|(known, _)| known == version) {
            let known = self.versions.remove(place);
            let policies = known.1.clone();
            self.versions.push(known);
            return policies;
        }
        let policies = self.read_policies(version);
        if self.versions.len() >= VERSIONS_MAX {
            self.versions.remove(0);
        }
        self.versions.push((version.clone(), policies.clone()));
        policies
    }

    fn read_policies(&self, version: &PolicyVersion) -> Policies {
        let loaded = self.state.policies();
        if loaded.realm.version == *version {
            return Policies::Present(loaded);
        }
        let kept = match self.archive.versions.get(version) {
            Ok(Some(kept)) => kept,
            Ok(None) => return Policies::Missing("POLICIES_MISSING"),
            Err(error) => return self.damaged(&error),
        };
        match Realm::compile(&kept.files, kept.variant.as_deref()) {
            Ok(realm) => Policies::Past(Arc::new(realm)),
            Err(faults) => {
                let fault = faults.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(realm = %self.state.name, policy_version = %version, fault, "kept policies are of no use to this release");
                Policies::Missing("POLICIES_OUTDATED")
            }
        }
    }

    fn damaged(&self, error: &ArchiveError) -> Policies {
        tracing::warn!(realm = %self.state.name, %error, "policies of the past cannot be read");
        Policies::Missing("POLICIES_DAMAGED")
    }
}
