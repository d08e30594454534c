use super::*;
use crate::app::caller::KeyDigest;
use crate::domain::issuer::{Algorithm, KeyLocation};

fn read(content: &str, flags: &Flags, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment = variables.iter().copied().collect();
    Config::read(Path::new("etc/hallpass.toml"), content, flags, &environment).map_err(|error| error.to_string())
}

fn faults(content: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let environment = variables.iter().copied().collect();
    let error = Config::read(Path::new("hallpass.toml"), content, &Flags::default(), &environment).unwrap_err();
    error.0.into_iter().map(|fault| format!("{}:{}: {}", fault.file, fault.line, fault.message)).collect()
}

const WHOLE: &str = r#"
data_dir = "data"
grpc_address = "[::1]:1"
http_address = "127.0.0.1:2"
policies_dir = "rules"
[log]
level = "warn,hallpass=debug"
format = "json"
[realms.edfi]
folder = "/policies/edfi"
[[realms.edfi.issuers]]
issuer = "https://idp.example"
audiences = []
algorithms = ["EdDSA"]
keys = { file = "issuer.jwks.json" }
[decision_log]
mode = "strict"
buffer_records = 7
segment_bytes_max = 1048576
[relationships]
cache_bytes = 2097152
free_bytes_min = 0
[limits]
message_bytes_max = 65536
tokens_cached_max = 0
"#;

#[test]
fn nothing_said_means_the_defaults() {
    assert_eq!(read("", &Flags::default(), &[]), Ok(Config::default()));
}

