//! What every store of revocations must do, as cases that run over each of them.

use proptest::prelude::*;

use crate::{
    app::ports::{BATCH_CHANGES_MAX, RevocationChange, RevocationStore, StoreError},
    domain::{
        id::RealmName,
        revocation::{ID_BYTES_MAX, ISSUER_BYTES_MAX, Revocation, RevokedTokens, Which},
    },
};

/// Makes each case a test; `$open` gives a store and what keeps it alive.
macro_rules! run {
    ($open:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _alive) = $open;
                $crate::storage::revocation_suite::$case(&store).await;
            }
        )+
    };
}

/// Makes all cases tests.
macro_rules! suite {
    ($open:expr) => {
        $crate::storage::revocation_suite::run!(
            $open;
            an_empty_realm_has_no_revocations,
            what_was_revoked_loads,
            a_later_revocation_replaces_the_earlier_one,
            to_delete_what_is_not_there_is_no_failure,
            changes_apply_in_order,
            realms_issuers_and_kinds_are_kept_apart,
            a_batch_that_breaks_a_limit_changes_nothing,
            the_largest_batch_of_the_longest_names_is_kept,
        );
    };
}

pub(crate) use run;
pub(crate) use suite;

pub(crate) fn tokens(issuer: &str, which: Which) -> RevokedTokens {
    RevokedTokens { issuer: issuer.into(), which }
}

pub(crate) fn subject(id: &str, issued_before_seconds: i64) -> Revocation {
    Revocation {
        tokens: tokens("https://i", Which::Subject(id.into())),
        issued_before_seconds: Some(issued_before_seconds),
        forget_at_seconds: None,
        revoked_at_us: 1_790_000_000_000_001,
    }
}

pub(crate) fn token(id: &str) -> Revocation {
    let tokens = tokens("https://i", Which::Token(id.into()));
    Revocation { tokens, issued_before_seconds: None, forget_at_seconds: Some(1_790_000_000), revoked_at_us: 7 }
}

pub(crate) fn put(revocation: &Revocation) -> RevocationChange {
    RevocationChange::Put(revocation.clone())
}

pub(crate) fn delete(revocation: &Revocation) -> RevocationChange {
    RevocationChange::Delete(revocation.tokens.clone())
}

pub(crate) async fn write(store: &dyn RevocationStore, realm: &str, changes: Vec<RevocationChange>) {
    store.write_revocations(&realm.parse().unwrap(), changes).await.unwrap();
}

/// The revocations of a realm, sorted.
pub(crate) async fn load(store: &dyn RevocationStore, realm: &str) -> Vec<Revocation> {
    let mut found = store.load_revocations(&realm.parse().unwrap()).await.unwrap();
    found.sort_by(|a, b| a.tokens.cmp(&b.tokens));
    found
}

pub(crate) async fn an_empty_realm_has_no_revocations(store: &dyn RevocationStore) {
    assert_eq!(load(store, "edfi").await, []);
    write(store, "edfi", Vec::new()).await;
    assert_eq!(load(store, "edfi").await, []);
}

pub(crate) async fn what_was_revoked_loads(store: &dyn RevocationStore) {
    let all = [token("a"), token("ab"), subject("a", 100), subject("b", -1)];
    write(store, "edfi", all.iter().rev().map(put).collect()).await;
    assert_eq!(load(store, "edfi").await, all);
}

pub(crate) async fn a_later_revocation_replaces_the_earlier_one(store: &dyn RevocationStore) {
    write(store, "edfi", vec![put(&subject("a", 100))]).await;
    write(store, "edfi", vec![put(&subject("a", 50))]).await;
    assert_eq!(load(store, "edfi").await, [subject("a", 50)]);
}

pub(crate) async fn to_delete_what_is_not_there_is_no_failure(store: &dyn RevocationStore) {
    write(store, "edfi", vec![put(&token("a"))]).await;
    write(store, "edfi", vec![delete(&token("b")), delete(&subject("a", 0))]).await;
    assert_eq!(load(store, "edfi").await, [token("a")]);
}

pub(crate) async fn changes_apply_in_order(store: &dyn RevocationStore) {
    let changes = vec![
        put(&subject("a", 1)),
        delete(&subject("a", 1)),
        put(&subject("a", 2)),
        put(&token("a")),
        delete(&token("a")),
    ];
    write(store, "edfi", changes).await;
    assert_eq!(load(store, "edfi").await, [subject("a", 2)]);
}

pub(crate) async fn realms_issuers_and_kinds_are_kept_apart(store: &dyn RevocationStore) {
    let named = |issuer: &str, which| Revocation { tokens: tokens(issuer, which), ..token("") };
    // The name of one realm begins with the other's, and an issuer with the rest of it.
    let one = [Which::Token("a".into()), Which::Subject("a".into()), Which::Client("a".into())]
        .map(|which| named("fi", which));
    let other = [named("", Which::Token("fia".into()))];
    write(store, "ed", one.iter().map(put).collect()).await;
    write(store, "edfi", other.iter().map(put).collect()).await;
    assert_eq!((load(store, "ed").await, load(store, "edfi").await), (one.to_vec(), other.to_vec()));
    write(store, "ed", one.iter().map(delete).collect()).await;
    assert_eq!((load(store, "ed").await, load(store, "edfi").await), (Vec::new(), other.to_vec()));
}

pub(crate) async fn a_batch_that_breaks_a_limit_changes_nothing(store: &dyn RevocationStore) {
    let long_issuer = tokens(&"i".repeat(ISSUER_BYTES_MAX + 1), Which::Token("a".into()));
    for bad in [
        vec![put(&token(&"x".repeat(ID_BYTES_MAX + 1)))],
        vec![RevocationChange::Delete(long_issuer)],
        vec![delete(&token("a")); BATCH_CHANGES_MAX],
    ] {
        let changes = std::iter::once(put(&token("good"))).chain(bad).collect();
        let outcome = store.write_revocations(&"edfi".parse().unwrap(), changes).await;
        assert!(matches!(outcome, Err(StoreError::Limit(_))), "{outcome:?}");
    }
    assert_eq!(load(store, "edfi").await, []);
}

pub(crate) async fn the_largest_batch_of_the_longest_names_is_kept(store: &dyn RevocationStore) {
    let issuer = "i".repeat(ISSUER_BYTES_MAX);
    let named = |number| {
        let id = format!("{number:03}{}", "x".repeat(ID_BYTES_MAX - 3));
        Revocation { tokens: tokens(&issuer, Which::Client(id.into())), ..subject("", 5) }
    };
    let all: Vec<_> = (0..BATCH_CHANGES_MAX).map(named).collect();
    write(store, "edfi", all.iter().map(put).collect()).await;
    assert!(load(store, "edfi").await == all);
}

/// Batches of changes in two realms over few names, so that they meet.
pub(crate) fn batches() -> impl Strategy<Value = Vec<(RealmName, Vec<RevocationChange>)>> {
    let change = prop_oneof![
        ("[ab]{1,2}", any::<i64>()).prop_map(|(id, at)| put(&subject(&id, at))),
        "[ab]{1,2}".prop_map(|id| put(&token(&id))),
        "[ab]{1,2}".prop_map(|id| delete(&subject(&id, 0))),
        "[ab]{1,2}".prop_map(|id| delete(&token(&id))),
    ];
    let batch = ("(a|ab)".prop_map(|name| name.parse().unwrap()), prop::collection::vec(change, 0..8));
    prop::collection::vec(batch, 1..12)
}
