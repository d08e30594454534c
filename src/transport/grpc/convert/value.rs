//! Values of attributes and of the context.

use std::{collections::HashMap, sync::Arc};

use super::Faults;
use crate::{
    domain::{
        access_request::LIST_LENGTH_MAX,
        value::{Attributes, Value},
    },
    proto::v1::{self as pb, value::Kind},
};

/// The deepest nesting: a plain value has depth 1.
pub(super) const DEPTH_MAX: usize = 16;
/// The longest text of a value, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a value, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 512;

impl Faults {
    /// Named values; `field` is what the message calls them.
    pub(super) fn attributes(&mut self, field: &str, values: HashMap<String, pb::Value>) -> Attributes {
        self.fields(&Path::Field(field), values, 1)
    }

    fn fields(&mut self, path: &Path<'_>, values: HashMap<String, pb::Value>, depth: usize) -> Attributes {
        let first = self.0.len();
        let read = values.into_iter().map(|(name, value)| {
            let path = Path::Name(path, &name);
            if name.len() > KEY_BYTES_MAX {
                self.add(path.to_string(), format!("has a name of more than {KEY_BYTES_MAX} bytes"));
            }
            let value = self.value(&path, value, depth);
            (Arc::from(name), value)
        });
        let read = read.collect();
        // The map has no order; the faults have one, so that the same message is always refused alike.
        if let Some(found) = self.0.get_mut(first..) {
            found.sort_by(|a, b| a.field.cmp(&b.field));
        }
        read
    }

    fn value(&mut self, path: &Path<'_>, value: pb::Value, depth: usize) -> Value {
        let pb::Value { kind } = value;
        if depth > DEPTH_MAX {
            self.add(path.to_string(), format!("is nested deeper than {DEPTH_MAX} levels"));
            return Value::Null;
        }
        match kind {
            None => Value::Null,
            Some(Kind::BoolValue(truth)) => Value::Bool(truth),
            Some(Kind::IntValue(number)) => Value::Long(number),
            Some(Kind::StringValue(text)) => {
                if text.len() > TEXT_BYTES_MAX {
                    self.add(path.to_string(), format!("is longer than {TEXT_BYTES_MAX} bytes"));
                }
                Value::String(text.into())
            }
            Some(Kind::EntityValue(entity)) => Value::Entity(self.entity_at(path, entity)),
            Some(Kind::ListValue(pb::ListValue { values })) => {
                if values.len() > LIST_LENGTH_MAX {
                    self.add(
                        path.to_string(),
                        format!("has {} values, expected at most {LIST_LENGTH_MAX}", values.len()),
                    );
                    return Value::Null;
                }
                let items = values.into_iter().enumerate();
                Value::List(items.map(|(at, item)| self.value(&Path::Index(path, at), item, depth + 1)).collect())
            }
            Some(Kind::RecordValue(pb::RecordValue { fields })) => Value::Record(self.fields(path, fields, depth + 1)),
        }
    }

    fn entity_at(&mut self, path: &Path<'_>, entity: pb::EntityReference) -> crate::domain::id::EntityId {
        let mut own = Self::default();
        let entity = own.entity("", entity);
        // Spelling out the path is left for when there is something to say.
        for fault in own.0 {
            self.add(format!("{path}{}", fault.field), fault.message);
        }
        entity
    }
}

