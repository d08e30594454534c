use std::collections::HashMap;

use prost::Message;
use prost_reflect::DynamicMessage;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use super::{super::POOL, *};
use crate::proto::v1::{self as pb, batch_authorize_result::Result as Outcome, value::Kind};

fn descriptor(name: &str) -> prost_reflect::MessageDescriptor {
    POOL.get_message_by_name(&format!("hallpass.v1.{name}")).unwrap()
}

fn text(text: &str) -> pb::Value {
    pb::Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// The message is written as this JSON, and read from it again.
#[track_caller]
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M, expected: &Json) {
    let bytes = message.encode_to_vec();
    let written = serde_json::to_value(Written(&DynamicMessage::decode(descriptor(name), &*bytes).unwrap())).unwrap();
    assert_eq!(&written, expected);
    let read = read(&descriptor(name), written.as_object().unwrap()).unwrap();
    assert_eq!(&M::decode(&*read.encode_to_vec()).unwrap(), message);
}

#[test]
fn a_question_is_plain_json() {
    let reference = pb::EntityReference { r#type: "School".to_owned(), id: "7".to_owned() };
    let resource = pb::Resource {
        r#type: "ed-fi/students".to_owned(),
        attributes: HashMap::from([
            ("studentUniqueId".to_owned(), text("604822")),
            ("school".to_owned(), pb::Value { kind: Some(Kind::EntityValue(reference)) }),
            ("none".to_owned(), pb::Value { kind: None }),
        ]),
        has_proposed: true,
        ..pb::Resource::default()
    };
    let question = pb::AuthorizeRequest {
        token: "t".to_owned(),
        action: "Read".to_owned(),
        resource: Some(resource),
        at_least_revision: u64::MAX,
        supported_obligations: vec!["mask".to_owned(), String::new()],
        proof: Some(pb::TokenProof { client_certificate: vec![251, 255, 1], ..pb::TokenProof::default() }),
        explain: pb::ExplainLevel::Full.into(),
        ..pb::AuthorizeRequest::default()
    };
    check(
        "AuthorizeRequest",
        &question,
        &json!({
            "token": "t",
            "action": "Read",
            "resource": {
                "type": "ed-fi/students",
                "attributes": { "studentUniqueId": "604822", "school": { "@type": "School", "@id": "7" }, "none": null },
                "hasProposed": true,
            },
            "atLeastRevision": "18446744073709551615",
            "supportedObligations": ["mask", ""],
            "proof": { "clientCertificate": "+/8B" },
            "explain": "EXPLAIN_LEVEL_FULL",
        }),
    );
    check("AuthorizeRequest", &pb::AuthorizeRequest::default(), &json!({}));
}

#[test]
fn times_maps_and_choices_are_as_proto3_has_them() {
    let expires_at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let register = |expires_at| pb::RegisterTokenRequest { expires_at, ..pb::RegisterTokenRequest::default() };
    for (time, expected) in [
        (expires_at(1_795_334_400, 0), "2026-11-22T08:00:00Z"),
        (expires_at(-1, 500_000_000), "1969-12-31T23:59:59.500Z"),
        (expires_at(253_402_300_799, 0), "9999-12-31T23:59:59Z"),
    ] {
        check("RegisterTokenRequest", &register(time), &json!({ "expiresAt": expected }));
    }
    let error = pb::BatchAuthorizeError { code: -3, ..pb::BatchAuthorizeError::default() };
    let results = [Outcome::Response(pb::AuthorizeResponse::default()), Outcome::Error(error)];
    let results = results.map(|result| pb::BatchAuthorizeResult { result: Some(result) }).to_vec();
    check(
        "BatchAuthorizeResponse",
        &pb::BatchAuthorizeResponse { results },
        &json!({ "results": [{ "response": {} }, { "error": { "code": -3 } }] }),
    );
}

#[test]
fn members_come_in_the_order_of_the_proto_file() {
    let answer = pb::AuthorizeResponse {
        decision: pb::Decision::Deny.into(),
        decision_id: "d".to_owned(),
        outcome: 77,
        ..pb::AuthorizeResponse::default()
    };
    let message = DynamicMessage::decode(descriptor("AuthorizeResponse"), &*answer.encode_to_vec()).unwrap();
    let text = serde_json::to_string(&Written(&message)).unwrap();
    assert_eq!(text, r#"{"decision":"DECISION_DENY","outcome":77,"decisionId":"d"}"#);
}

#[test]
fn what_means_the_same_is_read_the_same() {
    let expected = pb::AuthorizeRequest {
        token_scheme: "JWT".to_owned(),
        at_least_revision: 3,
        proof: Some(pb::TokenProof { client_certificate: vec![251, 255], ..pb::TokenProof::default() }),
        ..pb::AuthorizeRequest::default()
    };
    for json in [
        json!({ "tokenScheme": "JWT", "atLeastRevision": "3", "proof": { "clientCertificate": "+/8=" } }),
        json!({ "token_scheme": "JWT", "at_least_revision": 3, "proof": { "client_certificate": "+/8" } }),
        json!({ "token_scheme": "JWT", "atLeastRevision": 3.0, "proof": { "clientCertificate": "-_8" }, "token": null }),
        json!({ "token_scheme": "JWT", "atLeastRevision": 3e0, "proof": { "clientCertificate": "-_8=" }, "context": null }),
    ] {
        let message = read(&descriptor("AuthorizeRequest"), json.as_object().unwrap()).unwrap();
        assert_eq!(pb::AuthorizeRequest::decode(&*message.encode_to_vec()).unwrap(), expected, "{json}");
    }
}

/// The faults of a message, each with its member.
fn faults(name: &str, json: &Json) -> Vec<String> {
    let faults = read(&descriptor(name), json.as_object().unwrap()).unwrap_err();
    faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect()
}

#[test]
fn every_fault_is_named_by_its_place_and_shows_no_value() {
    const CANARY: &str = "canary-71c2";
    let question = json!({
        "tokn": CANARY,
        "token": 3125,
        "action": [CANARY],
        "resource": { "attributes": { "x": { "y": [31.25] } }, "hasProposed": CANARY },
        "context": CANARY,
        "atLeastRevision": -3125,
        "supportedObligations": [CANARY, null],
        "proof": { "dpop": CANARY, "clientCertificate": format!("{CANARY}!") },
        "purpose": {},
        "explain": CANARY,
    });
    let found = faults("AuthorizeRequest", &question);
    assert!(found.iter().all(|fault| !fault.contains(CANARY) && !fault.contains("3125") && !fault.contains("31.25")));
    assert_eq!(
        found,
        [
            "action is a list, expected a text",
            "atLeastRevision is out of range, expected a whole number of 64 bits without a sign",
            "context is a text, expected an object",
            "explain is an unknown name, expected one of EXPLAIN_LEVEL_UNSPECIFIED, EXPLAIN_LEVEL_NONE, \
             EXPLAIN_LEVEL_REASONS, EXPLAIN_LEVEL_FULL",
            "proof.clientCertificate is not base64",
            "proof.dpop is a text, expected a list",
            "purpose is an object, expected a text",
            "resource.attributes.x.y[0] is a number, expected a whole one of 64 bits",
            "resource.hasProposed is a text, expected true or false",
            "supportedObligations[1] is null, expected a text",
            "token is a number, expected a text",
            "tokn is no member of AuthorizeRequest",
        ]
    );
}

#[test]
fn a_member_comes_under_one_name_and_excludes_its_alternatives() {
    let twice = "is there beside another name for it, or beside a member that excludes it";
    for (name, json, member) in [
        ("AuthorizeRequest", json!({ "tokenScheme": "a", "token_scheme": "a" }), "token_scheme"),
        ("BatchAuthorizeResult", json!({ "error": {}, "response": {} }), "response"),
    ] {
        assert_eq!(faults(name, &json), [format!("{member} {twice}")]);
    }
    let once = json!({ "tokenScheme": "a", "token_scheme": null });
    assert!(read(&descriptor("AuthorizeRequest"), once.as_object().unwrap()).is_ok());
}

#[test]
fn only_times_of_rfc_3339_are_times() {
    for good in ["2026-11-22T08:00:00Z", "2026-11-22T08:00:00.123456789+01:00", "0001-01-01T00:00:00Z"] {
        let json = json!({ "expiresAt": good });
        assert!(read(&descriptor("RegisterTokenRequest"), json.as_object().unwrap()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "2026-11-22",
        "2026-11-22T08:00:00",
        "2026-11-22 08:00:00Z",
        "2026-11-22T08:00Z",
        "2026-13-22T08:00:00Z",
        "2026-11-31T08:00:00Z",
        "2026-11-22T08:00:00.Z",
        "2026-11-22T08:00:00.1234567891Z",
        "2026-11-22T08:00:00+1:00",
        "2026-11-22T08:00:00+0100",
        "0000-12-31T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "+2026-11-22T08:00:00Z",
        "2026-11-22T08:00:00Zé",
        "2026-11-2é2T08:00:00Z",
    ] {
        assert_eq!(faults("RegisterTokenRequest", &json!({ "expiresAt": bad })), ["expiresAt is no time of RFC 3339"]);
    }
}

#[test]
fn whole_numbers_are_exact_or_refused() {
    for (json, expected) in [
        (json!("0"), Some(0)),
        (json!("-9223372036854775808"), Some(i64::MIN)),
        (json!(i64::MAX), Some(i64::MAX)),
        (json!(9_007_199_254_740_991.0), Some((1 << 53) - 1)),
        (json!(-1e3), Some(-1000)),
        (json!(9_007_199_254_740_992.0), None),
        (json!(0.5), None),
        (json!("9223372036854775808"), None),
        (json!("+1"), None),
        (json!("1.0"), None),
        (json!(""), None),
        (json!(" 1"), None),
        (json!("000000000000000000001"), None),
        (json!(true), None),
    ] {
        let object = json!({ "expiresAtSeconds": json });
        let read = read(&descriptor("IssueTokenResponse"), object.as_object().unwrap()).ok();
        let number = read.map(|message| pb::IssueTokenResponse::decode(&*message.encode_to_vec()).unwrap());
        assert_eq!(number.map(|message| message.expires_at_seconds), expected, "{json}");
    }
}

#[test]
fn the_faults_of_one_message_have_an_end() {
    let many = json!({ "supportedObligations": vec![1; 10_000] });
    assert_eq!(faults("AuthorizeRequest", &many).len(), 32);
}
