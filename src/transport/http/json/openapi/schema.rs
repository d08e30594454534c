//! Messages and enums as JSON schemas (2020-12).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use serde_json::{Map, Value as Json, json};

use super::super::message::{TIMESTAMP, VALUE};

/// The schemas that the calls need, by name.
#[derive(Default)]
pub(super) struct Schemas {
    schemas: BTreeMap<String, Json>,
    /// The messages that come in, which have no further members.
    read: BTreeSet<String>,
}

impl Schemas {
    /// A reference to the schema of a message that comes in.
    pub(super) fn read(&mut self, message: &MessageDescriptor) -> Json {
        self.close(message);
        self.message(message)
    }

    /// A reference to the schema of a message that goes out. Later versions may send further members.
    pub(super) fn written(&mut self, message: &MessageDescriptor) -> Json {
        self.message(message)
    }

    /// All of them.
    pub(super) fn finish(self) -> BTreeMap<String, Json> {
        let Self { mut schemas, read } = self;
        for (_, schema) in schemas.iter_mut().filter(|(name, _)| read.contains(*name)) {
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        schemas.insert("Value".to_owned(), value());
        schemas.insert("Problem".to_owned(), problem());
        schemas
    }

    /// Notes a message and all that it holds as coming in.
    fn close(&mut self, message: &MessageDescriptor) {
        if [VALUE, TIMESTAMP].contains(&message.full_name()) {
            return;
        }
        if !message.is_map_entry() && !self.read.insert(name(message.full_name())) {
            return;
        }
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                self.close(&inner);
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Json {
        match message.full_name() {
            VALUE => return reference("Value"),
            TIMESTAMP => return json!({ "type": "string", "format": "date-time" }),
            _ => {}
        }
        let name = name(message.full_name());
        if !self.schemas.contains_key(&name) {
            // A message may hold itself.
            self.schemas.insert(name.clone(), Json::Null);
            let schema = self.object(message);
            self.schemas.insert(name.clone(), schema);
        }
        reference(&name)
    }

    fn object(&mut self, message: &MessageDescriptor) -> Json {
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = self.field(&field);
            let comment = comment(&field.parent_file(), field.path());
            if let Some(schema) = schema.as_object_mut().filter(|_| !comment.is_empty()) {
                schema.insert("description".to_owned(), json!(comment));
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "description": comment(&message.parent_file(), message.path()),
            "properties": properties,
        });
        let choices: Vec<Json> =
            message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| choice(&oneof)).collect();
        if let Some(schema) = schema.as_object_mut().filter(|_| !choices.is_empty()) {
            schema.insert("allOf".to_owned(), json!(choices));
        }
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Json {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let values = self.single(&entry.map_entry_value_field().kind());
            return json!({ "type": "object", "additionalProperties": values });
        }
        let single = self.single(&field.kind());
        if field.is_list() { json!({ "type": "array", "items": single }) } else { single }
    }

    fn single(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(descriptor) => {
                let name = name(descriptor.full_name());
                let schema = self.schemas.entry(name.clone());
                schema.or_insert_with(|| names(descriptor));
                reference(&name)
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$" })
            }
        }
    }
}

/// At most one of the members.
fn choice(oneof: &OneofDescriptor) -> Json {
    let one: Vec<Json> = oneof.fields().map(|field| json!({ "required": [field.json_name()] })).collect();
    let mut choices = one.clone();
    choices.push(json!({ "not": { "anyOf": one } }));
    json!({ "oneOf": choices })
}

fn names(descriptor: &EnumDescriptor) -> Json {
    let mut description = comment(&descriptor.parent_file(), descriptor.path());
    let mut names = Vec::new();
    for value in descriptor.values() {
        let said = comment(&value.parent_file(), value.path());
        // Writing to a text cannot fail.
        let _infallible = write!(description, "\n- `{}`: {said}", value.name());
        names.push(value.name().to_owned());
    }
    json!({ "type": "string", "enum": names, "description": description })
}

fn value() -> Json {
    json!({
        "description": "A value of an attribute or of the context: a text, true or false, a whole number of 64 bits, a list, an \
            object, or null for \"no value\". A reference to an entity of the realm's schema is an object with exactly the \
            members `@type` and `@id`, both texts. A member of any other object whose name begins with `@` is written with \
            another `@` before it. Nested at most 16 levels.",
        "examples": ["255901", 255_901, true, { "@type": "School", "@id": "255901001" }, { "schoolId": 255_901_001 }],
    })
}

fn problem() -> Json {
    json!({
        "type": "object",
        "description": "Why there is no answer (RFC 9457).",
        "properties": {
            "type": { "type": "string", "description": "The problem type." },
            "title": { "type": "string", "description": "The status in words." },
            "status": { "type": "integer", "description": "The status." },
            "detail": { "type": "string", "description": "A sentence for a person." },
            "code": { "type": "string", "description": "The stable reason, for example `INVALID_REQUEST`." },
            "errors": {
                "type": "array",
                "items": { "type": "string" },
                "description": "The members that are wrong, each with what is wrong.",
            },
            "correlationId": { "type": "string", "description": "The request's X-Request-ID, or one that was made for it." },
        },
        "required": ["status", "title", "code", "correlationId"],
    })
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name within its package.
fn name(full_name: &str) -> String {
    full_name.strip_prefix(super::PACKAGE).unwrap_or(full_name).trim_start_matches('.').to_owned()
}

/// The comment before the thing at this path of a file, as one paragraph; empty if there is none.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let places = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let comment = places.filter(|place| place.path == path).find_map(|place| place.leading_comments.as_deref());
    comment.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
