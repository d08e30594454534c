//! A small realm and candidates beside it, step by step.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::json;

use super::*;
use crate::{
    app::{authorize::Caller, people::RecordedPrincipal, realm_state::LoadedRealm},
    domain::{
        access_request::{AccessRequest, Question},
        graph::Graph,
        id::DecisionId,
        principal::Principal,
        replay::{Change, ChangeCounts, How, Judged, PrincipalFacts, decide_again},
        token_facts::TokenFacts,
        value::Value,
    },
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const NOW_US: i64 = 1_790_000_000_000_000;

#[derive(Debug)]
struct StandingClock;

impl Clock for StandingClock {
    fn now_us(&self) -> i64 {
        NOW_US
    }
}

const REALM: &str = "title = \"Shelves\"\n[principal]\nentity = \"Client\"\nid = \"client_id\"\n\
                     [principal.attributes.kind]\nclaim = \"kind\"\n[trusted]\nFile = [\"shelf\"]\ncontext = [\"size\"]\n";
const SCHEMA: &str = "entity Client { kind: String };\nentity File { shelf: String };\n\
                      action Read, Lend appliesTo { principal: [Client], resource: [File], context: { size?: Long } };\n";
const POLICIES: &str = r#"
@id("Open")
permit (principal is Client, action, resource is File)
when { principal.kind == "A" && resource.shelf == "open" };
@id("Closed")
@reason("CLOSED")
@message("The shelf is closed.")
forbid (principal is Client, action, resource is File)
when { resource.shelf == "closed" };
"#;

/// The realm with one text of its files in place of another.
fn realm(text: &str, other: &str) -> Realm {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.replace(text, other) };
    let files = [file("realm.toml", REALM), file("schema.cedarschema", SCHEMA), file("policies.cedar", POLICIES)];
    assert!(text.is_empty() || [REALM, SCHEMA, POLICIES].iter().any(|content| content.contains(text)), "{text}");
    Realm::compile(&files, None).unwrap()
}

fn loaded(realm: Realm) -> Arc<LoadedRealm> {
    Arc::new(LoadedRealm { realm, loaded_at_us: NOW_US })
}

/// The realm as it stands.
fn live() -> Arc<LoadedRealm> {
    loaded(realm("", ""))
}

fn asked(action: &str, shelf: &str, size: i64) -> Question {
    Question {
        action: action.into(),
        resource_type: "File".into(),
        attributes: Some([(Arc::from("shelf"), Value::String(shelf.into()))].into_iter().collect()),
        context: [(Arc::from("size"), Value::Long(size))].into_iter().collect(),
        ..Question::default()
    }
}

/// What a client of kind A was answered.
fn seen_asking(loaded: &Arc<LoadedRealm>, question: Question, judged: Judged) -> Seen {
    let claims = json!({ "client_id": "one", "kind": "A" });
    let realm = &loaded.realm;
    let principal = Principal::from_claims(realm, claims.as_object().unwrap()).unwrap();
    let request = match judged {
        Judged::Resource => AccessRequest::check(realm, &question).unwrap(),
        Judged::Search => AccessRequest::without_values(realm, &question).unwrap(),
    };
    let graph = Arc::new(Graph::new());
    let decision = decide_again(judged, realm, &principal, &request, &graph);
    let recorded = RecordedPrincipal {
        entity: principal.entity.clone(),
        attributes: Arc::clone(&principal.attributes),
        actor: None,
        facts: Arc::new(PrincipalFacts::default()),
    };
    let caller = Caller {
        principal,
        recorded,
        token: TokenFacts::default(),
        policy_version: realm.version.clone(),
        expires_at_seconds: i64::MAX,
    };
    Seen {
        loaded: Arc::clone(loaded),
        graph,
        caller: Arc::new(caller),
        question,
        judged,
        decision,
        id: DecisionId(1),
        time_us: NOW_US,
    }
}

fn seen(loaded: &Arc<LoadedRealm>, shelf: &str) -> Seen {
    seen_asking(loaded, asked("Read", shelf, 1), Judged::Resource)
}

fn shadow(candidate: Realm, live: &Arc<LoadedRealm>) -> (Shadow, Worker) {
    shadow_counted(candidate, live, Arc::new(Counting::default()))
}

fn shadow_counted(candidate: Realm, live: &Arc<LoadedRealm>, meter: Arc<Counting>) -> (Shadow, Worker) {
    let counted = Counted { realm: "shelves".parse().unwrap(), meter };
    Shadow::new(candidate, live.realm.version.clone(), "ada".into(), Arc::new(StandingClock), counted)
}

/// What was counted, by realm and what became of a decision.
#[derive(Debug, Default)]
struct Counting(Guarded<BTreeMap<String, u64>>);

