//! Faults around the service: it says what is wrong and what was expected, ends in order, and comes back by itself.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hallpass::proto::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::{Home, REALM, Refusal, Service, creating, enrolled_at, enrolment, eventually, reading_student};

/// Every part must be said; none of the words of a crash may.
fn says(refusal: &Refusal, code: i32, parts: &[&str]) {
    let Refusal { code: ended, stderr } = refusal;
    assert_eq!(*ended, Some(code), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is not in:\n{stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut home = Home::new();
    home.address = taken.local_addr().unwrap().to_string();
    says(&home.start_in_vain(), 2, &[&home.address, "in use"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_does_not_touch_the_data_of_the_first() {
    let home = Home::new();
    let service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("1", 100)]).await;
    let refusal = home.start_in_vain();
    says(&refusal, 2, &[home.data.to_str().unwrap()]);
    assert!(refusal.stderr.contains("process") || refusal.stderr.contains("lock"), "{}", refusal.stderr);
    assert_eq!(service.revision().await, 1, "the first goes on");
    let asked = reading_student(&home.token("SISVendor", &[100]), "1");
    assert!(service.authorization().authorize(asked).await.is_ok());
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let home = Home::new();
    fs::write(&home.data, "a file").unwrap();
    says(&home.start_in_vain(), 2, &[home.data.to_str().unwrap()]);
}

#[test]
fn a_realm_without_a_folder_is_named() {
    let mut home = Home::new();
    home.rules = home.path("nowhere");
    says(&home.start_in_vain(), 2, &[home.rules.to_str().unwrap()]);
}

#[test]
fn policies_with_faults_are_shown_where_they_are() {
    let syntax = "// One comment.\npermit (principal is Client, action, resource is Resource)\nwhen { context.strategies.contains( };\n";
    let types = "@id(\"Wrong\")\npermit (principal is Client, action, resource is Resource)\nwhen { resource.pupil in principal.educationOrganizations };\n";
    for (content, place, line, word) in [
        (syntax, "wrong.cedar:3:", "when { context.strategies.contains( };", ""),
        (types, "wrong.cedar:3:", "when { resource.pupil in principal.educationOrganizations };", "pupil"),
    ] {
        let mut home = Home::new();
        fs::write(home.copy_rules().join("wrong.cedar"), content).unwrap();
        let refusal = home.start_in_vain();
        says(&refusal, 2, &[place, line, word]);
        let column = refusal.stderr.split(place).nth(1).unwrap();
        assert!(column.starts_with(|first: char| first.is_ascii_digit()), "{}", refusal.stderr);
    }
}

#[test]
fn an_unknown_key_of_the_configuration_is_shown_where_it_is() {
    let mut home = Home::new();
    home.keys = "data_directory = \"elsewhere\"\n".to_owned();
    says(&home.start_in_vain(), 2, &["hallpass.toml:3", "data_directory", "data_dir"]);
}

#[test]
fn an_address_that_others_reach_is_refused_with_the_reason() {
    let mut home = Home::new();
    home.address = "0.0.0.0:0".to_owned();
    says(&home.start_in_vain(), 2, &["0.0.0.0:0", "[tls]", "[callers]", "loopback"]);
}

/// A question that waits for a revision and an import that brings it are under way when the signal comes.
async fn ends_in_order(signal: &str) {
    let home = Home::new();
    let mut service = home.start().await;
    let question = pb::AuthorizeRequest {
        at_least_revision: service.revision().await + 1,
        ..reading_student(&home.token("SISVendor", &[100]), "1")
    };
    let mut authorization = service.authorization();
    let asked = tokio::spawn(async move { authorization.authorize(question).await });
    let (parts, stream) = mpsc::channel(1);
    let mut relationships = service.relationships();
    let imported = tokio::spawn(async move { relationships.import_records(ReceiverStream::new(stream)).await });
    let part = |records| pb::ImportRecordsRequest {
        realm: REALM.to_owned(),
        resource: "studentSchoolAssociations".to_owned(),
        records,
    };
    parts.send(part(Vec::new())).await.unwrap();
    parts.send(part(Vec::new())).await.unwrap();
    // One connection: what was sent before has arrived when this is answered.
    service.revision().await;

    let signalled = Instant::now();
    service.signal(signal);
    let address = service.address.clone();
    eventually("no new connections", || async { tokio::net::TcpStream::connect(&address).await.is_err() }).await;
    parts.send(part(vec![enrolment("1", 100)])).await.unwrap();
    drop(parts);
    assert_eq!(imported.await.unwrap().unwrap().into_inner().accepted, 1, "{signal}");
    assert_eq!(asked.await.unwrap().unwrap().into_inner().decision(), pb::Decision::Allow, "{signal}");
    let status = service.ended().await;
    assert_eq!(status.code(), Some(0), "{signal}: {}", service.stderr());
    assert!(signalled.elapsed() < Duration::from_secs(5), "{signal}: {:?}", signalled.elapsed());
    TcpListener::bind(&address).unwrap();

    let service = home.start().await;
    assert_eq!(service.revision().await, 1, "{signal}");
    assert_eq!(service.decisions_after(0).await.len(), 1, "{signal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_requests_finish_and_gives_the_port_back() {
    ends_in_order("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_lets_requests_finish_and_gives_the_port_back() {
    ends_in_order("INT").await;
}

/// A file system of its own in memory; goes with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of 24 MiB; says so where that is not possible.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: a file system cannot be mounted here (needs root)");
        None
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=256m"]).arg(&self.0).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

/// Asks one by one until it is not answered; returns the decisions.
async fn ask_until_refused(service: &Service, question: &pb::AuthorizeRequest) -> Vec<String> {
    let mut client = service.authorization();
    let mut decisions = Vec::new();
    loop {
        match client.authorize(question.clone()).await {
            Ok(answer) => decisions.push(answer.into_inner().decision_id),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                return decisions;
            }
        }
        assert!(decisions.len() < 100_000, "a full disk refuses nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_answers_and_room_brings_them_back() {
    let mut home = Home::new();
    let Some(disk) = SmallDisk::mount(&home.path("disk")) else { return };
    home.data = disk.0.join("data");
    home.tables.push_str("[relationships]\nfree_bytes_min = 1048576\n");
    let mut service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("1", 100)]).await;
    let question = reading_student(&home.token("SISVendor", &[100]), "1");
    let first = service.authorization().authorize(question.clone()).await.unwrap().into_inner();
    assert_eq!(service.health().await, ServingStatus::Serving);

    disk.fill();
    let mut decisions = ask_until_refused(&service, &question).await;
    decisions.push(first.decision_id);
    eventually("not serving", || async { service.health().await == ServingStatus::NotServing }).await;
    let refused = service.authorization().authorize(question.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let request = creating(vec![enrolled_at("2", "100")]);
    let refused = service.relationships().write_relationships(request.clone()).await.unwrap_err();
    assert!([Code::Unavailable, Code::ResourceExhausted].contains(&refused.code()), "{refused:?}");

    disk.grow();
    eventually("serving again", || async { service.health().await == ServingStatus::Serving }).await;
    let again = service.authorization().authorize(question).await.unwrap().into_inner();
    decisions.push(again.decision_id);
    service.relationships().write_relationships(request).await.unwrap();
    all_are_there(&service, &decisions).await;

    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.stderr());
    let service = home.start().await;
    all_are_there(&service, &decisions).await;
    assert_eq!(service.revision().await, 2);
}

async fn all_are_there(service: &Service, acknowledged: &[String]) {
    let found = service.decisions_after(0).await;
    assert!(found.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "the log repeats itself");
    for id in acknowledged {
        assert!(found.iter().any(|decision| decision.decision_id == *id), "decision {id} is not in the log");
    }
}
