//! What every relationship store must do, as cases that run over each of them.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::{
    app::ports::{BATCH_CHANGES_MAX, RelationshipStore, StoreError},
    domain::{
        id::{EntityId, RealmName, Revision},
        relationship::{Change, Effect, EntityFacts, Record, RecordKey, Relationship, Remembered, Written},
    },
};

/// Makes each case a test; `$open` gives a store and what keeps it alive.
macro_rules! run {
    ($open:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _alive) = $open;
                $crate::storage::relationship_suite::$case(&store).await;
            }
        )+
    };
}

/// Makes all cases tests.
macro_rules! suite {
    ($open:expr) => {
        $crate::storage::relationship_suite::run!(
            $open;
            an_empty_realm_is_at_revision_zero,
            a_put_record_is_created_and_loads,
            the_same_record_again_changes_nothing,
            a_changed_record_replaces_the_earlier_one,
            a_deleted_record_is_gone,
            to_delete_what_is_not_there_changes_nothing,
            changes_of_one_record_apply_in_order,
            each_batch_that_changes_something_makes_one_revision,
            realms_are_kept_apart,
            records_load_in_the_order_of_their_keys,
            a_batch_beyond_the_limit_writes_nothing,
            a_record_that_cannot_be_stored_writes_nothing,
            a_record_with_a_thousand_relationships_is_kept_and_remembered,
            the_largest_batch_is_written,
            a_deleted_record_stays_known_by_what_it_brought,
            a_replaced_record_stays_known_by_what_it_brought,
            what_has_no_room_beside_a_record_is_forgotten,
        );
    };
}

pub(crate) use run;
pub(crate) use suite;

pub(crate) fn realm(name: &str) -> RealmName {
    name.parse().unwrap()
}

pub(crate) fn key(resource: &str, key: &str) -> RecordKey {
    RecordKey { resource: resource.into(), key: key.into() }
}

/// A student's enrolment: its key names both, its content the school alone.
pub(crate) fn enrolment(student: &str, school: &str) -> Record {
    Record {
        key: key("studentSchoolAssociations", student),
        relationships: vec![Relationship {
            subject: EntityId::new("Student", student),
            relation: "enrolled_at".into(),
            object: EntityId::new("School", school),
        }],
        facts: None,
        removed: Vec::new(),
    }
}

/// Enrolments are remembered.
pub(crate) fn enrolments() -> Remembered {
    [Arc::from("enrolled_at")].into_iter().collect()
}

pub(crate) fn put(record: &Record) -> Change {
    Change::Put(record.clone())
}

pub(crate) async fn write(store: &dyn RelationshipStore, name: &str, changes: Vec<Change>) -> Written {
    store.write(&realm(name), vec![changes], &Remembered::default()).await.unwrap().remove(0)
}

/// Writes to `edfi`, where enrolments are remembered.
pub(crate) async fn remembering(store: &dyn RelationshipStore, changes: Vec<Change>) -> Written {
    store.write(&realm("edfi"), vec![changes], &enrolments()).await.unwrap().remove(0)
}

pub(crate) async fn load(store: &dyn RelationshipStore, name: &str) -> Result<(Revision, Vec<Record>), StoreError> {
    let records = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&records);
    let revision = store.load(&realm(name), Box::new(move |record| into.lock().unwrap().push(record))).await?;
    let records = std::mem::take(&mut *records.lock().unwrap());
    Ok((revision, records))
}

async fn check_loads(store: &dyn RelationshipStore, name: &str, revision: u64, records: &[Record]) {
    assert_eq!(load(store, name).await.unwrap(), (Revision(revision), records.to_vec()));
}

fn written(revision: u64, effects: &[Effect]) -> Written {
    Written { revision: Revision(revision), effects: effects.to_vec() }
}

pub(crate) async fn an_empty_realm_is_at_revision_zero(store: &dyn RelationshipStore) {
    check_loads(store, "edfi", 0, &[]).await;
    assert_eq!(write(store, "edfi", vec![]).await, written(0, &[]));
    assert_eq!(store.write(&realm("edfi"), vec![], &enrolments()).await.unwrap(), []);
    assert!(store.is_writable());
}

