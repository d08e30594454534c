//! The Cedar schema, and the types of attributes as it declares them.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{CedarSchemaError, EntityTypeName, EntityUid, Schema, schema_str_to_json_with_resolved_types};
use serde_json::{Map, Value as Json};

use super::fault::{Code, Fault};

/// The type of an attribute or of a context member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// `Bool`.
    Bool,
    /// `Long`.
    Long,
    /// `String`.
    String,
    /// An entity of this type.
    Entity(Arc<str>),
    /// A set.
    Set(Box<AttributeType>),
    /// A record.
    Record(BTreeMap<Arc<str>, Member>),
    /// A type that no request can fill, for example an extension type.
    Other,
}

/// An attribute as the schema declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its type.
    pub value_type: AttributeType,
    /// It must have a value.
    pub is_required: bool,
}

/// What an action applies to.
#[derive(Clone, Debug, Default)]
pub struct ActionShape {
    /// The entity types of principals.
    pub principals: Vec<Arc<str>>,
    /// The entity types of resources.
    pub resources: Vec<Arc<str>>,
    /// The members of the context.
    pub context: BTreeMap<Arc<str>, Member>,
}

/// A schema with the declarations that facts are gathered by.
#[derive(Debug, Clone)]
pub struct RealmSchema {
    /// For validation.
    pub cedar: Arc<Schema>,
    /// The attributes of each entity type.
    pub entities: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Member>>,
    /// The actions by id. Those of a namespace go by their id alone too, so an id is there once in a schema.
    pub actions: BTreeMap<Arc<str>, ActionShape>,
    /// The Cedar entity of each action.
    pub action_uids: BTreeMap<Arc<str>, EntityUid>,
}

impl RealmSchema {
    /// Parses a schema in Cedar's own syntax.
    ///
    /// # Errors
    /// Every fault with its place in the file.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        let (cedar, _) = Schema::from_cedarschema_str(content).map_err(|error| of_schema(file, content, &error))?;
        let (json, _) = schema_str_to_json_with_resolved_types(content)
            .map_err(|error| vec![Fault::in_file(file, error.to_string())])?;
        let action_uids = cedar.actions().map(|uid| (Arc::from(uid.id().unescaped()), uid.clone())).collect();
        let mut schema =
            Self { cedar: Arc::new(cedar), entities: BTreeMap::new(), actions: BTreeMap::new(), action_uids };
        let mut faults = Vec::new();
        let common = json.as_object().into_iter().flatten().flat_map(|(namespace, body)| {
            members(body, "commonTypes").map(|(name, declared)| (qualified(namespace, name).to_string(), declared))
        });
        let json = with_common_types(&json, &common.collect());
        for (namespace, body) in json.as_object().into_iter().flatten() {
            for (name, entity) in members(body, "entityTypes") {
                let attributes = entity.pointer("/shape/attributes").map(attributes).unwrap_or_default();
                schema.entities.insert(qualified(namespace, name), attributes);
            }
            for (name, action) in members(body, "actions") {
                if schema.actions.insert(Arc::from(name), action_shape(action)).is_some() {
                    let message =
                        format!("two actions have the id `{name}`, expected each id once, also across namespaces");
                    faults.push(Fault::in_file(file, message));
                }
            }
        }
        if faults.is_empty() { Ok(schema) } else { Err(faults) }
    }
}

impl RealmSchema {
    /// An entity of the one type can be in one of the other, directly or by others between them; `None` where one of the
    /// types is unknown.
    pub(super) fn may_contain(&self, container: &str, contained: &str) -> Option<bool> {
        let (container, contained): (EntityTypeName, EntityTypeName) =
            (container.parse().ok()?, contained.parse().ok()?);
        self.cedar.entity_types().find(|name| **name == container)?;
        Some(self.cedar.ancestors(&contained)?.any(|name| *name == container))
    }
}

/// The faults of a schema: what is not written as schemas are is a fault of syntax.
fn of_schema(file: &str, content: &str, error: &CedarSchemaError) -> Vec<Fault> {
    let is_syntax = matches!(error, CedarSchemaError::Parse(_));
    let faults = Fault::of_cedar(file, content, if is_syntax { Code::Syntax } else { Code::Schema }, error);
    let in_words = |fault: Fault| {
        let message = fault.message.trim_start_matches("error parsing schema: ").to_owned();
        let unknown = message.strip_prefix("failed to resolve type").and_then(|rest| rest.split_once(": "));
        let Some((_, unknown)) = unknown else { return Fault { message, ..fault } };
        let mut names: Vec<&str> = unknown.split(", ").collect();
        names.dedup();
        let message = format!("the schema declares no type `{}`", names.join("`, `"));
        let declared = content.split(|c: char| !c.is_alphanumeric() && c != '_');
        let known = declared.filter(|word| word.starts_with(char::is_uppercase) && !names.contains(word));
        let known: Vec<&str> = known.collect();
        let name = names.first().copied().unwrap_or_default();
        Fault { message, ..fault }.near(name, known)
    };
    faults.into_iter().map(in_words).collect()
}

