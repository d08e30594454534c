//! `POST /oauth/token`: client credentials for a token (RFC 6749 section 4.4).
//!
//! The client proves itself in a Basic header or in the body. Id and secret of the header are taken as they stand,
//! because most clients do not encode them as section 2.3.1 asks.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    Shared, answer, body,
    problem::{OauthRefusal, Problem},
};
use crate::app::{
    credentials::Secret,
    oauth_token::{ClientCredentials, GrantError, GrantedToken},
};

const GRANT_TYPE: &str = "client_credentials";

/// `POST /oauth/token`, of the only realm that issues tokens.
pub(super) async fn nameless(State(shared): State<Shared>, request: Request) -> Response {
    issue(&shared, "", request).await.unwrap_or_else(|refused| refused)
}

/// `POST /{realm}/oauth/token`.
pub(super) async fn named(State(shared): State<Shared>, Path(realm): Path<String>, request: Request) -> Response {
    issue(&shared, &realm, request).await.unwrap_or_else(|refused| refused)
}

async fn issue(shared: &Shared, realm: &str, request: Request) -> Result<Response, Response> {
    let (head, content) = request.into_parts();
    let state = shared.app.issuing_realm(realm).map_err(|error| Problem::of(&error).into_response())?;
    let content = body::read(&head.headers, content, &shared.limits).await;
    let content = content.map_err(|fault| Problem::of_body(fault).into_response())?;
    let (asked, is_basic) = read(&head.headers, &content).map_err(OauthRefusal::into_response)?;
    let scope = asked.scope.clone();
    let granted = shared.app.grant_token(&state, asked).await.map_err(|error| match error {
        GrantError::Client(_) => OauthRefusal::InvalidClient { is_basic }.into_response(),
        GrantError::Scope(said) => OauthRefusal::InvalidScope(said).into_response(),
        GrantError::Failed(error) => Problem::of(&error).into_response(),
    })?;
    let GrantedToken { token, expires_in_seconds } = granted;
    let mut told = json!({ "access_token": &*token.0, "expires_in": expires_in_seconds, "token_type": "bearer" });
    if let (Some(members), Some(scope)) = (told.as_object_mut(), scope) {
        members.insert("scope".to_owned(), json!(&*scope));
    }
    Ok(answer::secret(&told))
}

/// What is asked for, and whether the client came with a Basic header.
fn read(headers: &HeaderMap, content: &body::Content) -> Result<(ClientCredentials, bool), OauthRefusal> {
    let fields = content.fields().ok_or(OauthRefusal::InvalidRequest("the body cannot be read"))?;
    // A parameter without a value counts as left out (RFC 6749 section 3.2).
    let field = |name: &str, fault| match fields.text(name) {
        Ok(text) => Ok(text.filter(|text| !text.0.is_empty())),
        Err(_) => Err(OauthRefusal::InvalidRequest(fault)),
    };
    let grant_type = field("grant_type", "`grant_type` is no text, or there twice")?;
    let (id, secret) = (
        field("client_id", "`client_id` is no text, or there twice")?,
        field("client_secret", "`client_secret` is no text, or there twice")?,
    );
    let scope = field("scope", "`scope` is no text, or there twice")?;
    let basic = basic(headers)?;
    let is_basic = basic.is_some();
    let (id, secret) = match (basic, id, secret) {
        (Some((id, secret)), other, None) if other.as_ref().is_none_or(|other| *other == id) => (id, secret),
        (Some(_), ..) => {
            return Err(OauthRefusal::InvalidRequest("the client proves itself in the header and in the body"));
        }
        (None, Some(id), Some(secret)) => (id, secret),
        (None, ..) => return Err(OauthRefusal::InvalidClient { is_basic }),
    };
    match grant_type {
        None => return Err(OauthRefusal::InvalidRequest("`grant_type` is missing")),
        Some(Secret(given)) if *given != *GRANT_TYPE => return Err(OauthRefusal::UnsupportedGrantType),
        Some(_) => {}
    }
    let scope = scope.map(|scope| scope.0.trim().into()).filter(|scope: &std::sync::Arc<str>| !scope.is_empty());
    Ok((ClientCredentials { id: id.0, secret, scope }, is_basic))
}

/// Id and secret of a Basic header (RFC 7617); `None` without an `Authorization` header.
fn basic(headers: &HeaderMap) -> Result<Option<(Secret, Secret)>, OauthRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = || OauthRefusal::InvalidClient { is_basic: true };
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, encoded) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(refused());
    }
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(refused)?;
    let (id, secret) = decoded.split_once(':').ok_or_else(refused)?;
    Ok(Some((Secret(id.into()), Secret(secret.into()))))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    #[test]
    fn a_parameter_without_a_value_counts_as_left_out() {
        let basic: HeaderMap = [(AUTHORIZATION, format!("Basic {}", STANDARD.encode("sis:secret")).parse().unwrap())]
            .into_iter()
            .collect();
        let asked = |headers: &HeaderMap, form: &str| {
            let content = body::Content::Form(Bytes::copy_from_slice(form.as_bytes()));
            read(headers, &content).map(|(asked, is_basic)| (asked.id, asked.secret.0, asked.scope, is_basic))
        };
        let proven = |is_basic| Ok(("sis".into(), "secret".into(), None, is_basic));
        let grant = "grant_type=client_credentials";
        for empty in
            ["client_secret=", "client_id=", "client_id=&client_secret=&scope=", "client_id=sis&client_secret="]
        {
            assert_eq!(asked(&basic, &format!("{grant}&{empty}")), proven(true), "{empty}");
        }
        let none = HeaderMap::new();
        assert_eq!(asked(&none, &format!("{grant}&client_id=sis&client_secret=secret&scope=")), proven(false));
        let unproven = Err(OauthRefusal::InvalidClient { is_basic: false });
        assert_eq!(asked(&none, &format!("{grant}&client_id=sis&client_secret=")), unproven);
        assert_eq!(asked(&basic, "grant_type="), Err(OauthRefusal::InvalidRequest("`grant_type` is missing")));
        let both = Err(OauthRefusal::InvalidRequest("the client proves itself in the header and in the body"));
        assert_eq!(asked(&basic, &format!("{grant}&client_secret=x")), both);
        let twice = Err(OauthRefusal::InvalidRequest("`client_secret` is no text, or there twice"));
        assert_eq!(asked(&basic, &format!("{grant}&client_secret=&client_secret=x")), twice);
    }
}
