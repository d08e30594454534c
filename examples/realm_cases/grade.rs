//! What is right about an answer: the decision, the reason with the details that a case states, the obligations.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use hallpass::proto::v1::{self as pb, value::Kind};
use serde_json::{Map, Value as Json, json};

use crate::cases::{Case, Expected, ExpectedItem, Verdict};
use crate::world::Answer;

/// How many answers are right, of how many.
#[derive(Debug, Default)]
pub(crate) struct Score {
    decisions: (usize, usize),
    reasons: (usize, usize),
    obligations: (usize, usize),
    /// What is not, for people.
    pub(crate) mistakes: Vec<String>,
}

/// What an answer says of what cases expect.
#[derive(Debug)]
struct Came {
    decision: Verdict,
    /// The code of the first reason; `OK` for an allow.
    code: String,
    /// The token is bad.
    is_unauthenticated: bool,
    denial: Option<pb::Denial>,
    hints: Vec<String>,
    obligations: Vec<Json>,
}

impl Score {
    /// Every answer is right.
    pub(crate) fn is_whole(&self) -> bool {
        [self.decisions, self.reasons, self.obligations].iter().all(|(right, all)| right == all)
    }

    /// Compares an answer with what is expected.
    pub(crate) fn grade(&mut self, case: &Case, answer: anyhow::Result<Answer>) {
        let expected = &case.expect;
        let mut faults = Vec::new();
        let (came, of_audit) = match answer {
            Ok(answer) => {
                let came = Came::read(&answer, expected, &mut faults);
                (came, if let Answer::One(_, differences) = answer { differences } else { Vec::new() })
            }
            Err(error) => (Err(error), Vec::new()),
        };
        let came = came.map_err(|error| faults.push(format!("no answer: {error:#}"))).ok();
        let mut count = |(right, all): &mut (usize, usize), differences: Vec<String>, is_counted: bool| {
            *all += usize::from(is_counted);
            *right += usize::from(is_counted && came.is_some() && differences.is_empty());
            faults.extend(differences);
        };
        let of = |differences: fn(&Came, &Expected) -> Vec<String>| {
            came.as_ref().map(|came| differences(came, expected)).unwrap_or_default()
        };
        count(&mut self.decisions, of(decision_differences), true);
        let reasons = of(reason_differences).into_iter().chain(of_audit).collect();
        count(&mut self.reasons, reasons, true);
        let carries = expected.decision == Verdict::Allow;
        count(&mut self.obligations, if carries { of(obligation_differences) } else { Vec::new() }, carries);
        self.mistakes.extend(faults.into_iter().map(|fault| format!("{} ({}): {fault}", case.id, case.title)));
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decisions, reasons, obligations, .. } = self;
        write!(
            f,
            "decisions {}/{} reasons {}/{} obligations {}/{}",
            decisions.0, decisions.1, reasons.0, reasons.1, obligations.0, obligations.1
        )
    }
}

impl Came {
    fn read(answer: &Answer, expected: &Expected, faults: &mut Vec<String>) -> anyhow::Result<Self> {
        match answer {
            Answer::One(answer, _) | Answer::List(answer) => Ok(Self::of(answer)),
            Answer::Items(answers) => {
                let items = expected.items.as_deref().unwrap_or_default();
                anyhow::ensure!(items.is_empty() || items.len() == answers.len(), "another number of items");
                for (number, (answer, expected)) in answers.iter().zip(items).enumerate() {
                    let differences = item_differences(&Self::of(answer), expected);
                    faults.extend(differences.into_iter().map(|difference| format!("item {number}: {difference}")));
                }
                let denied = answers.iter().find(|answer| answer.decision() != pb::Decision::Allow);
                denied.or(answers.first()).map(Self::of).ok_or_else(|| anyhow::anyhow!("no items"))
            }
            Answer::TokenInfo { status, problem } => Ok(Self {
                decision: if *status == 200 { Verdict::Allow } else { Verdict::Deny },
                code: if *status == 200 { "OK" } else { "TOKEN_INFO_MISMATCH" }.to_owned(),
                is_unauthenticated: *status == 401,
                denial: Some(pb::Denial {
                    status: u32::from(*status),
                    detail: problem.get("errors").map(Json::to_string).unwrap_or_default(),
                    ..pb::Denial::default()
                }),
                hints: Vec::new(),
                obligations: Vec::new(),
            }),
        }
    }

