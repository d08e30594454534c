//! Authorize: the straight path of a decision.

use std::{sync::Arc, time::Duration};

use crate::{
    app::{
        App,
        caller::{Presented, Right},
        credentials::Credentials,
        error::{Error, Kind},
        explain::{Explain, ExplainLevel},
        open_question::{Asked, held},
        people::RecordedPrincipal,
        ports::{
            place::{Crowded, elsewhere},
            trace,
        },
        proof_replays::Call,
        realm_state::{LoadedRealm, RealmState},
        shadow::Seen,
    },
    domain::{
        access_request::{AccessRequest, FieldFault, Question},
        adapter::Adapter,
        application::TokenDigest,
        decide::{decide, refuse},
        decision::{Decision, Outcome, Reason},
        decision_record::{DecisionRecord, RecordKind, RecordedSubject},
        explain::{Explanation, People, explain_to},
        graph::Graph,
        id::{DecisionId, EntityId, PolicyVersion, RealmName, Revision},
        principal::Principal,
        replay::Judged,
        search::Ambiguous,
        token,
        token_facts::TokenFacts,
    },
};

/// A question as a transport hands it over.
#[derive(Clone, Debug, Default)]
pub struct AuthorizeRequest {
    /// The realm's name; empty: the only one that trusts the token's issuer, or that knows an opaque token.
    pub realm: Arc<str>,
    /// What shows who asks.
    pub credentials: Credentials,
    /// The question.
    pub question: Question,
    /// Decide on relationships at least this fresh.
    pub at_least_revision: Revision,
    /// The caller's request id.
    pub request_id: Arc<str>,
    /// Why the data is asked for, as the caller says.
    pub purpose: Arc<str>,
    /// What is to be told of why.
    pub explain: Explain,
    /// What the call brought to show who makes it.
    pub presented: Presented,
    /// By which way it came.
    pub adapter: Adapter,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// The key into the decision log.
    pub decision_id: DecisionId,
    /// The relationships that were looked at.
    pub data_revision: Revision,
    /// Who asked, as the log names it: of a person the pseudonym; `None` where the token was not good.
    pub principal: Option<EntityId>,
    /// Why, to the single condition, where that was asked for.
    pub explanation: Option<Box<Explanation>>,
}

/// What is kept of a verified token.
#[derive(Debug)]
pub struct Caller {
    /// Who asks.
    pub principal: Principal,
    /// Who asks, as the decision log names it.
    pub recorded: RecordedPrincipal,
    /// What the token says of itself.
    pub token: TokenFacts,
    /// The policies by which the claims were understood.
    pub policy_version: PolicyVersion,
    /// Until when, in seconds since the epoch.
    pub expires_at_seconds: i64,
}

/// How long a question waits for `at_least_revision` at most.
pub const REVISION_WAIT: Duration = Duration::from_secs(5);

const REQUEST_ID_BYTES_MAX: usize = 128;

/// The state that all questions of one call share: taken once, so they are answered alike.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: Arc<RealmState>,
    pub(super) loaded: Arc<LoadedRealm>,
    pub(super) graph: Arc<Graph>,
}

/// What a caller says beside its question.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    /// Its own id of the request.
    pub(super) request_id: Arc<str>,
    /// Why it asks.
    pub(super) purpose: Arc<str>,
    /// What it asks about.
    pub(super) judged: Judged,
    /// Who it is.
    pub(super) caller: Arc<str>,
    /// By which way it asks.
    pub(super) adapter: Adapter,
}

/// A verified token, or why it isn't good.
pub(crate) type Verified = Result<Arc<Caller>, Box<Reason>>;

impl App {
    /// Decides one question and keeps the decision.
    ///
    /// # Errors
    /// A wrong request, a realm that isn't there, keys that cannot be had, a revision that isn't reached,
    /// a log that cannot take the decision. Never an allow.
    pub async fn authorize(&self, request: AuthorizeRequest) -> Result<Answer, Error> {
        let (asker, snapshot) = self.admitted(&request, Right::Authorize).await?;
        let people = self.may_explain(snapshot.state.name.as_str(), &request).await?;
        let caller = self.verify_for(&snapshot, &request, self.proofs.call()).await?;
        let (answer, record) = self.answer(&snapshot, &caller, &request, asker, people)?;
        self.keep_one(&snapshot.state, record).await?;
        Ok(answer)
    }

