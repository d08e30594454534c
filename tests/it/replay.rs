//! Decisions are made again from what is kept of them, and come out as they did.

mod candidate;

use std::fs;

use hallpass::app::ports::Clock;
use hallpass::proto::v1 as pb;
use hallpass::proto::v1::search_resources_response::Part;
use hallpass::proto::v1::value::Kind;
use hallpass::provider::clock::SystemClock;
use prost_types::Timestamp;
use serde_json::{Map, Value as Json, json};
use tonic::Code;

use crate::search::world::{ALL_TYPES, Chance, KNOWN_TYPES, World, add_claim_sets};
use crate::support::{Home, ISSUER, REALM, Service, enrolment, entity, fields_of, reading_student};

/// What a replay sent.
#[derive(Debug, Default)]
struct Replayed {
    differences: Vec<pb::ReplayDifference>,
    summary: pb::ReplaySummary,
    pieces: usize,
}

async fn replay(service: &Service, request: pb::ReplayDecisionsRequest) -> Replayed {
    let mut parts = service.decisions().replay_decisions(request).await.unwrap().into_inner();
    let mut replayed = Replayed::default();
    let mut done = 0;
    while let Some(part) = parts.message().await.unwrap() {
        replayed.differences.extend(part.differences);
        if let Some(progress) = part.progress {
            assert!(progress.done >= done && progress.done <= progress.total, "{progress:?}");
            done = progress.done;
            replayed.pieces += 1;
        }
        if let Some(summary) = part.summary {
            replayed.summary = summary;
        }
    }
    assert_eq!(replayed.differences.len() as u64, replayed.summary.different);
    replayed
}

/// All decisions of a realm.
fn of_realm(realm: &str) -> pb::ReplayDecisionsRequest {
    let kind = pb::RecordKind::Decision.into();
    let query = pb::QueryDecisionsRequest { realm: realm.to_owned(), kind, ..Default::default() };
    pb::ReplayDecisionsRequest { query: Some(query), ..Default::default() }
}

/// Every decision of the realm comes out as it did; how many there were, and how many refused tokens.
async fn all_the_same(service: &Service, realm: &str) -> (u64, u64) {
    let Replayed { differences, summary, .. } = replay(service, of_realm(realm)).await;
    assert!(differences.is_empty(), "{realm}: {} differ, the first: {:#?}", differences.len(), differences[0]);
    assert!(summary.not_replayed.is_empty(), "{realm}: {:?}", summary.not_replayed);
    (summary.same, summary.refused_tokens)
}

/// Realms with questions of their own, by name.
fn told_realms() -> Vec<(String, Json)> {
    let policies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut told: Vec<(String, Json)> = fs::read_dir(policies)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let script = fs::read_to_string(path.join("demo.yaml")).ok()?;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, serde_saphyr::from_str::<Json>(&script).unwrap()))
        })
        .collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(told.len() >= 4, "there are realms with questions");
    told
}

fn issuer_of(name: &str, script: &Json) -> String {
    script["issuer"].as_str().map_or_else(|| format!("https://idp.{name}.example"), str::to_owned)
}

fn tables(name: &str, script: &Json) -> String {
    let folder = json!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name));
    let (issuer, scheme) = (json!(issuer_of(name, script)), script["scheme"].as_str().unwrap_or("Bearer"));
    format!(
        "[realms.{name}]\nfolder = {folder}\n[[realms.{name}.issuers]]\nissuer = {issuer}\naudiences = []\n\
         algorithms = [\"EdDSA\"]\nscheme = \"{scheme}\"\nkeys = {{ file = \"issuer.jwks.json\" }}\n"
    )
}

fn wire(value: &Json) -> pb::Value {
    let kind = match value {
        Json::Null => None,
        Json::Bool(flag) => Some(Kind::BoolValue(*flag)),
        Json::Number(number) => Some(Kind::IntValue(number.as_i64().unwrap())),
        Json::String(text) => Some(Kind::StringValue(text.clone())),
        Json::Array(items) => Some(Kind::ListValue(pb::ListValue { values: items.iter().map(wire).collect() })),
        Json::Object(fields) => Some(Kind::RecordValue(pb::RecordValue { fields: wires(fields) })),
    };
    pb::Value { kind }
}

