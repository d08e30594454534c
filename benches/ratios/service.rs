//! The configuration of a service under measurement.

use std::path::Path;

use hallpass::{
    app::retention::Rules,
    config::{Config, RealmConfig},
    domain::{issuer::Issuer, mask::Mask},
    provider::realm_files::Place,
    telemetry,
};

pub(crate) const REALM: &str = "edfi";

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
