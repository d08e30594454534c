//! A deployment that is fine, and one thing wrong with it at a time.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rustls::pki_types::pem::PemObject as _;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::*;
use crate::{
    provider::signer::LocalKey,
    storage::key_file,
    transport::listener::{Acceptor, Certificates, ClientCertificates, Limits, Options, Protocol, Security},
};

const SCHEMA: &str = "entity Client { kind: String };\nentity File { shelf: String };\n\
                      action Read appliesTo { principal: [Client], resource: [File] };\n";
const POLICIES: &str = "@id(\"Open\")\npermit (principal is Client, action, resource is File)\n\
                        when { principal.kind == \"A\" && resource.shelf == \"open\" };\n";
const REALM: &str = "title = \"Shelves\"\n[principal]\nentity = \"Client\"\nid = \"client_id\"\n\
                     [principal.attributes.kind]\nclaim = \"kind\"\n[trusted]\nFile = [\"shelf\"]\n";

/// A folder with a configuration, a realm, an issuer's keys and a data folder, all as they should be.
struct Deployment {
    folder: TempDir,
    /// Further lines of the file, before and within tables.
    top: String,
    tables: String,
    issuer: String,
}

impl Deployment {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = "issuer = \"https://idp.example\"\naudiences = []\nalgorithms = [\"EdDSA\"]\nkeys = { file = \"keys.json\" }\n";
        let deployment = Self { folder, top: String::new(), tables: String::new(), issuer: issuer.to_owned() };
        fs::create_dir_all(deployment.path("rules/one")).unwrap();
        for (name, content) in [("realm.toml", REALM), ("schema.cedarschema", SCHEMA), ("policies.cedar", POLICIES)] {
            fs::write(deployment.path("rules/one").join(name), content).unwrap();
        }
        fs::write(deployment.path("keys.json"), LocalKey::generate().unwrap().jwks()).unwrap();
        fs::create_dir_all(deployment.path("data/keys")).unwrap();
        key_file::load_or_create(&deployment.path("data/pseudonym.key")).unwrap();
        key_file::load_or_create(&deployment.path("data/keys/log.key")).unwrap();
        deployment.set_mode("data", 0o700);
        deployment
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let Self { top, tables, issuer, .. } = self;
        let content = format!(
            "data_dir = \"data\"\ngrpc_address = \"127.0.0.1:0\"\n{top}\n[realms.one]\nfolder = \"rules/one\"\n\
             [[realms.one.issuers]]\n{issuer}\n{tables}\n"
        );
        fs::write(self.path("hallpass.toml"), content).unwrap();
        self.set_mode("hallpass.toml", 0o644);
        Config::from_file(&self.path("hallpass.toml"))
    }

    async fn findings(&self) -> Vec<Finding> {
        match self.config() {
            Ok(config) => examine(config, &self.path("hallpass.toml")).await,
            Err(error) => unreadable(&error),
        }
    }

    /// What is not fine.
    async fn ills(&self) -> Vec<Finding> {
        let mut findings = self.findings().await;
        // These are the machine's, and not the deployment's.
        findings.retain(|finding| {
            finding.state != State::Fine && !["open files", "disk", "clock"].contains(&finding.check)
        });
        findings
    }

    /// The only thing that is not fine is this.
    async fn has(&self, check: &str, state: State, what: &str) {
        let ills = self.ills().await;
        let is_it = |finding: &Finding| finding.check == check && finding.state == state && finding.what.contains(what);
        assert!(!ills.is_empty() && ills.iter().all(is_it), "expected {check} {state:?} {what:?}: {ills:#?}");
        assert!(ills.iter().all(|finding| !finding.advice.is_empty()), "{ills:#?}");
    }
}

