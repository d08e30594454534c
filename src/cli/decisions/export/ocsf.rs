//! Decisions as events of the Open Cybersecurity Schema Framework: class API Activity (6003), profile `security_control`.
//! <https://schema.ocsf.io/classes/api_activity>
//!
//! What the schema has no place for is in `unmapped`, in the words of the proto file.

use serde_json::{Map, Value as Json, json};

use crate::{
    cli::json,
    proto::v1::{Decision, DecisionRecord, RecordKind},
};

/// The version of the schema.
const VERSION: &str = "1.5.0";
const CATEGORY_UID: i64 = 6;
const CLASS_UID: i64 = 6003;
/// An activity without a number of its own goes by its name.
const OTHER: i64 = 99;

/// The event of a decision of a realm.
pub(super) fn event(realm: &str, record: &DecisionRecord) -> Json {
    let activity_id = activity(&record.action);
    let is_allow = record.decision() == Decision::Allow;
    let first = record.reasons.first();
    let time_ms = record.time.as_ref().map_or(0, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000);
    let policy = |id: &String| {
        json!({
            "decision": if is_allow { "allowed" } else { "denied" },
            "policy": { "uid": id, "name": id, "version": record.policy_version }
        })
    };
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": record.action,
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "class_uid": CLASS_UID,
        "class_name": "API Activity",
        "type_uid": CLASS_UID * 100 + activity_id,
        "time": time_ms,
        "severity_id": 1,
        "severity": "Informational",
        "status_id": if is_allow { 1 } else { 2 },
        "status": if is_allow { "Success" } else { "Failure" },
        "status_code": first.map(|reason| reason.code.as_str()).unwrap_or_default(),
        "status_detail": first.map(|reason| reason.message.as_str()).unwrap_or_default(),
        "action_id": if is_allow { 1 } else { 2 },
        "action": if is_allow { "Allowed" } else { "Denied" },
        "disposition_id": if is_allow { 1 } else { 2 },
        "disposition": if is_allow { "Allowed" } else { "Blocked" },
        "authorizations": record.determining_policies.iter().map(policy).collect::<Vec<_>>(),
        "actor": actor(record),
        "api": { "operation": record.action, "service": { "name": realm } },
        "src_endpoint": { "name": or_unknown(&record.client) },
        "resources": [{ "uid": record.resource_id, "type": record.resource_type }],
        "metadata": metadata(realm, record),
        "unmapped": unmapped(record),
    });
    if !record.request_id.is_empty()
        && let Some(api) = event.get_mut("api").and_then(Json::as_object_mut)
    {
        api.insert("request".to_owned(), json!({ "uid": record.request_id }));
    }
    event
}

/// The class's own number for what an action is called, by its first word.
fn activity(action: &str) -> i64 {
    let word: String = action.chars().take_while(char::is_ascii_alphabetic).collect();
    // `ReadChanges` and `getUser` begin with a word, too.
    let end = word.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase()).map_or(word.len(), |(index, _)| index);
    match word.get(..end).unwrap_or_default().to_ascii_lowercase().as_str() {
        "create" | "post" | "add" => 1,
        "read" | "get" | "list" | "search" | "query" => 2,
        "update" | "put" | "patch" => 3,
        "delete" | "remove" => 4,
        _ => OTHER,
    }
}

