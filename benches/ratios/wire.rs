//! Authorize over the wire, against a call that does nothing, on the same server.

use std::path::Path;

use hallpass::{
    app::ports::Clock as _,
    domain::issuer::{Algorithm, Issuer, KeyLocation},
    provider::{clock::SystemClock, realm_files::read_folder, signer::LocalKey},
};
use serde_json::json;

use crate::{
    load::{self, Method, by_turns},
    log,
    measure::{Goal, Report, info, median, median_ratio},
    service::{CLIENT, REALM, Served},
    state::State,
};

const STATE: State = State { students: 100_000 };
/// How often it is asked with a shadow and without.
const SHADOWS: usize = 7;
const ISSUER: &str = "https://issuer.example";

pub(crate) fn run(report: &mut Report) {
    let served = Served::start(STATE, |_, config| config);
    let [echo, authorize] = by_turns([(&served, Method::Echo), (&served, Method::Authorize)]);
    shadow(report, &served);
    served.stop();
    let ratio = median_ratio(&authorize.calls_per_s, &echo.calls_per_s);
    report.goal("authorize_over_echo", ratio, Goal::AtLeast(0.4));
    // What a decision costs with its log, against what it would without.
    let (on_us, record_us) = (median(&authorize.server_us), log::measure().record_us);
    report.goal("decision_log_on_over_off", on_us / (on_us - record_us), Goal::AtMost(1.15));
    info("authorize_per_s", median(&authorize.calls_per_s));
    info("echo_per_s", median(&echo.calls_per_s));
    info("authorize_server_us", median(&authorize.server_us));
    info("echo_server_us", median(&echo.server_us));
}

/// What a shadow costs those who are served last, by turns with one and without.
fn shadow(report: &mut Report, served: &Served) {
    let (app, mut with, mut without) = (served.running.app(), Vec::new(), Vec::new());
    let p99_us = || load::load(served, Method::Authorize).p99_us;
    let (mut compared, mut not_compared) = (0, 0);
    for _ in 0..SHADOWS {
        without.push(p99_us());
        let candidate = read_folder(Path::new("policies/edfi")).unwrap();
        let started = served.runtime.block_on(app.start_shadow(REALM, candidate, "bench".into())).unwrap();
        assert_eq!(started.faults, []);
        with.push(p99_us());
        let stopped = served.runtime.block_on(app.stop_shadow(REALM)).unwrap();
        let counts = stopped.tallied.changes.counts();
        assert_eq!((counts.same, stopped.tallied.refused.len()), (counts.all(), 0));
        compared += counts.all();
        not_compared += stopped.not_compared;
    }
    report.goal("authorize_p99_shadow_over_none", median_ratio(&with, &without), Goal::AtMost(1.05));
    info("authorize_p99_us", median(&without));
    info("shadow_compared_share", compared as f64 / (compared + not_compared) as f64);
}

/// A token of a client that acts for an organization.
pub(crate) fn token(key: &LocalKey, organization: usize) -> String {
    let now_seconds = SystemClock.now_seconds();
    let claims = json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3_600, "client_id": CLIENT, "scope": "SISVendor",
        "educationOrganizationIds": organization.to_string(), "namespacePrefixes": "uri://ed-fi.org,uri://example.org",
        "jti": "2f1c8a52-6f39-4c55-9b0a-8a1c4c6f1a55", "aud": "https://api.example/data/v3",
    });
    key.sign(&claims).unwrap()
}

pub(crate) fn issuer(keys: &Path) -> Issuer {
    Issuer::new(ISSUER, &[Algorithm::EdDSA], KeyLocation::File(keys.to_owned()))
}