pub(crate) async fn a_put_record_is_created_and_loads(store: &dyn RelationshipStore) {
    let school = Record {
        key: key("schools", "1"),
        relationships: vec![],
        facts: Some(EntityFacts {
            entity: EntityId::new("School", "1"),
            facts: vec![("name".into(), "Grand Bend".into())],
        }),
        removed: Vec::new(),
    };
    let student = enrolment("7", "1");
    let effects = [Effect::Created(student.clone()), Effect::Created(school.clone())];
    assert_eq!(write(store, "edfi", vec![put(&student), put(&school)]).await, written(1, &effects));
    check_loads(store, "edfi", 1, &[school, student]).await;
}

pub(crate) async fn the_same_record_again_changes_nothing(store: &dyn RelationshipStore) {
    let record = enrolment("7", "1");
    write(store, "edfi", vec![put(&record)]).await;
    assert_eq!(write(store, "edfi", vec![put(&record)]).await, written(1, &[Effect::Unchanged]));
    check_loads(store, "edfi", 1, &[record]).await;
}

pub(crate) async fn a_changed_record_replaces_the_earlier_one(store: &dyn RelationshipStore) {
    let (before, after) = (enrolment("7", "1"), enrolment("7", "2"));
    write(store, "edfi", vec![put(&before)]).await;
    let effects = [Effect::Replaced { before, after: after.clone() }];
    assert_eq!(write(store, "edfi", vec![put(&after)]).await, written(2, &effects));
    check_loads(store, "edfi", 2, &[after]).await;
}

pub(crate) async fn a_deleted_record_is_gone(store: &dyn RelationshipStore) {
    let record = enrolment("7", "1");
    write(store, "edfi", vec![put(&record)]).await;
    let gone = write(store, "edfi", vec![Change::Delete(record.key.clone())]).await;
    assert_eq!(gone, written(2, &[Effect::Deleted(record)]));
    check_loads(store, "edfi", 2, &[]).await;
}

pub(crate) async fn to_delete_what_is_not_there_changes_nothing(store: &dyn RelationshipStore) {
    let record = enrolment("7", "1");
    write(store, "edfi", vec![put(&record)]).await;
    let outcome = write(store, "edfi", vec![Change::Delete(key("studentSchoolAssociations", "8"))]).await;
    assert_eq!(outcome, written(1, &[Effect::Unchanged]));
    check_loads(store, "edfi", 1, &[record]).await;
}

pub(crate) async fn changes_of_one_record_apply_in_order(store: &dyn RelationshipStore) {
    let (first, second) = (enrolment("7", "1"), enrolment("7", "2"));
    let delete = || Change::Delete(first.key.clone());
    let changes = vec![put(&first), put(&first), put(&second), delete(), delete(), put(&second)];
    let effects = [
        Effect::Created(first.clone()),
        Effect::Unchanged,
        Effect::Replaced { before: first.clone(), after: second.clone() },
        Effect::Deleted(second.clone()),
        Effect::Unchanged,
        Effect::Created(second.clone()),
    ];
    assert_eq!(write(store, "edfi", changes).await, written(1, &effects));
    check_loads(store, "edfi", 1, &[second]).await;
}

pub(crate) async fn each_batch_that_changes_something_makes_one_revision(store: &dyn RelationshipStore) {
    let (one, two, moved) = (enrolment("1", "1"), enrolment("2", "1"), enrolment("1", "2"));
    let batches = vec![vec![put(&one)], vec![put(&one)], vec![], vec![put(&moved), put(&two)]];
    let expected = [
        written(1, &[Effect::Created(one.clone())]),
        written(1, &[Effect::Unchanged]),
        written(1, &[]),
        written(2, &[Effect::Replaced { before: one, after: moved.clone() }, Effect::Created(two.clone())]),
    ];
    assert_eq!(store.write(&realm("edfi"), batches, &Remembered::default()).await.unwrap(), expected);
    check_loads(store, "edfi", 2, &[moved, two]).await;
}

pub(crate) async fn realms_are_kept_apart(store: &dyn RelationshipStore) {
    let names = ["a", "ab", "abc", "b", &"a".repeat(64)];
    for (index, name) in names.iter().enumerate() {
        let record = enrolment("7", &index.to_string());
        assert_eq!(write(store, name, vec![put(&record)]).await, written(1, &[Effect::Created(record)]));
    }
    for (index, name) in names.iter().enumerate() {
        check_loads(store, name, 1, &[enrolment("7", &index.to_string())]).await;
    }
    write(store, "a", vec![Change::Delete(enrolment("7", "0").key)]).await;
    check_loads(store, "a", 2, &[]).await;
    check_loads(store, "ab", 1, &[enrolment("7", "1")]).await;
}