fn wires(fields: &Map<String, Json>) -> std::collections::HashMap<String, pb::Value> {
    fields.iter().map(|(name, value)| (name.clone(), wire(value))).collect()
}

/// Brings a realm's records and asks its questions, with good tokens and with bad ones.
async fn tell(home: &Home, service: &Service, name: &str, script: &Json) -> (u64, u64) {
    let records = script["records"].as_object().cloned().unwrap_or_default();
    let parts: Vec<_> = records
        .iter()
        .map(|(resource, records)| pb::ImportRecordsRequest {
            realm: name.to_owned(),
            resource: resource.clone(),
            records: records.as_array().unwrap().iter().map(Json::to_string).collect(),
        })
        .collect();
    if !parts.is_empty() {
        service.relationships().import_records(tokio_stream::iter(parts)).await.unwrap();
    }
    let now_seconds = SystemClock.now_seconds();
    let questions = script["questions"].as_array().unwrap();
    for question in questions {
        for seconds in [600, -600] {
            let mut claims =
                json!({ "iss": issuer_of(name, script), "iat": now_seconds - 900, "exp": now_seconds + seconds });
            claims.as_object_mut().unwrap().extend(question["claims"].as_object().unwrap().clone());
            let item = &question["resource"];
            let values = |member: &str| item[member].as_object().map(wires).unwrap_or_default();
            let resource = pb::Resource {
                r#type: item["type"].as_str().unwrap().to_owned(),
                id: item["id"].as_str().unwrap_or_default().to_owned(),
                attributes: values("attributes"),
                proposed: values("proposed"),
                has_attributes: item["attributes"].is_object(),
                has_proposed: item["proposed"].is_object(),
            };
            let supports = question["supports"].as_array().cloned().unwrap_or_default();
            let request = pb::AuthorizeRequest {
                realm: name.to_owned(),
                token: home.sign(&claims),
                token_scheme: script["scheme"].as_str().unwrap_or("Bearer").to_owned(),
                action: question["action"].as_str().unwrap().to_owned(),
                resource: Some(resource),
                context: question["context"].as_object().map(wires).unwrap_or_default(),
                supported_obligations: supports.iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
                ..pb::AuthorizeRequest::default()
            };
            service.authorization().authorize(request).await.unwrap();
        }
    }
    (questions.len() as u64, questions.len() as u64)
}

