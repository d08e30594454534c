//! What is written on the command line: `name=value`, `Type:id`, durations and times.

use std::{collections::HashMap, str::FromStr, time::Duration};

use prost_types::Timestamp;
use serde_json::Value as Json;

use crate::{
    app::ports::Clock as _,
    proto::v1::{EntityReference, ListValue, RecordValue, Value, value::Kind},
    provider::clock::SystemClock,
};

/// A named value: `name=text`, or `name:=json` for numbers, truth values, lists and records.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) value: Json,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || "expected name=text, or name:=json for anything but a text".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(expected)?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => (name, serde_json::from_str(value).map_err(|error| format!("no JSON after `:=`: {error}"))?),
            None => (name, Json::from(value)),
        };
        if name.is_empty() { Err(expected()) } else { Ok(Self { name: name.to_owned(), value }) }
    }
}

/// The named values as the wire has them.
pub(super) fn wire_values(named: Vec<Named>) -> Result<HashMap<String, Value>, anyhow::Error> {
    named.into_iter().map(|Named { name, value }| Ok((name, wire_value(value)?))).collect()
}

fn wire_value(json: Json) -> Result<Value, anyhow::Error> {
    let kind = match json {
        Json::Null => None,
        Json::Bool(flag) => Some(Kind::BoolValue(flag)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Some(Kind::IntValue(number)),
            None => anyhow::bail!("`{number}` is no whole number of 64 bits; write other numbers as text"),
        },
        Json::String(text) => Some(cedar_name(&text).map_or(Kind::StringValue(text), Kind::EntityValue)),
        Json::Array(items) => {
            let values = items.into_iter().map(wire_value).collect::<Result<_, _>>()?;
            Some(Kind::ListValue(ListValue { values }))
        }
        Json::Object(fields) => {
            let named = fields.into_iter().map(|(name, value)| Named { name, value });
            Some(Kind::RecordValue(RecordValue { fields: wire_values(named.collect())? }))
        }
    };
    Ok(Value { kind })
}

/// An entity: `Student:604822`, or as Cedar writes it, `Student::"604822"`.
pub(super) fn entity(text: &str) -> Result<EntityReference, String> {
    if let Some(entity) = cedar_name(text) {
        return Ok(entity);
    }
    // A type may have a namespace, `School::Student`; an id may have colons too.
    let is_single = |at: usize| {
        let around = [at.checked_sub(1), at.checked_add(1)];
        around.into_iter().flatten().all(|near| text.as_bytes().get(near) != Some(&b':'))
    };
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| is_single(*at));
    let parts = colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
    match parts {
        Some((entity_type, id)) if !entity_type.is_empty() && !id.is_empty() => {
            Ok(EntityReference { r#type: entity_type.to_owned(), id: id.to_owned() })
        }
        _ => Err("expected Type:id, for example `Student:604822`".to_owned()),
    }
}

fn cedar_name(text: &str) -> Option<EntityReference> {
    let (entity_type, id) = text.strip_suffix('"')?.split_once("::\"")?;
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_type = entity_type.split("::").all(is_name);
    is_type.then(|| EntityReference { r#type: entity_type.to_owned(), id: id.to_owned() })
}

/// A span of time: `90s`, `30m`, `8h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number with s, m, h or d, for example `30m`".to_owned();
    let unit_seconds = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text.get(..text.len() - 1).and_then(|number| number.parse().ok()).ok_or_else(expected)?;
    let seconds = number.checked_mul(unit_seconds).filter(|seconds| *seconds <= 36_500 * 86_400);
    seconds.map(Duration::from_secs).ok_or_else(|| "is longer than a hundred years".to_owned())
}

/// A moment: `2026-08-04`, `2026-08-04T10:30:00Z`, or how long ago: `2h`.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        let seconds = SystemClock.now_seconds().saturating_sub_unsigned(ago.as_secs());
        return Ok(Timestamp { seconds, nanos: 0 });
    }
    text.parse()
        .map_err(|_| "expected a date, a time such as `2026-08-04T10:30:00Z`, or how long ago, such as `2h`".to_owned())
}

/// A moment that may lie ahead: `2027-08-01`, `2027-08-01T00:00:00Z`.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "expected a date or a time such as `2027-08-01T00:00:00Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_named_value_is_text_unless_it_says_that_it_is_json() {
        for (text, name, value) in [
            ("scope=SISVendor", "scope", json!("SISVendor")),
            ("id=101", "id", json!("101")),
            ("id:=101", "id", json!(101)),
            ("empty=", "empty", json!("")),
            ("uri=uri://a?b=c", "uri", json!("uri://a?b=c")),
            ("list:=[1, \"a\"]", "list", json!([1, "a"])),
        ] {
            assert_eq!(text.parse(), Ok(Named { name: name.to_owned(), value }), "{text}");
        }
        for text in ["", "name", "=x", ":=1", "a:={"] {
            assert!(text.parse::<Named>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_keep_their_kinds_on_the_wire() {
        let student = EntityReference { r#type: "Student".into(), id: "ada".into() };
        assert_eq!(wire_value(json!("Student::\"ada\"")).unwrap().kind, Some(Kind::EntityValue(student)));
        assert_eq!(wire_value(json!("a::b")).unwrap().kind, Some(Kind::StringValue("a::b".into())));
        assert_eq!(wire_value(json!(i64::MIN)).unwrap().kind, Some(Kind::IntValue(i64::MIN)));
        assert_eq!(wire_value(json!(null)).unwrap().kind, None);
        assert!(wire_value(json!([1.5])).is_err());
    }

    #[test]
    fn an_entity_is_a_type_and_an_id() {
        for (text, entity_type, id) in [
            ("Student:604822", "Student", "604822"),
            ("Namespace:uri://ed-fi.org", "Namespace", "uri://ed-fi.org"),
            ("School::Student:1", "School::Student", "1"),
            ("School::Student::\"1:2\"", "School::Student", "1:2"),
        ] {
            let expected = EntityReference { r#type: entity_type.into(), id: id.into() };
            assert_eq!(entity(text), Ok(expected), "{text}");
        }
        for text in ["", "Student", "Student:", ":1", "Student::"] {
            assert!(entity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_and_moments_are_read() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1_800)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "m", "30", "-1s", "1.5h", "99999999999999999999s", "999999d", "1ä"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(moment("1970-01-02").map(|moment| moment.seconds), Ok(86_400));
        assert_eq!(moment("1970-01-01T00:01:00Z").map(|moment| moment.seconds), Ok(60));
        assert!(moment("1h").unwrap().seconds > 1_700_000_000);
        assert!(moment("yesterday").is_err());
    }
}