pub(crate) async fn records_load_in_the_order_of_their_keys(store: &dyn RelationshipStore) {
    let names = [("b", "1"), ("", "z"), ("ab", "1"), ("a", "2"), ("a", "10"), ("a", ""), ("a", "1\u{1f}2")];
    let mut records = names.map(|(resource, text)| Record {
        key: key(resource, text),
        relationships: enrolment("1", "2").relationships,
        facts: None,
        removed: Vec::new(),
    });
    write(store, "edfi", records.iter().map(put).collect()).await;
    records.sort_by(|a, b| a.key.cmp(&b.key));
    check_loads(store, "edfi", 1, &records).await;
}

async fn check_refused(store: &dyn RelationshipStore, changes: Vec<Change>, expected: &str) {
    let good = vec![put(&enrolment("0", "0"))];
    let error = store.write(&realm("edfi"), vec![good, changes], &Remembered::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Limit(message) if message.contains(expected)), "{error}");
    check_loads(store, "edfi", 0, &[]).await;
}

pub(crate) async fn a_batch_beyond_the_limit_writes_nothing(store: &dyn RelationshipStore) {
    let changes = (0..=BATCH_CHANGES_MAX).map(|index| put(&enrolment(&index.to_string(), "1"))).collect();
    check_refused(store, changes, "a batch of 1000 changes is too large, expected at most 999").await;
}

pub(crate) async fn a_record_that_cannot_be_stored_writes_nothing(store: &dyn RelationshipStore) {
    let school = |number: usize| enrolment("1", &format!("{number:02}{}", "x".repeat(400))).relationships;
    let large = Record { relationships: (0..64).flat_map(school).collect(), ..enrolment("1", "1") };
    assert!(matches!(store.check(&large), Err(StoreError::Limit(message)) if message.starts_with("takes 2")));
    check_refused(
        store,
        vec![put(&enrolment("2", "2")), put(&large)],
        "change 1, of resource `studentSchoolAssociations`, takes",
    )
    .await;
    let delete = |resource: &str, text: &str| vec![Change::Delete(key(resource, text))];
    check_refused(store, delete("a\0b", "1"), "and no NUL").await;
    check_refused(store, delete(&"a".repeat(129), "1"), "129 bytes").await;
    check_refused(store, delete("schools", &"1".repeat(2_049)), "of resource `schools`, has a key of 2049 bytes").await;
    write(store, "edfi", delete(&"a".repeat(128), &"1".repeat(2_048))).await;
}

pub(crate) async fn a_record_with_a_thousand_relationships_is_kept_and_remembered(store: &dyn RelationshipStore) {
    let school = |number: usize| enrolment("1", &format!("school-{number:04}")).relationships;
    let thousand = |first: usize| Record {
        relationships: (first..first + Record::RELATIONSHIPS_MAX).flat_map(school).collect(),
        ..enrolment("1", "1")
    };
    let (first, second) = (thousand(0), thousand(500));
    for record in [&first, &second] {
        store.check(record).unwrap();
        remembering(store, vec![put(record)]).await;
    }
    let moved = Record { removed: (0..500).flat_map(school).collect(), ..second.clone() };
    check_loads(store, "edfi", 2, std::slice::from_ref(&moved)).await;
    assert_eq!(remembering(store, vec![put(&second)]).await, written(2, &[Effect::Unchanged]));
    let gone = Record { relationships: vec![], removed: [second.relationships, moved.removed].concat(), ..second };
    remembering(store, vec![Change::Delete(gone.key.clone())]).await;
    let kept = Record { removed: gone.removed.into_iter().take(Record::REMOVED_MAX).collect(), ..gone };
    check_loads(store, "edfi", 3, std::slice::from_ref(&kept)).await;
}

pub(crate) async fn the_largest_batch_is_written(store: &dyn RelationshipStore) {
    let records: Vec<_> = (0..BATCH_CHANGES_MAX).map(|index| enrolment(&format!("{index:03}"), "1")).collect();
    let outcome = write(store, "edfi", records.iter().map(put).collect()).await;
    assert_eq!(outcome.effects.len(), BATCH_CHANGES_MAX);
    check_loads(store, "edfi", 1, &records).await;
}