/// Where a value stands in a message, spelled out only when a fault is found there.
enum Path<'a> {
    Field(&'a str),
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field),
            Self::Name(parent, name) => {
                let shown: String = name.chars().take(80).collect();
                write!(f, "{parent}.{shown}")
            }
            Self::Index(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// Named values as the wire has them.
pub(super) fn attributes(attributes: &Attributes) -> HashMap<String, pb::Value> {
    attributes.iter().map(|(name, each)| (name.to_string(), value(each))).collect()
}

/// A value.
pub(super) fn value(value: &Value) -> pb::Value {
    let kind = match value {
        Value::Null => None,
        Value::Bool(truth) => Some(Kind::BoolValue(*truth)),
        Value::Long(number) => Some(Kind::IntValue(*number)),
        Value::String(text) => Some(Kind::StringValue(text.to_string())),
        Value::Entity(entity) => Some(Kind::EntityValue(super::entity(entity))),
        Value::List(items) => Some(Kind::ListValue(pb::ListValue { values: items.iter().map(self::value).collect() })),
        Value::Record(fields) => Some(Kind::RecordValue(pb::RecordValue { fields: attributes(fields) })),
    };
    pb::Value { kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> pb::Value {
        pb::Value { kind: Some(Kind::StringValue(text.to_owned())) }
    }

    fn list(values: Vec<pb::Value>) -> pb::Value {
        pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values })) }
    }

    fn record(name: &str, value: pb::Value) -> pb::Value {
        let fields = HashMap::from([(name.to_owned(), value)]);
        pb::Value { kind: Some(Kind::RecordValue(pb::RecordValue { fields })) }
    }

    fn reference(r#type: &str, id: &str) -> pb::Value {
        let entity = pb::EntityReference { r#type: r#type.to_owned(), id: id.to_owned() };
        pb::Value { kind: Some(Kind::EntityValue(entity)) }
    }

    fn read(values: HashMap<String, pb::Value>) -> (Attributes, Vec<String>) {
        let mut faults = Faults::default();
        let read = faults.attributes("context", values);
        (read, faults.0.into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect())
    }

    #[test]
    fn a_value_comes_back_as_it_went() {
        let values = HashMap::from([
            ("none".to_owned(), pb::Value { kind: None }),
            ("bool".to_owned(), pb::Value { kind: Some(Kind::BoolValue(true)) }),
            ("int".to_owned(), pb::Value { kind: Some(Kind::IntValue(i64::MIN)) }),
            ("text".to_owned(), text("é")),
            ("entity".to_owned(), reference("School", "1")),
            ("list".to_owned(), list(vec![text("a"), list(Vec::new()), record("b", text("c"))])),
        ]);
        let (read, faults) = read(values.clone());
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(attributes(&read), values);
        assert_eq!(read.get("none"), Some(&Value::Null));
    }

    #[test]
    fn every_limit_is_named_where_it_is_broken_and_not_before() {
        let nested = |levels: usize| (1..levels).fold(text("x"), |value, _| list(vec![value]));
        let at_limit = HashMap::from([
            ("deep".to_owned(), nested(DEPTH_MAX)),
            ("text".to_owned(), text(&"x".repeat(TEXT_BYTES_MAX))),
            ("k".repeat(KEY_BYTES_MAX), text("")),
            ("list".to_owned(), list(vec![text(""); LIST_LENGTH_MAX])),
            ("entity".to_owned(), reference(&"T".repeat(256), &"i".repeat(512))),
        ]);
        assert_eq!(read(at_limit).1, Vec::<String>::new());
        let beyond = HashMap::from([
            ("deep".to_owned(), nested(DEPTH_MAX + 1)),
            ("text".to_owned(), record("in", text(&"x".repeat(TEXT_BYTES_MAX + 1)))),
            ("k".repeat(KEY_BYTES_MAX + 1), text("")),
            ("list".to_owned(), list(vec![text(""); LIST_LENGTH_MAX + 1])),
            ("entity".to_owned(), list(vec![reference("", &"i".repeat(513))])),
        ]);
        let deepest = "[0]".repeat(DEPTH_MAX);
        assert_eq!(
            read(beyond).1,
            [
                format!("context.deep{deepest} is nested deeper than 16 levels"),
                "context.entity[0].id is longer than 512 bytes".to_owned(),
                "context.entity[0].type is empty, expected an entity type of the realm's schema".to_owned(),
                format!("context.{} has a name of more than 512 bytes", "k".repeat(80)),
                "context.list has 10001 values, expected at most 10000".to_owned(),
                "context.text.in is longer than 65536 bytes".to_owned(),
            ]
        );
    }
}
