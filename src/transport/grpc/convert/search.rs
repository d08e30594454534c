//! Searches and the parts of their answers.

use std::fmt::Write as _;

use super::{
    super::page_token::{self, Binding},
    Faults, NAME_BYTES_MAX, PURPOSE_BYTES_MAX, authorization as questions, shared,
};
use crate::{
    app::{
        error::Error,
        search::{CANDIDATES_MAX, Candidate, Cursor, Found, Part, SearchRequest},
    },
    domain::{
        access_request::Question,
        id::{EntityId, PolicyVersion, Revision},
    },
    proto::v1::{self as pb, search_resources_response::Part as WirePart},
};

/// A search, and what its page tokens are bound to.
pub(crate) struct Search {
    pub(crate) request: SearchRequest,
    binding: Option<Binding>,
}

/// A search. `request_id` counts when the message has none.
pub(crate) fn search(request: pb::SearchResourcesRequest, request_id: &str) -> Result<Search, Error> {
    let pb::SearchResourcesRequest {
        realm,
        token,
        token_scheme,
        action,
        resource_type,
        candidates,
        has_candidates,
        within,
        context,
        at_least_revision,
        page_size,
        page_token,
        request_id: own_request_id,
        filter_only,
        media_type,
        supported_obligations,
        query_token,
        proof,
        purpose,
    } = request;
    let mut faults = Faults::default();
    let question = Question {
        action: faults.text("action", action, NAME_BYTES_MAX),
        resource_type: faults.text("resource_type", resource_type, NAME_BYTES_MAX),
        context: faults.attributes("context", context),
        media_type: faults.text("media_type", media_type, questions::MEDIA_TYPE_BYTES_MAX),
        supported_obligations: Some(questions::supported(&mut faults, supported_obligations)),
        ..Question::default()
    };
    let has_candidates = has_candidates || !candidates.is_empty();
    let candidates = has_candidates.then(|| self::candidates(&mut faults, candidates));
    let mut request = SearchRequest {
        realm: shared(realm),
        credentials: faults.credentials(token, token_scheme, query_token, proof),
        question,
        candidates,
        within: faults.optional_entity("within", within),
        at_least_revision: Revision(at_least_revision),
        page_size: usize::try_from(page_size).ok().filter(|size| *size > 0),
        after: None,
        filter_only,
        request_id: if own_request_id.is_empty() { request_id.into() } else { shared(own_request_id) },
        purpose: faults.text("purpose", purpose, PURPOSE_BYTES_MAX),
        ..SearchRequest::default()
    };
    // Only a search in pages needs its tokens bound, which takes a look at all of it.
    let has_pages = request.page_size.is_some() || !page_token.is_empty();
    let binding = has_pages.then(|| binding(&request));
    let after = binding.as_ref().map(|binding| binding.cursor(&page_token)).transpose();
    let after = after.and_then(|cursor| cursor.flatten().as_deref().map(read_cursor).transpose());
    request.after = after.map_err(|error| faults.0.extend(error.fields)).ok().flatten();
    faults.none_or(Search { request, binding })
}