pub(crate) async fn a_deleted_record_stays_known_by_what_it_brought(store: &dyn RelationshipStore) {
    let before = enrolment("7", "1");
    let delete = || Change::Delete(before.key.clone());
    let gone = Record { relationships: vec![], removed: before.relationships.clone(), ..before.clone() };
    remembering(store, vec![put(&before)]).await;
    let removed = Effect::Removed { before: before.clone(), after: gone.clone() };
    assert_eq!(remembering(store, vec![delete()]).await, written(2, std::slice::from_ref(&removed)));
    assert_eq!(remembering(store, vec![delete()]).await, written(2, &[Effect::Unchanged]));
    check_loads(store, "edfi", 2, std::slice::from_ref(&gone)).await;

    let back = Effect::Replaced { before: gone.clone(), after: before.clone() };
    let changes = vec![put(&before), put(&before), delete(), Change::Forget(before.key.clone()), delete()];
    let effects = [back, Effect::Unchanged, removed, Effect::Deleted(gone), Effect::Unchanged];
    assert_eq!(remembering(store, changes).await, written(3, &effects));
    check_loads(store, "edfi", 3, &[]).await;
    let forgotten = remembering(store, vec![put(&before), Change::Forget(before.key.clone())]).await;
    assert_eq!(forgotten, written(4, &[Effect::Created(before.clone()), Effect::Deleted(before)]));
}

pub(crate) async fn a_replaced_record_stays_known_by_what_it_brought(store: &dyn RelationshipStore) {
    let (first, second) = (enrolment("7", "1"), enrolment("7", "2"));
    let moved = Record { removed: first.relationships.clone(), ..second.clone() };
    remembering(store, vec![put(&first)]).await;
    let replaced = Effect::Replaced { before: first, after: moved.clone() };
    assert_eq!(remembering(store, vec![put(&second)]).await, written(2, &[replaced]));
    for same in [&second, &moved] {
        assert_eq!(remembering(store, vec![put(same)]).await, written(2, &[Effect::Unchanged]));
    }
    check_loads(store, "edfi", 2, std::slice::from_ref(&moved)).await;
    // Where the relation is not remembered any more, what was removed goes with the next change.
    assert_eq!(write(store, "edfi", vec![Change::Delete(second.key)]).await, written(3, &[Effect::Deleted(moved)]));
    check_loads(store, "edfi", 3, &[]).await;
}

pub(crate) async fn what_has_no_room_beside_a_record_is_forgotten(store: &dyn RelationshipStore) {
    let school = |name: usize| enrolment("7", &format!("{name:02}{}", "x".repeat(500)));
    for name in 0..60 {
        remembering(store, vec![put(&school(name))]).await;
    }
    let (_, records) = load(store, "edfi").await.unwrap();
    let kept = records[0].removed.len();
    assert!((30..59).contains(&kept), "{kept}");
    let latest: Vec<_> = (59 - kept..59).rev().flat_map(|name| school(name).relationships).collect();
    assert_eq!(records[0].removed, latest);
    assert_eq!(remembering(store, vec![put(&school(59))]).await, written(60, &[Effect::Unchanged]));
}

/// Calls of a realm: each with batches over few keys, so that they meet.
pub(crate) fn calls() -> impl Strategy<Value = Vec<(RealmName, Vec<Vec<Change>>)>> {
    let entity = |name: &'static str| ("[a-c]{1,2}").prop_map(move |id| EntityId::new(name, id));
    let relationship = (entity("Student"), entity("School")).prop_map(|(subject, object)| Relationship {
        subject,
        relation: "enrolled_at".into(),
        object,
    });
    let facts = (entity("School"), "[x-z]{0,3}")
        .prop_map(|(entity, text)| EntityFacts { entity, facts: vec![("name".into(), text.into())] });
    let name = ("(a|ab|schools)", "[0-9]").prop_map(|(resource, text)| key(&resource, &text));
    let record = (name.clone(), proptest::collection::vec(relationship, 0..3), proptest::option::of(facts))
        .prop_map(|(key, relationships, facts)| Record::new(key, relationships, facts));
    let change = prop_oneof![
        6 => record.prop_map(Change::Put),
        2 => name.clone().prop_map(Change::Delete),
        1 => name.prop_map(Change::Forget),
    ];
    let batches = proptest::collection::vec(proptest::collection::vec(change, 0..12), 0..4);
    proptest::collection::vec(("(a|ab)".prop_map(|name| realm(&name)), batches), 1..12)
}
