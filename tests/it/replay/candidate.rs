//! What a candidate makes of logged decisions is what it decides when it is live.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use hallpass::proto::v1 as pb;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use super::{asked_and_removed, now, of_realm};
use crate::search::world::{ALL_TYPES, Chance, World, add_claim_sets};
use crate::support::{Home, REALM, Service, fields_of, reading_student};

/// A realm's files as the wire has them, those at these paths changed.
fn candidate(folder: &Path, changed: &[(&str, String)]) -> Vec<pb::PolicyFile> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<pb::PolicyFile> = names
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let content = changed.iter().find(|(known, _)| *known == name).map(|(_, content)| content.clone());
            pb::PolicyFile { path: name, content: content.unwrap_or_else(|| fs::read_to_string(&path).unwrap()) }
        })
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

type Outcomes = BTreeMap<String, (i32, Vec<String>)>;

/// The decisions about these requests, by the caller's id of each.
async fn decided(service: &Service, requests: &[pb::AuthorizeRequest]) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for request in requests {
        let answer = service.authorization().authorize(request.clone()).await.unwrap().into_inner();
        let codes = answer.reasons.iter().map(|reason| reason.code.clone()).collect();
        outcomes.insert(request.request_id.clone(), (answer.outcome, codes));
    }
    outcomes
}

/// What a replay against a candidate sent, the differences by the caller's id of each request.
async fn replayed(
    service: &Service,
    until: Timestamp,
    candidate: Vec<pb::PolicyFile>,
) -> (BTreeMap<String, pb::ReplayDifference>, pb::ReplaySummary) {
    let mut request = pb::ReplayDecisionsRequest { candidate, ..of_realm(REALM) };
    request.query.as_mut().unwrap().until = Some(until);
    let found = super::replay(service, request).await;
    let by_id = |difference: pb::ReplayDifference| (difference.logged.clone().unwrap().request_id, difference);
    (found.differences.into_iter().map(by_id).collect(), found.summary)
}

