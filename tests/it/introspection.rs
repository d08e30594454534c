//! Opaque tokens of an issuer that is asked about them (RFC 7662), over real HTTPS.

use std::fs;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hallpass::app::ports::Clock as _;
use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation};
use hallpass::domain::key_set::KeySet;
use hallpass::domain::token;
use hallpass::proto::v1 as pb;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::issuer_server::{IssuerServer, Reply, Request};
use crate::support::{Home, REALM, Service, reading_student};

/// What the issuer never says anything about.
pub(crate) const SILENT: &str = "opaque-canary-silent";

/// What must not be found in any log.
const SECRET: &str = "s3cret-canary with + and %";
const CANARY: &str = "opaque-canary";

/// Asks with a token: `Ok` with the code of why it is not good, `None` if it is.
async fn ask(service: &Service, token: &str) -> Result<Option<String>, Status> {
    let answer = service.authorization().authorize(reading_student(token, "604822")).await?.into_inner();
    let is_refused = answer.outcome() == pb::Outcome::Unauthenticated;
    Ok(is_refused.then(|| answer.reasons[0].code.clone()))
}

/// What the issuer says about a token, by the token's name behind the canary.
fn reply(name: &str, issuer: &str) -> Reply {
    let now_seconds = SystemClock.now_seconds();
    let mut answer = json!({
        "active": true, "iss": issuer, "aud": "hallpass", "exp": now_seconds + 600, "client_id": "introspected",
        "scope": "Ed-Fi Sandbox", "educationOrganizationIds": "255901", "namespacePrefixes": "uri://ed-fi.org",
    });
    let mut set = |member: &str, value: Value| answer[member] = value;
    match name {
        "good" | "shared" => {}
        "inactive" => return Reply::Json(r#"{"active": false}"#.to_owned()),
        "unsaid" => set("active", Value::Null),
        "text" => set("active", json!("true")),
        "number" => set("active", json!(1)),
        "expired" => set("exp", json!(now_seconds - 3600)),
        "early" => set("nbf", json!(now_seconds + 3600)),
        "future" => set("iat", json!(now_seconds + 3600)),
        "foreign" => set("iss", json!("https://other.example")),
        "elsewhere" => set("aud", json!(["other"])),
        "nowhere" => drop(answer.as_object_mut().unwrap().remove("aud")),
        "bound" => set("cnf", json!({ "unheard": "of" })),
        "odd" => set("exp", json!("soon")),
        "refused" => return Reply::Status(401, String::new()),
        "broken" => return Reply::Status(500, String::new()),
        "moved" => return Reply::Status(307, format!("location: {issuer}/elsewhere\r\n")),
        "page" => return Reply::Text(10),
        "huge" => return Reply::Text(70_000),
        "list" => return Reply::Json("[true]".to_owned()),
        "twice" => return Reply::Json(r#"{"active": false, "active": true}"#.to_owned()),
        "signed" => return Reply::Json("eyJhbGciOiJFUzI1NiJ9.e30.AA".to_owned()),
        "silent" => return Reply::Silence,
        "nested" => {
            answer = json!({
                "active": true, "aud": ["hallpass"], "client_id": "introspected", "claim_set": { "name": "Ed-Fi Sandbox" },
                "education_organizations": [{ "id": 255_901 }, { "id": 255_950 }],
            });
        }
        other => panic!("nobody issued `{other}`"),
    }
    Reply::Json(answer.to_string())
}

/// A service whose realm trusts its usual issuer and one of opaque tokens, and the requests that the latter got.
async fn world(proof: &str) -> (Home, Service, IssuerServer, Arc<Mutex<Vec<Request>>>) {
    world_in(Home::new(), proof).await
}

/// The same, with time for an issuer that says nothing.
async fn world_in(mut home: Home, proof: &str) -> (Home, Service, IssuerServer, Arc<Mutex<Vec<Request>>>) {
    home.tables.push_str("[limits]\ncheck_ms_max = 60000\n[log]\nlevel = \"trace\"\n");
    let (server, seen) = trust(&mut home, proof).await;
    let service = home.start().await;
    (home, service, server, seen)
}

/// Has the realm trust an issuer of opaque tokens, too, and gives the requests that it gets.
pub(crate) async fn trust(home: &mut Home, proof: &str) -> (IssuerServer, Arc<Mutex<Vec<Request>>>) {
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let server = IssuerServer::start(|_| Reply::Silence).await;
    let (issuer, heard) = (server.url.clone(), Arc::clone(&seen));
    server.answer(move |request| {
        heard.lock().unwrap().push(request.clone());
        let token = request.field("token").unwrap();
        reply(token.strip_prefix(CANARY).unwrap().trim_start_matches('-'), &issuer)
    });
    fs::write(home.path("ca.pem"), &server.certificate).unwrap();
    fs::write(home.path("secret.txt"), format!("{SECRET}\n")).unwrap();
    let url = &server.url;
    home.issuer = format!(
        "keys = {{ file = \"issuer.jwks.json\" }}\n[[realms.edfi.issuers]]\nissuer = \"{url}\"\naudiences = [\"hallpass\"]\n\
         ca_file = \"ca.pem\"\nintrospection = {{ url = \"{url}/introspect\", client_id = \"pdp\", {proof} }}\n"
    );
    (server, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_asked_about_its_opaque_tokens_and_nothing_but_a_clear_yes_counts() {
    let (home, service, server, seen) = world("client_secret_file = \"secret.txt\"").await;
    let token = |name: &str| format!("{CANARY}-{name}");
    for (name, code) in [
        ("good", None),
        ("inactive", Some("TOKEN_INACTIVE")),
        ("unsaid", Some("TOKEN_INACTIVE")),
        ("text", Some("TOKEN_INACTIVE")),
        ("number", Some("TOKEN_INACTIVE")),
        ("expired", Some("TOKEN_EXPIRED")),
        ("early", Some("TOKEN_NOT_YET_VALID")),
        ("future", Some("TOKEN_NOT_YET_VALID")),
        ("foreign", Some("ISSUER_UNKNOWN")),
        ("elsewhere", Some("AUDIENCE_MISMATCH")),
        ("nowhere", Some("CLAIM_MISSING")),
        ("bound", Some("PROOF_REQUIRED")),
        ("odd", Some("CLAIM_TYPE_INVALID")),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&service, &token(name)).await.unwrap().as_deref(), code, "{name}");
        }
        let asked = seen.lock().unwrap().iter().filter(|request| request.field("token") == Some(token(name))).count();
        assert_eq!(asked, 1, "{name}: the answer is remembered");
    }
    for name in ["refused", "broken", "moved", "page", "huge", "list", "twice", "signed", "silent"] {
        let status = ask(&service, &token(name)).await.unwrap_err();
        let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
        let told = (status.code(), &*info.reason);
        assert_eq!(told, (Code::Unavailable, "TOKEN_INTROSPECTION_UNAVAILABLE"), "{name}: {status}");
    }

    let asked = server.requests();
    let jwt = home.token("Ed-Fi Sandbox", &[255_901]);
    assert_eq!(ask(&service, &jwt).await.unwrap(), None, "a JWT is verified here");
    let jwe = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA";
    for foreign in [jwt.replace('.', ""), jwe.to_owned(), "a.b.c".to_owned(), format!("{CANARY} good"), "é".to_owned()]
    {
        assert!(ask(&service, &foreign).await.unwrap().is_some(), "{foreign}");
    }
    assert_eq!(server.requests(), asked, "what may be another's token is not shown to this issuer");

    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (mut client, question) = (service.authorization(), reading_student(&token("shared"), "604822"));
        callers.spawn(async move { client.authorize(question).await.unwrap().into_inner().outcome() });
    }
    let outcomes = callers.join_all().await;
    assert!(outcomes.iter().all(|outcome| *outcome != pb::Outcome::Unauthenticated), "{outcomes:?}");
    assert_eq!(server.requests(), asked + 1, "many at once share one question");

    let request = seen.lock().unwrap()[0].clone();
    let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let expected = format!("authorization: Basic {}", STANDARD.encode(format!("pdp:{encoded}")));
    assert!(request.head.lines().any(|line| line.eq_ignore_ascii_case(&expected)), "{}", request.head);
    assert_eq!((request.path(), request.field("token_type_hint")), ("/introspect", Some("access_token".to_owned())));
    let log = service.stderr();
    assert!(log.contains("cannot be asked about its tokens"), "{log}");
    for canary in [CANARY, "s3cret", &encoded, &STANDARD.encode(format!("pdp:{encoded}")), &jwt, jwe] {
        assert!(!log.contains(canary), "`{canary}` is in the log");
    }
}

