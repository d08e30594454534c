//! Runs one scenario against the service and notes what came of each step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::proto::v1::policy_service_client::PolicyServiceClient;
use hallpass::proto::v1::relationship_service_client::RelationshipServiceClient;
use hallpass::proto::v1::search_resources_response::Part;
use hallpass::proto::v1::{self as pb, Decision, Outcome};
use serde_json::Value as Json;
use tonic::transport::Channel;

use crate::cases::{Catalogue, ClaimSets, Expectation, ItemKey, Problem, Request, Scenario, Step, View};
use crate::questions;
use crate::realms::{self, Realm};
use crate::service::Signer;
use crate::views::{self, Member};

/// What came of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    pub(crate) decisions_right: usize,
    pub(crate) visible_right: usize,
    pub(crate) problems_right: usize,
    pub(crate) mistakes: Vec<Mistake>,
    /// Decisions or visible sets that are wrong, or steps that could not be run.
    pub(crate) is_failed: bool,
}

/// A step that came out otherwise.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// Where it stands: its number, its line in the source, what it asks.
    pub(crate) step: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// What the service said to one request.
struct Answer {
    came: Expectation,
    /// The handles that a query shows.
    visible: BTreeSet<String>,
    denial: Option<pb::Denial>,
    /// What an item that is created is to be stamped with.
    stamp: Option<i64>,
    /// The reasons, for people.
    reasons: String,
}