#[tokio::test]
async fn a_good_deployment_is_fine_and_stays_as_it_is() {
    let deployment = Deployment::new();
    let listing = |folder: &Path| -> Vec<PathBuf> {
        let mut open = vec![folder.to_owned()];
        let mut found = Vec::new();
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                open.extend(path.is_dir().then(|| path.clone()));
                found.push(path);
            }
        }
        found.sort();
        found
    };
    deployment.config().unwrap();
    let before = listing(deployment.folder.path());
    let findings = deployment.findings().await;
    assert_eq!(deployment.ills().await, []);
    assert_eq!(listing(deployment.folder.path()), before, "nothing is left behind");
    let checked: std::collections::BTreeSet<_> = findings.iter().map(|finding| finding.check).collect();
    for check in [
        "configuration",
        "files",
        "certificates",
        "clock",
        "disk",
        "ports",
        "issuers",
        "realms",
        "callers",
        "decision log",
        "witness",
        "open files",
    ] {
        assert!(checked.contains(check), "{check}: {findings:#?}");
    }
}

#[tokio::test]
async fn a_configuration_with_faults_is_shown_with_its_lines() {
    let mut deployment = Deployment::new();
    deployment.top = "grpc_adress = \"127.0.0.1:1\"".to_owned();
    deployment.has("configuration", State::Fault, "hallpass.toml:3:1: error[unknown-key]").await;
}

#[tokio::test]
async fn a_configuration_that_is_named_must_be_there() {
    let settings = Flags { config: Some("nowhere.toml".into()), ..Flags::default() };
    let error = read(&settings, &Environment::default()).unwrap_err();
    assert!(error.to_string().contains("`nowhere.toml` cannot be read"), "{error}");
}

#[tokio::test]
async fn modes_that_let_others_in_are_found() {
    for (name, mode, state, what) in [
        ("data", 0o755, State::Warning, "others on this machine can look into"),
        ("data/pseudonym.key", 0o640, State::Fault, "refuses to start"),
        ("data/keys/log.key", 0o604, State::Fault, "refuses to start"),
        ("rules/one", 0o777, State::Fault, "anybody on this machine can change"),
    ] {
        let deployment = Deployment::new();
        deployment.set_mode(name, mode);
        deployment.has("files", state, what).await;
    }
    let deployment = Deployment::new();
    let config = deployment.config().unwrap();
    deployment.set_mode("hallpass.toml", 0o666);
    let findings = examine(config, &deployment.path("hallpass.toml")).await;
    let is_said = |finding: &Finding| finding.check == "files" && finding.what.contains("hallpass.toml");
    assert!(findings.iter().any(|finding| is_said(finding) && finding.state == State::Fault), "{findings:#?}");
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_found() {
    let deployment = Deployment::new();
    fs::remove_dir_all(deployment.path("data")).unwrap();
    fs::write(deployment.path("data"), "").unwrap();
    let ills = deployment.ills().await;
    assert!(ills.iter().any(|finding| finding.what.ends_with("the data folder, is a file")), "{ills:#?}");
}

#[tokio::test]
async fn realms_that_do_not_compile_or_fail_their_tests_are_found() {
    let deployment = Deployment::new();
    fs::write(deployment.path("rules/one/policies.cedar"), POLICIES.replace("resource.shelf", "resource.self"))
        .unwrap();
    deployment.has("realms", State::Fault, "`one`: ").await;
    let deployment = Deployment::new();
    fs::remove_file(deployment.path("rules/one/realm.toml")).unwrap();
    deployment.has("realms", State::Fault, "`one`").await;
    let mut deployment = Deployment::new();
    deployment.tables = "[realms.two]\nfolder = \"rules/one\"\n".to_owned();
    deployment.has("realms", State::Warning, "`two` trusts no issuer").await;
}

#[tokio::test]
async fn a_rollback_that_stands_is_told_of() {
    let deployment = Deployment::new();
    let config = deployment.config().unwrap();
    let name = config.realms[0].name.clone();
    let pin = crate::server::kept_versions(&config.data_dir, &name).pin_file();
    fs::create_dir_all(pin.parent().unwrap()).unwrap();
    fs::write(&pin, format!("{}\n1790000000000000\nada\n", "ab".repeat(32))).unwrap();
    deployment.has("realms", State::Warning, "was rolled back to version abababababab… by ada").await;
    fs::write(&pin, "nonsense").unwrap();
    deployment.has("realms", State::Fault, "names no version").await;
}

#[tokio::test]
async fn issuers_whose_keys_cannot_be_had_are_found() {
    let deployment = Deployment::new();
    fs::remove_file(deployment.path("keys.json")).unwrap();
    deployment.has("issuers", State::Fault, "the keys of `https://idp.example` of `one` cannot be had").await;
    fs::write(deployment.path("keys.json"), "{\"keys\": []}").unwrap();
    deployment.has("issuers", State::Fault, "`https://idp.example` of `one`").await;
    let mut deployment = Deployment::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    deployment.issuer = deployment.issuer.replace("file = \"keys.json\"", &format!("url = \"http://{closed}/keys\""));
    deployment.has("issuers", State::Fault, "cannot be had: the key set: ").await;
}

/// Answers requests of HTTP with these headers and this body until the program ends.
fn server(head: String, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4_096];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let body = if bytes[..read].starts_with(b"HEAD") { "" } else { &body };
            let length = body.len();
            write!(stream, "{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}").ok();
        }
    });
    url
}