fn candidates(faults: &mut Faults, candidates: Vec<pb::Resource>) -> Vec<Candidate> {
    if candidates.len() > CANDIDATES_MAX {
        faults.add("candidates", format!("has {} items, expected at most {CANDIDATES_MAX}", candidates.len()));
        return Vec::new();
    }
    let read = candidates.into_iter().enumerate().map(|(place, candidate)| {
        let pb::Resource { r#type, id, attributes, proposed, has_proposed, has_attributes: _ } = candidate;
        let mut own = Faults::default();
        own.text("type", r#type, NAME_BYTES_MAX);
        if has_proposed || !proposed.is_empty() {
            own.add("proposed", "is set, expected stored values alone");
        }
        let id = own.text("id", id, EntityId::ID_BYTES_MAX);
        let attributes = own.attributes("attributes", attributes);
        for fault in own.0 {
            faults.add(format!("candidates[{place}].{}", fault.field), fault.message);
        }
        Candidate { id, attributes }
    });
    read.collect()
}

/// What a page token is bound to: all that the answer depends on but the token, which may be a new one of the same
/// principal.
fn binding(request: &SearchRequest) -> Binding {
    let SearchRequest {
        realm,
        credentials: _,
        question,
        candidates,
        within,
        at_least_revision: _,
        page_size: _,
        after: _,
        filter_only,
        request_id: _,
        purpose: _,
        presented: _,
        adapter: _,
    } = request;
    // Debug is the same for the same values, whose maps are sorted; a token doesn't outlive the process's version.
    let mut text = String::new();
    let _infallible = write!(text, "{realm:?} {question:?} {within:?} {filter_only} {candidates:?}");
    Binding::of("SearchResources", &text)
}

/// The cursor as a text, a blank between its parts, none of which has one.
fn written_cursor(cursor: &Cursor) -> String {
    let Cursor { revision, version, holder, place, has_gap } = cursor;
    format!("{revision} {version} {holder} {place} {}", u8::from(*has_gap))
}

fn read_cursor(bytes: &[u8]) -> Result<Cursor, Error> {
    let parts: Option<Vec<&str>> = std::str::from_utf8(bytes).ok().map(|text| text.split(' ').collect());
    let cursor = match parts.as_deref() {
        Some([revision, version, holder, place, has_gap]) => {
            revision.parse().ok().zip(place.parse().ok()).map(|(revision, place)| Cursor {
                revision: Revision(revision),
                version: PolicyVersion((*version).into()),
                holder: (*holder).into(),
                place,
                has_gap: *has_gap != "0",
            })
        }
        _ => None,
    };
    cursor.ok_or_else(page_token::malformed)
}

impl Search {
    /// A part of the answer as the wire has it. Ids are those that the caller gave or may know.
    pub(crate) fn part(binding: Option<&Binding>, part: Part) -> pb::SearchResourcesResponse {
        let part = match part {
            Part::Answer(answer) => WirePart::Answer(questions::answer(*answer)),
            Part::Found(found) => {
                let resources = found.into_iter().map(resource).collect();
                WirePart::Found(pb::FoundResources { resources })
            }
            Part::End { next, is_complete } => {
                let next = next.zip(binding);
                let next_page_token = next.map(|(cursor, binding)| binding.token(written_cursor(&cursor).as_bytes()));
                WirePart::End(pb::SearchEnd {
                    next_page_token: next_page_token.unwrap_or_default(),
                    complete: is_complete,
                })
            }
        };
        pb::SearchResourcesResponse { part: Some(part) }
    }

    /// The request, and what its page tokens are bound to.
    pub(crate) fn into_parts(self) -> (SearchRequest, Option<Binding>) {
        (self.request, self.binding)
    }
}

fn resource(found: Found) -> pb::FoundResource {
    let Found { id, candidate } = found;
    pb::FoundResource { id: id.to_string(), candidate: u32::try_from(candidate).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_nothing_else_is_one() {
        let cursor = Cursor {
            revision: Revision(7),
            version: PolicyVersion("0f".into()),
            holder: "ab".into(),
            place: 12,
            has_gap: true,
        };
        let written = written_cursor(&cursor);
        assert_eq!(read_cursor(written.as_bytes()).unwrap(), cursor);
        for other in ["", "7", "7 0f ab 12", "7 0f ab 12 1 1", "x 0f ab 12 1", "7 0f ab -1 1"] {
            assert_eq!(read_cursor(other.as_bytes()).unwrap_err().fields[0].field, "page_token", "{other}");
        }
        assert!(read_cursor(&[0xff]).is_err());
    }

    #[test]
    fn a_page_token_goes_with_a_new_token_and_another_size_and_with_no_other_change() {
        let request = pb::SearchResourcesRequest {
            action: "Read".into(),
            resource_type: "students".into(),
            page_size: 1,
            candidates: vec![pb::Resource { id: "a".into(), ..pb::Resource::default() }],
            ..pb::SearchResourcesRequest::default()
        };
        let cursor = Cursor {
            revision: Revision(1),
            version: PolicyVersion("v".into()),
            holder: "h".into(),
            place: 1,
            has_gap: false,
        };
        let (_, binding) = search(request.clone(), "").unwrap().into_parts();
        let end = Part::End { next: Some(cursor.clone()), is_complete: true };
        let Some(WirePart::End(end)) = Search::part(binding.as_ref(), end).part else { panic!("no end") };
        let request = pb::SearchResourcesRequest { page_token: end.next_page_token, ..request };
        let goes_on = |request: pb::SearchResourcesRequest| search(request, "").map(|read| read.request.after).ok();
        let with = |change: fn(&mut pb::SearchResourcesRequest)| {
            let mut request = request.clone();
            change(&mut request);
            goes_on(request)
        };
        assert_eq!(with(|_| {}), Some(Some(cursor.clone())));
        assert_eq!(with(|request| request.token = "new".into()), Some(Some(cursor.clone())));
        assert_eq!(with(|request| request.page_size = 0), Some(Some(cursor)));
        assert_eq!(with(|request| request.candidates.clear()), None);
        assert_eq!(with(|request| request.candidates[0].id = "b".into()), None);
        assert_eq!(with(|request| request.action = "ReadChanges".into()), None);
        assert_eq!(with(|request| request.filter_only = true), None);
        assert_eq!(with(|request| request.media_type = "text/plain".into()), None);
        assert_eq!(with(|request| request.supported_obligations = vec!["stamp".into()]), None);
    }
}
