//! Values of attributes and of the context as plain JSON, both ways.
//!
//! A text, `true` and `false`, a whole number, a list and an object are what they are; `null` is "no value". A reference to an
//! entity is an object with exactly the members `@type` and `@id`. A name of a record's member that begins with `@` gets
//! another `@` before it, so that no record reads like a reference.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::message::{Path, whole_number};
use crate::{
    domain::access_request::FieldFault,
    proto::v1::{self as pb, value::Kind},
};

/// The deepest nesting: a plain value has depth 1.
const DEPTH_MAX: usize = 16;
/// The members of a reference.
const TYPE: &str = "@type";
const ID: &str = "@id";
/// What names of members begin with that are not the record's own.
const MARK: char = '@';

/// Reads a value; `path` is where it stands in the message.
///
/// # Errors
/// The first fault: a number that is not whole or has more than 64 bits, an object that is neither a reference nor a record,
/// or nesting deeper than 16 levels.
pub(super) fn read(path: &Path<'_>, json: &Json) -> Result<pb::Value, FieldFault> {
    read_at(path, json, 1)
}

fn read_at(path: &Path<'_>, json: &Json, depth: usize) -> Result<pb::Value, FieldFault> {
    let refused = |message: String| Err(FieldFault::new(path.to_string(), message));
    if depth > DEPTH_MAX {
        return refused(format!("is nested deeper than {DEPTH_MAX} levels"));
    }
    let kind = match json {
        Json::Null => return Ok(pb::Value { kind: None }),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Number(number) => match whole_number(number).and_then(|number| i64::try_from(number).ok()) {
            Some(number) => Kind::IntValue(number),
            None => return refused("is a number, expected a whole one of 64 bits".to_owned()),
        },
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let values = items.map(|(at, item)| read_at(&Path::Index(path, at), item, depth + 1));
            Kind::ListValue(pb::ListValue { values: values.collect::<Result<_, _>>()? })
        }
        Json::Object(object) => match reference(object) {
            Some(entity) => Kind::EntityValue(entity),
            None => Kind::RecordValue(pb::RecordValue { fields: members(path, object, depth)? }),
        },
    };
    Ok(pb::Value { kind: Some(kind) })
}