#[tokio::test]
async fn a_clock_that_differs_from_an_issuers_is_told_of() {
    let mut deployment = Deployment::new();
    let head = "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n";
    let url = server(head.to_owned(), LocalKey::generate().unwrap().jwks());
    deployment.issuer = deployment.issuer.replace("file = \"keys.json\"", &format!("url = \"{url}/keys\""));
    assert_eq!(deployment.ills().await, []);
    let findings = deployment.findings().await;
    let clock: Vec<_> = findings.iter().filter(|finding| finding.check == "clock").collect();
    assert!(matches!(clock[..], [one] if one.state == State::Warning && one.what.contains("ahead of")), "{clock:#?}");
}

#[tokio::test]
async fn an_issuer_that_does_not_take_this_service_for_its_client_is_found() {
    let mut deployment = Deployment::new();
    let url = server("HTTP/1.1 401 No\r\n".to_owned(), String::new());
    fs::write(deployment.path("client.secret"), "canary-secret").unwrap();
    deployment.set_mode("client.secret", 0o600);
    let introspection =
        format!("{{ url = \"{url}/introspect\", client_id = \"hallpass\", client_secret_file = \"client.secret\" }}");
    deployment.issuer = format!("{}introspection = {introspection}\n", deployment.issuer);
    deployment.has("issuers", State::Fault, "does not answer about opaque tokens").await;
    deployment.set_mode("client.secret", 0o644);
    let ills = deployment.ills().await;
    assert!(ills.iter().any(|finding| finding.what.contains("can read the secret")), "{ills:#?}");
    fs::remove_file(deployment.path("client.secret")).unwrap();
    let ills = deployment.ills().await;
    assert!(ills.iter().any(|finding| finding.check == "files" && finding.state == State::Fault), "{ills:#?}");
    assert!(!format!("{ills:?}").contains("canary"));
}

#[tokio::test]
async fn certificates_that_ran_out_or_soon_will_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let now = crate::app::ports::Clock::now_seconds(&crate::provider::clock::SystemClock);
    let write = |name: &str, from_days: i64, until_days: i64| {
        let mut params = rcgen::CertificateParams::new(["idp.example".to_owned()]).unwrap();
        let day = |days: i64| std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(now + days * 86_400).unwrap());
        (params.not_before, params.not_after) = (day(from_days).into(), day(until_days).into());
        let key = rcgen::KeyPair::generate().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, params.self_signed(&key).unwrap().pem() + &key.serialize_pem()).unwrap();
        path
    };
    let (good, other) = (write("good.pem", -1, 60), write("other.pem", -1, 60));
    assert_eq!(certificates::dates(&good, now), []);
    for (path, state, what) in [
        (write("gone.pem", -60, -3), State::Fault, "ran out 3 days ago"),
        (write("soon.pem", -60, 20), State::Warning, "runs out in 20 days"),
        (write("early.pem", 3, 60), State::Fault, "is not good yet"),
        (folder.path().join("nowhere.pem"), State::Fault, "cannot be read"),
    ] {
        let found = certificates::dates(&path, now);
        assert!(matches!(&found[..], [one] if one.state == state && one.what.contains(what)), "{what}: {found:#?}");
    }
    fs::write(folder.path().join("empty.pem"), "nothing").unwrap();
    assert!(certificates::dates(&folder.path().join("empty.pem"), now)[0].what.contains("no certificate in PEM"));
    assert_eq!(certificates::pair(&good, &good), None);
    let found = certificates::pair(&good, &other).unwrap();
    assert!(found.what.contains("is not that of the certificate") && !found.what.contains("PRIVATE"), "{found:?}");
    assert!(certificates::pair(&good, &folder.path().join("empty.pem")).unwrap().what.contains("no private key"));
}

