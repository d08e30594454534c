//! Decisions as CSV (RFC 4180): a head, then a line for each, ending in CR LF.

use std::io::{self, Write};

use crate::{
    cli::json,
    proto::v1::{DecisionRecord, EntityReference, RecordedSubject},
};

/// The head; one name for each cell of [`cells`].
const COLUMNS: [&str; 27] = [
    "sequence",
    "decision_id",
    "time",
    "kind",
    "decision",
    "outcome",
    "reasons",
    "message",
    "policies",
    "action",
    "resource_type",
    "resource_id",
    "subjects",
    "principal_type",
    "principal_id",
    "actor_type",
    "actor_id",
    "client",
    "issuer",
    "purpose",
    "request_id",
    "policy_version",
    "data_revision",
    "obligations",
    "duration_us",
    "caller",
    "adapter",
];

pub(super) fn write_head(out: &mut impl Write) -> io::Result<()> {
    write_line(out, COLUMNS.into_iter().map(str::to_owned))
}

pub(super) fn write(out: &mut impl Write, record: &DecisionRecord) -> io::Result<()> {
    write_line(out, cells(record).into_iter())
}

/// The cells of a decision. Several values stand in one cell with blanks between them.
fn cells(record: &DecisionRecord) -> [String; 27] {
    let kind = json::record(record);
    let kind = kind.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let part = |entity: Option<&EntityReference>| {
        entity.map(|entity| (entity.r#type.clone(), entity.id.clone())).unwrap_or_default()
    };
    let (principal, actor) = (part(record.principal.as_ref()), part(record.actor.as_ref()));
    let subject = |subject: &RecordedSubject| {
        let phase = if subject.is_proposed { "proposed " } else { "" };
        format!("{phase}{}={}:{}", subject.attribute, subject.r#type, subject.id)
    };
    let codes: Vec<&str> = record.reasons.iter().map(|reason| reason.code.as_str()).collect();
    [
        record.sequence.to_string(),
        record.decision_id.clone(),
        record.time.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind,
        json::effect(record.decision).to_owned(),
        json::outcome(record.outcome).to_owned(),
        codes.join(" "),
        record.reasons.first().map(|reason| reason.message.clone()).unwrap_or_default(),
        record.determining_policies.join(" "),
        record.action.clone(),
        record.resource_type.clone(),
        record.resource_id.clone(),
        record.subjects.iter().map(subject).collect::<Vec<_>>().join("; "),
        principal.0,
        principal.1,
        actor.0,
        actor.1,
        record.client.clone(),
        record.issuer.clone(),
        record.purpose.clone(),
        record.request_id.clone(),
        record.policy_version.clone(),
        record.data_revision.to_string(),
        record.obligations.join(" "),
        record.duration_us.to_string(),
        record.caller.clone(),
        record.adapter.clone(),
    ]
}

fn write_line(out: &mut impl Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    for (index, text) in cells.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(cell(&text).as_bytes())?;
    }
    out.write_all(b"\r\n")
}

/// A cell that no spreadsheet takes for a formula (OWASP, "CSV Injection"): one that begins like one gets an apostrophe
/// first.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let guard = if is_formula { "'" } else { "" };
    if is_formula || text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        return format!("\"{guard}{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn cells_are_quoted_where_they_must_and_never_are_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            (" blank", "\" blank\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("＝1", "\"'＝1\""),
            ("=cmd|' /C calc'!\"A0\"", "\"'=cmd|' /C calc'!\"\"A0\"\"\""),
            ("1=1", "1=1"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_line_has_a_cell_for_each_column() {
        let mut text = Vec::new();
        write_head(&mut text).unwrap();
        write(&mut text, &sample(7)).unwrap();
        write(&mut text, &DecisionRecord::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        assert_eq!(lines[2], ",,,decision,UNSPECIFIED,UNSPECIFIED,,,,,,,,,,,,,,,,,0,,0,,".replacen("", "0", 1));
        assert_eq!(
            lines[1],
            "7,00000000-0000-0000-0000-000000000007,2026-08-04T10:30:00.250Z,decision,DENY,NOT_PERMITTED,\
             RELATIONSHIP_MISSING OTHER,\"The student, is at none of the \"\"schools\"\".\",Enrolled Other,Read,File,f-7,\
             student=Student:p7; proposed school=School:1,Client,\"'=client\",User,u-1,app,https://idp.example,complaint,\
             r-7,v1,3,apply_profile,41,gateway,envoy"
        );
    }
}
