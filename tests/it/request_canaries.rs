//! The log of every request that came over gRPC in a run, at its most talkative: that it came and what came of it, and nothing
//! that it brought but a short id.

use std::collections::HashMap;

use hallpass::proto::v1 as pb;
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::proto::v1::relationship_service_client::RelationshipServiceClient;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::applications::files_with;
use crate::support::{Home, REALM, Service};

/// Stands in every canary.
const CANARY: &str = "c4n4ry";

/// The only thing of a request that the log may show.
const ID: &str = "request-7";

fn canary(name: &str) -> String {
    format!("{CANARY}-{name}")
}

fn text(name: &str) -> pb::Value {
    pb::Value { kind: Some(pb::value::Kind::StringValue(canary(name))) }
}

fn one(name: &str) -> HashMap<String, pb::Value> {
    HashMap::from([(canary(name), text(name))])
}

/// Brings canaries with every call, in metadata that nobody needs and in such that means something.
#[derive(Clone, Debug)]
struct Bringing(Vec<(&'static str, String)>);

impl Bringing {
    fn metadata(more: &[(&'static str, String)]) -> Self {
        let mut brought = vec![
            ("x-tenant", canary("tenant")),
            ("x-forwarded-for", canary("forwarded")),
            ("cookie", canary("cookie")),
            ("tracestate", format!("a={}", canary("state"))),
            ("baggage", format!("a={}", canary("baggage"))),
        ];
        brought.extend_from_slice(more);
        Self(brought)
    }
}

impl Interceptor for Bringing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata: &mut MetadataMap = request.metadata_mut();
        for (name, value) in &self.0 {
            let value: MetadataValue<Ascii> = value.parse().unwrap();
            metadata.append(*name, value);
        }
        Ok(request)
    }
}

/// Ways to come: each with a good id, or with one that is too long to be told.
fn ways() -> Vec<Bringing> {
    let long = canary("id").repeat(20);
    vec![
        Bringing::metadata(&[("x-request-id", ID.to_owned()), ("traceparent", format!("00-{}-01", canary("trace")))]),
        Bringing::metadata(&[("x-request-id", long), ("authorization", format!("Bearer {}", canary("key")))]),
        Bringing::metadata(&[("authorization", format!("Basic {}", canary("basic")))]),
        Bringing::metadata(&[
            ("authorization", format!("Bearer {}", canary("first"))),
            ("authorization", format!("Bearer {}", canary("second"))),
        ]),
        Bringing::metadata(&[("authorization", format!("Bearer eyJ{}", canary("token")))]),
    ]
}

/// Questions with canaries wherever something may stand, right and wrong.
fn questions(token: &str) -> Vec<pb::AuthorizeRequest> {
    let resource = pb::Resource {
        r#type: "ed-fi/students".to_owned(),
        id: canary("id"),
        attributes: HashMap::from([("studentUniqueId".to_owned(), text("student"))]),
        ..pb::Resource::default()
    };
    let good = pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: "Read".to_owned(),
        resource: Some(resource.clone()),
        purpose: canary("purpose"),
        ..pb::AuthorizeRequest::default()
    };
    let about = |resource: pb::Resource| pb::AuthorizeRequest { resource: Some(resource), ..good.clone() };
    vec![
        good.clone(),
        pb::AuthorizeRequest { realm: canary("realm"), ..good.clone() },
        pb::AuthorizeRequest { token: canary("opaque"), ..good.clone() },
        pb::AuthorizeRequest { query_token: canary("query"), ..good.clone() },
        pb::AuthorizeRequest { action: canary("action"), ..good.clone() },
        pb::AuthorizeRequest { media_type: canary("media"), ..good.clone() },
        pb::AuthorizeRequest { context: one("context"), ..good.clone() },
        pb::AuthorizeRequest { supported_obligations: vec![canary("obligation")], ..good.clone() },
        about(pb::Resource { r#type: canary("type"), ..resource.clone() }),
        about(pb::Resource { attributes: one("attribute"), ..resource.clone() }),
        about(pb::Resource { proposed: one("proposed"), ..resource }),
    ]
}

async fn ask_everything(channel: &Channel, token: &str) {
    for way in ways() {
        let mut questions_about = AuthorizationServiceClient::with_interceptor(channel.clone(), way.clone());
        for question in questions(token) {
            // What comes of each is tested elsewhere.
            questions_about.authorize(question.clone()).await.ok();
            let batch = pb::BatchAuthorizeRequest { items: vec![question], ..pb::BatchAuthorizeRequest::default() };
            questions_about.batch_authorize(batch).await.ok();
        }
        let search = pb::SearchResourcesRequest {
            realm: REALM.to_owned(),
            token: token.to_owned(),
            action: "Read".to_owned(),
            resource_type: canary("type"),
            ..pb::SearchResourcesRequest::default()
        };
        questions_about.search_resources(search).await.ok();
        let mut facts = RelationshipServiceClient::with_interceptor(channel.clone(), way);
        let end = |name: &str| Some(pb::EntityReference { r#type: canary(name), id: canary(name) });
        let fact = pb::Relationship { subject: end("subject"), relation: canary("relation"), object: end("object") };
        let write = pb::WriteRelationshipsRequest {
            realm: REALM.to_owned(),
            creates: vec![fact],
            ..pb::WriteRelationshipsRequest::default()
        };
        facts.write_relationships(write).await.unwrap_err();
    }
}

/// The lines of the log about single requests.
fn about_requests(service: &Service) -> Vec<String> {
    let log = service.stderr();
    let is_one = |line: &&str| line.contains("a request was answered") || line.contains("a request failed");
    log.lines().filter(is_one).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_requests_tells_nothing_that_they_brought() {
    let mut home = Home::new();
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let mut service = home.start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", service.address)).unwrap();
    let endpoint = endpoint.user_agent(canary("agent")).unwrap();
    let token = home.token("SISVendor", &[255_901]);
    ask_everything(&endpoint.connect().await.unwrap(), &token).await;
    service.signal("TERM");
    assert!(service.ended().await.success());
    let lines = about_requests(&service);
    assert_eq!(lines.len(), ways().len() * (2 * questions(&token).len() + 2), "each request has its line");
    let with_id = lines.iter().filter(|line| line.contains(ID)).count();
    assert_eq!(with_id, lines.len() / ways().len(), "a short id is told");
    for status in ["OK", "UNAUTHENTICATED", "INVALID_ARGUMENT", "NOT_FOUND"] {
        assert!(lines.iter().any(|line| line.contains(&format!("status=\"{status}\""))), "nothing was {status}");
    }
    let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    assert_eq!(files_with(&home.path(""), &[CANARY, payload, signature]), Vec::<String>::new());
}
