//! Authorize over TLS with certificates on both ends, against the same without; and what a handshake costs.

use std::{fs, path::Path};

use hallpass::config::{Config, Environment, Flags};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};

use crate::{
    load::{Method, by_turns},
    measure::{Goal, Report, info, median, median_ratio},
    service::Served,
    state::State,
};

const STATE: State = State { students: 10_000 };
/// Who calls, by its certificate.
const CALLER: &str = "spiffe://bench.example/gateway";

/// What encryption costs on connections that are there already, and how many a core can take on.
pub(crate) fn run(report: &mut Report) {
    let plain = Served::start(STATE, |_, config| config);
    let mutual = Served::start(STATE, |folder, config| {
        write_certificates(folder);
        let Config { tls, callers, authentication, .. } = written(folder);
        Config { tls, callers, authentication, ..config }
    });
    let asked = [(&plain, Method::Authorize), (&mutual, Method::Authorize), (&mutual, Method::Handshake)];
    let [without, with, handshakes] = by_turns(asked);
    plain.stop();
    mutual.stop();
    let ratio = median_ratio(&without.server_us, &with.server_us);
    report.goal("authorize_plain_over_mtls_server_us", ratio, Goal::AtLeast(0.8));
    info("authorize_mtls_over_plain_per_s", median_ratio(&with.calls_per_s, &without.calls_per_s));
    info("authorize_mtls_server_us", median(&with.server_us));
    info("tls_handshakes_per_s_of_one_core", 1e6 / median(&handshakes.server_us));
}

/// What a file of the configuration says of TLS and callers.
fn written(folder: &Path) -> Config {
    let file = folder.join("hallpass.toml");
    let content = format!(
        "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\nclient_certificates = \"required\"\n\
         [authentication]\nrequired = true\n[callers.gateway]\nroles = [\"enforcer\"]\ncertificate = \"{CALLER}\"\n"
    );
    fs::write(&file, content).unwrap();
    Config::load(&Flags { config: Some(file), ..Flags::default() }, &Environment::default()).unwrap()
}

/// An authority, and a certificate of it for each end (ECDSA with P-256).
fn write_certificates(folder: &Path) {
    let lasting = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
        params
    };
    let (mut authority, key) = (lasting(&[]), KeyPair::generate().unwrap());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(authority, key);
    let (mut server, mut client) = (lasting(&["localhost"]), lasting(&[]));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.subject_alt_names = vec![SanType::URI(CALLER.try_into().unwrap())];
    for (name, params) in [("server", server), ("client", client)] {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