#[test]
fn a_realm_may_keep_its_decisions_in_another_way_than_the_others() {
    let content = "[decision_log]\nmode = \"available\"\nfull_wait_ms = 9\n\
                   [realms.one]\nfolder = \"a\"\n[realms.one.decision_log]\nmode = \"strict\"\nsegment_seconds_max = 60\n\
                   [realms.two]\nfolder = \"b\"\n";
    let config = read(content, &Flags::default(), &[("HALLPASS_DECISION_LOG_BUFFER_RECORDS", "77")]).unwrap();
    let one = config.realms[0].decision_log.unwrap();
    assert_eq!((one.mode, one.buffer_records_max), (segment_log::Mode::Strict, 77));
    assert_eq!((one.full_wait, one.segment_age_max), (Duration::from_millis(9), Duration::from_secs(60)));
    assert_eq!(config.decision_log.mode, segment_log::Mode::Available);
    assert_eq!(config.realms[1].decision_log, None);
    let content =
        "[realms.one]\nfolder = \"a\"\n[realms.one.decision_log]\nmode = \"lax\"\nsegment_bytes_max = 1\nsize = 2\n";
    let faults = faults(content, &[]);
    assert!(faults[0].starts_with("hallpass.toml:4: ") && faults[0].contains("is no mode"), "{faults:?}");
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[test]
fn the_file_sets_every_key_and_its_paths_start_at_its_folder() {
    let config = read(WHOLE, &Flags::default(), &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("etc/data"));
    assert_eq!(config.policies_dir, Path::new("etc/rules"));
    assert_eq!(config.grpc_address.to_string(), "[::1]:1");
    assert_eq!(config.http_address, Some(([127, 0, 0, 1], 2).into()));
    assert_eq!((config.log.level.as_str(), config.log.format), ("warn,hallpass=debug", telemetry::Format::Json));
    assert_eq!(config.decision_log.mode, segment_log::Mode::Strict);
    assert_eq!((config.decision_log.buffer_records_max, config.decision_log.segment_bytes_max), (7, 1 << 20));
    assert_eq!((config.relationships.cache_bytes, config.relationships.free_bytes_min), (2 << 20, 0));
    assert_eq!((config.message_bytes_max, config.tokens_cached_max), (65_536, 0));
    let [realm] = config.realms.as_slice() else { panic!("one realm") };
    assert_eq!((realm.name.as_str(), realm.place.folder()), ("edfi", Path::new("/policies/edfi")));
    assert_eq!(realm.issuers[0].algorithms, [Algorithm::EdDSA]);
    assert_eq!(realm.issuers[0].keys, KeyLocation::File(std::path::absolute("etc/issuer.jwks.json").unwrap()));
}

#[test]
fn flags_count_before_variables_and_variables_before_the_file() {
    let flags = Flags { data_dir: Some("from-flag".into()), ..Flags::default() };
    let variables = [
        ("HALLPASS_DATA_DIR", "from-variable"),
        ("HALLPASS_POLICIES_DIR", "from-variable"),
        ("HALLPASS_GRPC_ADDRESS", "127.0.0.2:0"),
        ("HALLPASS_HTTP_ADDRESS", "127.0.0.3:0"),
        ("HALLPASS_LOG_LEVEL", "off"),
        ("HALLPASS_LOG_FORMAT", ""),
        ("HALLPASS_DECISION_LOG_MODE", "bounded"),
        ("HALLPASS_DECISION_LOG_BUFFER_RECORDS", "9"),
        ("HALLPASS_DECISION_LOG_SEGMENT_BYTES_MAX", "2097152"),
        ("HALLPASS_RELATIONSHIPS_CACHE_BYTES", "3145728"),
        ("HALLPASS_RELATIONSHIPS_FREE_BYTES_MIN", "1"),
        ("HALLPASS_LIMITS_MESSAGE_BYTES_MAX", "70000"),
        ("HALLPASS_LIMITS_TOKENS_CACHED_MAX", "5"),
    ];
    for content in [WHOLE, ""] {
        let config = read(content, &flags, &variables).unwrap();
        assert_eq!(config.data_dir, Path::new("from-flag"));
        assert_eq!(config.policies_dir, Path::new("from-variable"));
        assert_eq!(config.grpc_address.to_string(), "127.0.0.2:0");
        assert_eq!(config.http_address, Some(([127, 0, 0, 3], 0).into()));
        assert_eq!(config.log.level, "off");
        assert_eq!(config.log.format == telemetry::Format::Json, content == WHOLE, "an empty variable is none");
        assert_eq!(config.decision_log.mode, segment_log::Mode::Bounded);
        assert_eq!((config.decision_log.buffer_records_max, config.decision_log.segment_bytes_max), (9, 2 << 20));
        assert_eq!((config.relationships.cache_bytes, config.relationships.free_bytes_min), (3 << 20, 1));
        assert_eq!((config.message_bytes_max, config.tokens_cached_max), (70_000, 5));
    }
}

#[test]
fn every_key_has_a_flag_of_its_name() {
    use clap::Args as _;
    let command = Flags::augment_args(clap::Command::new("serve"));
    let flags: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
    for flag in flags.iter().filter(|flag| **flag != "config") {
        let sections = ["log", "decision-log", "relationships", "limits", "tracing"];
        let in_section = |section: &'static str| Some((section, flag.strip_prefix(section)?.strip_prefix('-')?));
        let key = match sections.into_iter().find_map(in_section) {
            Some((section, key)) => format!("{section}.{key}").replace('-', "_"),
            None => flag.replace('-', "_"),
        };
        let mut flags = Flags::default();
        let given = clap::FromArgMatches::update_from_arg_matches(
            &mut flags,
            &command.clone().try_get_matches_from(["serve", &format!("--{flag}"), "x"]).unwrap(),
        );
        assert!(given.is_ok() && flags.get(&key) == Some("x"), "{flag} {key}");
    }
}

#[test]
fn every_fault_is_named_at_once_with_its_place() {
    let content = "data_dri = 1\n[log]\nlevel = \"loud\"\n[limits]\nmessage_bytes_max = 1\n[realms.Ed]\nfolder = 3\n";
    let variables = [("HALLPASS_DECISION_LOG_MODE", "lax"), ("HALLPASS_RELATIONSHIPS_CACHE_BYTES", "much")];
    assert_eq!(
        faults(content, &variables),
        [
            "hallpass.toml:3: `log.level` `loud` is no level, expected off, error, warn, info, debug or trace, or a filter such as `warn,hallpass=debug`",
            "hallpass.toml:5: `limits.message_bytes_max` is not a whole number of 65536 to 1073741824",
            "hallpass.toml:6: `Ed` is not a realm name, expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit",
            "hallpass.toml:7: `realms.Ed.folder` is of type integer, expected a string",
            "hallpass.toml:1: unknown key `data_dri`, expected one of authentication, callers, data_dir, decision_log, envoy, grpc_address, http_address, limits, log, ops_address, policies_dir, public_url, realms, relationships, server, tls, tracing, watch",
            "HALLPASS_DECISION_LOG_MODE:0: `lax` is no mode, expected `strict`, `bounded` or `available`",
            "HALLPASS_RELATIONSHIPS_CACHE_BYTES:0: `much` is not a whole number of 1048576 to 1099511627776",
        ]
    );
}

#[test]
fn callers_have_roles_realms_and_a_key_each() {
    let digest = KeyDigest::of("key");
    let line = format!("key_sha256 = \"{digest}\"");
    let content = format!(
        "[callers.ada]\nroles = [\"auditor\"]\n{line}\n[callers.omar]\nroles = [\"operator\", \"author\"]\n\
         realms = [\"edfi\"]\nkey_sha256 = \"{}\"\n",
        KeyDigest::of("other").to_string().to_uppercase()
    );
    let callers = read(&content, &Flags::default(), &[]).unwrap().callers;
    let [ada, omar] = &callers[..] else { panic!("{callers:?}") };
    assert_eq!((&*ada.name, ada.roles.len(), ada.realms.len(), ada.key), ("ada", 1, 0, Some(digest)));
    assert_eq!((&*omar.name, omar.roles.len(), omar.realms[0].as_str()), ("omar", 2, "edfi"));

    let content = format!(
        "[callers.Ada]\nroles = []\n{line}\n[callers.local-admin]\nroles = []\n{line}\n[callers.x]\nkey_sha256 = \
         \"secret\"\nrealms = [\"E\"]\nrole = \"auditor\"\n"
    );
    let found = faults(&content, &[]);
    let mut expected = [
        ":1: `Ada` is no name of a caller",
        ":4: `local-admin` is no name of a caller",
        ":8: `key_sha256` is not 64 hexadecimal digits",
        ":9: `E` is not a realm name",
        "roles` is missing",
        "unknown key `callers.x.role`",
        "caller `local-admin` has the key of another",
    ]
    .into_iter();
    let missing = expected.find(|wanted| !found.iter().any(|fault| fault.contains(wanted)));
    assert_eq!(missing, None, "{found:#?}");
    assert!(!format!("{found:?}").contains("secret"), "{found:?}");
}

#[test]
fn a_realm_has_its_own_rules_of_retention() {
    let content = "[realms.a]\nfolder = \"a\"\n[realms.a.retention]\ndays = 400\nbytes = 10485760\nhold = true\n\
                   [realms.b]\nfolder = \"b\"\n";
    let realms = read(content, &Flags::default(), &[]).unwrap().realms;
    let whole = retention::Rules { days: Some(400), bytes: Some(10 << 20), is_held: true };
    assert_eq!((realms[0].retention, realms[1].retention), (whole, retention::Rules::default()));
    let content = "[realms.a]\nfolder = \"a\"\n[realms.a.retention]\ndays = 0\nbytes = 1\nweeks = 3\n";
    let found = faults(content, &[]);
    for expected in ["`realms.a.retention.days` is not a whole number", ".bytes` is not a", ".weeks`"] {
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected} {found:#?}");
    }
}

#[test]
fn the_policies_about_callers_are_no_realm() {
    let found = faults("[realms.hallpass]\nfolder = \"here\"\n", &[]);
    assert!(found[0].contains("`hallpass` is the name of the policies that say who reads"), "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    let config = Config { policies_dir: folder.path().to_owned(), ..Config::default() };
    assert_eq!(config.caller_policies(), None);
    for name in ["hallpass", "one"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("realm.toml"), "").unwrap();
    }
    let names: Vec<_> = config.realms().unwrap().into_iter().map(|realm| realm.name.to_string()).collect();
    assert_eq!(names, ["one"]);
    assert_eq!(config.caller_policies(), Some(folder.path().join("hallpass")));
}

#[test]
fn a_named_file_must_be_there() {
    let flags = Flags { config: Some("nowhere.toml".into()), ..Flags::default() };
    let error = Config::load(&flags, &Environment::default()).unwrap_err().to_string();
    assert!(error.starts_with("nowhere.toml: error[configuration]: the configuration cannot be read: "), "{error}");
}

#[test]
fn without_realms_the_folders_of_policies_dir_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { policies_dir: folder.path().to_owned(), ..Config::default() };
    assert!(config.realms().unwrap_err().to_string().contains("has no folder with a realm.toml"));
    for name in ["b", "a", "empty"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["b", "a"] {
        fs::write(folder.path().join(name).join("realm.toml"), "").unwrap();
    }
    let names: Vec<_> = config.realms().unwrap().into_iter().map(|realm| realm.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    fs::create_dir(folder.path().join("Not a name")).unwrap();
    fs::write(folder.path().join("Not a name/realm.toml"), "").unwrap();
    assert!(config.realms().unwrap_err().to_string().contains("is not a realm name"));
    config.policies_dir = folder.path().join("nowhere");
    assert!(config.realms().unwrap_err().to_string().contains("cannot be read"));
}
