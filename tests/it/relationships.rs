//! Relationships that come, change, go and are remembered: what decisions see of them, at once and after a restart.

mod brought;
mod history;
mod model;
mod properties;

use std::fs;
use std::process::Command;

use hallpass::proto::v1 as pb;

use crate::support::{Home, REALM, Service, creating, enrolled_at, enrolment, reading_student};

const SCHOOL: i64 = 255_901_001;

fn deleting(records: Vec<String>, forget: bool) -> pb::DeleteRecordsRequest {
    let (realm, resource) = (REALM.to_owned(), "studentSchoolAssociations".to_owned());
    pb::DeleteRecordsRequest { realm, resource, records, forget }
}

/// Whether the client reads a student, and the student's changes.
async fn check_reads(service: &Service, token: &str, student: &str, expected: [bool; 2]) {
    let mut client = service.authorization();
    let mut question = reading_student(token, student);
    let mut found = [false; 2];
    for (action, found) in ["Read", "ReadChanges"].into_iter().zip(&mut found) {
        question.action = action.to_owned();
        let answer = client.authorize(question.clone()).await.unwrap().into_inner();
        *found = answer.decision() == pb::Decision::Allow;
        if !*found {
            assert_eq!(answer.reasons[0].code, "RELATIONSHIP_MISSING", "{student}, {action}");
        }
    }
    assert_eq!(found, expected, "{student}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_is_known_after_a_kill_until_it_is_forgotten() {
    let mut home = Home::new();
    home.copy_rules();
    let token = home.token("EdFiSandbox", &[SCHOOL]);
    let mut service = home.start().await;
    let students = ["stays", "goes", "moves", "came back", "written"];
    let records: Vec<String> = students[..4].iter().map(|student| enrolment(student, SCHOOL)).collect();
    service.import("studentSchoolAssociations", &records).await;
    let mut client = service.relationships();
    client.write_relationships(creating(vec![enrolled_at("written", &SCHOOL.to_string())])).await.unwrap();
    for student in students {
        check_reads(&service, &token, student, [true, true]).await;
    }

    // The same deletion again finds nothing there.
    for expected in [(3, 0), (0, 3)] {
        let answer = client.delete_records(deleting(records[1..].to_vec(), false)).await.unwrap().into_inner();
        assert_eq!((answer.deleted, answer.missing), expected);
    }
    let deletes = vec![enrolled_at("written", &SCHOOL.to_string())];
    client.write_relationships(pb::WriteRelationshipsRequest { deletes, ..creating(vec![]) }).await.unwrap();
    service.import("studentSchoolAssociations", &[enrolment("moves", 7), records[3].clone()]).await;
    let revision = service.revision().await;
    let again = service.import("studentSchoolAssociations", &[records[0].clone(), records[3].clone()]).await;
    assert_eq!((again.changed, again.revision), (0, revision), "the same records again change nothing");

    for _ in 0..2 {
        check_reads(&service, &token, "stays", [true, true]).await;
        check_reads(&service, &token, "came back", [true, true]).await;
        for student in ["goes", "moves", "written"] {
            check_reads(&service, &token, student, [false, true]).await;
        }
        service.kill();
        service = home.start().await;
        assert_eq!(service.revision().await, revision);
    }

    let forgotten = service.relationships().delete_records(deleting(vec![records[1].clone()], true)).await.unwrap();
    assert_eq!((forgotten.get_ref().deleted, forgotten.get_ref().missing), (1, 0));
    service.kill();
    service = home.start().await;
    check_reads(&service, &token, "goes", [false, false]).await;
    check_reads(&service, &token, "moves", [false, true]).await;
}

/// Runs `hallpass relationships`, and gives what it printed.
fn relationships(service: &Service, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.arg("relationships").args(arguments).args(["--address", &service.address]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_deletes_records_and_forgets_them() {
    let mut home = Home::new();
    home.copy_rules();
    let token = home.token("EdFiSandbox", &[SCHOOL]);
    let service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("a", SCHOOL)]).await;
    let written = vec![enrolled_at("b", &SCHOOL.to_string())];
    service.relationships().write_relationships(creating(written)).await.unwrap();

    let records = home.path("records.ndjson");
    let records = records.to_str().unwrap();
    fs::write(records, format!("{}\n\n{}\n", enrolment("a", SCHOOL), enrolment("x", SCHOOL))).unwrap();
    let delete = ["delete", "studentSchoolAssociations", records];
    let said = relationships(&service, &delete);
    assert_eq!(said, "1 records deleted, 1 were not there, 0 refused; revision 3\n");
    check_reads(&service, &token, "a", [false, true]).await;
    let said = relationships(&service, &[&delete[..], &["--forget"]].concat());
    assert_eq!(said, "1 records deleted, 1 were not there, 0 refused; revision 4\n");
    check_reads(&service, &token, "a", [false, false]).await;

    let shown = relationships(&service, &["read", "--subject", "Student:b", "--output", "json"]);
    fs::write(records, shown).unwrap();
    for (more, expected) in [(&[][..], [false, true]), (&["--forget"], [false, false])] {
        relationships(&service, &[&["delete", "-", records][..], more].concat());
        check_reads(&service, &token, "b", expected).await;
    }
}
