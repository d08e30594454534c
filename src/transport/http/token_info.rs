//! `POST /oauth/token_info`: what the holder of a token is told about it.
//!
//! The contract is Ed-Fi's `oauth-token-introspection` 1.0, not RFC 7662: the token comes in the header, and in the
//! body once more.

use std::{convert::Infallible, mem, sync::Arc, time::Duration, vec};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use serde_json::{Value as Json, json};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Shared, answer, body, credentials, problem, problem::Problem};
use crate::{
    app::{
        credentials::Secret,
        error::{Error, Kind},
        ports::place::elsewhere,
        token_info::{Actions, Holder, InfoRealm, Organization},
    },
    domain::realm_file::TokenInfoSettings,
};

/// The field of the body.
const FIELD: &str = "token";

/// How many organizations are written at a time.
const PIECE: usize = 256;

/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// `POST /oauth/token_info`, of the only realm, or the one that the token's issuer belongs to.
pub(super) async fn nameless(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    tell(&shared, "", request).await
}

/// `POST /{realm}/oauth/token_info`.
pub(super) async fn named(
    State(shared): State<Shared>,
    Path(realm): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    tell(&shared, &realm, request).await
}

/// Looks at the header, at its token, at the body, and at the claim set, in this order; then tells.
async fn tell(shared: &Shared, realm: &str, request: Request) -> Result<Response, Problem> {
    let (head, content) = request.into_parts();
    let presented = credentials::presented(&head.headers);
    let credentials = presented.as_ref().map(credentials::Presented::credentials).unwrap_or_default();
    let found = shared.app.info_realm(realm, &credentials).map_err(|error| Problem::of(&error))?;
    let Some(realm) = found else {
        return Err(Problem::unauthenticated(presented.err().unwrap_or("ISSUER_UNKNOWN"), None));
    };
    let unauthenticated = |code: &str| Problem::unauthenticated(code, realm.denial_of_token(code));
    let presented = presented.map_err(unauthenticated)?;
    if let Some(code) = presented.fault(realm.schemes()) {
        return Err(unauthenticated(code));
    }
    let holder = shared.app.token_holder(&realm, &credentials).await;
    let holder = holder.map_err(|error| Problem::of(&error))?.map_err(|inactive| unauthenticated(&inactive.0))?;
    let content = body::read(&head.headers, content, &shared.limits).await.map_err(Problem::of_body)?;
    compare(&realm, &content, &presented.token)?;
    if holder.is_claim_set_refused() {
        return Err(of_content(&realm, Problem::claim_set_unknown(realm.denial(problem::CLAIM_SET_UNKNOWN))));
    }
    let turn = turn(&shared.answers).await?;
    let pieces = tokio::task::spawn_blocking(move || Pieces::of(&holder, turn))
        .await
        .map_err(|_| Problem::of(&Error::new(Kind::Internal, "ANSWER_MISSING", "the answer was not made")))?;
    Ok(answer::with_body(Body::from_stream(tokio_stream::iter(pieces.map(Ok::<_, Infallible>)))))
}

/// The body must hold the very token of the header.
fn compare(realm: &InfoRealm, content: &body::Content, token: &Secret) -> Result<(), Problem> {
    let inspected = content.fields().and_then(|fields| fields.text(FIELD).ok().flatten());
    let Some(inspected) = inspected.filter(|inspected| !inspected.0.is_empty()) else {
        return Err(of_content(realm, Problem::no_token_to_inspect(realm.denial(problem::UNREADABLE))));
    };
    if bool::from(inspected.0.as_bytes().ct_eq(token.0.as_bytes())) {
        return Ok(());
    }
    Err(of_content(realm, Problem::other_token(realm.denial(problem::MISMATCH))))
}

/// A refusal of what the request holds, with the members that the realm wants.
fn of_content(realm: &InfoRealm, problem: Problem) -> Problem {
    if realm.has_empty_members() { problem.with_empty_members() } else { problem }
}

/// Waits until fewer answers than the limit are under way.
async fn turn(answers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = elsewhere(tokio::time::timeout(TURN_WITHIN, Arc::clone(answers).acquire_owned())).await;
    turn.map_err(|_| Problem::busy())?.map_err(|_| Problem::busy())?.map_err(|_| Problem::busy())
}

/// An answer, piece by piece: nobody keeps all of the text of a long one.
#[derive(Debug)]
struct Pieces {
    /// What stands before the organizations.
    head: String,
    organizations: vec::IntoIter<Organization>,
    type_prefix: Arc<str>,
    is_first: bool,
    /// What stands behind them.
    tail: String,
    /// Other answers wait for this one to be sent.
    _turn: OwnedSemaphorePermit,
}

