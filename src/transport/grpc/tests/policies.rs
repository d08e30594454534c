//! Realms and their policies.

use std::sync::Arc;

use prost_types::Timestamp;
use tokio::sync::oneshot;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    violations,
    world::{NOW, REALM, World, files},
};
use crate::{
    domain::policy_set::SourceFile,
    proto::v1::{self as pb, policy_service_client::PolicyServiceClient},
};

#[tokio::test]
async fn a_candidate_set_is_validated_with_every_fault_at_its_place() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let mut candidate: Vec<_> =
        files().into_iter().map(|file| pb::PolicyFile { path: file.path, content: file.content }).collect();
    let mut validate = async |files: &[pb::PolicyFile]| {
        let request = pb::ValidatePoliciesRequest { files: files.to_vec() };
        client.validate_policies(request).await.map(tonic::Response::into_inner)
    };
    let good = validate(&candidate).await.unwrap();
    assert_eq!((good.faults, good.policy_version.len(), good.tests_passed), (Vec::new(), 64, 2));

    let policies = candidate[0].content.clone();
    candidate[0].content = policies.replace("resource.student in principal.schools", "resource.student in principal");
    let failing = validate(&candidate).await.unwrap();
    assert_eq!((failing.faults.len(), failing.tests_passed), (0, 1), "{failing:?}");
    assert!(failing.tests_failed[0].starts_with("tests/files.yaml: `a school reads its own` fails: "), "{failing:?}");

    candidate[0].content = policies.replace("principal.schools", "principal.colleges");
    let wrong = validate(&candidate).await.unwrap();
    let fault = &wrong.faults[0];
    assert_eq!((&*fault.file, fault.line, &*wrong.policy_version), ("policies.cedar", 7, ""));
    assert_eq!(fault.source_line, "when { resource has student && resource.student in principal.colleges };");
    assert!(fault.column > 1 && fault.message.contains("colleges"), "{fault:?}");
    assert_eq!(violations(&validate(&[]).await.unwrap_err()), ["files"]);
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_realm_as_it_was_and_is_shown() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let realms = client.list_realms(pb::ListRealmsRequest {}).await.unwrap().into_inner().realms;
    let [realm] = &realms[..] else { panic!("{realms:?}") };
    assert_eq!((&*realm.name, &*realm.title, realm.policies, realm.data_revision), (REALM, "North", 1, 0));
    assert_eq!((&*realm.issuers, &*realm.last_faults), (&["https://idp.example".to_owned()][..], &[][..]));
    assert_eq!(realm.loaded_at, Some(Timestamp { seconds: NOW, nanos: 0 }));

    let reload = || pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    let refused = client.reload_policies(reload()).await.unwrap().into_inner();
    assert_eq!((&refused.policy_version, refused.faults.len()), (&realm.policy_version, 1));
    let shown = pb::GetRealmRequest { realm: REALM.to_owned() };
    let shown = client.get_realm(shown).await.unwrap().into_inner().realm.unwrap();
    assert_eq!((shown.last_faults, &shown.policy_version), (refused.faults, &realm.policy_version));

    let mut changed = files();
    changed[0].content.push_str("// a comment");
    *world.source.0.lock().unwrap() = Some(changed);
    let reloaded = client.reload_policies(reload()).await.unwrap().into_inner();
    assert!(reloaded.faults.is_empty() && reloaded.policy_version != realm.policy_version);
}

#[tokio::test]
async fn a_reload_that_read_older_files_cannot_overtake_a_later_one() {
    let world = World::start().await;
    let with = |comment: &str| {
        let mut files = files();
        files[0].content.push_str(comment);
        files
    };
    let reload = || {
        let app = Arc::clone(&world.app);
        tokio::spawn(async move { app.reload_policies(REALM).await.unwrap() })
    };
    let ((has_read, reading), (go_on, door)) = (oneshot::channel(), std::sync::mpsc::channel());
    *world.source.0.lock().unwrap() = Some(with("// older"));
    *world.source.1.lock().unwrap() = Some((has_read, door));
    let first = reload();
    reading.await.unwrap();
    let state = Arc::clone(world.app.realm(REALM).unwrap());
    assert!(state.reloads.try_lock().is_err(), "who has read the files is alone until they count");
    *world.source.0.lock().unwrap() = Some(with("// newer"));
    let second = reload();
    go_on.send(()).unwrap();
    let ((older, _), (newer, faults)) = (first.await.unwrap(), second.await.unwrap());
    assert!(older != newer && faults.is_empty());
    assert_eq!(state.policies().realm.version, newer);
}

