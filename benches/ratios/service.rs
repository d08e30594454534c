//! Services under measurement: their configuration, and what it takes to ask them.

use std::{fs, path::Path, time::Duration};

use hallpass::{
    app::retention::Rules,
    config::{Config, RealmConfig},
    domain::{issuer::Issuer, mask::Mask},
    provider::{realm_files::Place, signer::LocalKey},
    server::{self, Running},
    telemetry,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    load::with_echo,
    state::{AGENCY, State},
    wire::{issuer, token},
};

pub(crate) const REALM: &str = "edfi";

/// The client that every token is of.
pub(crate) const CLIENT: &str = "vendor";

/// Where the API of examples/envoy has its students.
pub(crate) const STUDENTS_PATH: &str = "/data/v3/ed-fi/students";

/// A service on any free port of loopback that keeps everything in `folder`; all else as shipped.
pub(crate) fn config(folder: &Path, issuers: Vec<Issuer>) -> Config {
    Config {
        data_dir: folder.to_owned(),
        grpc_address: ([127, 0, 0, 1], 0).into(),
        realms: vec![RealmConfig {
            name: REALM.parse().unwrap(),
            place: Place::Folder("policies/edfi".into()),
            watch: None,
            variant: None,
            issuers,
            decision_log: None,
            mask: Mask::default(),
            retention: Rules::default(),
            shadow: None,
            requests_per_second: 0,
        }],
        log: telemetry::Options { level: "warn".to_owned(), ..telemetry::Options::default() },
        ..Config::default()
    }
}

const WAIT_MAX: Duration = Duration::from_secs(1);

/// A service at work in this process, with the relationships of a state and a call that does nothing. Its folder holds the
/// token by which it is asked.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) folder: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) running: Running,
}

impl Served {
    /// A service as it is shipped, but for what `adapt` makes of it; that gets the folder. Nobody is turned away who waits for a
    /// second: what an answer takes is measured here, on machines that do other work, too.
    pub(crate) fn start(state: State, adapt: impl FnOnce(&Path, Config) -> Config) -> Self {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let (path, key) = (folder.path(), LocalKey::generate().unwrap());
        let keys = path.join("keys.json");
        fs::write(&keys, key.jwks()).unwrap();
        fs::write(path.join("token"), token(&key, AGENCY)).unwrap();
        fs::write(path.join("students"), state.students.to_string()).unwrap();
        let mut config = config(&path.join("data"), vec![issuer(&keys)]);
        config.limits.wait_max = WAIT_MAX;
        let config = adapt(path, config);
        let running = runtime.block_on(async {
            let running = server::start_with(config, with_echo).await.unwrap();
            let mut import = running.app().import(REALM).unwrap();
            for (resource, count, record) in state.records() {
                let lines: Vec<String> = (0..count).map(|place| record(state, place)).collect();
                for message in lines.chunks(1_000) {
                    import.push(resource, message).await.unwrap();
                }
            }
            import.finish().await.unwrap();
            running
        });
        Self { folder, runtime, running }
    }

    /// Host and port of the gRPC listener.
    pub(crate) fn grpc_address(&self) -> String {
        self.running.grpc_address().to_string()
    }

    /// Host and port of the HTTP listener.
    pub(crate) fn http_address(&self) -> String {
        self.running.http_address().unwrap().to_string()
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        let Self { folder: _, runtime, running } = self;
        runtime.block_on(running.stop()).unwrap();
    }
}

/// A copy of the Ed-Fi rules that can be asked as Envoy and in the words of `AuthZEN`, too.
pub(crate) fn rules_of_adapters(folder: &Path) -> Place {
    let rules = folder.join("rules");
    copy(Path::new("policies/edfi"), &rules);
    fs::copy("examples/envoy/openapi.yaml", rules.join("openapi.yaml")).unwrap();
    let realm = fs::read_to_string(rules.join("realm.toml")).unwrap();
    let routes = fs::read_to_string("examples/envoy/routes.toml").unwrap();
    fs::write(rules.join("realm.toml"), format!("{realm}{routes}\n[authzen]\nsubject = \"token\"\n")).unwrap();
    Place::Folder(rules)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_file() {
            fs::copy(&path, copied).unwrap();
        } else {
            copy(&path, &copied);
        }
    }
}
