//! A text of its own in every field that decides, reads or erases, right and wrong: in no file of the data folder, no log,
//! no metric and no error. Relationships are left out: to keep them, ids included, is what their store is for.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use hallpass::app::ports::Clock as _;
use hallpass::proto::v1::{self as pb, value::Kind};
use hallpass::provider::clock::SystemClock;
use serde_json::{Value as Json, json};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::applications::files_with;
use crate::support::{Home, ISSUER, REALM, Service, text};

/// Stands in every canary.
const CANARY: &str = "c4n4ry";

const FILES: [(&str, &str); 4] = [
    (
        "realm.toml",
        r#"
title = "North"
[principal]
entity = "Teacher"
id = "sub"
parents = ["schools"]
[principal.attributes.schools]
claim = "schools"
separator = ","
[principal.attributes.email]
claim = "email"
[trusted]
File = ["student"]
context = ["method"]
"#,
    ),
    (
        "schema.cedarschema",
        r"
entity School;
entity Student in [School];
entity Teacher in [School] { schools: Set<School>, email: String };
entity File { student?: Student };
action Read, Update appliesTo { principal: [Teacher], resource: [File], context: { method?: String } };
",
    ),
    (
        "relations.toml",
        r#"
[entities.Student]
person = true
[entities.Teacher]
person = true
[relations.enrolled_at]
subject = "Student"
object = "School"
[items.File]
entity = "Student"
[[records]]
resource = "enrolments"
key = ["school", "student"]
[[records.relationships]]
relation = "enrolled_at"
subject = "student"
object = "school"
"#,
    ),
    (
        "policies.cedar",
        r#"
@id("Enrolled")
@title("the student is enrolled at one of the teacher's schools")
@reason("RELATIONSHIP_MISSING")
@message("The student is at none of the teacher's schools.")
permit (principal is Teacher, action in [Action::"Read", Action::"Update"], resource is File)
when { resource has student && resource.student in principal.schools };
"#,
    ),
];

/// A canary of this name.
fn canary(name: &str) -> String {
    format!("{CANARY}-{name}")
}

async fn ready() -> (Home, Service) {
    let mut home = Home::new();
    let rules = home.path("north");
    fs::create_dir(&rules).unwrap();
    for (name, content) in FILES {
        fs::write(rules.join(name), content).unwrap();
    }
    home.rules = rules;
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let service = home.start().await;
    let enrolment = json!({ "school": "s-1", "student": "known-student" });
    service.import("enrolments", &[enrolment.to_string()]).await;
    (home, service)
}

/// A token of a teacher of the school `s-1`; every claim that may be anything is a canary.
fn token(home: &Home, further: &Json) -> String {
    let now_seconds = SystemClock.now_seconds();
    let mut claims = json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3600, "jti": canary("jti"), "sub": canary("sub"),
        "email": canary("email"), "client_id": canary("client"), "azp": canary("azp"), "aud": canary("aud"),
        "act": { "sub": canary("actor") }, "name": canary("name"), "schools": format!("s-1,{}", canary("school")),
    });
    for (name, claim) in further.as_object().unwrap() {
        claims[name] = claim.clone();
    }
    home.sign(&claims)
}

fn proof() -> pb::TokenProof {
    pb::TokenProof {
        method: canary("method"),
        uri: canary("uri"),
        dpop: vec![canary("dpop")],
        client_certificate: canary("certificate").into_bytes(),
    }
}

/// May the teacher read this student's file?
fn question(token: &str, student: &str) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: "Read".to_owned(),
        resource: Some(pb::Resource {
            r#type: "File".to_owned(),
            id: canary("file"),
            attributes: HashMap::from([("student".to_owned(), text(student))]),
            ..pb::Resource::default()
        }),
        context: HashMap::from([("method".to_owned(), text(&canary("context")))]),
        request_id: canary("request-id"),
        purpose: canary("purpose"),
        ..pb::AuthorizeRequest::default()
    }
}

/// The question with another resource.
fn with_resource(question: &pb::AuthorizeRequest, change: impl FnOnce(&mut pb::Resource)) -> pb::AuthorizeRequest {
    let mut question = question.clone();
    change(question.resource.as_mut().unwrap());
    question
}

