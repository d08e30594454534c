//! The decision log as its readers see it: callers with keys of their own, the commands, exports that other programs read.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hallpass::app::caller::KeyDigest;
use hallpass::proto::v1 as pb;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::support::{Bearer, Home, REALM, Service, enrolment, reading_student};

const AUDITOR: &str = "the-key-of-the-auditor-of-these-tests";
const OFFICER: &str = "the-key-of-the-privacy-officer-of-these-tests";

/// A home whose log two callers may read.
fn home_with_callers() -> Home {
    let mut home = Home::new();
    for (name, role, key) in [("ada", "auditor", AUDITOR), ("priya", "privacy_officer", OFFICER)] {
        let digest = KeyDigest::of(key);
        writeln!(home.tables, "[callers.{name}]\nroles = [\"{role}\"]\nkey_sha256 = \"{digest}\"").unwrap();
        fs::write(home.path(&format!("{name}.key")), format!("{key}\n")).unwrap();
    }
    home
}

/// A service that has decided a few questions.
async fn asked(home: &Home, count: usize) -> Service {
    let service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("1", 100)]).await;
    let token = home.token("SISVendor", &[100]);
    for number in 0..count {
        let student = if number % 2 == 0 { "1" } else { "2" };
        service.authorization().authorize(reading_student(&token, student)).await.unwrap();
    }
    service
}

fn decisions(home: &Home, service: &Service, verb: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["decisions", verb, "--address", &service.address, "--realm", REALM, "--config"]);
    command.arg(home.path("hallpass.toml")).args(arguments).env_remove("HALLPASS_TOKEN_FILE");
    command.current_dir(home.path("")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn manifest(folder: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_show_the_local_admin_token_by_themselves() {
    let home = Home::new();
    let service = asked(&home, 2).await;
    let found = decisions(&home, &service, "query", &["--output", "json", "--kind", "decision"]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert_eq!(text(&found.stdout).lines().count(), 2);

    let mut bare = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    bare.args(["decisions", "query", "--address", &service.address, "--data-dir", "elsewhere"]);
    let lost = bare.current_dir(home.path("")).env_remove("HALLPASS_TOKEN_FILE").output().unwrap();
    assert_eq!(lost.status.code(), Some(2));
    assert!(text(&lost.stderr).contains("there is no local admin token `elsewhere/admin.token`"), "{lost:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(home.data.join("admin.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_read_what_their_roles_permit_and_the_admin_nothing_any_more() {
    let home = home_with_callers();
    let service = asked(&home, 2).await;
    let query = || pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..Default::default() };
    let admin = service.decisions().query_decisions(query()).await.unwrap_err();
    assert_eq!(admin.code(), Code::Unauthenticated);
    let found = service.decisions_as(Bearer::new(AUDITOR)).query_decisions(query()).await.unwrap().into_inner();
    let kinds: Vec<_> = found.decisions.iter().map(hallpass::proto::v1::DecisionRecord::kind).collect();
    assert_eq!(kinds, [pb::RecordKind::Reading, pb::RecordKind::Decision, pb::RecordKind::Decision]);
    let refused = service.decisions_as(Bearer::new(OFFICER)).query_decisions(query()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("`PURPOSE_MISSING`"), "{refused:?}");

    let refused = decisions(&home, &service, "query", &["--token-file", "priya.key"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("State a purpose with the call."), "{refused:?}");
    let shown = decisions(&home, &service, "query", &["--token-file", "priya.key", "--purpose", "request 3"]);
    assert!(shown.status.success(), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_whole_and_say_what_they_hold() {
    let home = home_with_callers();
    let service = asked(&home, 7).await;
    for (format, file) in [
        ("ndjson", "decisions.ndjson"),
        ("csv", "decisions.csv"),
        ("parquet", "decisions.parquet"),
        ("ocsf", "decisions.ocsf.ndjson"),
    ] {
        let arguments =
            ["--format", format, "--out", format, "--proofs", "--kind", "decision", "--token-file", "ada.key"];
        let done = decisions(&home, &service, "export", &arguments);
        assert!(done.status.success(), "{format}: {}", text(&done.stderr));
        let folder = home.path(format);
        let manifest = manifest(&folder);
        assert_eq!((&manifest["count"], &manifest["complete"]), (&7.into(), &true.into()), "{manifest:#}");
        assert_eq!((&manifest["query"]["kind"], &manifest["format"]), (&"decision".into(), &format.into()));
        assert!(manifest["checkpoint"].as_str().unwrap().contains(&manifest["last_sequence"].to_string()));
        assert_eq!(manifest["proofs"].as_array().unwrap().len(), 2);
        for listed in manifest["files"].as_array().unwrap() {
            let bytes = fs::read(folder.join(listed["name"].as_str().unwrap())).unwrap();
            let digest = Sha256::digest(&bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            assert_eq!(listed["sha256"], digest, "{listed}");
        }
        let proofs = fs::read_to_string(folder.join("proofs.ndjson")).unwrap();
        assert_eq!(proofs.lines().count(), 7);
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(folder.join(file).is_file());
        let again = decisions(&home, &service, "export", &arguments);
        assert_eq!(again.status.code(), Some(2));
        assert!(text(&again.stderr).contains("holds an export"), "{again:?}");
    }
    read_with_pyarrow(&home.path("parquet/decisions.parquet"));
}

/// Reads a file with the reader that most people have, where it can be had.
fn read_with_pyarrow(file: &Path) {
    let program = "import sys, pyarrow.parquet as parquet\n\
                   table = parquet.read_table(sys.argv[1])\n\
                   rows = table.to_pylist()\n\
                   print(table.num_rows, rows[0]['sequence'], rows[0]['subjects'][0]['attribute'], rows[0]['time'].year)";
    let python = |arguments: &[&str]| Command::new("python3").args(arguments).output();
    match python(&["-c", "import pyarrow"]) {
        Ok(found) if found.status.success() => {}
        _ => return println!("skipped: pyarrow is not there to read {}", file.display()),
    }
    let read = python(&["-c", program, file.to_str().unwrap()]).unwrap();
    assert!(read.status.success(), "{}", text(&read.stderr));
    let read = text(&read.stdout);
    assert!(read.starts_with("7 ") && read.contains(" student 20"), "{read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_refused_or_broken_off_leaves_nothing() {
    let home = home_with_callers();
    let service = asked(&home, 1).await;
    let refused =
        decisions(&home, &service, "export", &["--out", "out", "--token-file", "priya.key", "--purpose", "x"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("`TOO_WIDE`"), "{refused:?}");
    assert_eq!(fs::read_dir(home.path("out")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_is_planned_and_the_open_segment_stays() {
    let mut home = Home::new();
    writeln!(home.issuer, "[realms.{REALM}.retention]\ndays = 1").unwrap();
    let service = asked(&home, 1).await;
    let plan = decisions(&home, &service, "retention", &["--dry-run"]);
    assert!(plan.status.success(), "{plan:?}");
    assert_eq!(text(&plan.stdout), "rules: older than 1 day\nnothing would be deleted now\n");
}