impl Meter for Counting {
    fn shadowed(&self, realm: &RealmName, outcome: Result<&'static str, &'static str>) {
        let (Ok(word) | Err(word)) = outcome;
        let what = if outcome.is_ok() { "compared" } else { "not compared" };
        *self.0.lock().unwrap().entry(format!("{realm} {what}: {word}")).or_default() += 1;
    }
}

/// What a candidate makes of questions for these shelves: the same, otherwise, newly allowed, newly denied.
fn counts(candidate: Realm, shelves: &[&str]) -> [u64; 4] {
    let live = live();
    let (shadow, mut worker) = shadow(candidate, &live);
    for shelf in shelves {
        shadow.offer(|| Some(seen(&live, shelf)));
    }
    assert_eq!(worker.batch(), shelves.len());
    let ShadowReport { tallied, not_compared, .. } = shadow.report();
    let ChangeCounts { same, otherwise, newly_allowed, newly_denied } = tallied.changes.counts();
    assert_eq!((tallied.refused.len(), not_compared, tallied.changes.counts().all()), (0, 0, shelves.len() as u64));
    [same, otherwise, newly_allowed, newly_denied]
}

#[test]
fn each_decision_is_counted_as_what_the_candidate_makes_of_it() {
    let shelves = ["open", "back", "closed"];
    assert_eq!(counts(realm("", ""), &shelves), [3, 0, 0, 0]);
    assert_eq!(counts(realm(" && resource.shelf == \"open\"", ""), &shelves), [2, 0, 1, 0]);
    assert_eq!(counts(realm("resource.shelf == \"open\"", "resource.shelf == \"wide\""), &shelves), [2, 0, 0, 1]);
    assert_eq!(counts(realm("@id(\"Open\")", "@id(\"Wide\")"), &shelves), [2, 1, 0, 0]);
    assert_eq!(counts(realm("@reason(\"CLOSED\")", "@reason(\"SHUT\")"), &shelves), [2, 1, 0, 0]);
}

#[test]
fn a_change_is_told_with_its_clause_and_an_example_that_names_nobody() {
    let live = live();
    let (shadow, mut worker) = shadow(realm("shelf == \"open\"", "shelf == \"ajar\""), &live);
    shadow.offer(|| Some(seen(&live, "open")));
    worker.batch();
    let groups = shadow.report().tallied.changes.groups();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.change, group.cause.how, group.decisions), (Change::NewlyDenied, How::Condition, 1));
    let clause = group.cause.clause.as_ref().unwrap();
    assert_eq!((&*clause.file, clause.line, &*clause.text), ("policies.cedar", 4, "resource.shelf == \"ajar\""));
    let example = &group.examples[0];
    assert_eq!((example.id, example.time_us, &*example.action), (DecisionId(1), NOW_US, "Read"));
    assert_eq!((&example.principal, &*example.resource_id), (&None, ""));
}

#[test]
fn a_candidate_whose_policies_fail_is_never_the_same() {
    // The sum overflows, so the forbid fails, and the candidate can't say what the live policies said.
    let failing = "when { context has size && context.size + 9223372036854775807 > 0 };";
    for (shelf, expected) in [("closed", [0, 1, 0, 0]), ("open", [0, 0, 0, 1]), ("back", [0, 1, 0, 0])] {
        let found = counts(realm("when { resource.shelf == \"closed\" };", failing), &[shelf]);
        assert_eq!(found, expected, "{shelf}");
    }
}

#[test]
fn a_question_that_the_candidate_does_not_take_is_counted_by_its_code() {
    for (text, other, code) in [
        ("action Read, Lend", "action Lend, Look", "ACTION_UNKNOWN"),
        ("File", "Map", "RESOURCE_TYPE_UNKNOWN"),
        ("context: { size?: Long }", "context: { size?: String }", "QUESTION_REFUSED"),
        ("claim = \"kind\"", "claim = \"sort\"", "CLAIMS_READ_OTHERWISE"),
        ("entity Client { kind: String }", "entity Client { kind: String, grade?: Long }", "CLAIMS_READ_OTHERWISE"),
    ] {
        let live = live();
        let (shadow, mut worker) = shadow(realm(text, other), &live);
        shadow.offer(|| Some(seen(&live, "open")));
        worker.batch();
        let report = shadow.report();
        assert_eq!(report.tallied.refused, [(code, 1)].into(), "{text}");
        assert_eq!((report.tallied.changes.counts().all(), report.not_compared), (0, 0), "{code}");
    }
}

#[test]
fn whether_a_search_may_be_made_is_compared_too() {
    let live = live();
    let (shadow, mut worker) = shadow(realm("resource.shelf == \"closed\"", "true"), &live);
    shadow.offer(|| Some(seen_asking(&live, asked("Read", "open", 1), Judged::Search)));
    worker.batch();
    let tallied = shadow.report().tallied;
    assert_eq!((tallied.changes.counts().newly_denied, tallied.changes.counts().all()), (1, 1), "{tallied:?}");
}