    /// Who asks the service, if it may ask this, and what is decided on. Who may not ask learns nothing of the realm, not even
    /// how fresh its relationships are, and is waited for by nobody.
    pub(super) async fn admitted(
        &self,
        request: &AuthorizeRequest,
        right: Right,
    ) -> Result<(Arc<str>, Snapshot), Error> {
        let (asker, state) = self.may_authorize(request, right).await?;
        Ok((asker, self.snapshot(state, request.at_least_revision).await?))
    }

    /// Who asks the service, if it may ask this, and the realm that it asks.
    pub(super) async fn may_authorize(
        &self,
        request: &AuthorizeRequest,
        right: Right,
    ) -> Result<(Arc<str>, Arc<RealmState>), Error> {
        let AuthorizeRequest { presented, request_id, .. } = request;
        let state = match self.realm_of(&request.realm, &request.credentials) {
            Ok(state) => Arc::clone(state),
            // Of what isn't there, who may ask there hears; others hear what they hear of what is there.
            Err(error) => {
                let is_name = request.realm.parse::<RealmName>().is_ok();
                if is_name && self.caller_of(presented).is_ok() {
                    self.may_ask(presented, &request.realm, right, request_id).await?;
                }
                return Err(self.refusal_to_ask(presented, error));
            }
        };
        let realm = state.name.as_str();
        let is_one = right != Right::BatchAuthorize;
        let right = if request.adapter == Adapter::Envoy { Right::CheckRequest } else { right };
        let asker = self.may_ask(presented, realm, right, request_id).await?;
        if is_one {
            self.allow_rate(&asker, realm)?;
        }
        // A token of its subject speaks for itself.
        if request.credentials.subject.is_some() && request.credentials.tokens().next().is_none() {
            self.may_ask(presented, realm, Right::AskForSubject, request_id).await?;
        }
        Ok((asker, state))
    }

    pub(super) async fn verify_for(
        &self,
        snapshot: &Snapshot,
        request: &AuthorizeRequest,
        call: Call,
    ) -> Result<Verified, Error> {
        self.authenticate(&snapshot.state, &snapshot.loaded.realm, &request.credentials, call).await
    }

    /// What a realm decides on, once its relationships are as fresh as is wanted.
    pub(super) async fn snapshot(&self, state: Arc<RealmState>, wanted: Revision) -> Result<Snapshot, Error> {
        let is_reached = state.graph().revision() >= wanted || {
            let _room = state.waiting_for_revisions.try_acquire().map_err(|_| Crowded)?;
            elsewhere(tokio::time::timeout(self.revision_wait, state.reached(wanted))).await?.is_ok()
        };
        if !is_reached {
            let message = format!(
                "realm `{}` is at revision {}, revision {wanted} was asked for",
                state.name,
                state.graph().revision()
            );
            return Err(Error::new(Kind::Unavailable, "REVISION_NOT_REACHED", message));
        }
        let (loaded, graph) = (state.policies(), state.graph());
        Ok(Snapshot { state, loaded, graph })
    }

    /// The realm by name, or by a token: its issuer, or the application that it stands for.
    pub(crate) fn realm_of(&self, name: &str, credentials: &Credentials) -> Result<&Arc<RealmState>, Error> {
        if !name.is_empty() {
            return self.realm(name);
        }
        let of_token = credentials.tokens().find_map(|token| {
            let issuer = token::read(&token.0).ok().map(|unverified| unverified.issuer().to_owned());
            let of_issuer = issuer.and_then(|issuer| self.realm_of_issuer(&issuer));
            of_issuer.or_else(|| self.realm_of_digest(&TokenDigest::of_opaque(&token.0)?))
        });
        // Where there is only one realm, it answers for tokens that can't be read or are nobody's, too.
        of_token.or_else(|| self.only_realm()).ok_or_else(|| {
            let message = format!(
                "is empty, and the token's issuer belongs to no single realm, expected one of {}",
                self.realm_names()
            );
            Error::invalid_field("realm", message)
        })
    }