/// Questions that are wrong in a field each.
fn wrong(good: &pb::AuthorizeRequest) -> Vec<pb::AuthorizeRequest> {
    // Errors point to a member by its name, which is no value.
    let named = |name: &str| HashMap::from([(name.to_owned(), text(&canary("value")))]);
    let number = pb::Value { kind: Some(Kind::IntValue(7)) };
    vec![
        pb::AuthorizeRequest { realm: canary("realm"), ..good.clone() },
        pb::AuthorizeRequest { action: canary("action"), ..good.clone() },
        pb::AuthorizeRequest { media_type: canary("media"), ..good.clone() },
        pb::AuthorizeRequest { supported_obligations: vec![canary("obligation")], ..good.clone() },
        pb::AuthorizeRequest { request_id: format!("{}é", canary("request")), ..good.clone() },
        pb::AuthorizeRequest { purpose: canary("purpose").repeat(100), ..good.clone() },
        pb::AuthorizeRequest { context: named("context-name"), ..good.clone() },
        pb::AuthorizeRequest { context: HashMap::from([("method".to_owned(), number)]), ..good.clone() },
        pb::AuthorizeRequest { token_scheme: canary("scheme"), ..good.clone() },
        pb::AuthorizeRequest { query_token: canary("query-token"), ..good.clone() },
        pb::AuthorizeRequest { proof: Some(proof()), ..good.clone() },
        with_resource(good, |resource| resource.r#type = canary("type")),
        with_resource(good, |resource| resource.id = canary("id").repeat(100)),
        with_resource(good, |resource| resource.attributes = named("attribute-name")),
        with_resource(good, |resource| {
            let list = pb::ListValue { values: vec![text(&canary("list"))] };
            let list = pb::Value { kind: Some(Kind::ListValue(list)) };
            resource.attributes.insert("student".to_owned(), list);
        }),
        with_resource(good, |resource| {
            (resource.proposed, resource.has_proposed) = (named("proposed-name"), true);
        }),
        pb::AuthorizeRequest {
            action: "Update".to_owned(),
            ..with_resource(good, |resource| {
                let proposed = HashMap::from([("student".to_owned(), text(&canary("proposed")))]);
                (resource.proposed, resource.has_proposed) = (proposed, true);
            })
        },
    ]
}

/// Decides with good and bad tokens, right and wrong questions, and searches.
async fn decide(home: &Home, service: &Service, said: &mut Said) {
    let good = token(home, &json!({}));
    let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let tokens = [
        token(home, &json!({ "exp": 7 })),
        token(home, &json!({ "iss": canary("iss") })),
        token(home, &json!({ "email": [canary("list")] })),
        token(home, &json!({ "sub": 7 })),
        format!("{header}.{}.{signature}", canary("payload")),
        canary("opaque"),
        String::new(),
    ];
    let mut questions = vec![question(&good, "known-student"), question(&good, &canary("student"))];
    questions.extend(tokens.iter().map(|token| question(token, &canary("student"))));
    questions.extend(wrong(&questions[0]));
    let mut client = service.authorization();
    for asked in &questions {
        said.note(client.authorize(asked.clone()).await);
        let info = pb::GetTokenInfoRequest {
            realm: REALM.to_owned(),
            token: asked.token.clone(),
            token_scheme: asked.token_scheme.clone(),
            query_token: asked.query_token.clone(),
            proof: asked.proof.clone(),
        };
        said.note_refusal(client.get_token_info(info).await);
        for asked in searches(asked) {
            match client.search_resources(asked).await {
                Ok(answer) => {
                    let mut parts = answer.into_inner();
                    while let Some(Some(_)) = said.note_refusal(parts.message().await) {}
                }
                Err(status) => said.refused(&status),
            }
        }
    }
    let batch = pb::BatchAuthorizeRequest { defaults: None, items: questions };
    said.note(client.batch_authorize(batch).await);
}

/// The question as searches, of candidates and of what the service knows.
fn searches(asked: &pb::AuthorizeRequest) -> [pb::SearchResourcesRequest; 3] {
    let asked = asked.clone();
    let resource = asked.resource.unwrap();
    let all = pb::SearchResourcesRequest {
        realm: asked.realm,
        token: asked.token,
        token_scheme: asked.token_scheme,
        action: asked.action,
        resource_type: resource.r#type.clone(),
        context: asked.context,
        request_id: asked.request_id,
        media_type: asked.media_type,
        supported_obligations: asked.supported_obligations,
        query_token: asked.query_token,
        proof: asked.proof,
        purpose: asked.purpose,
        ..pb::SearchResourcesRequest::default()
    };
    let within = pb::EntityReference { r#type: "School".to_owned(), id: canary("within") };
    let candidates = pb::SearchResourcesRequest { candidates: vec![resource], has_candidates: true, ..all.clone() };
    let within = pb::SearchResourcesRequest { within: Some(within), page_token: canary("page"), ..all.clone() };
    [all, candidates, within]
}

/// Asks the log, with a canary in every field, right and wrong, and does what can be done to people.
async fn read(service: &Service, said: &mut Said) {
    let person = |id: &str| Some(pb::EntityReference { r#type: "Student".to_owned(), id: canary(id) });
    let about = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        principal: canary("principal"),
        person: person("student"),
        entity: Some(pb::EntityReference { r#type: "School".to_owned(), id: canary("entity") }),
        resource_type: canary("resource-type"),
        resource_id: canary("resource-id"),
        action: canary("action"),
        reason: canary("reason"),
        policy: canary("policy"),
        request_id: canary("request-id"),
        client: canary("client"),
        actor: canary("actor"),
        names: true,
        purpose: canary("reading"),
        ..pb::QueryDecisionsRequest::default()
    };
    let alone = pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..pb::QueryDecisionsRequest::default() };
    let unknown = pb::EntityReference { r#type: canary("type"), id: canary("id") };
    let queries = [
        about.clone(),
        pb::QueryDecisionsRequest { person: person("unknown"), ..alone.clone() },
        pb::QueryDecisionsRequest { person: Some(unknown.clone()), ..alone.clone() },
        pb::QueryDecisionsRequest { entity: Some(unknown.clone()), ..alone.clone() },
        pb::QueryDecisionsRequest { page_token: canary("page"), ..alone.clone() },
        pb::QueryDecisionsRequest { purpose: canary("purpose").repeat(100), ..alone.clone() },
        pb::QueryDecisionsRequest { realm: canary("realm"), ..alone },
    ];
    let mut log = service.decisions();
    for query in queries {
        said.note_refusal(log.query_decisions(query.clone()).await);
        let export = pb::ExportDecisionsRequest { query: Some(query.clone()), proofs: true };
        said.note_refusal(log.export_decisions(export).await);
        let replay = pb::ReplayDecisionsRequest { query: Some(query), ..Default::default() };
        said.note_refusal(log.replay_decisions(replay).await);
    }
    let get = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: canary("decision") };
    said.note_refusal(log.get_decision(get).await);
    let prove = pb::ProveInclusionRequest {
        realm: REALM.to_owned(),
        decision_id: canary("decision"),
        ..pb::ProveInclusionRequest::default()
    };
    said.note_refusal(log.prove_inclusion(prove).await);
    let mut privacy = service.privacy();
    let realm = || REALM.to_owned();
    for person in [person("student"), person("stranger"), Some(unknown)] {
        let held =
            |held| pb::SetLegalHoldRequest { realm: realm(), person: person.clone(), held, reason: canary("why") };
        said.note(privacy.set_legal_hold(held(true)).await);
        let erase = pb::ErasePersonRequest { realm: realm(), person: person.clone(), basis: canary("basis") };
        said.note_refusal(privacy.erase_person(erase.clone()).await);
        said.note(privacy.set_legal_hold(held(false)).await);
        said.note(privacy.erase_person(erase).await);
    }
    let resolve = pb::ResolvePseudonymsRequest {
        realm: realm(),
        pseudonyms: vec![canary("pseudonym")],
        purpose: canary("purpose"),
    };
    said.note_refusal(privacy.resolve_pseudonyms(resolve).await);
}

/// What the service said to callers.
#[derive(Default)]
struct Said {
    texts: Vec<String>,
    refusals: usize,
}

impl Said {
    fn note<T: std::fmt::Debug>(&mut self, answer: Result<T, Status>) {
        match answer {
            Ok(answer) => self.texts.push(format!("{answer:?}")),
            Err(status) => self.refused(&status),
        }
    }

    /// Of an answer that may say what was asked for, only an error counts.
    fn note_refusal<T>(&mut self, answer: Result<T, Status>) -> Option<T> {
        answer.inspect_err(|status| self.refused(status)).ok()
    }

    fn refused(&mut self, status: &Status) {
        self.refusals += 1;
        self.texts.push(format!("{status:?} {:?} {:?}", status.message(), status.get_error_details()));
    }
}

/// What `GET /metrics` says.
fn metrics(service: &Service) -> String {
    let address = service.http.as_deref().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_caller_sent_is_found_anywhere() {
    let (home, mut service) = ready().await;
    let mut said = Said::default();
    decide(&home, &service, &mut said).await;
    read(&service, &mut said).await;
    assert!(said.refusals > 20, "only {} refusals", said.refusals);
    said.texts.push(metrics(&service));
    let all = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        kind: pb::RecordKind::Decision.into(),
        page_size: 1_000,
        ..pb::QueryDecisionsRequest::default()
    };
    let kept = service.decisions().query_decisions(all).await.unwrap().into_inner().decisions;
    for outcome in [pb::Outcome::Allowed, pb::Outcome::NotPermitted, pb::Outcome::Unauthenticated] {
        assert!(kept.iter().any(|record| record.outcome() == outcome), "no decision was {outcome:?}");
    }
    let shown: Vec<_> = said.texts.iter().filter(|text| text.contains(CANARY)).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    service.signal("TERM");
    assert!(service.ended().await.success());
    assert_eq!(files_with(home.path("").as_path(), &[CANARY]), Vec::<String>::new());
    let control = files_with(&home.data, &["known-student"]);
    assert!(!control.is_empty(), "what the relationships hold can be read, so the search would find a canary");
}
