//! What every store of applications must do, as cases that run over each of them.

use proptest::prelude::*;

use crate::{
    app::ports::{ApplicationChange, ApplicationStore, BATCH_CHANGES_MAX, StoreError},
    domain::{
        application::{Application, ApplicationToken, BYTES_MAX, SecretHash, TokenDigest},
        id::{EntityId, RealmName},
        value::{Attributes, Value},
    },
};

/// Makes each case a test; `$open` gives a store and what keeps it alive.
macro_rules! run {
    ($open:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _alive) = $open;
                $crate::storage::application_suite::$case(&store).await;
            }
        )+
    };
}

/// Makes all cases tests.
macro_rules! suite {
    ($open:expr) => {
        $crate::storage::application_suite::run!(
            $open;
            an_empty_realm_has_no_applications,
            what_was_put_loads_in_order,
            a_put_replaces_the_earlier_one,
            an_application_is_deleted_with_its_tokens_at_once,
            to_delete_what_is_not_there_is_no_failure,
            changes_apply_in_order,
            realms_keep_their_applications_apart,
            a_batch_that_breaks_a_limit_changes_nothing,
            the_largest_batch_of_changes_is_kept,
        );
    };
}

pub(crate) use run;
pub(crate) use suite;

type Found = (Vec<Application>, Vec<ApplicationToken>);

pub(crate) fn application(id: &str, claim_set: &str) -> Application {
    let schools = Value::List(vec![Value::Entity(EntityId::new("School", "1"))]);
    let attributes = [("claimSet".into(), Value::String(claim_set.into())), ("schools".into(), schools)];
    Application {
        id: id.into(),
        title: "An application".into(),
        attributes: attributes.into_iter().collect(),
        expires_at_seconds: Some(1_790_000_000),
        is_disabled: false,
        secret_hash: Some(SecretHash("$argon2id$".into())),
    }
}

pub(crate) fn token(number: u16, application: &str) -> ApplicationToken {
    let mut digest = [0; 32];
    digest[..2].copy_from_slice(&number.to_be_bytes());
    ApplicationToken {
        digest: TokenDigest(digest),
        application: application.into(),
        expires_at_seconds: 1_790_000_000 + i64::from(number),
        narrowed: Attributes::default(),
    }
}

pub(crate) fn put(application: &Application) -> ApplicationChange {
    ApplicationChange::Put(application.clone())
}

pub(crate) fn put_token(token: &ApplicationToken) -> ApplicationChange {
    ApplicationChange::PutToken(token.clone())
}

pub(crate) async fn write(store: &dyn ApplicationStore, realm: &str, changes: Vec<ApplicationChange>) {
    store.write_applications(&realm.parse().unwrap(), changes).await.unwrap();
}

pub(crate) async fn load(store: &dyn ApplicationStore, realm: &str) -> Found {
    store.load_applications(&realm.parse().unwrap()).await.unwrap()
}

pub(crate) async fn an_empty_realm_has_no_applications(store: &dyn ApplicationStore) {
    assert_eq!(load(store, "edfi").await, Found::default());
    write(store, "edfi", Vec::new()).await;
    assert_eq!(load(store, "edfi").await, Found::default());
}

pub(crate) async fn what_was_put_loads_in_order(store: &dyn ApplicationStore) {
    let applications = ["a", "ab", "b"].map(|id| application(id, "SIS"));
    let tokens = [1, 2, 300].map(|number| token(number, "a"));
    let changes = applications.iter().rev().map(put).chain(tokens.iter().rev().map(put_token));
    write(store, "edfi", changes.collect()).await;
    assert_eq!(load(store, "edfi").await, (applications.to_vec(), tokens.to_vec()));
}

pub(crate) async fn a_put_replaces_the_earlier_one(store: &dyn ApplicationStore) {
    write(store, "edfi", vec![put(&application("a", "SIS")), put_token(&token(1, "a"))]).await;
    let (application, mut token) = (application("a", "Reader"), token(1, "a"));
    token.narrowed = [("schools".into(), Value::List(Vec::new()))].into_iter().collect();
    write(store, "edfi", vec![put(&application), put_token(&token)]).await;
    assert_eq!(load(store, "edfi").await, (vec![application], vec![token]));
}

