//! Tables of rows: JSON or TOML files of a realm's folder.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value as Json};

use super::Ready;
use crate::domain::{
    access_request,
    cedar::CedarTypes,
    fault::Fault,
    policy_set::SourceFile,
    record_mapping::Relations,
    resource_type::syntax_fault,
    schema::AttributeType,
    strict_json,
    value::{Attributes, Value},
};

/// Reads the rows of a file, each of this type.
///
/// # Errors
/// A file that can't be read, with its place, or every row that doesn't fit, each by its key.
pub(super) fn read_rows(
    file: &SourceFile,
    wanted: &AttributeType,
    relations: &Relations,
    types: &CedarTypes,
) -> Result<HashMap<Arc<str>, Arc<Ready>>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut rows = HashMap::new();
    for (key, json) in &read_object(file)? {
        let row = row(key, json, wanted, relations);
        let ready = row.and_then(|value| {
            let ready = types.ready(&value).ok_or_else(|| format!("`{key}` holds what no policy can look at"))?;
            Ok(Ready { value, ready })
        });
        match ready {
            Ok(ready) => drop(rows.insert(Arc::from(key.as_str()), Arc::new(ready))),
            Err(message) => faults.push(Fault::in_file(&file.path, message)),
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

fn read_object(file: &SourceFile) -> Result<Map<String, Json>, Vec<Fault>> {
    let SourceFile { path, content } = file;
    if file.has_ending(&["toml"]) {
        let table = toml::from_str::<Map<String, Json>>(content);
        return table.map_err(|error| vec![Fault::at(path, content, error.span(), error.message())]);
    }
    strict_json::read_object(content.as_bytes()).map_err(|fault| {
        let syntax = serde_json::from_str::<Json>(content).err();
        let placed = syntax.map(|error| syntax_fault(path, content, &error));
        vec![placed.unwrap_or_else(|| Fault::in_file(path, fault.reason()))]
    })
}

/// The row, or a member of it, as the schema types it; `place` says in messages which one it is.
fn row(place: &str, json: &Json, wanted: &AttributeType, relations: &Relations) -> Result<Value, String> {
    let AttributeType::Record(members) = wanted else {
        let given = value(json).ok_or_else(|| format!("`{place}` holds a number that is not whole"))?;
        let wrong = |expected: String| format!("`{place}` is {}, expected {expected}", given.kind());
        return access_request::typed(&given, wanted, relations).map_err(wrong);
    };
    let Some(given) = json.as_object() else { return Err(format!("`{place}` is no record, as the schema wants it")) };
    if let Some(name) = given.keys().find(|name| !members.contains_key(name.as_str())) {
        let known = members.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        return Err(format!("`{place}` has `{name}`, which the schema does not declare, expected one of {known}"));
    }
    let mut fields = Vec::with_capacity(given.len());
    for (name, member) in members {
        match given.get(&**name).filter(|json| !json.is_null()) {
            Some(json) => {
                fields.push((Arc::clone(name), row(&format!("{place}.{name}"), json, &member.value_type, relations)?));
            }
            None if member.is_required => {
                return Err(format!("`{place}` has no `{name}`, which the schema requires"));
            }
            None => {}
        }
    }
    Ok(Value::Record(fields.into_iter().collect()))
}

/// `None` for a number that isn't whole.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Long(number.as_i64()?),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Json::Object(object) => {
            let fields = object.iter().map(|(name, json)| Some((Arc::from(name.as_str()), value(json)?)));
            Value::Record(fields.collect::<Option<Attributes>>()?)
        }
    })
}