/// Searches and batches by chance; how many decisions the log has of them.
async fn ask_by_chance(home: &Home, service: &Service, world: &World, chance: &mut Chance) {
    for _ in 0..6 {
        let token = world.token(home, chance);
        let resource_type = *chance.one(&KNOWN_TYPES);
        let action = *chance.one(&["Read", "Read", "ReadChanges"]);
        let search = pb::SearchResourcesRequest {
            realm: REALM.to_owned(),
            token: token.clone(),
            action: action.to_owned(),
            resource_type: resource_type.to_owned(),
            ..pb::SearchResourcesRequest::default()
        };
        let mut parts = service.authorization().search_resources(search).await.unwrap().into_inner();
        while let Some(message) = parts.message().await.unwrap() {
            assert!(matches!(message.part.unwrap(), Part::Answer(_) | Part::Found(_) | Part::End(_)));
        }
        let resource_type = *chance.one(&ALL_TYPES);
        let items = world.candidates(chance, resource_type);
        let question = |place: usize, action: &str| {
            let item = items[place % items.len()].resource();
            let (proposed, has_proposed) = match action {
                "Create" | "Update" => (items[(place + 1) % items.len()].resource().attributes, true),
                _ => Default::default(),
            };
            let resource = pb::Resource { proposed, has_proposed, r#type: resource_type.to_owned(), ..item };
            pb::AuthorizeRequest {
                realm: REALM.to_owned(),
                token: token.clone(),
                action: action.to_owned(),
                resource: Some(resource),
                ..pb::AuthorizeRequest::default()
            }
        };
        let actions: [&str; 5] = ["Read", "Create", "Update", "Delete", "ReadChanges"];
        let items = (0..60).map(|place| question(place, chance.one::<&str>(&actions))).collect();
        let batch = pb::BatchAuthorizeRequest { defaults: None, items };
        service.authorization().batch_authorize(batch).await.unwrap();
    }
}

#[tokio::test]
async fn every_decision_comes_out_as_it_did_whatever_has_changed_since() {
    let mut home = Home::new();
    add_claim_sets(&mut home);
    let told = told_realms();
    home.tables.extend(told.iter().map(|(name, script)| tables(name, script)));
    let mut service = home.start().await;
    for (name, script) in &told {
        let expected = tell(&home, &service, name, script).await;
        assert_eq!(all_the_same(&service, name).await, expected, "{name}");
    }
    let mut chance = Chance(7);
    let world = World::drawn(&mut chance, 3);
    world.import(&service).await;
    let policies = fs::read_to_string(home.rules.join("relationships.cedar")).unwrap();
    let forbid = "\n@id(\"closed\")\n@reason(\"CLOSED\")\nforbid (principal, action == Action::\"ROUND\", resource);\n";
    for round in 0..6 {
        // Other policies, and now and then those of before.
        let action = ["Read", "Update", "Delete"][round % 3];
        let extra = if round % 2 == 0 { String::new() } else { forbid.replace("ROUND", action) };
        fs::write(home.rules.join("relationships.cedar"), format!("{policies}{extra}")).unwrap();
        service.reload().await;
        // Other relationships.
        let enrolments: Vec<String> =
            (0..5).map(|place| enrolment(&format!("student-3-{}", round * 7 + place), 3_100)).collect();
        service.import("studentSchoolAssociations", &enrolments).await;
        ask_by_chance(&home, &service, &world, &mut chance).await;
        service.delete("studentSchoolAssociations", &enrolments).await;
        ask_by_chance(&home, &service, &world, &mut chance).await;
        match round {
            1 => service = restarted(&home, service).await,
            3 => {
                service.kill();
                service = home.start().await;
            }
            _ => {}
        }
    }
    let (same, refused) = all_the_same(&service, REALM).await;
    assert!(same > 3_000, "{same}");
    assert_eq!(refused, 0);
    let logged = service.decisions_after(0).await;
    assert_eq!(logged.len() as u64, same);
    let kinds: std::collections::BTreeSet<i32> = logged.iter().map(|record| record.outcome).collect();
    assert!(kinds.len() >= 3, "{kinds:?}");
    let versions: std::collections::BTreeSet<&str> = logged.iter().map(|record| &*record.policy_version).collect();
    assert_eq!(versions.len(), 4);
    for (name, _) in &told {
        all_the_same(&service, name).await;
    }
}

async fn restarted(home: &Home, mut service: Service) -> Service {
    service.signal("TERM");
    assert!(service.ended().await.success());
    home.start().await
}

fn now() -> Timestamp {
    let now_us = SystemClock.now_us();
    let nanos = i32::try_from(now_us.rem_euclid(1_000_000) * 1_000).unwrap();
    Timestamp { seconds: now_us.div_euclid(1_000_000), nanos }
}

/// A school that was asked about a student whose enrolment was removed later, and the times before and after.
async fn asked_and_removed(home: &Home, service: &Service) -> (Timestamp, Timestamp) {
    let record = [enrolment("604822", 101)];
    service.import("schools", &[json!({ "schoolId": 101 }).to_string()]).await;
    service.import("studentSchoolAssociations", &record).await;
    let enrolled = now();
    let answer = service.authorization().authorize(reading_student(&home.token("SISVendor", &[101]), "604822")).await;
    assert_eq!(answer.unwrap().into_inner().decision(), pb::Decision::Allow);
    service.delete("studentSchoolAssociations", &record).await;
    (enrolled, now())
}

#[tokio::test]
async fn a_replay_as_of_a_time_shows_what_an_enrolment_made_of_a_decision() {
    let home = Home::new();
    let service = home.start().await;
    let before = now();
    let (enrolled, removed) = asked_and_removed(&home, &service).await;
    assert_eq!(all_the_same(&service, REALM).await, (1, 0));
    for (as_of, is_same) in [(enrolled, true), (removed, false), (before, false)] {
        let request = pb::ReplayDecisionsRequest { as_of: Some(as_of), ..of_realm(REALM) };
        let Replayed { differences, summary, pieces } = replay(&service, request).await;
        assert_eq!((summary.same, summary.different, pieces), (u64::from(is_same), u64::from(!is_same), 1));
        let Some(difference) = differences.first() else { continue };
        let logged = difference.logged.as_ref().unwrap();
        assert_eq!((logged.decision(), difference.decision()), (pb::Decision::Allow, pb::Decision::Deny));
        assert_eq!(difference.outcome(), pb::Outcome::NotPermitted);
        assert!(!difference.reasons.is_empty() && difference.determining_policies.is_empty());
        assert!(logged.subjects[0].is_pseudonym && !format!("{difference:?}").contains("604822"));
    }
    let status = service
        .decisions()
        .replay_decisions(pb::ReplayDecisionsRequest { as_of: Some(Timestamp::default()), ..of_realm(REALM) })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("knows nothing of that time"), "{status:?}");
}