pub(crate) async fn an_application_is_deleted_with_its_tokens_at_once(store: &dyn ApplicationStore) {
    let (kept, kept_token) = (application("b", "SIS"), token(2, "b"));
    let tokens = [token(1, "a"), token(3, "a")];
    let changes = [put(&application("a", "SIS")), put(&kept), put_token(&kept_token)];
    write(store, "edfi", changes.into_iter().chain(tokens.iter().map(put_token)).collect()).await;
    let ended = tokens.iter().map(|token| ApplicationChange::DeleteToken(token.digest));
    write(store, "edfi", [ApplicationChange::Delete("a".into())].into_iter().chain(ended).collect()).await;
    assert_eq!(load(store, "edfi").await, (vec![kept], vec![kept_token]));
}

pub(crate) async fn to_delete_what_is_not_there_is_no_failure(store: &dyn ApplicationStore) {
    let changes = vec![ApplicationChange::Delete("a".into()), ApplicationChange::DeleteToken(token(1, "a").digest)];
    write(store, "edfi", changes).await;
    assert_eq!(load(store, "edfi").await, Found::default());
}

pub(crate) async fn changes_apply_in_order(store: &dyn ApplicationStore) {
    let (first, second) = (application("a", "SIS"), application("a", "Reader"));
    let changes = vec![put(&first), ApplicationChange::Delete("a".into()), put(&second), put_token(&token(1, "a"))];
    write(store, "edfi", changes).await;
    write(store, "edfi", vec![put_token(&token(2, "a")), ApplicationChange::DeleteToken(token(2, "a").digest)]).await;
    assert_eq!(load(store, "edfi").await, (vec![second], vec![token(1, "a")]));
}

pub(crate) async fn realms_keep_their_applications_apart(store: &dyn ApplicationStore) {
    // The name of one begins with the other's, and an id with the rest of it.
    for (realm, id) in [("ed", "fi"), ("edfi", "a")] {
        write(store, realm, vec![put(&application(id, realm)), put_token(&token(1, id))]).await;
    }
    write(store, "ed", vec![ApplicationChange::Delete("fi".into())]).await;
    assert_eq!(load(store, "ed").await, (Vec::new(), vec![token(1, "fi")]));
    assert_eq!(load(store, "edfi").await, (vec![application("a", "edfi")], vec![token(1, "a")]));
}

pub(crate) async fn a_batch_that_breaks_a_limit_changes_nothing(store: &dyn ApplicationStore) {
    let good = put(&application("good", "SIS"));
    let too_long = application("a", &"x".repeat(BYTES_MAX));
    let narrowed = Attributes::clone(&too_long.attributes);
    let too_long_token = ApplicationToken { narrowed, ..token(1, "a") };
    let too_many = vec![ApplicationChange::Delete("a".into()); BATCH_CHANGES_MAX];
    for bad in [
        vec![put(&too_long)],
        vec![put_token(&too_long_token)],
        vec![put(&application(&"i".repeat(513), "SIS"))],
        too_many,
    ] {
        let changes = std::iter::once(good.clone()).chain(bad).collect();
        let outcome = store.write_applications(&"edfi".parse().unwrap(), changes).await;
        assert!(matches!(outcome, Err(StoreError::Limit(_))), "{outcome:?}");
    }
    assert_eq!(load(store, "edfi").await, Found::default());
}

pub(crate) async fn the_largest_batch_of_changes_is_kept(store: &dyn ApplicationStore) {
    let tokens: Vec<_> = (0..998).map(|number| token(number, "a")).collect();
    let changes = std::iter::once(put(&application("a", "SIS"))).chain(tokens.iter().map(put_token));
    write(store, "edfi", changes.collect()).await;
    assert_eq!(load(store, "edfi").await, (vec![application("a", "SIS")], tokens));
}

/// Batches of changes in two realms over few ids, so that they meet.
pub(crate) fn batches() -> impl Strategy<Value = Vec<(RealmName, Vec<ApplicationChange>)>> {
    let change = prop_oneof![
        ("[ab]{1,2}", "[x-z]").prop_map(|(id, set)| ApplicationChange::Put(application(&id, &set))),
        "[ab]{1,2}".prop_map(|id| ApplicationChange::Delete(id.into())),
        (0..6_u16, "[ab]").prop_map(|(number, id)| ApplicationChange::PutToken(token(number, &id))),
        (0..6_u16).prop_map(|number| ApplicationChange::DeleteToken(token(number, "a").digest)),
    ];
    let batch = ("(a|ab)".prop_map(|name| name.parse().unwrap()), prop::collection::vec(change, 0..8));
    prop::collection::vec(batch, 1..12)
}
