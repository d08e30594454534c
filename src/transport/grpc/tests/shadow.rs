//! Candidates in the shadow of a realm.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{
    Options, authorize, reason, violations,
    world::{REALM, World, files},
};
use crate::{
    app::caller::{KeyDigest, KnownCaller},
    proto::v1::{self as pb, policy_service_client::PolicyServiceClient},
};

/// The realm's files with one text of the policies in place of another, without the tests that would notice.
fn candidate(text: &str, other: &str) -> Vec<pb::PolicyFile> {
    let mut files = files();
    files.retain(|file| !file.path.starts_with("tests/"));
    assert!(files[0].content.contains(text), "{text}");
    files[0].content = files[0].content.replace(text, other);
    files.into_iter().map(|file| pb::PolicyFile { path: file.path, content: file.content }).collect()
}

/// The realm's files without the clause that asks where the student is enrolled.
fn without_clause() -> Vec<pb::PolicyFile> {
    candidate(" && resource.student in principal.schools", "")
}

fn start(files: Vec<pb::PolicyFile>) -> pb::StartShadowRequest {
    pb::StartShadowRequest { realm: REALM.to_owned(), files }
}

fn get() -> pb::GetShadowRequest {
    pb::GetShadowRequest { realm: REALM.to_owned() }
}

fn stop() -> pb::StopShadowRequest {
    pb::StopShadowRequest { realm: REALM.to_owned() }
}

/// What the shadow has found once it has looked at so many decisions.
async fn found(world: &World, looked_at: u64) -> pb::ShadowReport {
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let started = Instant::now();
    loop {
        let report = client.get_shadow(get()).await.unwrap().into_inner().report.unwrap();
        if report.compared + report.not_compared + report.refused.values().sum::<u64>() >= looked_at {
            return report;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{report:?}");
    }
}

#[tokio::test]
async fn what_a_candidate_would_decide_otherwise_is_counted_and_changes_no_answer() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    assert_eq!(client.get_shadow(get()).await.unwrap().into_inner(), pb::GetShadowResponse::default());
    let none = client.stop_shadow(stop()).await.unwrap_err();
    assert_eq!((none.code(), &*reason(&none)), (Code::FailedPrecondition, "SHADOW_NOT_RUNNING"));

    world.enrol("ada", "1").await;
    let started = client.start_shadow(start(without_clause())).await.unwrap().into_inner();
    assert_eq!((started.faults.len(), started.policy_version.len()), (0, 64));
    let mut answers = Vec::new();
    for (student, token) in [("ada", world.token("1")), ("ada", world.token("2")), ("ada", "no token".to_owned())] {
        let question = pb::AuthorizeRequest { token, ..world.question(student, "1") };
        answers.push(authorize(&world, question).await.unwrap());
    }
    let effects: Vec<_> = answers.iter().map(pb::AuthorizeResponse::decision).collect();
    assert_eq!(effects, [pb::Decision::Allow, pb::Decision::Deny, pb::Decision::Deny]);
    let report = found(&world, 2).await;
    let changes = report.changes.clone().unwrap();
    assert_eq!(
        (report.compared, changes.same, changes.newly_allowed, changes.newly_denied),
        (2, 1, 1, 0),
        "{report:?}"
    );
    let [group] = &changes.groups[..] else { panic!("{changes:?}") };
    let (cause, example) = (group.cause.clone().unwrap(), &group.examples[0]);
    assert_eq!((&*cause.policy, cause.kind()), ("Enrolled", pb::ChangeKind::Condition));
    let clause = cause.clause.unwrap();
    assert_eq!(
        (&*clause.file, clause.line, &*clause.text),
        ("policies.cedar", 7, "resource.student in principal.schools")
    );
    assert_eq!(example.decision_id, answers[1].decision_id);
    assert_eq!((&report.policy_version, &report.live_version), (&started.policy_version, &answers[0].policy_version));
    assert_eq!((&*report.started_by, report.not_compared, report.refused.len()), ("local", 0, 0));

    let items = vec![world.question("ben", "1"), world.question("ada", "1")];
    let batch = pb::BatchAuthorizeRequest { items, ..pb::BatchAuthorizeRequest::default() };
    let mut authorization = pb::authorization_service_client::AuthorizationServiceClient::new(world.channel.clone());
    authorization.batch_authorize(batch).await.unwrap();
    assert_eq!(found(&world, 4).await.changes.unwrap().newly_allowed, 2);
    let stopped = client.stop_shadow(stop()).await.unwrap().into_inner().report.unwrap();
    assert_eq!((stopped.compared, stopped.changes.unwrap().same), (4, 2));
    assert_eq!(client.get_shadow(get()).await.unwrap().into_inner().report, None);
}

#[tokio::test]
async fn a_candidate_with_faults_or_failing_tests_starts_nothing_and_the_one_before_goes_on() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let good = client.start_shadow(start(without_clause())).await.unwrap().into_inner().policy_version;
    let faulty = client.start_shadow(start(candidate("principal.schools", "principal.colleges"))).await.unwrap();
    let pb::StartShadowResponse { policy_version, faults, .. } = faulty.into_inner();
    assert_eq!((&*policy_version, faults.len(), faults[0].line), ("", 1, 7), "{faults:?}");
    let mut failing = without_clause();
    let tests = files().into_iter().find(|file| file.path.starts_with("tests/")).unwrap();
    failing.push(pb::PolicyFile { path: tests.path, content: tests.content });
    let failing = client.start_shadow(start(failing)).await.unwrap().into_inner();
    assert_eq!((&*failing.policy_version, &*failing.faults[0].code), ("", "failing-test"), "{failing:?}");
    assert_eq!(violations(&client.start_shadow(start(Vec::new())).await.unwrap_err()), ["files"]);
    let many = vec![without_clause().remove(0); 1_001];
    assert_eq!(violations(&client.start_shadow(start(many)).await.unwrap_err()), ["files"]);
    let nowhere = pb::StartShadowRequest { realm: "nowhere".to_owned(), files: without_clause() };
    assert_eq!(client.start_shadow(nowhere).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(found(&world, 0).await.policy_version, good);
    let other = client.start_shadow(start(candidate("\"Enrolled\"", "\"Known\""))).await.unwrap().into_inner();
    assert_ne!(other.policy_version, good);
    assert_eq!(found(&world, 0).await.policy_version, other.policy_version, "the later one replaces it");
}