/// Drives one scenario.
pub(crate) struct Driver<'a> {
    authorization: AuthorizationServiceClient<Channel>,
    relationships: RelationshipServiceClient<Channel>,
    policies: PolicyServiceClient<Channel>,
    signer: Arc<Signer>,
    catalogue: &'a Catalogue,
    realm: &'a Realm,
    tokens: BTreeMap<String, String>,
    /// The stored documents by resource and id.
    stored: BTreeMap<ItemKey, Json>,
    /// Whose items they are.
    stamps: BTreeMap<ItemKey, i64>,
    views: Vec<View>,
    /// The members of views that the service knows.
    members: BTreeSet<Member>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(channel: Channel, signer: Arc<Signer>, catalogue: &'a Catalogue, realm: &'a Realm) -> Self {
        Self {
            authorization: AuthorizationServiceClient::new(channel.clone()),
            relationships: RelationshipServiceClient::new(channel.clone()),
            policies: PolicyServiceClient::new(channel),
            signer,
            catalogue,
            realm,
            tokens: BTreeMap::new(),
            stored: BTreeMap::new(),
            stamps: BTreeMap::new(),
            views: Vec::new(),
            members: BTreeSet::new(),
        }
    }

    /// Runs the steps in order. What is stored follows from what is expected, so one mistake makes no others.
    pub(crate) async fn run(mut self, scenario: &Scenario) -> Finding {
        let mut finding = Finding::default();
        for (index, step) in scenario.steps.iter().enumerate() {
            if let Err(error) = self.step(index, step, &mut finding).await {
                finding.is_failed = true;
                finding.mistakes.push(Mistake {
                    step: place(index, step),
                    expected: "an answer".to_owned(),
                    got: format!("{error:#}"),
                });
            }
        }
        finding
    }

    async fn step(&mut self, index: usize, step: &Step, finding: &mut Finding) -> anyhow::Result<()> {
        match step {
            Step::Token(token) => {
                self.tokens.insert(token.name.clone(), self.signer.sign(token)?);
            }
            Step::ClaimSets { claim_sets, replace_all } => self.replace_claim_sets(claim_sets, *replace_all).await?,
            Step::CustomView(view) => self.define_view(view).await?,
            Step::Write(request) | Step::Delete(request) | Step::Authorize(request) => {
                let mut stamp = None;
                if let Some(token) = self.token(request)? {
                    let question = questions::question(request, &self.stamps, self.catalogue)?;
                    let answer = self.ask(question, &token).await;
                    stamp = answer.as_ref().ok().and_then(|answer| answer.stamp);
                    note(finding, || place(index, step), request, answer);
                }
                if request.expect == Expectation::Allow {
                    self.apply(step, request, stamp).await?;
                    self.show_members().await?;
                }
            }
            Step::Query(request) | Step::QueryChanges(request) => {
                let token = self.token(request)?.context("a query without a token")?;
                let answer = self.query(request, &token).await;
                note(finding, || place(index, step), request, answer);
            }
        }
        Ok(())
    }

    fn token(&self, request: &Request) -> anyhow::Result<Option<String>> {
        let Some(name) = &request.token else { return Ok(None) };
        Ok(Some(self.tokens.get(name).with_context(|| format!("unknown token `{name}`"))?.clone()))
    }

    async fn replace_claim_sets(&mut self, claim_sets: &ClaimSets, replaces_all: bool) -> anyhow::Result<()> {
        anyhow::ensure!(replaces_all, "claim sets that stand beside earlier ones are not expected");
        realms::write_grants(&self.realm.folder, claim_sets, self.catalogue)?;
        self.reload().await
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let request = pb::ReloadPoliciesRequest { realm: self.realm.name.clone() };
        let answer = self.policies.reload_policies(request).await?.into_inner();
        anyhow::ensure!(answer.faults.is_empty(), "the realm was refused: {:?}", answer.faults);
        Ok(())
    }

    /// Gives the realm a strategy that asks for members of the view.
    async fn define_view(&mut self, view: &View) -> anyhow::Result<()> {
        let basis = self.catalogue.resource(&view.basis_resource)?;
        views::write(&self.realm.folder, view, basis)?;
        self.reload().await?;
        self.views.retain(|other| other.strategy != view.strategy);
        self.views.push(view.clone());
        self.show_members().await
    }

    /// Writes which stored items are members of views, as whoever keeps the views would.
    async fn show_members(&mut self) -> anyhow::Result<()> {
        let now = views::members(&self.views, &self.stored, self.catalogue)?;
        let creates = now.difference(&self.members).map(Member::relationship).collect();
        let deletes = self.members.difference(&now).map(Member::relationship).collect();
        let (realm, expected_revision) = (self.realm.name.clone(), 0);
        let request = pb::WriteRelationshipsRequest { realm, creates, deletes, expected_revision };
        if now != self.members {
            self.relationships.write_relationships(request).await?;
        }
        self.members = now;
        Ok(())
    }

    async fn ask(&mut self, mut question: pb::AuthorizeRequest, token: &str) -> anyhow::Result<Answer> {
        question.realm.clone_from(&self.realm.name);
        token.clone_into(&mut question.token);
        Answer::read(self.authorization.authorize(question).await?.into_inner())
    }

    /// Searches among the candidates.
    async fn query(&mut self, request: &Request, token: &str) -> anyhow::Result<Answer> {
        let mut search = questions::search(request, &self.stamps, self.catalogue)?;
        search.realm.clone_from(&self.realm.name);
        token.clone_into(&mut search.token);
        let mut parts = self.authorization.search_resources(search).await?.into_inner();
        let mut answer = None;
        let mut visible = BTreeSet::new();
        while let Some(part) = parts.message().await? {
            match part.part {
                Some(Part::Answer(response)) => answer = Some(Answer::read(response)?),
                Some(Part::Found(found)) => {
                    for resource in found.resources {
                        let candidate = request.candidates.get(resource.candidate as usize);
                        let candidate = candidate.context("a resource that is none of the candidates")?;
                        anyhow::ensure!(candidate.id == resource.id, "candidate {} has another id", resource.candidate);
                        visible.insert(candidate.handle().to_owned());
                    }
                }
                Some(Part::End(end)) => {
                    anyhow::ensure!(end.complete && end.next_page_token.is_empty(), "the search is not complete");
                }
                None => anyhow::bail!("a part without content"),
            }
        }
        let answer = answer.context("a search without an answer")?;
        Ok(Answer { visible, ..answer })
    }

    /// Changes what is stored as the step says.
    async fn apply(&mut self, step: &Step, request: &Request, stamp: Option<i64>) -> anyhow::Result<()> {
        let Some(id) = request.id.clone() else { anyhow::bail!("a document without an id") };
        let key = (request.resource.clone(), id);
        match step {
            Step::Write(_) => {
                let document = request.document.clone().context("a write without a document")?;
                let earlier = self.stored.insert(key.clone(), document.clone());
                if let Some(stamp) = stamp.filter(|_| earlier.is_none()) {
                    self.stamps.insert(key, stamp);
                }
                self.replace(&request.resource, earlier, document).await
            }
            Step::Delete(_) => {
                self.stamps.remove(&key);
                let document = self.stored.remove(&key).context("the document is not there")?;
                self.take_back(&request.resource, &document).await
            }
            _ => Ok(()),
        }
    }

    async fn replace(&mut self, resource: &str, earlier: Option<Json>, document: Json) -> anyhow::Result<()> {
        let Some(key) = self.realm.records.get(resource) else { return Ok(()) };
        if let Some(earlier) = earlier.filter(|earlier| key.iter().any(|path| at(earlier, path) != at(&document, path)))
        {
            self.take_back(resource, &earlier).await?;
        }
        let message = pb::ImportRecordsRequest {
            realm: self.realm.name.clone(),
            resource: resource.to_owned(),
            records: vec![document.to_string()],
        };
        let answer = self.relationships.import_records(tokio_stream::once(message)).await?.into_inner();
        anyhow::ensure!(answer.accepted == 1, "the record was refused: {:?}", answer.refusals);
        Ok(())
    }

    async fn take_back(&mut self, resource: &str, document: &Json) -> anyhow::Result<()> {
        if !self.realm.records.contains_key(resource) {
            return Ok(());
        }
        let request = pb::DeleteRecordsRequest {
            realm: self.realm.name.clone(),
            resource: resource.to_owned(),
            records: vec![document.to_string()],
            forget: false,
        };
        let answer = self.relationships.delete_records(request).await?.into_inner();
        anyhow::ensure!(answer.deleted == 1, "the record was not there");
        Ok(())
    }
}