fn members<'a>(body: &'a Json, key: &str) -> impl Iterator<Item = (&'a str, &'a Json)> {
    body.get(key).and_then(Json::as_object).into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn qualified(namespace: &str, name: &str) -> Arc<str> {
    if namespace.is_empty() { name.into() } else { format!("{namespace}::{name}").into() }
}

fn names(value: Option<&Json>) -> Vec<Arc<str>> {
    value.and_then(Json::as_array).into_iter().flatten().filter_map(|name| name.as_str().map(Arc::from)).collect()
}

fn action_shape(action: &Json) -> ActionShape {
    let Some(applies) = action.get("appliesTo") else { return ActionShape::default() };
    ActionShape {
        principals: names(applies.get("principalTypes")),
        resources: names(applies.get("resourceTypes")),
        context: applies.pointer("/context/attributes").map(attributes).unwrap_or_default(),
    }
}

fn attributes(record: &Json) -> BTreeMap<Arc<str>, Member> {
    let fields = record.as_object().into_iter().flatten();
    fields
        .map(|(name, declared)| {
            let is_required = declared.get("required").and_then(Json::as_bool).unwrap_or(true);
            (Arc::from(name.as_str()), Member { value_type: attribute_type(declared), is_required })
        })
        .collect()
}

fn attribute_type(declared: &Json) -> AttributeType {
    let name = || declared.get("name").and_then(Json::as_str).unwrap_or_default();
    let primitive = |name: &str| match name.strip_prefix("__cedar::").unwrap_or(name) {
        "Bool" | "Boolean" => Some(AttributeType::Bool),
        "Long" => Some(AttributeType::Long),
        "String" => Some(AttributeType::String),
        _ => None,
    };
    match declared.get("type").and_then(Json::as_str).unwrap_or_default() {
        "Set" => AttributeType::Set(Box::new(declared.get("element").map_or(AttributeType::Other, attribute_type))),
        "Record" => AttributeType::Record(declared.get("attributes").map(attributes).unwrap_or_default()),
        "Entity" => AttributeType::Entity(name().into()),
        "EntityOrCommon" => primitive(name()).unwrap_or_else(|| AttributeType::Entity(name().into())),
        "Extension" => AttributeType::Other,
        other => primitive(other).unwrap_or(AttributeType::Other),
    }
}
/// A declaration with the common types that it names put in their places. Cedar has made sure that none holds itself.
fn with_common_types(declared: &Json, common: &BTreeMap<String, &Json>) -> Json {
    let inner = |json: &Json| with_common_types(json, common);
    match declared {
        Json::Object(fields) => {
            let named = fields.get("type").and_then(Json::as_str).and_then(|name| common.get(name));
            let mut whole: Map<String, Json> = named.map(|json| inner(json)).and_then(object).unwrap_or_default();
            let own = fields.iter().filter(|(name, _)| named.is_none() || *name != "type");
            whole.extend(own.map(|(name, json)| (name.clone(), inner(json))));
            Json::Object(whole)
        }
        Json::Array(items) => items.iter().map(inner).collect(),
        other => other.clone(),
    }
}

fn object(json: Json) -> Option<Map<String, Json>> {
    if let Json::Object(object) = json { Some(object) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_stand_for_what_they_name() {
        let content = |call: &str, told: &str| {
            format!(
                "namespace N {{ entity User; entity File {{ call?: {call}, \"type\"?: String }};
                 type Told = {{ call?: Call, calls: Set<Call> }}; type Call = {{ name: String, numbers?: Numbers }};
                 type Numbers = Set<Long>;
                 action a appliesTo {{ principal: [User], resource: [File], context: {told} }}; }}"
            )
        };
        let parse = |content: &str| RealmSchema::parse("schema.cedarschema", content).unwrap();
        let call = "{ name: String, numbers?: Set<Long> }";
        let plain = parse(&content(call, &format!("{{ call?: {call}, calls: Set<{call}> }}")));
        let named = parse(&content("Call", "Told"));
        assert_eq!((&named.entities, named.entities.len()), (&plain.entities, 2));
        let (named, plain) = (&named.actions["a"], &plain.actions["a"]);
        assert_eq!((&named.context, named.context.len()), (&plain.context, 2));
        assert!(!named.context["call"].is_required && named.context["calls"].is_required);
    }
}