impl Pieces {
    fn of(holder: &Holder, turn: OwnedSemaphorePermit) -> Self {
        let settings = holder.settings();
        let attribute = |name: Option<&Arc<str>>| name.map(|name| holder.texts(name)).unwrap_or_default();
        let mut head = String::from("{");
        member(&mut head, "active", true);
        member(&mut head, "client_id", &*holder.principal().id);
        member(
            &mut head,
            "namespace_prefixes",
            texts(&attribute(settings.and_then(|s| s.namespace_prefixes.as_ref()))),
        );
        head.push_str("\"education_organizations\":[");
        Self {
            head,
            organizations: holder.organizations().into_iter(),
            type_prefix: settings.map(|settings| Arc::clone(&settings.type_prefix)).unwrap_or_default(),
            is_first: true,
            tail: tail(holder, settings),
            _turn: turn,
        }
    }
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut piece = mem::take(&mut self.head);
        for organization in self.organizations.by_ref().take(PIECE) {
            if !mem::take(&mut self.is_first) {
                piece.push(',');
            }
            write_organization(&mut piece, &organization, &self.type_prefix);
        }
        if self.organizations.len() == 0 {
            piece.push_str(&mem::take(&mut self.tail));
        }
        (!piece.is_empty()).then_some(piece)
    }
}

/// All behind the organizations.
fn tail(holder: &Holder, settings: Option<&TokenInfoSettings>) -> String {
    let mut tail = String::from("],");
    for name in settings.iter().flat_map(|settings| &settings.null_members) {
        member(&mut tail, name, Json::Null);
    }
    let mut profiles = settings.and_then(|s| s.profiles.as_ref()).map(|name| holder.texts(name)).unwrap_or_default();
    profiles.sort();
    member(&mut tail, "assigned_profiles", texts(&profiles));
    member(&mut tail, "claim_set", json!({ "name": holder.claim_set() }));
    let resources = holder.resources();
    let resources =
        resources.iter().map(|(name, actions)| json!({ "resource": format!("/{name}"), "operations": texts(actions) }));
    member(&mut tail, "resources", resources.collect::<Vec<_>>());
    member(&mut tail, "services", services(holder, settings.and_then(|settings| settings.services.as_deref())));
    // Each member ends with a comma; the last one needs none.
    tail.pop();
    tail.push('}');
    tail
}

/// The claims that begin like services, under the names that remain.
fn services(holder: &Holder, prefix: Option<&str>) -> Vec<Json> {
    let Some(prefix) = prefix else { return Vec::new() };
    let named: Actions = holder.claims_behind(prefix);
    named.iter().map(|(service, actions)| json!({ "service": &**service, "operations": texts(actions) })).collect()
}

fn write_organization(text: &mut String, organization: &Organization, type_prefix: &str) {
    let Organization { id, name, kind, lineage } = organization;
    text.push('{');
    member(text, "education_organization_id", number_or_text(id));
    member(text, "name_of_institution", &**name);
    member(text, "type", format!("{type_prefix}{kind}"));
    for (kind, id) in lineage.iter().filter(|(kind, _)| !kind.is_empty()) {
        member(text, &format!("{}_id", snake_case(kind)), number_or_text(id));
    }
    text.pop();
    text.push('}');
}

/// Writes a member and a comma.
fn member(text: &mut String, name: &str, value: impl Into<Json>) {
    for part in [&Json::from(name).to_string(), ":", &value.into().to_string(), ","] {
        text.push_str(part);
    }
}

fn texts(texts: &[Arc<str>]) -> Vec<Json> {
    texts.iter().map(|text| Json::from(&**text)).collect()
}

/// Ids are numbers wherever they look like ones.
fn number_or_text(id: &str) -> Json {
    id.parse::<i64>().map_or_else(|_| id.into(), Json::from)
}

/// `LocalEducationAgency` becomes `local_education_agency`.
fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::with_capacity(name.len() + 4);
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| letters.get(place));
        let is_behind_small = before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit());
        let is_last_of_capitals = before.is_some_and(|before| before.is_uppercase())
            && letters.get(place + 1).is_some_and(|after| after.is_lowercase());
        if letter.is_uppercase() && (is_behind_small || is_last_of_capitals) {
            text.push('_');
        }
        match letter {
            '-' | ' ' => text.push('_'),
            letter => text.extend(letter.to_lowercase()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_become_names_of_members() {
        for (kind, expected) in [
            ("School", "school"),
            ("LocalEducationAgency", "local_education_agency"),
            ("EducationOrganizationNetwork", "education_organization_network"),
            ("PostSecondaryInstitution", "post_secondary_institution"),
            ("TPDMProvider", "tpdm_provider"),
            ("Level2Site", "level2_site"),
            ("Charter-school board", "charter_school_board"),
            ("", ""),
        ] {
            assert_eq!(snake_case(kind), expected);
        }
    }

    #[test]
    fn ids_are_numbers_where_they_look_like_ones() {
        for (id, expected) in [("255901", "255901"), ("9007199254740993", "9007199254740993"), ("north", "\"north\"")] {
            assert_eq!(number_or_text(id).to_string(), expected);
        }
    }
}
