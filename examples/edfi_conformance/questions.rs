//! Requests of the cases as questions of the service.

use std::collections::{BTreeMap, HashMap};

use hallpass::proto::v1::{self as pb, value::Kind};
use serde_json::Value as Json;

use crate::cases::{Catalogue, Element, ItemKey, Request, Values};

/// Where the stamp of an item stands among its values.
const STAMP: &str = "createdByOwnershipTokenId";

/// The stamps of items.
type Stamps = BTreeMap<ItemKey, i64>;

/// The question whether the request may be done.
pub(crate) fn question(
    request: &Request,
    stamps: &Stamps,
    catalogue: &Catalogue,
) -> anyhow::Result<pb::AuthorizeRequest> {
    let elements = &catalogue.resource(&request.resource)?.securable_elements;
    let resolved: Vec<Element> = elements.iter().filter(|element| !is_unresolved(element, request)).cloned().collect();
    let id = request.id.as_deref().unwrap_or_default();
    let existing = request.securable.existing.as_ref();
    let existing = existing.map(|values| stored(request, id, attributes(values, elements, elements), stamps));
    let proposed = request.securable.proposed.as_ref().map(|values| attributes(values, elements, &resolved));
    let resource = pb::Resource {
        r#type: catalogue.resource(&request.resource)?.type_name(&request.resource),
        id: id.to_owned(),
        has_attributes: existing.is_some(),
        has_proposed: proposed.is_some(),
        attributes: existing.unwrap_or_default(),
        proposed: proposed.unwrap_or_default(),
    };
    Ok(pb::AuthorizeRequest {
        action: request.action.clone(),
        resource: Some(resource),
        supported_obligations: vec!["stamp_ownership".to_owned()],
        ..pb::AuthorizeRequest::default()
    })
}

/// The search among the candidates.
pub(crate) fn search(
    request: &Request,
    stamps: &Stamps,
    catalogue: &Catalogue,
) -> anyhow::Result<pb::SearchResourcesRequest> {
    let elements = &catalogue.resource(&request.resource)?.securable_elements;
    let candidates = request.candidates.iter().map(|candidate| {
        let none = Values::new();
        let values = candidate.securable.existing.as_ref().unwrap_or(&none);
        pb::Resource {
            id: candidate.id.clone(),
            attributes: stored(request, &candidate.id, attributes(values, elements, elements), stamps),
            has_attributes: true,
            ..pb::Resource::default()
        }
    });
    Ok(pb::SearchResourcesRequest {
        action: request.action.clone(),
        resource_type: catalogue.resource(&request.resource)?.type_name(&request.resource),
        candidates: candidates.collect(),
        has_candidates: true,
        ..pb::SearchResourcesRequest::default()
    })
}

/// The stored values of an item, its stamp among them.
fn stored(
    request: &Request,
    id: &str,
    mut values: HashMap<String, pb::Value>,
    stamps: &Stamps,
) -> HashMap<String, pb::Value> {
    if let Some(stamp) = stamps.get(&(request.resource.clone(), id.to_owned())) {
        values.insert(STAMP.to_owned(), pb::Value { kind: Some(Kind::IntValue(*stamp)) });
    }
    values
}

/// What an obligation wants a new item to be stamped with.
pub(crate) fn stamp(obligation: &pb::Obligation) -> Option<i64> {
    match obligation.parameters.get(STAMP)?.kind.as_ref()? {
        Kind::IntValue(stamp) => Some(*stamp),
        _ => None,
    }
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
