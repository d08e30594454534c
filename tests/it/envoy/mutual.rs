//! Envoy and the service know each other by certificates: with the lines of docs/envoy.md, behind a real Envoy.

use std::fs;
use std::path::Path;

use hallpass::proto::v1 as pb;
use hallpass::proto::v1::decision_log_service_client::DecisionLogServiceClient;
use hallpass::proto::v1::relationship_service_client::RelationshipServiceClient;
use hallpass::server::Running;
use tonic::transport::Channel;

use super::proxy::{self, Answer, Envoy};
use super::{STUDENTS, add_routes};
use crate::callers::Secured;
use crate::callers::pki::{Authority, Good, Pair, channel};
use crate::support::{REALM, enrolment};

/// By which the service knows a gateway that may ask, and others who may not.
const CALLERS: [(&str, &str); 4] =
    [("gateway", "enforcer"), ("scraper", "monitor"), ("sis", "provisioner"), ("auditor", "auditor")];

fn spiffe(name: &str) -> String {
    format!("spiffe://north.example/{name}")
}

/// The service with TLS, behind which clients must show certificates; it knows some of them.
fn secured() -> Secured {
    let callers = CALLERS.map(|(name, role)| {
        format!("[callers.{name}]\nroles = [\"{role}\"]\nrealms = [\"{REALM}\"]\ncertificate = \"{}\"\n", spiffe(name))
    });
    let mut secured = Secured::new("client_certificates = \"required\"", &callers.concat());
    let rules = secured.home.copy_rules();
    add_routes(&rules);
    secured
}

async fn connected(secured: &Secured, running: &Running, name: &str) -> Channel {
    channel(running.grpc_address().port(), &secured.client(name, &[&spiffe(name)])).await.unwrap()
}

/// The lines of docs/envoy.md by which Envoy shows a certificate, for one in this folder.
fn transport_socket(folder: &Path) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/envoy.md")).unwrap();
    let (_, from) = page.split_once("```yaml\ntransport_socket:\n").expect("docs/envoy.md says how Envoy shows itself");
    let (lines, _) = from.split_once("```").unwrap();
    assert!(lines.contains("/etc/envoy/") && lines.contains("hallpass.example"), "{lines}");
    let lines = lines.replace("/etc/envoy", &folder.display().to_string()).replace("hallpass.example", "localhost");
    format!("transport_socket:\n{lines}")
}

/// What a client is answered that asks for Ada, and then for Fay, by an Envoy that shows this certificate.
fn asked_by(binary: &Path, secured: &Secured, running: &Running, shown: &Pair) -> [Answer; 2] {
    let folder = secured.home.path("envoy");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("gateway.pem"), &shown.certificate).unwrap();
    fs::write(folder.join("gateway.key"), &shown.key).unwrap();
    fs::write(folder.join("hallpass-ca.pem"), secured.own.pem()).unwrap();
    let address = running.grpc_address().to_string();
    let envoy = Envoy::start_with(binary, &folder, proxy::start_api(), &address, &transport_socket(&folder));
    let bearer = format!("Bearer {}", secured.home.token("SISVendor", &[101]));
    ["ada", "fay"].map(|student| envoy.get(&format!("{STUDENTS}/{student}"), &[("authorization", &bearer)]))
}

/// The decisions that are kept, as an auditor reads them.
async fn kept(secured: &Secured, running: &Running) -> Vec<pb::DecisionRecord> {
    let query = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        kind: pb::RecordKind::Decision.into(),
        ..pb::QueryDecisionsRequest::default()
    };
    let mut log = DecisionLogServiceClient::new(connected(secured, running, "auditor").await);
    log.query_decisions(query).await.unwrap().into_inner().decisions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_is_known_by_the_certificate_that_it_shows() {
    let Some(binary) = proxy::found() else { return };
    let secured = secured();
    let running = secured.start().await;
    let records = pb::ImportRecordsRequest {
        realm: REALM.to_owned(),
        resource: "studentSchoolAssociations".to_owned(),
        records: vec![enrolment("ada", 101), enrolment("fay", 102)],
    };
    let mut facts = RelationshipServiceClient::new(connected(&secured, &running, "sis").await);
    facts.import_records(tokio_stream::once(records)).await.unwrap();

    let gateway = secured.clients.client("whoever", &[&spiffe("gateway")], Good::Now);
    let [ada, fay] = asked_by(&binary, &secured, &running, &gateway);
    assert!(ada.status == 200 && ada.body.starts_with("GET /data/v3/ed-fi/students/ada "), "{ada:?}");
    assert!(fay.status == 403 && fay.body.contains("urn:ed-fi:"), "{fay:?}");
    let kept = kept(&secured, &running).await;
    let kept: Vec<_> = kept.iter().map(|record| (&*record.caller, &*record.adapter)).collect();
    assert_eq!(kept, [("gateway", "envoy"); 2]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_an_envoy_whose_certificate_may_not_ask_nothing_passes() {
    let Some(binary) = proxy::found() else { return };
    let secured = secured();
    let running = secured.start().await;
    let (clients, stranger) = (&secured.clients, Authority::new("stranger"));
    for (who, shown) in [
        ("a caller that may not ask", clients.client("scraper", &[&spiffe("scraper")], Good::Now)),
        ("nobody that is known", clients.client("gateway", &[&spiffe("other")], Good::Now)),
        ("a name of another authority", stranger.client("gateway", &[&spiffe("gateway")], Good::Now)),
        ("a name that was good", clients.client("gateway", &[&spiffe("gateway")], Good::NoMore)),
    ] {
        for answer in asked_by(&binary, &secured, &running, &shown) {
            assert_eq!(answer.status, 503, "{who}: {answer:?}");
            assert!(!answer.body.contains("GET /"), "{who} reaches the API: {answer:?}");
        }
    }
    assert_eq!(kept(&secured, &running).await, [], "nothing was decided");
    running.stop().await.unwrap();
}