    /// Decides and writes down. The record isn't kept yet. `people` says that the whole explanation may be told, and whom
    /// it names.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        caller: &Verified,
        request: &AuthorizeRequest,
        asker: Arc<str>,
        people: Option<People>,
    ) -> Result<(Answer, DecisionRecord), Error> {
        let started_us = self.clock.now_us();
        let realm = &snapshot.loaded.realm;
        let mut faults = request_id_fault(&request.request_id);
        let asked = held(snapshot, &request.question, request.adapter).map_err(|found| faults.extend(found)).ok();
        let Some(asked) = asked.filter(|_| faults.is_empty()) else { return Err(Error::invalid(faults)) };
        let remarks = request.remarks(asker, Judged::Resource);
        let (question, checked) = match asked {
            Asked::Fit(question, checked) => (question, checked),
            Asked::Unfit(reason) => {
                let question = &request.question;
                let denied = self.deny_unfit(snapshot, caller, question, *reason, &remarks, started_us);
                return Ok(answer_of(request, denied));
            }
        };
        let decision = match caller {
            Ok(caller) => decide(realm, &caller.principal, &checked, &snapshot.graph),
            Err(reason) => refuse(realm, Outcome::Unauthenticated, (**reason).clone()),
        };
        let record = self.record(snapshot, caller, &checked, &decision, &remarks, started_us)?;
        if let Ok(caller) = caller {
            let seen = || Seen::of(snapshot, caller, &question, Judged::Resource, &decision, &record);
            snapshot.state.shadow.offer(seen);
        }
        let explanation = people.map(|people| match caller {
            Ok(caller) => explain_to(people, realm, &caller.principal, &checked, &snapshot.graph),
            Err(_) => Explanation::of_refusal(people, &decision),
        });
        let (answer, record) = answer_of(request, (decision, record));
        Ok((Answer { explanation: explanation.map(Box::new), ..answer }, record))
    }

    /// What the log keeps of a decision that was just made.
    ///
    /// # Errors
    /// People who cannot be named now.
    pub(super) fn record(
        &self,
        snapshot: &Snapshot,
        caller: &Verified,
        checked: &AccessRequest,
        decision: &Decision,
        remarks: &Remarks,
        started_us: i64,
    ) -> Result<DecisionRecord, Error> {
        let (people, realm) = (&snapshot.state.people, &snapshot.loaded.realm);
        let decided_us = self.clock.now_us();
        let (id, resource_id) = (decision_id(decided_us), people.resource_id(realm, checked)?);
        let facts = match caller {
            Ok(caller) => people.facts(realm, id, remarks.judged, caller, checked, &resource_id)?,
            Err(_) => Arc::default(),
        };
        let about = About {
            action: Arc::clone(&checked.action),
            resource_type: Arc::clone(&checked.resource_type.name),
            resource_id,
            subjects: people.subjects(realm, checked)?,
            facts,
        };
        Ok(record_of(snapshot, caller, about, decision, remarks, (id, started_us, decided_us)))
    }

    /// What the log keeps of a denial of what the realm has no words for: of the question what it has words for, and no id.
    pub(super) fn record_unfit(
        &self,
        snapshot: &Snapshot,
        caller: &Verified,
        question: &Question,
        decision: &Decision,
        remarks: &Remarks,
        started_us: i64,
    ) -> DecisionRecord {
        let realm = &snapshot.loaded.realm;
        let decided_us = self.clock.now_us();
        let about = About {
            action: realm
                .schema
                .actions
                .get_key_value(&question.action)
                .map(|(name, _)| Arc::clone(name))
                .unwrap_or_default(),
            resource_type: realm
                .resource_types
                .get(&question.resource_type)
                .map(|it| Arc::clone(&it.name))
                .unwrap_or_default(),
            ..About::default()
        };
        record_of(snapshot, caller, about, decision, remarks, (decision_id(decided_us), started_us, decided_us))
    }
}

/// What a decision was about, as the log names it.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) action: Arc<str>,
    pub(super) resource_type: Arc<str>,
    pub(super) resource_id: Arc<str>,
    pub(super) subjects: Vec<RecordedSubject>,
    pub(super) facts: Arc<[u8]>,
}