#[test]
fn what_finds_no_room_is_counted_and_nobody_waits() {
    let live = live();
    let (shadow, mut worker) = shadow(realm("", ""), &live);
    for _ in 0..QUEUE_MAX + 3 {
        shadow.offer(|| Some(seen(&live, "open")));
    }
    // A question that is too large to wait.
    shadow.offer(|| None);
    assert_eq!((shadow.report().not_compared, shadow.report().tallied.changes.counts().all()), (4, 0));
    while worker.batch() > 0 {}
    let report = shadow.report();
    assert_eq!((report.not_compared, report.tallied.changes.counts().same), (4, QUEUE_MAX as u64));
}

#[test]
fn who_watches_the_service_sees_what_was_compared_and_why_the_rest_was_not() {
    let (old, new) = (live(), loaded(realm("resource.shelf == \"closed\"", "true")));
    let counting = Arc::new(Counting::default());
    let (first, mut worker) = shadow_counted(realm(" && resource.shelf == \"open\"", ""), &old, Arc::clone(&counting));
    for shelf in ["open", "back", "closed"] {
        first.offer(|| Some(seen(&old, shelf)));
    }
    first.offer(|| None);
    worker.batch();
    // One is under way when others begin to decide.
    first.offer(|| Some(seen(&old, "open")));
    first.count_against(&new.realm.version, NOW_US);
    worker.batch();
    for _ in 0..=QUEUE_MAX {
        first.offer(|| Some(seen(&new, "open")));
    }
    // What was counted of one shadow stays when there is another.
    let (second, mut worker) =
        shadow_counted(realm("action Read, Lend", "action Lend, Look"), &old, Arc::clone(&counting));
    second.offer(|| Some(seen(&old, "open")));
    worker.batch();
    let expected = [
        ("shelves compared: newly_allowed", 1),
        ("shelves compared: same", 2),
        ("shelves not compared: ACTION_UNKNOWN", 1),
        ("shelves not compared: policies_changed", 1),
        ("shelves not compared: queue_full", 1),
        ("shelves not compared: too_large", 1),
    ];
    assert_eq!(*counting.0.lock().unwrap(), expected.map(|(what, count)| (what.to_owned(), count)).into());
}

#[test]
fn counts_are_of_one_pair_of_versions() {
    let (old, new) = (live(), loaded(realm("\"open\"", "\"ajar\"")));
    let (shadow, mut worker) = shadow(realm("", ""), &old);
    shadow.offer(|| Some(seen(&old, "open")));
    worker.batch();
    shadow.count_against(&old.realm.version, NOW_US + 1);
    assert_eq!(
        (shadow.report().tallied.changes.counts().same, shadow.report().tallied.since_us),
        (1, NOW_US),
        "the same version"
    );
    // One is under way when others begin to decide.
    shadow.offer(|| Some(seen(&old, "open")));
    shadow.count_against(&new.realm.version, NOW_US + 2);
    shadow.offer(|| Some(seen(&new, "open")));
    worker.batch();
    let ShadowReport { tallied, not_compared, .. } = shadow.report();
    assert_eq!((tallied.live, tallied.since_us), (new.realm.version.clone(), NOW_US + 2));
    assert_eq!((tallied.changes.counts().newly_allowed, tallied.changes.counts().same, not_compared), (1, 0, 1));
}

/// A shadow at work in a thread that says when it has ended.
fn at_work(live: &Arc<LoadedRealm>) -> (Arc<Shadow>, Receiver<()>) {
    let (mut shadow, worker) = shadow(realm("", ""), live);
    let (end, ended) = channel();
    let thread = thread::spawn(move || {
        worker.run();
        end.send(()).unwrap();
    });
    shadow.worker = Some(thread.thread().clone());
    (Arc::new(shadow), ended)
}

#[test]
fn a_shadow_that_is_replaced_or_stopped_or_whose_realm_is_gone_ends_its_worker() {
    let live = live();
    let slot = Slot::default();
    slot.offer(|| panic!("without a shadow nothing is asked for"));
    let ((first, first_end), (second, second_end), (third, third_end)) =
        (at_work(&live), at_work(&live), at_work(&live));
    slot.running.store(Some(first));
    slot.running.store(Some(second));
    first_end.recv_timeout(PATIENCE).expect("the one that was replaced");
    slot.offer(|| Some(seen(&live, "open")));
    assert!(slot.stop().is_some() && slot.report().is_none());
    second_end.recv_timeout(PATIENCE).expect("the one that was stopped");
    slot.running.store(Some(third));
    assert!(slot.report().is_some());
    drop(slot);
    third_end.recv_timeout(PATIENCE).expect("the one whose realm is gone");
}