fn questions(home: &Home, world: &World, chance: &mut Chance) -> Vec<pb::AuthorizeRequest> {
    let actions: [&str; 4] = ["Read", "Update", "Delete", "ReadChanges"];
    let mut requests = Vec::new();
    for _ in 0..12 {
        let token = world.token(home, chance);
        for _ in 0..12 {
            let resource_type = *chance.one(&ALL_TYPES);
            let items = world.candidates(chance, resource_type);
            let (item, action) = (chance.one(&items).resource(), *chance.one(&actions));
            let (proposed, has_proposed) =
                if action == "Update" { (item.attributes.clone(), true) } else { Default::default() };
            requests.push(pb::AuthorizeRequest {
                realm: REALM.to_owned(),
                token: token.clone(),
                action: action.to_owned(),
                resource: Some(pb::Resource { proposed, has_proposed, r#type: resource_type.to_owned(), ..item }),
                request_id: format!("question-{}", requests.len()),
                ..pb::AuthorizeRequest::default()
            });
        }
    }
    requests
}

fn is_allowed(outcome: i32) -> bool {
    outcome == i32::from(pb::Outcome::Allowed)
}

fn kinds(summary: &pb::ReplaySummary) -> Vec<(pb::DecisionChange, pb::ChangeKind, String, u64)> {
    let groups = &summary.changes.as_ref().unwrap().groups;
    let of = |group: &pb::ChangeGroup| {
        let cause = group.cause.clone().unwrap();
        (group.change(), cause.kind(), cause.policy, group.decisions)
    };
    groups.iter().map(of).collect()
}

const FILE: &str = "relationships.cedar";
const NEVER: &str = "when { resource.lacks.contains(\"never\") }";
const CLOSED: &str = "\n@id(\"closed\")\n@title(\"closed\")\n@reason(\"CLOSED\")\n@message(\"Nothing may be read.\")\n\
                      forbid (principal is Client, action == Action::\"Read\", resource is Resource);\n";

fn permit(id: &str, action: &str, when: &str) -> String {
    format!(
        "\n@id(\"{id}\")\n@title(\"{id}\")\npermit (principal is Client, action == Action::\"{action}\", resource is \
         Resource)\n{when};\n"
    )
}

/// A change of the policies, and the cause that it is to have.
struct Try {
    what: &'static str,
    text: String,
    expected: Option<(pb::DecisionChange, pb::ChangeKind, &'static str)>,
}

/// Policies to begin with, and changes of them.
fn tries(rules: &str) -> (String, Vec<Try>) {
    let (spare, narrow) = (permit("spare", "ReadChanges", ""), permit("narrow", "Read", NEVER));
    let base = format!("{rules}{spare}{narrow}");
    let (opens, closes) = (pb::DecisionChange::NewlyAllowed, pb::DecisionChange::NewlyDenied);
    let (added, removed) = (pb::ChangeKind::Added, pb::ChangeKind::Removed);
    let (condition, scope) = (pb::ChangeKind::Condition, pb::ChangeKind::Scope);
    let spare_as = |action, when| base.replace(&spare, &permit("spare", action, when));
    let tries = [
        ("nothing changes", base.clone(), None),
        ("a permit more", base.clone() + &permit("open", "Read", ""), Some((opens, added, "open"))),
        ("a forbid more", base.clone() + CLOSED, Some((closes, added, "closed"))),
        ("a permit less", base.replace(&spare, ""), Some((closes, removed, "spare"))),
        ("a condition more", spare_as("ReadChanges", NEVER), Some((closes, condition, "spare"))),
        ("a condition less", base.replace(&narrow, &permit("narrow", "Read", "")), Some((opens, condition, "narrow"))),
        ("another scope", spare_as("Read", ""), Some((closes, scope, "spare"))),
    ];
    let tries = tries.into_iter().map(|(what, text, expected)| Try { what, text, expected });
    (base.clone(), tries.collect())
}

/// Every decision, one by one, is said to become what it became.
fn compare(
    what: &str,
    [logged, live]: [&Outcomes; 2],
    differences: &BTreeMap<String, pb::ReplayDifference>,
    changes: &pb::ChangeReport,
) {
    let (mut allowed, mut denied, mut same) = (0, 0, 0);
    for (id, (outcome, codes)) in logged {
        let (now, now_codes) = &live[id];
        allowed += u64::from(!is_allowed(*outcome) && is_allowed(*now));
        denied += u64::from(is_allowed(*outcome) && !is_allowed(*now));
        let Some(found) = differences.get(id) else {
            assert_eq!((outcome, codes), (now, now_codes), "{what}: {id} is said to stay");
            same += 1;
            continue;
        };
        let found_codes: Vec<String> = found.reasons.iter().map(|reason| reason.code.clone()).collect();
        assert_eq!((found.outcome, &found_codes), (*now, now_codes), "{what}: {id}");
    }
    let otherwise = logged.len() as u64 - same - allowed - denied;
    assert_eq!(
        (changes.newly_allowed, changes.newly_denied, changes.otherwise, changes.same),
        (allowed, denied, otherwise, same),
        "{what}"
    );
    assert_eq!(changes.groups.iter().map(|group| group.decisions).sum::<u64>(), allowed + denied + otherwise);
}

/// The cause is found, with the condition where the policy does not apply.
fn is_caused(Try { what, text, expected }: &Try, base: &str, summary: &pb::ReplaySummary) {
    let changes = summary.changes.as_ref().unwrap();
    let Some((change, kind, policy)) = expected else { return assert!(changes.groups.is_empty(), "{what}") };
    let found = kinds(summary);
    let is_it = |(c, k, p, number): &(_, _, String, u64)| c == change && k == kind && p == policy && *number > 0;
    assert!(found.iter().any(is_it), "{what}: {found:?}");
    let mut causes = changes.groups.iter().filter_map(|group| group.cause.clone());
    let clause = causes.find(|cause| cause.policy == *policy).unwrap().clause;
    assert_eq!(clause.is_some(), *kind == pb::ChangeKind::Condition, "{what}");
    let Some(clause) = clause else { return };
    let of = if *change == pb::DecisionChange::NewlyDenied { text } else { base };
    assert_eq!((&*clause.file, &*clause.text), (FILE, "resource.lacks.contains(\"never\")"), "{what}");
    assert!(of.lines().nth(clause.line as usize - 1).unwrap().contains(&clause.text), "{what}: {clause:?}");
}

#[tokio::test]
async fn a_candidate_makes_of_logged_decisions_what_it_decides_when_it_is_live() {
    let mut home = Home::new();
    add_claim_sets(&mut home);
    let rules = home.rules.join(FILE);
    let (base, tries) = tries(&fs::read_to_string(&rules).unwrap());
    fs::write(&rules, &base).unwrap();
    let service = home.start().await;
    let mut chance = Chance(11);
    let world = World::drawn(&mut chance, 3);
    world.import(&service).await;
    let requests = questions(&home, &world, &mut chance);
    let logged = decided(&service, &requests).await;
    let (until, all) = (now(), logged.len() as u64);
    for attempt in &tries {
        let (what, text) = (attempt.what, &attempt.text);
        let (differences, summary) = replayed(&service, until, candidate(&home.rules, &[(FILE, text.clone())])).await;
        assert!(summary.not_replayed.is_empty(), "{what}: {:?}", summary.not_replayed);
        fs::write(&rules, text).unwrap();
        service.reload().await;
        let live = decided(&service, &requests).await;
        fs::write(&rules, &base).unwrap();
        service.reload().await;
        compare(what, [&logged, &live], &differences, summary.changes.as_ref().unwrap());
        is_caused(attempt, &base, &summary);
        // What the change is not for was not decided again.
        assert!(summary.untouched > 0 && (summary.untouched < all || attempt.expected.is_none()), "{what}");
    }
    // A comment in the realm's own file: nobody can tell that it touches nothing, so all is decided again.
    let realm = fs::read_to_string(home.rules.join("realm.toml")).unwrap() + "\n# a comment\n";
    let (_, summary) = replayed(&service, until, candidate(&home.rules, &[("realm.toml", realm)])).await;
    assert_eq!((summary.untouched, summary.same, summary.different), (0, all, 0));
}

#[tokio::test]
async fn what_a_candidate_cannot_be_asked_is_said_by_its_code() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let read = |name: &str| fs::read_to_string(home.rules.join(name)).unwrap();
    let realm = read("realm.toml");
    let other_claims = realm.replacen("[principal]", "[principal]\nactor = \"Client\"", 1);
    assert_ne!(other_claims, realm);
    let files = candidate(&home.rules, &[("realm.toml", other_claims)]);
    let (differences, summary) = replayed(&service, now(), files).await;
    assert!(differences.is_empty());
    assert_eq!(summary.not_replayed, [("CLAIMS_READ_OTHERWISE".to_owned(), 1)].into());
    let schema = read("schema.cedarschema");
    let wants_more = schema.replacen("entity Resource", "entity Unused;\nentity Resource", 1);
    let (_, summary) = replayed(&service, now(), candidate(&home.rules, &[("schema.cedarschema", wants_more)])).await;
    assert_eq!(summary.changes.unwrap().same, 1, "what does not matter to a question changes nothing");
}

#[tokio::test]
async fn faults_of_a_candidate_come_back_and_nothing_is_decided() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let broken =
        "@id(\"x\")\npermit (principal is Client, action, resource is Resource)\nwhen { principal.nothing };\n";
    let mut files = candidate(&home.rules, &[("claim_sets.cedar", broken.to_owned())]);
    let request = pb::ReplayDecisionsRequest { candidate: files.clone(), ..of_realm(REALM) };
    let mut parts = service.decisions().replay_decisions(request.clone()).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    let fault = &part.candidate_faults[0];
    assert_eq!((&*fault.file, fault.line), ("claim_sets.cedar", 3), "{fault:?}");
    assert!(part.summary.is_none() && parts.message().await.unwrap().is_none());
    let both = pb::ReplayDecisionsRequest { as_of: Some(now()), ..request };
    let status = service.decisions().replay_decisions(both).await.unwrap_err();
    assert_eq!(fields_of(&status), ["as_of"]);
    files.extend((0..1_000).map(|number| pb::PolicyFile { path: format!("{number}.md"), content: String::new() }));
    let many = pb::ReplayDecisionsRequest { candidate: files, ..of_realm(REALM) };
    let status = service.decisions().replay_decisions(many).await.unwrap_err();
    assert_eq!(fields_of(&status), ["candidate"]);
}

/// The verb's exit code, standard output and standard error.
fn run(home: &Home, service: &Service, candidate: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = home
        .command("replay")
        .args(["--address", &service.address, "--candidate", candidate.to_str().unwrap()])
        .args(more)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn the_command_shows_causes_with_examples_and_fails_on_what_it_is_told() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let stranger = reading_student(&home.token("SISVendor", &[102]), "604822");
    service.authorization().authorize(stranger).await.unwrap();
    let folder = home.path("candidate");
    fs::create_dir(&folder).unwrap();
    for file in candidate(&home.rules, &[]) {
        fs::write(folder.join(file.path), file.content).unwrap();
    }
    let (code, text, errors) = run(&home, &service, &folder, &["--fail-on", "any"]);
    assert_eq!((code, &*errors), (Some(0), ""), "{text}");
    assert!(text.contains("           2  the same\n"), "{text}");
    let path = folder.join("relationships.cedar");
    let policies = fs::read_to_string(&path).unwrap();
    let open = "@id(\"open\")\n@title(\"open\")\npermit (principal is Client, action == Action::\"Read\", resource is Resource);";
    fs::write(&path, format!("{policies}\n{open}\n")).unwrap();
    let (code, text, _) = run(&home, &service, &folder, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("           1  newly allowed\n"), "{text}");
    assert!(text.contains("       1  permit `open` is new (RELATIONSHIP_MISSING)\n"), "{text}");
    assert!(!text.contains("604822"), "{text}");
    for (fail_on, expected) in [("newly-allowed", 1), ("newly-denied", 0), ("newly-denied,newly-allowed", 1)] {
        let (code, text, _) = run(&home, &service, &folder, &["--fail-on", fail_on]);
        assert_eq!(code, Some(expected), "{fail_on}: {text}");
    }
    let (_, text, _) = run(&home, &service, &folder, &["--output", "json", "--differences"]);
    let lines: Vec<Json> = text.lines().map(|line| line.parse().unwrap()).collect();
    let difference = lines.iter().find(|line| line["change"] == "newly_allowed").unwrap();
    assert_eq!(difference["cause"]["policy"], "open");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(summary["changes"]["newly_allowed"], 1);
    assert_eq!(
        summary["changes"]["groups"][0]["examples"][0]["logged"],
        json!({ "outcome": "NOT_PERMITTED", "reasons": ["RELATIONSHIP_MISSING"] })
    );
    fs::write(&path, "permit (").unwrap();
    let (code, text, _) = run(&home, &service, &folder, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("relationships.cedar:1:") && text.contains("nothing was decided with it"), "{text}");
}