impl AuthorizeRequest {
    /// What its caller says beside the question.
    pub(super) fn remarks(&self, caller: Arc<str>, judged: Judged) -> Remarks {
        let (request_id, purpose) = (Arc::clone(&self.request_id), Arc::clone(&self.purpose));
        Remarks { request_id, purpose, judged, caller, adapter: self.adapter }
    }
}

/// The answer to a request, with as much of why as it asks for.
pub(super) fn answer_of(
    request: &AuthorizeRequest,
    (mut decision, record): (Decision, DecisionRecord),
) -> (Answer, DecisionRecord) {
    if request.explain.level() == ExplainLevel::None {
        decision.reasons.clear();
        decision.determining_policies.clear();
    }
    let (decision_id, data_revision, principal) = (record.id, record.data_revision, record.principal.clone());
    (Answer { decision, decision_id, data_revision, principal, explanation: None }, record)
}

/// The record of a decision with this id, begun and made at these times.
pub(super) fn record_of(
    snapshot: &Snapshot,
    caller: &Verified,
    about: About,
    decision: &Decision,
    remarks: &Remarks,
    (id, started_us, decided_us): (DecisionId, i64, i64),
) -> DecisionRecord {
    let people = &snapshot.state.people;
    let good = caller.as_ref().ok();
    let About { action, resource_type, resource_id, subjects, facts } = about;
    let mut record = DecisionRecord {
        id,
        time_us: decided_us,
        outcome: decision.outcome,
        reasons: decision.reasons.clone(),
        determining_policies: decision.determining_policies.clone(),
        action,
        resource_type,
        resource_id,
        subjects,
        principal: good.map(|caller| caller.recorded.entity.clone()),
        issuer: good.map(|caller| Arc::clone(&caller.token.issuer)).unwrap_or_default(),
        attributes: good.map(|caller| Arc::clone(&caller.recorded.attributes)).unwrap_or_default(),
        policy_version: decision.policy_version.clone(),
        data_revision: snapshot.graph.revision(),
        request_id: Arc::clone(&remarks.request_id),
        duration_us: u32::try_from(decided_us - started_us).unwrap_or(0),
        obligations: decision.obligations.iter().map(|obligation| Arc::clone(&obligation.id)).collect(),
        actor: good.and_then(|caller| caller.recorded.actor.clone()),
        client: good.and_then(|caller| caller.token.client.clone()).unwrap_or_default(),
        purpose: Arc::clone(&remarks.purpose),
        kind: RecordKind::Decision,
        facts,
        caller: Arc::clone(&remarks.caller),
        adapter: Some(remarks.adapter),
    };
    people.mask.apply(&mut record, &people.hashes);
    let is_allowed = decision.outcome == Outcome::Allowed;
    trace::note_decision(is_allowed, || trace::Decided {
        realm: snapshot.state.name.as_str().into(),
        is_allowed,
        reason: decision.reasons.first().map(|reason| Arc::clone(&reason.code)).unwrap_or_default(),
        policy_version: Arc::clone(&decision.policy_version.0),
        adapter: remarks.adapter.as_str(),
        is_of_search: remarks.judged == Judged::Search,
    });
    record
}

/// What a caller hears of a value that the store knows more than once.
pub(super) fn several(Ambiguous { attribute }: Ambiguous) -> Vec<FieldFault> {
    let message = "has several values in the store, expected one";
    vec![FieldFault::new(format!("resource.attributes.{attribute}"), message)]
}

/// The fault of a request id that can't be kept, if it is one.
pub(super) fn request_id_fault(id: &str) -> Vec<FieldFault> {
    let is_printable = id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let fault = || FieldFault::new("request_id", "is not 0 to 128 printable ASCII characters");
    if is_printable { Vec::new() } else { vec![fault()] }
}

/// A `UUIDv7` of the decision's own time.
pub(super) fn decision_id(now_us: i64) -> DecisionId {
    let seconds = u64::try_from(now_us.div_euclid(1_000_000)).unwrap_or(0);
    let nanos = u32::try_from(now_us.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
    DecisionId(uuid::Uuid::new_v7(time).as_u128())
}
