//! The resource types of a realm, and which of a resource's values the policies look at.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{
    fault::{Code, Fault},
    realm_file::{CommonSubject, ResourceSettings, Trusted},
    record_mapping::Relations,
    schema::{AttributeType, Member, RealmSchema},
};

/// A value of a resource that policies look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The attribute of the Cedar entity.
    pub attribute: Arc<str>,
    /// The property of the resource, a dotted path.
    pub path: Arc<str>,
    /// What texts call it.
    pub name: Arc<str>,
    /// Further properties whose values make the entity's id together with the first; see [`joined_id`].
    pub more: Vec<Part>,
    /// Its type.
    pub value_type: AttributeType,
    /// The schema wants it to have a value.
    pub is_required: bool,
    /// No caller is believed it: its value is the one that the store has, or none.
    pub is_stored: bool,
    /// It is a part of what identifies the resource, so that no profile hides it; `None` where nobody says.
    pub is_identity: Option<bool>,
}

/// One of the properties that make an id together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The property of the resource, a dotted path.
    pub path: Arc<str>,
    /// What texts call it.
    pub name: Arc<str>,
}

impl Subject {
    /// What texts call its properties, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.name).chain(self.more.iter().map(|part| &part.name))
    }

    /// Its properties, dotted paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.path).chain(self.more.iter().map(|part| &part.path))
    }
}

/// A resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// The realm's name of it.
    pub name: Arc<str>,
    /// The Cedar entity type.
    pub entity: Arc<str>,
    /// The resource claim that grants name it by.
    pub claim: Option<Arc<str>>,
    /// The values that policies look at, in the order that texts name them.
    pub subjects: Vec<Subject>,
    /// The Cedar entity has the attribute `lacks`, which names subjects without a value.
    pub has_lacks: bool,
    /// The members without which the API creates no resource of this type, as far as the realm says.
    pub required_members: Vec<Arc<str>>,
}

impl ResourceType {
    /// The name by which profiles and texts call it: the last part of its claim, else of its own name, with a capital.
    pub fn member_name(&self) -> String {
        let name = self.claim.as_ref().unwrap_or(&self.name);
        let mut rest = name.rsplit('/').next().unwrap_or_default().chars();
        rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
    }
}

/// The attribute that the host fills with the names of subjects without a value.
pub const LACKS: &str = "lacks";

/// The resource types of a realm, by name.
pub type ResourceTypes = BTreeMap<Arc<str>, Arc<ResourceType>>;

/// Without a table, every entity type that some action applies to is a resource type of the same name, and of its attributes
/// those count that callers are believed or that the store knows of its items.
pub(super) fn from_schema(schema: &RealmSchema, relations: &Relations, trusted: &Trusted) -> ResourceTypes {
    let applied = schema.actions.values().flat_map(|action| &action.resources);
    applied
        .filter_map(|entity| {
            let attributes = schema.entities.get(entity)?;
            // Links name an entity of the same id: they need no value from outside.
            let is_link =
                |name: &Arc<str>| relations.entity(entity).is_some_and(|rules| rules.links.contains_key(name));
            let given = attributes.iter().filter(|(name, _)| ***name != *LACKS && !is_link(name));
            let stores = |name: &str, member: &Member| {
                relations.item(entity).is_some_and(|item| item.stores(entity, name, &member.value_type))
            };
            let subjects = given.filter_map(|(name, member)| {
                let is_believed = trusted.takes(entity, name);
                (is_believed || stores(name, member)).then(|| Subject {
                    attribute: Arc::clone(name),
                    path: Arc::clone(name),
                    name: Arc::clone(name),
                    more: Vec::new(),
                    value_type: member.value_type.clone(),
                    is_required: member.is_required,
                    is_stored: !is_believed,
                    is_identity: None,
                })
            });
            let resource_type = ResourceType {
                name: Arc::clone(entity),
                entity: Arc::clone(entity),
                claim: None,
                subjects: subjects.collect(),
                has_lacks: attributes.contains_key(LACKS),
                required_members: Vec::new(),
            };
            Some((Arc::clone(entity), Arc::new(resource_type)))
        })
        .collect()
}