#[tokio::test]
async fn relationships_are_read_as_they_were_known() {
    let home = Home::new();
    let service = home.start().await;
    let before = now();
    let (enrolled, removed) = asked_and_removed(&home, &service).await;
    let service = restarted(&home, service).await;
    for (as_of, expected) in [(None, 0), (Some(before), 0), (Some(enrolled), 1), (Some(removed), 0)] {
        let request = pb::ReadRelationshipsRequest {
            realm: REALM.to_owned(),
            subject: Some(entity("Student", "604822")),
            as_of,
            ..pb::ReadRelationshipsRequest::default()
        };
        let page = service.relationships().read_relationships(request).await.unwrap().into_inner();
        assert_eq!(page.relationships.len(), expected, "{as_of:?}");
    }
}

#[tokio::test]
async fn what_was_forgotten_is_no_difference() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let record = enrolment("604822", 101);
    let mut claims = home.token("SISVendor", &[101]);
    let request = pb::DeleteRecordsRequest {
        realm: REALM.to_owned(),
        resource: "studentSchoolAssociations".to_owned(),
        records: vec![record],
        forget: true,
    };
    service.relationships().delete_records(request).await.unwrap();
    let Replayed { summary, .. } = replay(&service, of_realm(REALM)).await;
    assert_eq!((summary.same, summary.different), (0, 0));
    assert_eq!(summary.not_replayed, [("HISTORY_FORGOTTEN".to_owned(), 1)].into());
    claims.clear();
    let keys = fs::read_dir(home.data.join("keys")).unwrap();
    let names: Vec<_> = keys.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.contains(&format!("history.{REALM}.2.key")) && !names.contains(&format!("history.{REALM}.1.key")));
}