impl Answer {
    fn read(response: pb::AuthorizeResponse) -> anyhow::Result<Self> {
        let came = match (response.decision(), response.outcome()) {
            (Decision::Allow, Outcome::Allowed) => Expectation::Allow,
            (Decision::Deny, Outcome::NotPermitted | Outcome::Forbidden) => Expectation::Deny,
            (Decision::Deny, Outcome::Indeterminate) => Expectation::Error,
            (decision, outcome) => anyhow::bail!("{decision:?} with {outcome:?}: {:?}", response.reasons),
        };
        let reasons = response.reasons.iter().map(|reason| {
            if reason.subjects.is_empty() {
                return reason.code.clone();
            }
            format!("{} {:?}", reason.code, reason.subjects)
        });
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let stamp = response.obligations.iter().find_map(questions::stamp);
        Ok(Self { came, visible: BTreeSet::new(), denial: response.denial, stamp, reasons })
    }
}

/// Where a step stands and what it asks.
fn place(index: usize, step: &Step) -> String {
    let number = index + 1;
    match step.request() {
        None => format!("step {number}"),
        Some(request) => {
            let line = request.line.map_or(String::new(), |line| format!(" (line {line})"));
            let id = request.id.as_deref().unwrap_or("-");
            format!("step {number}{line} {} {} {id}", request.action, request.resource)
        }
    }
}

/// Grades an answer. Steps that assert nothing are not graded.
fn note(finding: &mut Finding, step: impl Fn() -> String, request: &Request, answer: anyhow::Result<Answer>) {
    if !request.is_graded() {
        return;
    }
    let mut mistaken = |expected: String, got: String| finding.mistakes.push(Mistake { step: step(), expected, got });
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            finding.is_failed = true;
            return mistaken(format!("{:?}", request.expect), format!("{error:#}"));
        }
    };
    if answer.came == request.expect {
        finding.decisions_right += 1;
    } else {
        finding.is_failed = true;
        mistaken(format!("{:?}", request.expect), format!("{:?}: {}", answer.came, answer.reasons));
    }
    if let Some(visible) = &request.visible {
        let expected: BTreeSet<String> = visible.iter().cloned().collect();
        let is_total_right = request.expect_total.is_none_or(|total| total == answer.visible.len());
        if answer.came == Expectation::Allow && answer.visible == expected && is_total_right {
            finding.visible_right += 1;
        } else {
            finding.is_failed = true;
            mistaken(format!("visible {expected:?}"), format!("visible {:?}", answer.visible));
        }
    }
    if request.is_graded_by_problem() {
        match problem_differences(request, answer.denial.as_ref()) {
            differences if differences.is_empty() => finding.problems_right += 1,
            differences => {
                let (expected, got): (Vec<String>, Vec<String>) = differences.into_iter().unzip();
                mistaken(expected.join(", "), got.join(", "));
            }
        }
    }
}

/// The asserted members of the problem that are otherwise: what was expected, what came.
fn problem_differences(request: &Request, denial: Option<&pb::Denial>) -> Vec<(String, String)> {
    let Some(denial) = denial else { return vec![("problem details".to_owned(), "none".to_owned())] };
    let mut differences = Vec::new();
    let mut compare = |name: &str, expected: Option<String>, got: String| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            differences.push((format!("{name} {expected}"), format!("{name} {got}")));
        }
    };
    let none = Problem::default();
    let expected = request.expect_problem.as_ref().unwrap_or(&none);
    compare("type", expected.kind.clone(), denial.r#type.clone());
    compare("title", expected.title.clone(), denial.title.clone());
    compare("status", expected.status.map(|status| status.to_string()), denial.status.to_string());
    compare("detail", expected.detail.clone(), denial.detail.clone());
    compare("errors", expected.errors.as_ref().map(|errors| format!("{errors:?}")), format!("{:?}", denial.errors));
    let prefix = request.expect_problem_type_prefix.as_ref();
    if let Some(prefix) = prefix.filter(|prefix| !denial.r#type.starts_with(prefix.as_str())) {
        differences.push((format!("type {prefix}..."), format!("type {}", denial.r#type)));
    }
    differences
}

/// The value at a dotted path.
fn at<'a>(document: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(document, |value, name| value.get(name))
}