/// Who asked. The schema wants somebody: of a request without a good token, nobody is known.
fn actor(record: &DecisionRecord) -> Json {
    let mut actor = Map::new();
    let user = match &record.principal {
        Some(principal) => json!({ "uid": principal.id, "type": principal.r#type, "type_id": OTHER }),
        None => json!({ "name": "unknown", "type": "Unknown", "type_id": 0 }),
    };
    actor.insert("user".to_owned(), user);
    if !record.client.is_empty() {
        actor.insert("app_uid".to_owned(), json!(record.client));
    }
    if !record.issuer.is_empty() {
        actor.insert("idp".to_owned(), json!({ "name": record.issuer }));
    }
    Json::Object(actor)
}

fn metadata(realm: &str, record: &DecisionRecord) -> Json {
    json!({
        "version": VERSION,
        "product": { "name": "hallpass", "vendor_name": "hallpass", "version": env!("CARGO_PKG_VERSION") },
        "profiles": ["security_control"],
        "uid": record.decision_id,
        "sequence": record.sequence,
        "correlation_uid": record.request_id,
        "tenant_uid": realm,
        "log_name": "decisions",
    })
}

fn unmapped(record: &DecisionRecord) -> Json {
    let whole = json::record(record);
    let names = [
        "outcome",
        "reasons",
        "subjects",
        "attributes",
        "actor",
        "purpose",
        "data_revision",
        "obligations",
        "duration_us",
        "caller",
        "adapter",
        "policy_version",
    ];
    let mut unmapped: Map<String, Json> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), whole.get(*name)?.clone()))).collect();
    let is_reading = record.kind() == RecordKind::Reading;
    unmapped.insert("kind".to_owned(), json!(if is_reading { "reading" } else { "decision" }));
    Json::Object(unmapped)
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    /// What API Activity and the objects in it require, as the schema's files of 1.5.0 say it: a path, and the sort of
    /// value. Of alternatives (`a|b`), one.
    const REQUIRED: [(&str, &str); 15] = [
        ("/activity_id", "integer"),
        ("/category_uid", "integer"),
        ("/class_uid", "integer"),
        ("/type_uid", "integer"),
        ("/time", "integer"),
        ("/severity_id", "integer"),
        ("/metadata/version", "string"),
        ("/metadata/product/name|/metadata/product/uid", "string"),
        ("/metadata/product/vendor_name", "string"),
        ("/actor/user/uid|/actor/user/name", "string"),
        ("/api/operation", "string"),
        ("/src_endpoint/name|/src_endpoint/uid", "string"),
        ("/action_id", "integer"),
        ("/disposition_id", "integer"),
        ("/status_id", "integer"),
    ];

    /// The attributes of the class and its profile that we use; anything else would not be valid.
    const KNOWN: [&str; 25] = [
        "activity_id",
        "activity_name",
        "category_uid",
        "category_name",
        "class_uid",
        "class_name",
        "type_uid",
        "time",
        "severity_id",
        "severity",
        "status_id",
        "status",
        "status_code",
        "status_detail",
        "action_id",
        "action",
        "disposition_id",
        "disposition",
        "authorizations",
        "actor",
        "api",
        "src_endpoint",
        "resources",
        "metadata",
        "unmapped",
    ];

    fn check(event: &Json) {
        for (paths, sort) in REQUIRED {
            let found = paths.split('|').find_map(|path| event.pointer(path));
            let is_there = match sort {
                "integer" => found.is_some_and(Json::is_i64),
                _ => found.and_then(Json::as_str).is_some_and(|text| !text.is_empty()),
            };
            assert!(is_there, "{paths} is no {sort} in {event:#}");
        }
        let names = event.as_object().unwrap().keys();
        let unknown: Vec<_> = names.filter(|name| !KNOWN.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let number = |name: &str| event[name].as_i64().unwrap();
        assert_eq!((number("class_uid"), number("category_uid")), (6003, 6));
        assert_eq!(number("type_uid"), 600_300 + number("activity_id"));
        assert!([1, 2, 3, 4, 99].contains(&number("activity_id")));
        assert_eq!(number("status_id"), number("action_id"));
    }

    #[test]
    fn every_event_has_what_the_schema_requires() {
        let denied = sample(7);
        let allowed = DecisionRecord { decision: Decision::Allow.into(), ..sample(8) };
        let unknown = DecisionRecord { principal: None, client: String::new(), issuer: String::new(), ..sample(9) };
        for record in [&denied, &allowed, &unknown] {
            check(&event("edfi", record));
        }
        let event = event("edfi", &denied);
        assert_eq!(event["time"], 1_785_839_400_250_i64);
        assert_eq!((&event["action_id"], &event["activity_id"]), (&json!(2), &json!(2)));
        assert_eq!(
            event["authorizations"][0]["policy"],
            json!({ "uid": "Enrolled", "name": "Enrolled", "version": "v1" })
        );
        assert_eq!(event["actor"]["user"]["uid"], "=client");
        assert_eq!(event["metadata"]["sequence"], 7);
        assert_eq!(event["unmapped"]["purpose"], "complaint");
        assert_eq!(event["unmapped"]["subjects"][0]["id"], "p7");
    }

    #[test]
    fn activities_go_by_the_first_word_of_the_action() {
        for (action, expected) in [
            ("Create", 1),
            ("read", 2),
            ("ReadChanges", 2),
            ("get-student-by-id", 2),
            ("readiness", OTHER),
            ("can_update_todo", OTHER),
            ("Update", 3),
            ("delete:timesheets", 4),
            ("", OTHER),
            ("élève", OTHER),
        ] {
            assert_eq!(activity(action), expected, "{action}");
        }
    }
}
