//! Requests of the cases as questions of the service.

use std::collections::{BTreeMap, HashMap};

use hallpass::proto::v1::{self as pb, value::Kind};
use serde_json::Value as Json;

use crate::cases::{Catalogue, Element, Request, Values};

/// The question whether the request may be done.
pub(crate) fn question(request: &Request, catalogue: &Catalogue) -> anyhow::Result<pb::AuthorizeRequest> {
    let elements = &catalogue.resource(&request.resource)?.securable_elements;
    let resolved: Vec<Element> = elements.iter().filter(|element| !is_unresolved(element, request)).cloned().collect();
    let existing = request.securable.existing.as_ref().map(|values| attributes(values, elements, elements));
    let proposed = request.securable.proposed.as_ref().map(|values| attributes(values, elements, &resolved));
    asking(request, request.id.as_deref(), existing, proposed, catalogue)
}

/// The question whether items of this kind may be looked for at all.
pub(crate) fn question_without_candidate(
    request: &Request,
    catalogue: &Catalogue,
) -> anyhow::Result<pb::AuthorizeRequest> {
    asking(request, None, Some(HashMap::new()), None, catalogue)
}

/// The questions whether the candidates may be seen, in their order.
pub(crate) fn questions_of_candidates(
    request: &Request,
    catalogue: &Catalogue,
) -> anyhow::Result<Vec<pb::AuthorizeRequest>> {
    let elements = &catalogue.resource(&request.resource)?.securable_elements;
    let of = |candidate: &crate::cases::Candidate| {
        let existing = candidate.securable.existing.as_ref().map(|values| attributes(values, elements, elements));
        asking(request, Some(&candidate.id), Some(existing.unwrap_or_default()), None, catalogue)
    };
    request.candidates.iter().map(of).collect()
}

fn asking(
    request: &Request,
    id: Option<&str>,
    existing: Option<HashMap<String, pb::Value>>,
    proposed: Option<HashMap<String, pb::Value>>,
    catalogue: &Catalogue,
) -> anyhow::Result<pb::AuthorizeRequest> {
    let resource = pb::Resource {
        r#type: catalogue.resource(&request.resource)?.type_name(&request.resource),
        id: id.unwrap_or_default().to_owned(),
        has_attributes: existing.is_some(),
        has_proposed: proposed.is_some(),
        attributes: existing.unwrap_or_default(),
        proposed: proposed.unwrap_or_default(),
    };
    Ok(pb::AuthorizeRequest {
        action: request.action.clone(),
        resource: Some(resource),
        ..pb::AuthorizeRequest::default()
    })
}

/// The element sits under a reference that points to nothing.
fn is_unresolved(element: &Element, request: &Request) -> bool {
    let mut parts = element.property_path().split('.');
    parts.next().is_some_and(|first| request.unresolved_references.iter().any(|reference| reference == first))
}

/// The values of the wanted elements as the document that they come from.
fn attributes(values: &Values, all: &[Element], wanted: &[Element]) -> HashMap<String, pb::Value> {
    let mut document = BTreeMap::new();
    for element in wanted {
        let same_key = all.iter().filter(|other| other.request_key == element.request_key);
        let place = same_key.take_while(|other| other.path != element.path).count();
        let value = values.get(&element.request_key).and_then(|list| list.get(place));
        if let Some(kind) = value.and_then(kind) {
            document.insert(element.property_path(), kind);
        }
    }
    nest(&document)
}

/// Texts and whole numbers; all else is no value.
fn kind(value: &Json) -> Option<Kind> {
    match value {
        Json::String(text) => Some(Kind::StringValue(text.clone())),
        Json::Number(number) => number.as_i64().map(Kind::IntValue),
        _ => None,
    }
}

/// Records instead of dotted paths.
fn nest(values: &BTreeMap<&str, Kind>) -> HashMap<String, pb::Value> {
    let mut nested: HashMap<String, pb::Value> = HashMap::new();
    let mut below: BTreeMap<&str, BTreeMap<&str, Kind>> = BTreeMap::new();
    for (path, kind) in values {
        match path.split_once('.') {
            Some((first, rest)) => {
                below.entry(first).or_default().insert(rest, kind.clone());
            }
            None => {
                nested.insert((*path).to_owned(), pb::Value { kind: Some(kind.clone()) });
            }
        }
    }
    for (name, fields) in below {
        let record = Kind::RecordValue(pb::RecordValue { fields: nest(&fields) });
        nested.insert(name.to_owned(), pb::Value { kind: Some(record) });
    }
    nested
}