#[tokio::test]
async fn a_reload_keeps_the_shadow_and_its_counts_begin_anew() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    client.start_shadow(start(without_clause())).await.unwrap();
    authorize(&world, world.question("ben", "1")).await.unwrap();
    let before = found(&world, 1).await;
    assert_eq!((before.changes.unwrap().newly_allowed, before.compared), (1, 1));
    let mut changed = files();
    changed[0].content.push_str("// a comment");
    *world.source.0.lock().unwrap() = Some(changed);
    let reload = pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    let reloaded = client.reload_policies(reload).await.unwrap().into_inner();
    let after = found(&world, 0).await;
    assert_eq!((after.compared, &after.live_version), (0, &reloaded.policy_version));
    assert_eq!((&after.policy_version, after.started_at), (&before.policy_version, before.started_at));
    authorize(&world, world.question("ben", "1")).await.unwrap();
    assert_eq!(found(&world, 1).await.changes.unwrap().newly_allowed, 1);
}

#[tokio::test]
async fn the_candidate_that_the_configuration_names_is_followed_and_its_faults_leave_all_as_it_is() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let as_files = |files: Vec<pb::PolicyFile>| {
        let files = files.into_iter();
        files.map(|file| crate::domain::policy_set::SourceFile { path: file.path, content: file.content }).collect()
    };
    *world.source.0.lock().unwrap() = Some(files());
    *world.source.2.lock().unwrap() = Some(as_files(without_clause()));
    world.app.follow_shadows().await;
    let report = found(&world, 0).await;
    assert_eq!((&*report.started_by, report.compared), ("configuration", 0));

    *world.source.2.lock().unwrap() = Some(as_files(candidate("principal.schools", "principal.colleges")));
    let reload = || pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    assert_eq!(client.reload_policies(reload()).await.unwrap().into_inner().faults, []);
    let shown = client.get_shadow(get()).await.unwrap().into_inner();
    assert_eq!(shown.report.unwrap().policy_version, report.policy_version, "the last good one goes on");
    assert_eq!((shown.faults.len(), &*shown.faults[0].file, shown.faults[0].line), (1, "policies.cedar", 7));

    *world.source.2.lock().unwrap() = Some(as_files(candidate("\"Enrolled\"", "\"Known\"")));
    client.reload_policies(reload()).await.unwrap();
    let shown = client.get_shadow(get()).await.unwrap().into_inner();
    assert_ne!(shown.report.unwrap().policy_version, report.policy_version);
    assert_eq!(shown.faults, []);
    // Whoever stops it meant it, until somebody asks for a reload.
    client.stop_shadow(stop()).await.unwrap();
    let state = world.app.realm(REALM).unwrap();
    world.app.follow_shadow(state, crate::app::policies::reload::Trigger::Files).await;
    assert_eq!(client.get_shadow(get()).await.unwrap().into_inner().report, None);
    client.reload_policies(reload()).await.unwrap();
    assert!(client.get_shadow(get()).await.unwrap().into_inner().report.is_some());
}

#[tokio::test]
async fn where_callers_are_named_shadows_take_a_role_and_auditors_look_on() {
    let caller = |name: &str, role: &str, key: &str| KnownCaller {
        name: name.into(),
        roles: vec![role.into()],
        realms: Vec::new(),
        key: Some(KeyDigest::of(key)),
        ..KnownCaller::default()
    };
    let (author, auditor, officer) = ("the author's key", "the auditor's key", "the officer's key");
    let callers = vec![
        caller("aron", "author", author),
        caller("ada", "auditor", auditor),
        caller("priya", "privacy_officer", officer),
    ];
    let world = World::start_for(Options::default(), callers).await;
    let mut nobody = PolicyServiceClient::new(world.channel.clone());
    let refusals = [
        nobody.start_shadow(start(without_clause())).await.unwrap_err(),
        nobody.get_shadow(get()).await.unwrap_err(),
        nobody.stop_shadow(stop()).await.unwrap_err(),
    ];
    assert_eq!(refusals.map(|status| status.code()), [Code::Unauthenticated; 3]);
    let refusals = [
        world.policies_as(auditor).start_shadow(start(without_clause())).await.unwrap_err(),
        world.policies_as(officer).get_shadow(get()).await.unwrap_err(),
        world.policies_as(auditor).stop_shadow(stop()).await.unwrap_err(),
    ];
    assert_eq!(refusals.map(|status| status.code()), [Code::PermissionDenied; 3]);
    world.policies_as(author).start_shadow(start(without_clause())).await.unwrap();
    let seen = world.policies_as(auditor).get_shadow(get()).await.unwrap().into_inner();
    assert_eq!(seen.report.unwrap().started_by, "aron");
    let recorded = world.log.records().iter().filter(|found| *found.record.action == *"StartShadow").count();
    assert_eq!(recorded, 3, "who was refused, and who was not");
    world.policies_as(author).stop_shadow(stop()).await.unwrap();
}
