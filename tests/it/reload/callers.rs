//! Who may change which policies decide: anybody on this machine, until the deployment names callers.

use std::fmt::Write as _;

use hallpass::app::caller::KeyDigest;
use hallpass::proto::v1 as pb;
use tonic::Code;

use super::realm::home;
use crate::support::{Bearer, REALM};

#[tokio::test]
async fn with_callers_it_takes_a_key_and_a_role_and_is_on_record() {
    let (mut home, _) = home();
    for (name, role, realm) in [
        ("ada", "auditor", REALM),
        ("aron", "author", REALM),
        ("omar", "operator", REALM),
        ("south", "author", "hallpass-none"),
    ] {
        let digest = KeyDigest::of(name);
        let realms = if realm == REALM { String::new() } else { "realms = []\n".to_owned() };
        writeln!(home.tables, "[callers.{name}]\nroles = [\"{role}\"]\n{realms}key_sha256 = \"{digest}\"").unwrap();
    }
    let service = home.start().await;
    let reload = |realm: &str| pb::ReloadPoliciesRequest { realm: realm.to_owned() };
    let code = service.policies().reload_policies(reload(REALM)).await.unwrap_err().code();
    assert_eq!(code, Code::Unauthenticated, "without a key");
    for realm in [REALM, "hallpass"] {
        for (key, expected) in
            [("nobody", Code::Unauthenticated), ("ada", Code::PermissionDenied), ("aron", Code::Ok), ("omar", Code::Ok)]
        {
            let answer = service.policies_as(Bearer::new(key)).reload_policies(reload(realm)).await;
            assert_eq!(answer.map_or_else(|status| status.code(), |_| Code::Ok), expected, "{realm} {key}");
        }
    }
    let rollback = pb::RollbackPoliciesRequest { realm: REALM.to_owned(), policy_version: String::new() };
    let resume = pb::ResumePoliciesRequest { realm: REALM.to_owned() };
    let mut auditor = service.policies_as(Bearer::new("ada"));
    assert_eq!(auditor.rollback_policies(rollback.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(auditor.resume_policies(resume).await.unwrap_err().code(), Code::PermissionDenied);
    // There is nothing to go back to, which an author hears.
    let mut author = service.policies_as(Bearer::new("aron"));
    assert_eq!(author.rollback_policies(rollback).await.unwrap_err().code(), Code::NotFound);

    let request = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        kind: pb::RecordKind::Reading.into(),
        ..pb::QueryDecisionsRequest::default()
    };
    let found = service.decisions_as(Bearer::new("ada")).query_decisions(request).await.unwrap().into_inner();
    let count = |action: &str| found.decisions.iter().filter(|record| record.action == action).count();
    assert_eq!((count("ReloadPolicies"), count("RollbackPolicies"), count("ResumePolicies")), (5, 2, 1));
}