#[tokio::test]
async fn grants_that_cannot_be_used_are_shown_with_the_realm_that_works() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let mut changed = files();
    changed.retain(|file| !file.path.starts_with("tests/"));
    let realm = changed.iter_mut().find(|file| file.path == "realm.toml").unwrap();
    realm.content = realm.content.replace("File = [\"student\"]\n", "");
    realm.content.push_str(
        "[resources]\nentity = \"File\"\nfile = \"resources.json\"\n\
         [grants]\nfile = \"grants.json\"\nclaim_set = \"schools\"\n[grants.strategies]\nKnown = []\n",
    );
    let schema = changed.iter_mut().find(|file| file.path == "schema.cedarschema").unwrap();
    schema.content = schema.content.replace("{ method?: String }", "{ method?: String, strategies?: Set<String> }");
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let known = r#"@id("known") forbid (principal, action, resource is File)
unless { context has strategies && context.strategies.contains("Known") };"#;
    changed.push(file("known.cedar", known));
    changed.push(file("resources.json", r#"{"resources":{"File":{"claim":"leaf","subjects":[]}}}"#));
    let grants =
        r#"{"claims":{"root":{"claim_sets":{"S":{"Read":["Odd"],"Update":["Known"]}}},"leaf":{"parent":"root"}}}"#;
    changed.push(file("grants.json", grants));
    *world.source.0.lock().unwrap() = Some(changed);
    let reload = pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    assert_eq!(client.reload_policies(reload).await.unwrap().into_inner().faults, []);
    let shown = pb::GetRealmRequest { realm: REALM.to_owned() };
    let shown = client.get_realm(shown).await.unwrap().into_inner().realm.unwrap();
    let expected = pb::GrantFault {
        claim_set: "S".to_owned(),
        resource_type: "File".to_owned(),
        action: "Read".to_owned(),
        supplied_by: "root".to_owned(),
        message: "Could not find authorization strategy implementations for the following strategy names: 'Odd'."
            .to_owned(),
    };
    assert_eq!(shown.grant_faults, [expected]);
}

#[tokio::test]
async fn the_state_of_a_realm_says_how_its_policies_stand_to_its_files() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    let reload = || pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    let shown = async || {
        let request = pb::GetRealmRequest { realm: REALM.to_owned() };
        let mut client = PolicyServiceClient::new(world.channel.clone());
        client.get_realm(request).await.unwrap().into_inner().realm.unwrap()
    };
    let start = shown().await;
    assert_eq!((start.state(), start.attempted_at, start.rollback), (pb::PolicyState::Current, None, None));
    client.reload_policies(reload()).await.unwrap();
    let refused = shown().await;
    assert_eq!((refused.state(), &*refused.files_version), (pb::PolicyState::RefusedReload, ""));
    assert_eq!(refused.attempted_at.map(|at| at.seconds), Some(NOW));
    let mut changed = files();
    changed[0].content.push_str("permit (principal, action, resource);");
    *world.source.0.lock().unwrap() = Some(changed);
    client.reload_policies(reload()).await.unwrap();
    let refused = shown().await;
    assert_eq!((refused.state(), refused.files_version.len()), (pb::PolicyState::RefusedReload, 64));
    assert_ne!(refused.files_version, refused.policy_version);
    *world.source.0.lock().unwrap() = Some(files());
    client.reload_policies(reload()).await.unwrap();
    let good = shown().await;
    assert_eq!((good.state(), good.last_faults.len()), (pb::PolicyState::Current, 0));
    assert_eq!((&good.files_version, &good.policy_version), (&start.policy_version, &start.policy_version));
}

#[tokio::test]
async fn without_kept_versions_there_is_nothing_to_go_back_to() {
    let world = World::start().await;
    let mut client = PolicyServiceClient::new(world.channel.clone());
    for (realm, code, reason) in [
        (REALM, Code::FailedPrecondition, "VERSIONS_NOT_KEPT"),
        ("hallpass", Code::FailedPrecondition, "VERSIONS_NOT_KEPT"),
        ("nowhere", Code::NotFound, "REALM_UNKNOWN"),
    ] {
        let request = pb::RollbackPoliciesRequest { realm: realm.to_owned(), policy_version: String::new() };
        let status = client.rollback_policies(request).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), &*info.reason), (code, reason), "{realm}");
    }
    // Who was not rolled back resumes what decides.
    *world.source.0.lock().unwrap() = Some(files());
    let resume = pb::ResumePoliciesRequest { realm: REALM.to_owned() };
    assert_eq!(client.resume_policies(resume).await.unwrap().into_inner().faults, []);
}
