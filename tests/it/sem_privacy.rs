//! The ids of pupils and teachers in the realm of the SEM ecosystem: in no file, no log and no answer.

use std::path::Path;

use hallpass::app::ports::Clock as _;
use hallpass::proto::v1 as pb;
use hallpass::provider::clock::SystemClock;
use serde_json::json;

use crate::applications::files_with;
use crate::support::{Home, ISSUER, REALM, Service, text};

/// An ECK iD of nobody.
const ECK_ID: &str = "https://ketenid.example/201703/9d3f0c5a7be1e2canary4460b81fd2";

fn question(token: &str, action: &str, resource_type: &str, attributes: &[(&str, &str)]) -> pb::AuthorizeRequest {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    let resource = pb::Resource {
        r#type: resource_type.to_owned(),
        id: ECK_ID.to_owned(),
        attributes,
        has_attributes: true,
        ..pb::Resource::default()
    };
    pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: action.to_owned(),
        resource: Some(resource),
        context: [("server".to_owned(), text("sis-alder"))].into(),
        supported_obligations: vec!["redact_fields".to_owned()],
        ..pb::AuthorizeRequest::default()
    }
}

async fn ready() -> (Home, Service) {
    let mut home = Home::new();
    home.rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/sem");
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let service = home.start().await;
    let parties = [
        json!({ "party": "sis-alder", "roles": ["SIS", "LA"], "clients": ["alder-app"], "issuers": [ISSUER] }),
        json!({ "party": "lms-dune", "roles": ["LMS", "SIS"], "clients": ["dune-portal"], "issuers": [] }),
    ];
    service.import("parties", &parties.map(|party| party.to_string())).await;
    service.import("schools", &[json!({ "schoolIdentifier": "HEATH-1" }).to_string()]).await;
    let consents = ["sis-api", "usage-api"].map(|api| {
        let (producer, consumer) = ("sis-alder", "lms-dune");
        json!({
            "producer": producer, "consumer": consumer, "schoolIdentifier": "HEATH-1", "api": api,
            "producerStatus": "accepted", "consumerStatus": "accepted",
        })
    });
    service.import("consents", &consents.map(|consent| consent.to_string())).await;
    (home, service)
}

fn token(home: &Home, scope: &str) -> String {
    let now_seconds = SystemClock.now_seconds();
    home.sign(&json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3600,
        "aud": "dune-portal", "scope": scope, "schoolidentifier": "HEATH-1",
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_pupil_is_kept_as_a_pseudonym_and_shown_to_nobody() {
    let (home, mut service) = ready().await;
    let token = token(&home, "sis.student-teacher-group la.usage.activation la.usage.usage");
    let school = ("schoolId", "HEATH-1");
    let questions = [
        ("get-student-by-id", "Student", vec![school, ("eckId", ECK_ID)], pb::Decision::Allow),
        ("get-teacher-by-id", "Teacher", vec![school, ("userId", ECK_ID)], pb::Decision::Allow),
        ("get-student-delivery-information-by-id", "StudentDelivery", vec![school], pb::Decision::Deny),
        ("post-search-usage-by-individual", "Usage", vec![school, ("eckId", ECK_ID)], pb::Decision::Allow),
        ("post-event", "Event", vec![school, ("event_type", "sis.Student"), ("objectId", ECK_ID)], pb::Decision::Deny),
        ("post-event", "Event", vec![school, ("event_type", "la.SimpleResult")], pb::Decision::Deny),
    ];
    for (action, resource_type, attributes, expected) in &questions {
        let asked = question(&token, action, resource_type, attributes);
        let answer = service.authorization().authorize(asked).await.unwrap().into_inner();
        assert_eq!(answer.decision(), *expected, "{action}: {answer:?}");
        assert!(!format!("{answer:?}").contains(ECK_ID), "{action}: {answer:?}");
    }
    for (action, resource_type) in [("get-student-by-id", "Pupil"), ("get-pupil", "Student")] {
        let refusal = service.authorization().authorize(question(&token, action, resource_type, &[school])).await;
        let refusal = refusal.unwrap_err();
        assert!(!format!("{refusal:?}").contains(ECK_ID), "{refusal:?}");
    }

    let kept = service.decisions_after(0).await;
    assert_eq!(kept.len(), questions.len());
    assert!(!format!("{kept:?}").contains(ECK_ID), "{kept:?}");
    assert!(kept.iter().all(|record| !record.resource_id.is_empty()), "{kept:?}");
    let request = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        resource_type: "Student".to_owned(),
        resource_id: ECK_ID.to_owned(),
        ..pb::QueryDecisionsRequest::default()
    };
    let found = service.decisions().query_decisions(request).await.unwrap().into_inner().decisions;
    let actions: Vec<_> = found.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["get-student-by-id"], "whoever knows the id finds what was decided about it");

    service.signal("TERM");
    assert!(service.ended().await.success());
    assert_eq!(files_with(home.path("").as_path(), &[ECK_ID, "201703/9d3f0c"]), Vec::<String>::new());
    let control = files_with(&home.data, &["dune-portal"]);
    assert!(!control.is_empty(), "what is kept can be read, so the search would find an id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_consent_stops_a_token_that_is_still_good() {
    let (home, service) = ready().await;
    let token = token(&home, "sis.student-teacher-group");
    let asked = || question(&token, "get-student-by-id", "Student", &[("schoolId", "HEATH-1")]);
    let code =
        async |asked| service.authorization().authorize(asked).await.unwrap().into_inner().reasons[0].code.clone();
    assert_eq!(code(asked()).await, "PERMITTED");

    let consent = |consumer_status: &str| {
        json!({
            "producer": "sis-alder", "consumer": "lms-dune", "schoolIdentifier": "HEATH-1", "api": "sis-api",
            "producerStatus": "accepted", "consumerStatus": consumer_status,
        })
        .to_string()
    };
    service.import("consents", &[consent("revoked")]).await;
    assert_eq!(code(asked()).await, "CONSENT_MISSING");
    service.import("consents", &[consent("accepted")]).await;
    assert_eq!(code(asked()).await, "PERMITTED");
}
