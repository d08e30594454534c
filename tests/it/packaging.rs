//! The configurations that come with the packages, read as the service reads them. The rest of `packaging/` is checked by
//! `scripts/check-packaging`.

use std::fs;
use std::path::{Path, PathBuf};

use hallpass::config::{Config, Environment, Flags};
use hallpass::transport::listener::ClientCertificates;

fn load(file: &str, variables: &[(&str, &str)]) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
    let flags = Flags { config: Some(path), ..Flags::default() };
    Config::load(&flags, &variables.iter().copied().collect::<Environment>()).unwrap()
}

/// The values of `NAME: text` lines below `env:` in the chart's pod.
fn chart_variables() -> Vec<(String, String)> {
    let pod = include_str!("../../packaging/helm/hallpass/templates/statefulset.yaml");
    let variable = |line: &str| {
        let (name, value) = line.trim().strip_prefix("- {name: HALLPASS_")?.split_once(", value: ")?;
        Some((format!("HALLPASS_{name}"), value.trim_end_matches('}').trim().to_owned()))
    };
    pod.lines().filter_map(variable).collect()
}

#[test]
fn the_image_keeps_its_data_below_its_volume() {
    let config = load("docker/hallpass.toml", &[]);
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/hallpass/data"));
    assert_eq!(config.policies_dir, PathBuf::from("/policies"));
    assert!(config.grpc_address.ip().is_loopback(), "nobody is let in without having shown who it is");
    let dockerfile = include_str!("../../packaging/docker/Dockerfile");
    assert!(dockerfile.contains("VOLUME [\"/var/lib/hallpass\"]"));
}

#[test]
fn the_unit_keeps_its_data_in_its_state_directory() {
    let config = load("systemd/hallpass.toml", &[("HALLPASS_DATA_DIR", "/var/lib/hallpass")]);
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/hallpass"));
    assert!(config.policies_dir.ends_with("policies"));
    let unit = include_str!("../../packaging/systemd/hallpass.service");
    for line in ["StateDirectory=hallpass", "Type=notify"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_chart_sets_variables_that_the_service_reads() {
    let variables = chart_variables();
    let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["HALLPASS_CONFIG", "HALLPASS_DATA_DIR", "HALLPASS_POLICIES_DIR", "HALLPASS_GRPC_ADDRESS"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let data_dir = variables.iter().find(|(name, _)| name == "HALLPASS_DATA_DIR").unwrap();
    assert_eq!(data_dir.1, "/var/lib/hallpass/data", "below the mount, whose owner and mode are the cluster's");
    let config = load("docker/hallpass.toml", &[("HALLPASS_DATA_DIR", &data_dir.1)]);
    assert_eq!(config.data_dir, PathBuf::from(&data_dir.1));
}

#[test]
fn what_is_on_the_network_has_tls_callers_and_a_place_for_monitors() {
    let config = load("docker/network.toml", &[]);
    let tls = config.tls.unwrap().options;
    assert_eq!(tls.client_certificates, ClientCertificates::Asked);
    for (path, name) in
        [(&tls.certificate, "server.pem"), (&tls.key, "server.key"), (&tls.client_ca.unwrap(), "callers-ca.pem")]
    {
        assert!(path.ends_with(Path::new("docker/tls").join(name)), "{}: beside the file", path.display());
    }
    assert!(config.authentication.required && config.callers.iter().any(|caller| caller.spiffe.is_some()));
    assert!(config.grpc_address.ip().is_unspecified() && config.http_address.unwrap().ip().is_unspecified());
    let ops = config.ops_address.unwrap();
    assert!(ops.ip().is_loopback());
    let compose = include_str!("../../packaging/docker/compose.network.yaml");
    assert!(compose.contains(&format!("http://{ops}/readyz")), "its health is asked where monitors ask");
    for port in [config.grpc_address.port(), config.http_address.unwrap().port()] {
        assert!(compose.contains(&format!("- \"{port}:{port}\"")), "{port} is published");
    }
}

#[test]
fn the_chart_s_examples_are_configurations_that_start() {
    let folder = tempfile::tempdir().unwrap();
    for (name, is_on_network) in [("network", true), ("pod", false)] {
        let path = format!("packaging/helm/hallpass/ci/{name}.yaml");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let values: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let file = folder.path().join("hallpass.toml");
        fs::write(&file, values["config"].as_str().unwrap()).unwrap();
        let address = values["grpcAddress"].as_str().unwrap_or("127.0.0.1:50051");
        // As the pod's environment has it.
        let variables: Environment = [("HALLPASS_GRPC_ADDRESS", address), ("HALLPASS_OPS_ADDRESS", "127.0.0.1:9464")]
            .into_iter()
            .chain(values["httpAddress"].as_str().map(|address| ("HALLPASS_HTTP_ADDRESS", address)))
            .collect();
        let flags = Flags { config: Some(file), ..Flags::default() };
        let config = Config::load(&flags, &variables).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.tls.is_some() && config.authentication.required, is_on_network, "{name}");
    }
}