    fn of(answer: &pb::AuthorizeResponse) -> Self {
        let is_allowed = answer.decision() == pb::Decision::Allow;
        let first = answer.reasons.first();
        let spoken_of = answer.obligations.iter().filter(|duty| !UNSPOKEN_DUTIES.contains(&&*duty.id));
        Self {
            decision: if is_allowed { Verdict::Allow } else { Verdict::Deny },
            code: if is_allowed {
                "OK".to_owned()
            } else {
                first.map(|reason| reason.code.clone()).unwrap_or_default()
            },
            is_unauthenticated: answer.outcome() == pb::Outcome::Unauthenticated,
            denial: answer.denial.clone(),
            hints: answer.reasons.iter().flat_map(|reason| reason.hints.clone()).collect(),
            obligations: spoken_of.map(obligation).collect(),
        }
    }
}

fn decision_differences(came: &Came, expected: &Expected) -> Vec<String> {
    let is_right = came.decision == expected.decision;
    if is_right {
        Vec::new()
    } else {
        vec![format!("{:?} ({}), expected {:?}", came.decision, came.code, expected.decision)]
    }
}

/// The code, and of a denial every detail that the case states.
fn reason_differences(came: &Came, expected: &Expected) -> Vec<String> {
    let mut differences = Vec::new();
    // The one code for any token that is bad, where a case does not say in which way.
    let is_any_bad_token = came.is_unauthenticated && expected.reason_code == "TOKEN_INVALID";
    if came.code != expected.reason_code && !expected.accept_reasons.contains(&came.code) && !is_any_bad_token {
        differences.push(format!("reason {}, expected {}", came.code, expected.reason_code));
    }
    let Some(denial) = came.denial.as_ref().filter(|_| expected.decision == Verdict::Deny) else { return differences };
    if let Some(status) = expected.http_hint.filter(|status| *status != denial.status) {
        differences.push(format!("status {}, expected {status}", denial.status));
    }
    differences.extend(number_differences(Some(denial), expected.sem_status));
    if let Some(kind) = expected.problem_type.as_ref().filter(|kind| !is_of_type(denial, kind)) {
        differences.push(format!("problem type `{}`, expected one that ends in `{kind}`", denial.r#type));
    }
    let is_hinted = |hint: &String| came.hints.contains(hint) && denial.detail.contains(hint.as_str());
    if let Some(hint) = expected.hint.as_ref().filter(|hint| !is_hinted(hint)) {
        differences.push(format!("hints {:?} and detail `{}`, expected the hint `{hint}`", came.hints, denial.detail));
    }
    differences
}

/// What the cases call the problem types of two refusals of Ed-Fi's APIs, and what the Data Management Service sends: its
/// own end-to-end tests want a plain type for missing relationships, and a trailing colon where the claim set lacks the
/// resource (Data-Management-Service, `Tests.E2E/Features/Authorization`, 2026-08).
const TYPES_AS_SENT: [(&str, &str); 2] = [
    ("relationships:access-denied", "urn:ed-fi:api:security:authorization"),
    ("access-denied:resource", "urn:ed-fi:api:security:authorization:"),
];

fn is_of_type(denial: &pb::Denial, expected: &str) -> bool {
    denial.r#type.ends_with(expected) || TYPES_AS_SENT.contains(&(expected, &denial.r#type))
}

/// Duties that the cases leave out: whoever creates an Ed-Fi item stamps it with its owner, and the lists of `itslanguage` of
/// annotations and assignments show annotators theirs (itslanguage-docs, `docs/api/annotations.md` and `assignments.md`).
const UNSPOKEN_DUTIES: [&str; 2] = ["stamp_ownership", "only_assigned"];

/// The realm's own status number.
fn number_differences(denial: Option<&pb::Denial>, expected: Option<i64>) -> Vec<String> {
    let member = denial.and_then(|denial| denial.members.get("status")).and_then(|value| value.kind.as_ref());
    let number = if let Some(Kind::IntValue(number)) = member { Some(*number) } else { None };
    let is_wrong = expected.is_some() && number != expected;
    if is_wrong { vec![format!("status number {number:?}, expected {expected:?}")] } else { Vec::new() }
}

fn item_differences(came: &Came, expected: &ExpectedItem) -> Vec<String> {
    let mut differences = Vec::new();
    if came.decision != expected.decision || came.code != expected.reason_code {
        differences.push(format!(
            "{:?} ({}), expected {:?} ({})",
            came.decision, came.code, expected.decision, expected.reason_code
        ));
    }
    differences.extend(number_differences(came.denial.as_ref(), expected.sem_status));
    differences
}

/// Exactly the expected obligations, each with at least the parameters that the case states.
fn obligation_differences(came: &Came, expected: &Expected) -> Vec<String> {
    let mut wanted: Vec<Map<String, Json>> = expected.obligations.clone();
    if let Some(scope) = &expected.result_scope {
        wanted.extend(json!({ "id": "issue_token", "scope": scope }).as_object().cloned());
    }
    for wanted in &mut wanted {
        // Profiles go by names that the products can address.
        if let Some(Json::String(profile)) = wanted.get_mut("profile") {
            *profile = profile.replace('.', "-");
        }
    }
    let fits = |came: &Json, wanted: &Map<String, Json>| wanted.iter().all(|(name, value)| same(came.get(name), value));
    // A filter that every row passes is as good as none.
    let is_idle =
        |came: &&Json| came.get("decision") == Some(&json!("all")) && !wanted.iter().any(|wanted| fits(came, wanted));
    let obligations: Vec<&Json> = came.obligations.iter().filter(|came| !is_idle(came)).collect();
    let is_whole = obligations.len() == wanted.len()
        && wanted.iter().all(|wanted| obligations.iter().any(|came| fits(came, wanted)));
    if is_whole {
        return Vec::new();
    }
    vec![format!("obligations {}, expected {}", json!(came.obligations), json!(wanted))]
}

/// Lists of ids are compared as sets where they hold numbers.
fn same(came: Option<&Json>, wanted: &Json) -> bool {
    match (came, wanted) {
        (Some(Json::Array(came)), Json::Array(wanted)) if wanted.iter().all(Json::is_number) => {
            came.len() == wanted.len() && wanted.iter().all(|item| came.contains(item))
        }
        (came, wanted) => came == Some(wanted),
    }
}

/// An obligation with its parameters beside its id. Of a row filter, the strategies and the ids at the ends of its tests
/// stand there too.
fn obligation(obligation: &pb::Obligation) -> Json {
    let mut members: Map<String, Json> = plain_members(&obligation.parameters);
    if obligation.id == "row_filter" && members.contains_key("null_rule") {
        let mut ids = Vec::new();
        members.get("filter").into_iter().for_each(|filter| collect_ids(filter, &mut ids));
        members.insert("education_organization_ids".to_owned(), json!(ids));
        if let Some([strategy]) = members.get("strategies").and_then(Json::as_array).map(Vec::as_slice) {
            let strategy = strategy.clone();
            members.insert("strategy".to_owned(), strategy);
        }
    }
    members.insert("id".to_owned(), json!(obligation.id));
    Json::Object(members)
}

fn collect_ids(node: &Json, ids: &mut Vec<Json>) {
    match node {
        Json::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("ids", Json::Array(own)) => {
                        let new: Vec<Json> = own.iter().filter(|id| !ids.contains(id)).cloned().collect();
                        ids.extend(new);
                    }
                    ("expanded_ids", _) => {}
                    _ => collect_ids(value, ids),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect_ids(item, ids)),
        _ => {}
    }
}

fn plain_members(members: &HashMap<String, pb::Value>) -> Map<String, Json> {
    let sorted: BTreeMap<_, _> = members.iter().collect();
    sorted.into_iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

fn plain(value: &pb::Value) -> Json {
    match &value.kind {
        None => Json::Null,
        Some(Kind::BoolValue(flag)) => json!(flag),
        Some(Kind::IntValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::EntityValue(entity)) => json!(entity.id),
        Some(Kind::ListValue(list)) => list.values.iter().map(plain).collect(),
        Some(Kind::RecordValue(record)) => Json::Object(plain_members(&record.fields)),
    }
}