/// Reads the table of resource types.
///
/// # Errors
/// Every fault, each naming the resource type.
pub(super) fn parse(
    file: &str,
    content: &str,
    settings: &ResourceSettings,
    schema: &RealmSchema,
) -> Result<ResourceTypes, Vec<Fault>> {
    let json: Json = serde_json::from_str(content).map_err(|error| vec![syntax_fault(file, content, &error)])?;
    let ResourceSettings { entity, subjects: common, .. } = settings;
    let Some(attributes) = schema.entities.get(entity) else {
        return Err(vec![Fault::in_file(file, format!("the schema has no entity type `{entity}`"))]);
    };
    let Some(listed) = json.get("resources").and_then(Json::as_object) else {
        return Err(vec![Fault::in_file(file, "`resources` is missing, expected an object of resource types")]);
    };
    let identity_default = json.get("subjects_are_identity").and_then(Json::as_bool);
    let mut faults = Vec::new();
    let mut types = ResourceTypes::new();
    for (name, body) in listed {
        let mut subjects: Vec<Subject> = Vec::new();
        let mut wrong = |message: String| faults.push(Fault::in_file(file, format!("`{name}`: {message}")));
        for subject in body.get("subjects").and_then(Json::as_array).into_iter().flatten() {
            match read_subject(subject, entity, attributes) {
                Ok(subject) if subjects.iter().any(|other| other.attribute == subject.attribute) => {
                    wrong(format!("two subjects fill the attribute `{}`", subject.attribute));
                }
                Ok(subject) => {
                    let is_identity = subject.is_identity.or(identity_default);
                    subjects.push(Subject { is_identity, ..subject });
                }
                Err(message) => wrong(message),
            }
        }
        for CommonSubject { attribute, path, name } in common {
            let is_own = subjects.iter().any(|other| other.attribute == *attribute);
            // The cross-check of the realm's files names an attribute that the schema doesn't have.
            if let Some(member) = attributes.get(attribute).filter(|_| !is_own) {
                subjects.push(Subject {
                    attribute: Arc::clone(attribute),
                    path: Arc::clone(path),
                    name: Arc::clone(name),
                    more: Vec::new(),
                    value_type: member.value_type.clone(),
                    is_required: member.is_required,
                    is_stored: false,
                    is_identity: None,
                });
            }
        }
        let claim = body.get("claim").and_then(Json::as_str).map(Arc::from);
        let (key, entity) = (Arc::<str>::from(name.as_str()), Arc::clone(entity));
        let has_lacks = attributes.contains_key(LACKS);
        let (name, required_members) = (Arc::clone(&key), texts(body.get("required")));
        let resource_type = ResourceType { name, entity, claim, subjects, has_lacks, required_members };
        types.insert(key, Arc::new(resource_type));
    }
    if faults.is_empty() { Ok(types) } else { Err(faults) }
}

/// Reads `{attribute, path, name}`, or `{attribute, parts: [{path, name}, …]}` for an entity whose id takes several values.
fn read_subject(json: &Json, entity: &str, attributes: &BTreeMap<Arc<str>, Member>) -> Result<Subject, String> {
    let expected = || "a subject needs `attribute`, and `path` and `name` or a list of them as `parts`".to_owned();
    let text = |json: &Json, key: &str| json.get(key).and_then(Json::as_str).map(Arc::<str>::from).ok_or_else(expected);
    let part = |json: &Json| Ok(Part { path: text(json, "path")?, name: text(json, "name")? });
    let attribute = text(json, "attribute")?;
    let mut parts = match json.get("parts").and_then(Json::as_array) {
        Some(parts) => parts.iter().map(part).collect::<Result<Vec<_>, String>>()?.into_iter(),
        None => vec![part(json)?].into_iter(),
    };
    let Some(Part { path, name }) = parts.next() else { return Err(expected()) };
    let Some(Member { value_type, is_required }) = attributes.get(&attribute).cloned() else {
        let known: Vec<&str> = attributes.keys().map(|name| &**name).collect();
        let known = known.join(", ");
        return Err(format!("`{entity}` has no attribute `{attribute}` in the schema, expected one of {known}"));
    };
    let more: Vec<Part> = parts.collect();
    if !more.is_empty() && !matches!(value_type, AttributeType::Entity(_)) {
        return Err(format!("`{attribute}` has several parts, which only the id of an entity can be made of"));
    }
    let is_identity = json.get("identity").and_then(Json::as_bool);
    Ok(Subject { attribute, path, name, more, value_type, is_required, is_stored: false, is_identity })
}

/// The id that several values make together: joined by `|`, with a `\` before each `|` and `\` within a value, so that no
/// two lists of values make the same id.
pub fn joined_id<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let escaped = parts.into_iter().map(|part| part.replace('\\', "\\\\").replace('|', "\\|"));
    escaped.collect::<Vec<_>>().join("|")
}

/// The values that make an id together: what [`joined_id`] joins.
pub fn parts_of_id(id: &str) -> Vec<String> {
    let (mut parts, mut part, mut is_escaped) = (Vec::new(), String::new(), false);
    for c in id.chars() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            '|' if !is_escaped => parts.push(std::mem::take(&mut part)),
            c => {
                part.push(c);
                is_escaped = false;
            }
        }
    }
    parts.push(part);
    parts
}

fn texts(json: Option<&Json>) -> Vec<Arc<str>> {
    json.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).map(Arc::from).collect()
}

/// The fault of a JSON file that doesn't parse.
pub(super) fn syntax_fault(file: &str, content: &str, error: &serde_json::Error) -> Fault {
    let line_start: usize = content.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = line_start + error.column().saturating_sub(1);
    let fault = Fault::at(file, content, Some(at..at), error.to_string()).coded(Code::Syntax);
    let is_comma = fault.message == "trailing comma";
    if is_comma { fault.helped("no comma stands before a closing bracket") } else { fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_several_values_differ_when_the_values_do() {
        let own = |parts: [&str; 2]| parts.map(str::to_owned).to_vec();
        assert_eq!(joined_id(["ACT-1", "uri://act.example"]), "ACT-1|uri://act.example");
        for (one, other) in [(["a|b", "c"], ["a", "b|c"]), (["a\\", "b"], ["a", "\\b"]), (["a\\|b", ""], ["a\\", "b|"])]
        {
            assert_ne!(joined_id(one), joined_id(other), "{one:?} {other:?}");
            assert_eq!((parts_of_id(&joined_id(one)), parts_of_id(&joined_id(other))), (own(one), own(other)));
        }
    }
}
