//! The configurations that come with the packages, read as the service reads them. The rest of `packaging/` is checked by
//! `scripts/check-packaging`.

use std::path::{Path, PathBuf};

use hallpass::config::{Config, Environment, Flags};

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