#[tokio::test]
async fn a_port_that_is_somebody_elses_is_found_and_one_of_a_service_is_fine() {
    let mut deployment = Deployment::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Hangs up at once, as no listener of ours does.
    let address = silent.local_addr().unwrap();
    std::thread::spawn(move || silent.incoming().for_each(drop));
    deployment.top = format!("http_address = \"{address}\"");
    deployment.has("ports", State::Fault, "it is not this service").await;
    let url = server("HTTP/1.1 200 OK\r\n".to_owned(), String::new());
    deployment.top = format!("http_address = \"{}\"", url.trim_start_matches("http://"));
    assert_eq!(deployment.ills().await, []);
    deployment.top = "http_address = \"127.0.0.1:0\"".to_owned();
    assert_eq!(deployment.ills().await, []);
}

/// So many days before or after a time.
fn day(now_seconds: i64, days: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(now_seconds + days * 86_400).unwrap())
}

fn now_seconds() -> i64 {
    crate::app::ports::Clock::now_seconds(&crate::provider::clock::SystemClock)
}

#[tokio::test]
async fn lists_of_certificates_that_were_taken_back_are_looked_at() {
    let (folder, now) = (tempfile::tempdir().unwrap(), now_seconds());
    let put = |name: &str, content: String| {
        fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name)
    };
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, rcgen::Issuer::new(params, key))
    };
    let list = |issuer: &rcgen::Issuer<'static, rcgen::KeyPair>, from_days: i64, until_days: i64| {
        let list = rcgen::CertificateRevocationListParams {
            this_update: day(now, from_days).into(),
            next_update: day(now, until_days).into(),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(issuer).unwrap().pem().unwrap()
    };
    let ((clients, issuer), (_, other)) = (authority("clients"), authority("others"));
    let options = Options {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_ca: Some(put("ca.pem", clients)),
        client_crl: None,
        client_certificates: ClientCertificates::Asked,
        watch: None,
    };
    for (name, from, until) in [("long", -10, 80), ("short", -1, 1)] {
        assert_eq!(certificates::lists(&put(name, list(&issuer, from, until)), &options, now), [], "{name}");
    }
    let both = format!("{0}{0}", list(&issuer, -1, 60));
    for (path, state, what) in [
        (put("gone", list(&issuer, -9, -3)), State::Fault, "ran out 3 days ago: this authority's clients are refused"),
        (put("soon", list(&issuer, -30, 2)), State::Warning, "runs out in 2 days; then this authority's clients"),
        (put("strange", list(&other, -1, 60)), State::Fault, "has no list of `CN=clients`, which `client_ca` trusts"),
        (put("both", both), State::Fault, "two lists of `CN=clients`"),
        (put("none", "nothing".to_owned()), State::Fault, "holds no list of revoked certificates"),
        (folder.path().join("nowhere"), State::Fault, "cannot be read"),
    ] {
        let found = certificates::lists(&path, &options, now);
        assert!(matches!(&found[..], [one] if one.state == state && one.what.contains(what)), "{what}: {found:#?}");
    }
}

impl Deployment {
    /// Puts a certificate for these names there, with its key.
    fn put_certificate(&self, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(self.path("server.pem"), pair.cert.pem()).unwrap();
        fs::write(self.path("server.key"), pair.signing_key.serialize_pem()).unwrap();
        self.set_mode("server.key", 0o600);
    }