#[tokio::test]
async fn the_service_proves_itself_by_a_signed_assertion() {
    let key = LocalKey::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.pem");
    key.save(&file).unwrap();
    let proof = format!("private_key_file = {}, key_id = \"{}\"", json!(file), key.key_id());
    let (_home, service, server, seen) = world(&proof).await;
    assert_eq!(ask(&service, &format!("{CANARY}-good")).await.unwrap(), None);
    let request = seen.lock().unwrap()[0].clone();
    assert!(!request.head.to_ascii_lowercase().contains("\nauthorization:"), "{}", request.head);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(request.field("client_assertion_type").as_deref(), Some(kind));
    let assertion = request.field("client_assertion").unwrap();
    let mut client = Issuer::new("pdp", &[Algorithm::EdDSA], KeyLocation::Nowhere);
    client.audiences = vec![server.url.as_str().into()];
    client.required_claims = vec!["jti".into(), "iat".into()];
    client.lifetime_seconds_max = Some(60);
    let keys = KeySet::from_jwks(&key.jwks()).unwrap();
    let claims = token::read(&assertion).unwrap().verify(&client, &keys, SystemClock.now_seconds()).unwrap();
    assert_eq!(claims.subject(), Some("pdp"));
    assert!(!service.stderr().contains(&assertion));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_says_where_an_introspection_answer_has_what_tokens_say_elsewhere() {
    let mut home = Home::new();
    let rules = home.copy_rules().join("realm.toml");
    let mut content = fs::read_to_string(&rules).unwrap();
    let walk = "introspection = [\"education_organizations\", \"education_organization_id\"]";
    assert!(content.contains(walk) && content.contains("introspection = [\"claim_set\", \"name\"]"));
    content = content.replace(walk, "introspection = [\"education_organizations\", \"id\"]");
    fs::write(&rules, content).unwrap();
    let (home, service, ..) = world_in(home, "client_secret_file = \"secret.txt\"").await;
    let describe = async |token: String| {
        let asked = pb::GetTokenInfoRequest { realm: REALM.to_owned(), token, ..Default::default() };
        service.authorization().get_token_info(asked).await.unwrap().into_inner()
    };
    let by_answer = describe(format!("{CANARY}-nested")).await;
    let by_token = describe(home.token("Ed-Fi Sandbox", &[255_901, 255_950])).await;
    let told = ["claimSet", "educationOrganizations"];
    let of = |token: &pb::GetTokenInfoResponse| told.map(|name| token.attributes.get(name).cloned());
    assert_eq!((by_answer.active, &*by_answer.principal.clone().unwrap().id), (true, "introspected"), "{by_answer:?}");
    assert!(of(&by_token).iter().all(Option::is_some), "{by_token:?}");
    assert_eq!(of(&by_answer), of(&by_token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_another_realm_gave_out_is_shown_to_nobody() {
    let mut home = Home::new();
    let rules = serde_json::json!(home.copy_rules());
    home.tables += &["[realms.other]\nfolder = ", &rules.to_string(), "\n"].concat();
    let (_home, service, server, _seen) = world_in(home, "client_secret_file = \"secret.txt\"").await;
    let url = format!("http://{}", service.address);
    let mut applications = pb::application_service_client::ApplicationServiceClient::connect(url).await.unwrap();
    let attributes = [("claimSet".to_owned(), crate::support::text("SISVendor"))].into();
    let application = pb::Application { id: "sis".to_owned(), attributes, ..pb::Application::default() };
    let put = pb::PutApplicationRequest {
        realm: "other".to_owned(),
        application: Some(application),
        secret: SECRET.to_owned(),
        ..pb::PutApplicationRequest::default()
    };
    applications.put_application(put).await.unwrap();
    let secret = SECRET.to_owned();
    let asking =
        pb::IssueTokenRequest { realm: "other".to_owned(), id: "sis".to_owned(), secret, ..Default::default() };
    let token = applications.issue_token(asking).await.unwrap().into_inner().token;
    let asked = server.requests();
    assert_eq!(ask(&service, &token).await.unwrap().as_deref(), Some("TOKEN_UNKNOWN"));
    assert_eq!(server.requests(), asked);
}