#[tokio::test]
async fn what_is_missing_is_said_by_its_code() {
    let home = Home::new();
    let mut service = home.start().await;
    asked_and_removed(&home, &service).await;
    service.kill();
    let realm = home.data.join("realms").join(REALM);
    let versions: Vec<_> = fs::read_dir(realm.join("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(versions.len(), 1);
    let file = versions[0].join("files/realm.toml");
    fs::write(&file, format!("{}\n# other\n", fs::read_to_string(&file).unwrap())).unwrap();
    let history = realm.join("history");
    let (moved, is_hist) =
        (home.path("history"), |path: &std::path::Path| path.extension().is_some_and(|e| e == "hist"));
    fs::rename(&history, &moved).unwrap();
    let service = home.start().await;
    // The policies that decide now are at hand, however their kept copy was treated; it was kept anew, too.
    let Replayed { summary, .. } = replay(&service, of_realm(REALM)).await;
    assert_eq!(summary.not_replayed, [("HISTORY_MISSING".to_owned(), 1)].into());
    assert!(fs::read_dir(&moved).unwrap().any(|entry| is_hist(&entry.unwrap().path())));
    assert!(fs::read_dir(realm.join("policies")).unwrap().count() == 2, "the changed copy was put aside");
}

#[tokio::test]
async fn a_replay_is_a_reading_of_the_log_and_takes_no_pages() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let mut request = of_realm(REALM);
    let query = request.query.as_mut().unwrap();
    (query.page_size, query.order, query.kind) = (5, 1, 0);
    let status = service.decisions().replay_decisions(request.clone()).await.unwrap_err();
    assert_eq!(fields_of(&status), ["query.order", "query.page_size"]);
    let query = request.query.as_mut().unwrap();
    (query.page_size, query.order) = (0, 0);
    for readings in 0..2 {
        let Replayed { summary, .. } = replay(&service, request.clone()).await;
        assert_eq!(summary.same, 1);
        assert_eq!(summary.not_replayed.get("READING").copied().unwrap_or(0), readings);
    }
    assert_eq!(ISSUER, "https://idp.example");
}

#[tokio::test]
async fn the_command_shows_the_differences_and_ends_with_exit_code_1() {
    let home = Home::new();
    let service = home.start().await;
    asked_and_removed(&home, &service).await;
    let run = |arguments: &[&str]| {
        let command = home.command("decisions");
        // The verb comes before the options that `command` gives.
        let mut all: Vec<String> = vec!["decisions".to_owned(), "replay".to_owned()];
        all.extend(["--address".to_owned(), service.address.clone()]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let config: Vec<_> =
            command.get_args().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
        let mut again = std::process::Command::new(command.get_program());
        again.args(&all).args(config).current_dir(command.get_current_dir().unwrap());
        let output = again.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, errors) = run(&[]);
    assert_eq!((code, &*errors), (Some(0), ""), "{text}");
    assert!(
        text.starts_with("1 decision decided again, each with the policies and relationships of its moment\n"),
        "{text}"
    );
    assert!(text.contains("1  came out the same\n"), "{text}");
    let (code, text, _) = run(&["--as-of", "2999-01-01"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("different ") && text.contains("\n  was  ALLOW (ALLOWED)"), "{text}");
    assert!(
        text.contains("\n  is   DENY (NOT_PERMITTED)") && text.contains("1  came out differently, see above\n"),
        "{text}"
    );
    let (code, text, _) = run(&["--as-of", "2999-01-01", "--output", "json"]);
    assert_eq!(code, Some(1));
    let lines: Vec<Json> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines[0]["decision"], "DENY");
    assert_eq!(
        lines[1]["summary"],
        json!({
            "same": 0, "different": 1, "refused_tokens": 0, "not_replayed": { "READING": 2 }, "complete": true, "events": [],
        })
    );
}

#[tokio::test]
async fn a_replay_says_that_the_log_is_damaged() {
    let home = Home::new();
    let mut service = home.start().await;
    let token = home.token("SISVendor", &[255_901_001]);
    for count in 0..20 {
        service.authorization().authorize(reading_student(&token, &count.to_string())).await.unwrap();
    }
    let whole = replay(&service, of_realm(REALM)).await.summary;
    assert!(whole.complete && whole.events.is_empty() && whole.same == 20, "{whole:?}");
    service.signal("TERM");
    assert!(service.ended().await.success());
    let log = home.data.join("realms").join(REALM).join("decisions/00000001.seg");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let service = home.start().await;
    let damaged = replay(&service, of_realm(REALM)).await.summary;
    assert!(!damaged.complete && damaged.same < 20, "{damaged:?}");
    assert!(
        damaged.events.iter().any(|event| matches!(event.event, Some(pb::log_event::Event::Damage(_)))),
        "{damaged:?}"
    );
}