    /// A listener with the certificate as it is now, which hangs up on whoever has shaken hands; and where it listens.
    async fn listen(&self, protocol: Protocol, clients: ClientCertificates) -> std::net::SocketAddr {
        let client_ca = Some(self.path("server.pem")).filter(|_| clients != ClientCertificates::Off);
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        let options =
            Options { certificate, key, client_ca, client_crl: None, client_certificates: clients, watch: None };
        let certificates = Certificates::open(options, Arc::new(crate::provider::clock::SystemClock)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let security = Security::Tls(Arc::new(certificates), protocol);
        let mut connections = Acceptor::start(listener, security, Limits::default());
        tokio::spawn(async move {
            while let Some(connection) = connections.next().await {
                drop(connection);
            }
        });
        address
    }
}

const TLS: &str = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";

#[tokio::test]
async fn a_listener_that_shows_the_certificate_of_its_files_is_fine_and_one_of_before_is_told_of() {
    let mut deployment = Deployment::new();
    deployment.tables = TLS.to_owned();
    for clients in [ClientCertificates::Off, ClientCertificates::Asked, ClientCertificates::Required] {
        deployment.put_certificate(&["pdp.example"]);
        let address = deployment.listen(Protocol::Http1, clients).await;
        deployment.top = format!("http_address = \"{address}\"");
        assert_eq!(deployment.ills().await, [], "{clients:?}");
        let shown = format!("{address} shows the certificate of `CN=rcgen self signed cert` in");
        let findings = deployment.findings().await;
        assert!(findings.iter().any(|finding| finding.what.contains(&shown)), "{clients:?}: {findings:#?}");
        deployment.put_certificate(&["pdp.example"]);
        deployment.has("ports", State::Warning, "shows another certificate than").await;
        let findings = deployment.findings().await;
        assert!(findings.iter().any(|finding| finding.advice.contains("send the service SIGHUP")), "{findings:#?}");
    }
    let grpc_address = deployment.listen(Protocol::Http2, ClientCertificates::Off).await;
    deployment.top = String::new();
    let config = Config { grpc_address, ..deployment.config().unwrap() };
    let findings = ports::check(Arc::new(config)).await;
    assert!(
        matches!(&findings[..], [one] if one.state == State::Fine && one.what.contains("pem`, good for")),
        "{findings:#?}"
    );
    let findings = ports::check(Arc::new(Config { grpc_address, tls: None, ..deployment.config().unwrap() })).await;
    assert!(matches!(&findings[..], [one] if one.state == State::Fault), "TLS where none is configured: {findings:#?}");
}

#[tokio::test]
async fn what_speaks_no_tls_or_another_protocol_is_not_this_service() {
    let mut deployment = Deployment::new();
    deployment.tables = TLS.to_owned();
    deployment.put_certificate(&["pdp.example"]);
    let plain = server("HTTP/1.1 200 OK\r\n".to_owned(), String::new());
    let other = deployment.listen(Protocol::Http2, ClientCertificates::Off).await.to_string();
    for address in [plain.trim_start_matches("http://"), &other] {
        deployment.top = format!("http_address = \"{address}\"");
        deployment.has("ports", State::Fault, "it is not this service").await;
    }
}

#[tokio::test]
async fn a_certificate_by_which_no_client_finds_the_service_is_told_of() {
    let (deployment, now) = (Deployment::new(), now_seconds());
    let file = deployment.path("server.pem");
    let address: std::net::SocketAddr = "127.0.0.1:8443".parse().unwrap();
    let judge = |public_url: Option<&str>, now_seconds: i64| {
        let shown = rustls::pki_types::CertificateDer::from_pem_file(&file).unwrap();
        served::judge("ports", address, &shown, (&file, public_url), now_seconds)
    };
    deployment.put_certificate(&["pdp.example", "127.0.0.1"]);
    for (public_url, now_seconds, state, what) in [
        (None, now, State::Fine, "good for"),
        (Some("https://pdp.example:8443"), now, State::Fine, "good for"),
        (Some("https://127.0.0.1:8443/authz"), now, State::Fine, "good for"),
        (Some("https://other.example:8443"), now, State::Warning, "does not name `other.example` of `public_url`"),
        (Some("https://other.example"), now, State::Fine, "good for"),
        (Some("http://other.example:8443"), now, State::Fine, "good for"),
        (None, 68_000_000_000, State::Fault, "which ran out"),
    ] {
        let found = judge(public_url, now_seconds);
        assert!(found.state == state && found.what.contains(what), "{public_url:?} {now_seconds}: {found:?}");
    }
    deployment.put_certificate(&[]);
    let found = judge(None, now);
    assert!(found.state == State::Warning && found.what.contains("names no host"), "{found:?}");
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_told_of() {
    let mut deployment = Deployment::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    deployment.tables = format!("[tracing]\notlp_endpoint = \"http://{closed}\"\n");
    deployment.has("traces", State::Warning, "cannot be reached").await;
}

#[tokio::test]
async fn the_listeners_own_certificate_and_key_are_looked_at() {
    let mut deployment = Deployment::new();
    let write = |name: &str, text: String| fs::write(deployment.path(name), text).unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2027, 6, 1);
    let [one, other] = [(); 2].map(|()| rcgen::KeyPair::generate().unwrap());
    write("server.pem", params.self_signed(&one).unwrap().pem());
    write("server.key", other.serialize_pem());
    deployment.set_mode("server.key", 0o600);
    deployment.tables = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n".to_owned();
    deployment.has("certificates", State::Fault, "is not that of the certificate").await;
    fs::write(deployment.path("server.key"), one.serialize_pem()).unwrap();
    deployment.set_mode("server.key", 0o644);
    deployment.has("files", State::Warning, "can read the secret").await;
}

#[tokio::test]
async fn a_caller_of_a_realm_that_is_not_there_is_found() {
    let mut deployment = Deployment::new();
    deployment.tables =
        format!("[callers.ada]\nroles = [\"auditor\"]\nrealms = [\"two\"]\nkey_sha256 = \"{}\"\n", "0a".repeat(32));
    deployment.has("callers", State::Fault, "`ada` is let into the realm `two`, which there is not").await;
}

#[tokio::test]
async fn a_witness_that_is_not_there_is_found() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for place in [
        "file = \"nowhere/checkpoints\"".to_owned(),
        "syslog = \"unix:/nowhere/log\"".to_owned(),
        format!("url = \"http://{closed}/\""),
    ] {
        let mut deployment = Deployment::new();
        deployment.tables = format!("[decision_log.witness]\n{place}\n");
        deployment.has("witness", State::Warning, "cannot be reached").await;
    }
    let mut deployment = Deployment::new();
    let url = server("HTTP/1.1 405 No\r\n".to_owned(), String::new());
    deployment.tables = format!("[decision_log.witness]\nfile = \"checkpoints\"\nurl = \"{url}/\"\n");
    assert_eq!(deployment.ills().await, [], "any answer will do");
}

#[tokio::test]
async fn what_is_found_is_shown_worst_first_and_as_json() {
    let findings = [
        Finding::fine("disk", "there is room"),
        Finding::warning("clock", "is slow", "set it"),
        Finding::fault("realms", "does not compile\n at line 3", "mend it"),
    ];
    let json = as_json(&findings);
    assert_eq!(
        (&json["fine"], &json["faults"], &json["warnings"]),
        (&Json::from(false), &Json::from(1), &Json::from(1))
    );
    let states: Vec<_> =
        json["findings"].as_array().unwrap().iter().map(|finding| finding["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["fault", "warning", "ok"]);
    assert_eq!(json["findings"][2]["advice"], Json::Null);
    assert_eq!(as_json(&findings[..1])["fine"], true);
}

#[tokio::test]
async fn what_takes_too_long_is_said_and_not_waited_for() {
    let until = tokio::time::Instant::now();
    let found = within("disk", until, Box::pin(std::future::pending())).await;
    assert!(
        matches!(&found[..], [one] if one.state == State::Warning && one.what.contains("within 10 s")),
        "{found:?}"
    );
}
