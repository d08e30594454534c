//! `POST /oauth/token` over real HTTP: opaque tokens for applications, and that they work.

use std::collections::HashMap;

use hallpass::proto::v1 as pb;
use hallpass::proto::v1::application_service_client::ApplicationServiceClient;
use hallpass::proto::v1::value::Kind;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value as Json, json};

use crate::support::{Home, REALM, Service, text};
use crate::token_info::{FORM, JSON, client, home, import_district, json_of, told};

const ID: &str = "maple-sis";
const SECRET: &str = "correct horse battery: staple";

/// A service with the example district and one application, of Maple Ridge and Birch Hollow.
async fn start() -> (Home, Service) {
    let home = home();
    let service = home.start().await;
    import_district(&service).await;
    put(&service, false).await;
    (home, service)
}

/// Puts the application, with its secret.
async fn put(service: &Service, disabled: bool) {
    let list = |items: &[&str]| {
        let values = items.iter().map(|item| text(item)).collect();
        pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values })) }
    };
    let attributes = HashMap::from([
        ("claimSet".to_owned(), text("SISVendor")),
        ("educationOrganizations".to_owned(), list(&["10", "20"])),
        ("namespacePrefixes".to_owned(), list(&["uri://ed-fi.org", "uri://maple.example"])),
        ("profiles".to_owned(), list(&["Roster", "Nutrition"])),
    ]);
    let application = pb::Application { id: ID.to_owned(), attributes, disabled, ..pb::Application::default() };
    let request = pb::PutApplicationRequest {
        realm: REALM.to_owned(),
        application: Some(application),
        secret: SECRET.to_owned(),
        ..pb::PutApplicationRequest::default()
    };
    let mut client = ApplicationServiceClient::connect(format!("http://{}", service.address)).await.unwrap();
    client.put_application(request).await.unwrap();
}

fn asking(service: &Service, path: &str) -> RequestBuilder {
    client().post(format!("{}{path}", service.http.as_ref().unwrap()))
}

/// Sends and gives status, challenge and body, which nobody may keep.
async fn answer(asking: RequestBuilder) -> (StatusCode, Option<String>, Json) {
    let response = asking.send().await.unwrap();
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let challenge = response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    (response.status(), challenge, json_of(response).await)
}

async fn token(service: &Service, scope: &str) -> String {
    let asking = asking(service, "/oauth/token").basic_auth(ID, Some(SECRET)).header(CONTENT_TYPE, FORM);
    let (status, _, told) = answer(asking.body(format!("grant_type=client_credentials&scope={scope}"))).await;
    assert_eq!(
        (status, told.get("scope").and_then(Json::as_str)),
        (StatusCode::OK, Some(scope).filter(|s| !s.is_empty()))
    );
    told["access_token"].as_str().unwrap().to_owned()
}