/// `{"@type": …, "@id": …}`, both texts and nothing else.
fn reference(object: &Map<String, Json>) -> Option<pb::EntityReference> {
    let text = |name| object.get(name)?.as_str().map(str::to_owned);
    let (r#type, id) = (text(TYPE)?, text(ID)?);
    (object.len() == 2).then_some(pb::EntityReference { r#type, id })
}

fn members(
    object_path: &Path<'_>,
    object: &Map<String, Json>,
    depth: usize,
) -> Result<HashMap<String, pb::Value>, FieldFault> {
    let read = object.iter().map(|(name, json)| {
        let path = Path::Member(object_path, name);
        let own = match name.strip_prefix(MARK) {
            Some(rest) if rest.starts_with(MARK) => rest,
            None => name,
            Some(_) => {
                let message =
                    "has a name that begins with `@`, expected texts `@type` and `@id` alone, or another `@` before it";
                return Err(FieldFault::new(object_path.to_string(), message));
            }
        };
        Ok((own.to_owned(), read_at(&path, json, depth + 1)?))
    });
    read.collect()
}

/// A value on its way to JSON.
#[derive(Debug)]
pub(super) struct Plain<'a>(pub(super) &'a pb::Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.kind {
            None => serializer.serialize_unit(),
            Some(Kind::BoolValue(truth)) => serializer.serialize_bool(*truth),
            Some(Kind::IntValue(number)) => serializer.serialize_i64(*number),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::EntityValue(pb::EntityReference { r#type, id })) => {
                serializer.collect_map([(TYPE, r#type), (ID, id)])
            }
            Some(Kind::ListValue(pb::ListValue { values })) => serializer.collect_seq(values.iter().map(Plain)),
            Some(Kind::RecordValue(pb::RecordValue { fields })) => {
                // The map has no order; its JSON has one, so that equal answers are equal texts.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                let mark = |name: &str| if name.starts_with(MARK) { format!("{MARK}{name}") } else { name.to_owned() };
                serializer.collect_map(fields.into_iter().map(|(name, value)| (mark(name), Plain(value))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = pb::Value> {
        let name = "@{0,2}(type|id|[a-c])";
        let plain = prop_oneof![
            Just(None),
            any::<bool>().prop_map(|truth| Some(Kind::BoolValue(truth))),
            any::<i64>().prop_map(|number| Some(Kind::IntValue(number))),
            ".{0,4}".prop_map(|text| Some(Kind::StringValue(text))),
            (".{0,4}", ".{0,4}").prop_map(|(r#type, id)| Some(Kind::EntityValue(pb::EntityReference { r#type, id }))),
        ];
        plain.prop_map(|kind| pb::Value { kind }).prop_recursive(4, 24, 4, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4);
            let record = prop::collection::hash_map(name, inner, 0..4);
            prop_oneof![
                list.prop_map(|values| Kind::ListValue(pb::ListValue { values })),
                record.prop_map(|fields| Kind::RecordValue(pb::RecordValue { fields })),
            ]
            .prop_map(|kind| pb::Value { kind: Some(kind) })
        })
    }

    proptest! {
        #[test]
        fn a_value_comes_back_as_it_went(value in any_value()) {
            let text = serde_json::to_string(&Plain(&value)).unwrap();
            prop_assert_eq!(read(&Path::Root, &serde_json::from_str(&text).unwrap()), Ok(value), "{}", text);
        }
    }

    #[test]
    fn a_value_is_what_it_looks_like() {
        let entity = |r#type: &str, id: &str| {
            Some(Kind::EntityValue(pb::EntityReference { r#type: r#type.to_owned(), id: id.to_owned() }))
        };
        let record = |fields: Vec<(&str, pb::Value)>| {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Some(Kind::RecordValue(pb::RecordValue { fields }))
        };
        let number = |number| pb::Value { kind: Some(Kind::IntValue(number)) };
        for (json, kind) in [
            (json!(null), None),
            (json!(255_901_001_i64), Some(Kind::IntValue(255_901_001))),
            (json!(i64::MIN), Some(Kind::IntValue(i64::MIN))),
            (json!(3.0), Some(Kind::IntValue(3))),
            (json!("255901"), Some(Kind::StringValue("255901".to_owned()))),
            (json!({ "@type": "School", "@id": "7" }), entity("School", "7")),
            (json!({ "@@type": 1 }), record(vec![("@type", number(1))])),
            (json!({}), record(vec![])),
            (
                json!({ "a": [1] }),
                record(vec![(
                    "a",
                    pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values: vec![number(1)] })) },
                )]),
            ),
        ] {
            assert_eq!(read(&Path::Root, &json), Ok(pb::Value { kind }), "{json}");
        }
    }

    #[test]
    fn what_is_no_value_is_named_by_its_place_and_not_shown() {
        let deep = |levels: usize| (1..levels).fold(json!("x"), |value, _| json!([value]));
        assert!(read(&Path::Root, &deep(DEPTH_MAX)).is_ok());
        let at = Path::Member(&Path::Root, "context");
        for (json, field) in [
            (json!({ "a": [0, 31.25] }), "context.a[1]".to_owned()),
            (json!(u64::MAX), "context".to_owned()),
            (json!({ "@type": "School" }), "context".to_owned()),
            (json!({ "@type": "School", "@id": 3125 }), "context".to_owned()),
            (json!({ "@type": "School", "@id": "3125", "more": 1 }), "context".to_owned()),
            (json!({ "@": 3125 }), "context".to_owned()),
            (deep(DEPTH_MAX + 1), format!("context{}", "[0]".repeat(DEPTH_MAX))),
        ] {
            let fault = read(&at, &json).unwrap_err();
            assert_eq!(fault.field, field, "{json}");
            assert!(!fault.message.contains("3125") && !fault.message.contains("31.25"), "{}", fault.message);
        }
    }
}
