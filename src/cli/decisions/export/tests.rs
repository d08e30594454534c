//! A decision that shows every field, and what an export writes of it.

use std::{collections::HashMap, fs};

use prost_types::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::proto::v1::{
    Decision, EntityReference, ListValue, Reason, RecordKind, RecordedSubject, Value, log_event, value::Kind,
};

/// A decision with a value in every field.
pub(super) fn sample(number: u64) -> DecisionRecord {
    let entity = |r#type: &str, id: &str| EntityReference { r#type: r#type.to_owned(), id: id.to_owned() };
    let subject = |attribute: &str, r#type: &str, id: &str, is_proposed: bool| RecordedSubject {
        attribute: attribute.to_owned(),
        r#type: r#type.to_owned(),
        id: id.to_owned(),
        is_pseudonym: !is_proposed,
        is_proposed,
    };
    let reason = |code: &str| Reason {
        code: code.to_owned(),
        message: "The student, is at none of the \"schools\".".to_owned(),
        policy_id: "Enrolled".to_owned(),
        subjects: vec!["student".to_owned()],
        hints: vec!["Is the student enrolled?".to_owned()],
    };
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let schools = Value { kind: Some(Kind::ListValue(ListValue { values: vec![text("1"), text("2")] })) };
    DecisionRecord {
        decision_id: format!("00000000-0000-0000-0000-{number:012}"),
        sequence: number,
        time: Some(Timestamp { seconds: 1_785_839_400, nanos: 250_000_000 }),
        decision: Decision::Deny.into(),
        outcome: crate::proto::v1::Outcome::NotPermitted.into(),
        reasons: vec![reason("RELATIONSHIP_MISSING"), reason("OTHER")],
        determining_policies: vec!["Enrolled".to_owned(), "Other".to_owned()],
        action: "Read".to_owned(),
        resource_type: "File".to_owned(),
        resource_id: format!("f-{number}"),
        subjects: vec![
            subject("student", "Student", &format!("p{number}"), false),
            subject("school", "School", "1", true),
        ],
        principal: Some(entity("Client", "=client")),
        issuer: "https://idp.example".to_owned(),
        attributes: HashMap::from([("schools".to_owned(), schools)]),
        policy_version: "v1".to_owned(),
        data_revision: 3,
        request_id: format!("r-{number}"),
        duration_us: 41,
        obligations: vec!["apply_profile".to_owned()],
        actor: Some(entity("User", "u-1")),
        client: "app".to_owned(),
        purpose: "complaint".to_owned(),
        kind: RecordKind::Decision.into(),
        caller: "gateway".to_owned(),
        adapter: "envoy".to_owned(),
    }
}

fn retention() -> LogEvent {
    let rule = "older than 400 days".to_owned();
    LogEvent {
        sequence: 9,
        time: Some(Timestamp { seconds: 10, nanos: 0 }),
        event: Some(log_event::Event::Retention(crate::proto::v1::Retention {
            first_sequence: 1,
            last_sequence: 6,
            rule,
        })),
    }
}

#[test]
fn an_export_of_each_format_has_whole_files_and_a_manifest_that_fits() {
    for format in Format::value_variants() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Folder::open(folder.path()).unwrap();
        let mut writer = Writer::begin(&mut out, *format, "edfi", true).unwrap();
        let proof =
            InclusionProof { leaf_index: 6, tree_size: 9, leaf_hash: vec![0xab; 32], path: vec![vec![0x01; 32]] };
        writer.write(&[sample(7), sample(8)], std::slice::from_ref(&proof), &[retention()]).unwrap();
        let files = writer.finish().unwrap();
        let manifest = ExportManifest {
            query: Some(QueryDecisionsRequest { realm: "edfi".to_owned(), names: true, ..Default::default() }),
            first_sequence: 7,
            last_sequence: 9,
            count: 2,
            complete: false,
            events: vec![retention()],
            checkpoint: "origin\n9\nroot\n".to_owned(),
            proofs: vec![proof],
        };
        let manifest = manifest_json(&manifest, *format, files);
        assert_eq!(manifest["query"], json!({ "realm": "edfi", "names": true }));
        assert_eq!(manifest["events"][0]["retention"]["last_sequence"], 6);
        assert_eq!((&manifest["proofs"][0]["sequence"], &manifest["count"]), (&json!(7), &json!(2)));
        out.begin(MANIFEST).unwrap().finish().unwrap();
        out.publish().unwrap();
        let listed = manifest["files"].as_array().unwrap();
        assert_eq!(listed.len(), 3);
        for (file, entries) in listed.iter().zip([2, 1, 1]) {
            let bytes = fs::read(folder.path().join(file["name"].as_str().unwrap())).unwrap();
            let digest = Sha256::digest(&bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            assert_eq!((&file["sha256"], &file["bytes"]), (&json!(digest), &json!(bytes.len())));
            assert_eq!(file["entries"], entries, "{file}");
        }
    }
}

#[test]
fn ndjson_reads_back_as_what_was_exported() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Folder::open(folder.path()).unwrap();
    let mut writer = Writer::begin(&mut out, Format::Ndjson, "edfi", false).unwrap();
    let bare = DecisionRecord { sequence: 8, ..DecisionRecord::default() };
    writer.write(&[sample(7), bare.clone()], &[], &[]).unwrap();
    writer.finish().unwrap();
    out.publish().unwrap();
    let text = fs::read_to_string(folder.path().join("decisions.ndjson")).unwrap();
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [json::record(&sample(7)), json::record(&bare)]);
    let read = &lines[0];
    assert_eq!(read["reasons"][1]["hints"], json!(["Is the student enrolled?"]));
    assert_eq!(read["attributes"], json!({ "schools": ["1", "2"] }));
    assert_eq!(read.as_object().unwrap().len(), 25, "a field for each of the record");
}