fn ids(info: &Json) -> Vec<i64> {
    let organizations = info["education_organizations"].as_array().unwrap().iter();
    organizations.map(|organization| organization["education_organization_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_client_gets_a_token_however_it_proves_itself() {
    let (_home, service) = start().await;
    let grant = "grant_type=client_credentials";
    let form = form_urlencoded(&[("client_id", ID), ("client_secret", SECRET)]);
    let json = json!({ "Grant_type": "client_credentials", "Client_id": ID, "Client_secret": SECRET, "Scope": null });
    let basic = |path| asking(&service, path).basic_auth(ID, Some(SECRET)).header(CONTENT_TYPE, FORM);
    for asking in [
        basic("/oauth/token").body(grant),
        basic("/edfi/oauth/token").body(format!("{grant}&client_id={ID}")),
        asking(&service, "/oauth/token").header(CONTENT_TYPE, FORM).body(format!("{grant}&{form}")),
        asking(&service, "/oauth/token").header(CONTENT_TYPE, JSON).body(json.to_string()),
    ] {
        let (status, _, told) = answer(asking).await;
        assert_eq!((status, &told["token_type"]), (StatusCode::OK, &json!("bearer")), "{told}");
        assert!((1_790..=1_800).contains(&told["expires_in"].as_i64().unwrap()));
        assert!(told["access_token"].as_str().is_some_and(|token| token.len() > 30) && told.get("scope").is_none());
    }
}

fn form_urlencoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.replace(' ', "+").replace(':', "%3A");
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn an_opaque_token_is_told_what_its_application_may_do() {
    let (_home, service) = start().await;
    let info = told(&service, &token(&service, "").await).await;
    assert_eq!(ids(&info), [10, 11, 20, 101, 102, 201]);
    assert_eq!((&info["client_id"], &info["claim_set"]["name"]), (&json!(ID), &json!("SISVendor")));
    assert_eq!(info["namespace_prefixes"], json!(["uri://ed-fi.org", "uri://maple.example"]));
    assert_eq!(info["assigned_profiles"], json!(["Nutrition", "Roster"]));
    // One organization, which narrows nothing else.
    let info = told(&service, &token(&service, "20").await).await;
    assert_eq!(ids(&info), [20, 201]);
    assert_eq!(info["assigned_profiles"], json!(["Nutrition", "Roster"]));
}

#[tokio::test]
async fn every_refusal_has_its_code_and_gives_nothing_away() {
    let (_home, service) = start().await;
    let basic = |id, secret| asking(&service, "/oauth/token").basic_auth(id, Some(secret)).header(CONTENT_TYPE, FORM);
    let plain = |body: String| asking(&service, "/oauth/token").header(CONTENT_TYPE, FORM).body(body);
    let grant = "grant_type=client_credentials";
    let secret = form_urlencoded(&[("client_secret", SECRET)]);
    let malformed = "The supplied 'scope' was not a number (it should be an EducationOrganizationId that is explicitly associated with the client).";
    let foreign =
        "The client is not explicitly associated with the EducationOrganizationId specified in the requested 'scope'.";
    let scoped = |scope: &str| basic(ID, SECRET).body(format!("{grant}&scope={scope}"));
    for (asking, status, error, description) in [
        (basic(ID, "correct horse battery: stable").body(grant), 401, "invalid_client", None),
        (basic("nobody", SECRET).body(grant), 401, "invalid_client", None),
        (plain(format!("{grant}&client_id=nobody&{secret}")), 401, "invalid_client", None),
        (plain(grant.to_owned()), 401, "invalid_client", None),
        (asking(&service, "/oauth/token").bearer_auth("x").body("{}"), 401, "invalid_client", None),
        // The secret is looked at before the scope.
        (basic("nobody", SECRET).body(format!("{grant}&scope=x")), 401, "invalid_client", None),
        (scoped("all"), 400, "invalid_scope", Some(malformed)),
        (scoped("10+20"), 400, "invalid_scope", Some(malformed)),
        // An organization below one of the client's own is not one of them.
        (scoped("101"), 400, "invalid_scope", Some(foreign)),
        (scoped("9999999999"), 400, "invalid_scope", Some(foreign)),
        (basic(ID, SECRET).body("grant_type=password"), 400, "unsupported_grant_type", None),
        (basic(ID, SECRET).body(""), 400, "invalid_request", Some("`grant_type` is missing")),
        (scoped("10&scope=20"), 400, "invalid_request", Some("`scope` is no text, or there twice")),
        (
            basic(ID, SECRET).body(format!("{grant}&{secret}")),
            400,
            "invalid_request",
            Some("the client proves itself in the header and in the body"),
        ),
        (asking(&service, "/oauth/token").body("{"), 400, "invalid_request", Some("the body cannot be read")),
    ] {
        let shown = format!("{asking:?}").replace(SECRET, "");
        let (found, challenge, told) = answer(asking).await;
        assert_eq!((found.as_u16(), told["error"].as_str()), (status, Some(error)), "{shown} {told}");
        assert_eq!(told.get("error_description").and_then(Json::as_str), description, "{shown}");
        assert!(challenge.is_none_or(|challenge| challenge == "Basic realm=\"oauth\"" && status == 401));
    }
    put(&service, true).await;
    let (status, _, told) = answer(basic(ID, SECRET).body(grant)).await;
    assert_eq!((status, told), (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" })));
    let log = service.stderr();
    assert!(!log.contains(SECRET) && !log.contains("staple"), "{log}");
}

#[tokio::test]
async fn a_token_that_ended_with_its_application_is_refused() {
    let (_home, service) = start().await;
    let token = token(&service, "").await;
    told(&service, &token).await;
    put(&service, true).await;
    let body = json!({ "token": token }).to_string();
    let asking = asking(&service, "/oauth/token_info").bearer_auth(&token).header(CONTENT_TYPE, JSON);
    let response = asking.body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(json_of(response).await["errors"], json!(["Invalid token"]));
}
