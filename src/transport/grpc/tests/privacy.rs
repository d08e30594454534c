//! What the log knows of people: shown by plain id to who may see it, held, and forgotten.

use std::sync::{Arc, atomic::Ordering};

use tonic::Code;

use super::{
    authorize, reason, violations,
    world::{REALM, World, entity},
};
use crate::{
    domain::{
        decision_record::DecisionRecord,
        id::EntityId,
        log_event::EventKind,
        mask::{Mask, Masking},
        pseudonym::PseudonymKey,
    },
    proto::v1::{self as pb, privacy_service_client::PrivacyServiceClient},
};

fn about(person: &str) -> pb::QueryDecisionsRequest {
    pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        person: Some(entity("Student", person)),
        kind: pb::RecordKind::Decision.into(),
        ..pb::QueryDecisionsRequest::default()
    }
}

async fn found(world: &World, query: pb::QueryDecisionsRequest) -> Vec<pb::DecisionRecord> {
    world.decisions().query_decisions(query).await.unwrap().into_inner().decisions
}

async fn with_names(world: &World, query: pb::QueryDecisionsRequest) -> Vec<pb::DecisionRecord> {
    found(world, pb::QueryDecisionsRequest { names: true, purpose: "a parent asks".to_owned(), ..query }).await
}

fn erase(person: &str) -> pb::ErasePersonRequest {
    pb::ErasePersonRequest {
        realm: REALM.to_owned(),
        person: Some(entity("Student", person)),
        basis: "request 7".to_owned(),
    }
}

fn hold(person: &str, held: bool) -> pb::SetLegalHoldRequest {
    pb::SetLegalHoldRequest {
        realm: REALM.to_owned(),
        person: Some(entity("Student", person)),
        held,
        reason: "case 12".to_owned(),
    }
}

#[tokio::test]
async fn who_may_see_names_sees_them_and_others_see_pseudonyms() {
    let world = World::start().await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let [record] = &*found(&world, about("ada")).await else { panic!("expected one decision") };
    let subject = &record.subjects[0];
    assert!(subject.is_pseudonym && subject.id.len() == 32 && record.resource_id.len() == 32);
    let [named] = &*with_names(&world, about("ada")).await else { panic!("expected one decision") };
    let subject = &named.subjects[0];
    assert_eq!((&*subject.id, subject.is_pseudonym, &*named.resource_id), ("ada", false, "f-1"));
    // Who sees pseudonyms alone can ask by them.
    assert_eq!(found(&world, about(&record.subjects[0].id)).await.len(), 1);
    assert!(found(&world, about("ben")).await.is_empty());
    let by_resource = |id: &str| pb::QueryDecisionsRequest { resource_id: id.to_owned(), person: None, ..about("") };
    for id in ["f-1", &*record.resource_id] {
        assert_eq!(found(&world, by_resource(id)).await.len(), 1, "{id}");
    }
}

#[tokio::test]
async fn who_was_erased_stays_a_pseudonym_and_comes_back_as_somebody_else() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    for student in ["ada", "ben"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let pseudonym = found(&world, about("ada")).await[0].subjects[0].id.clone();
    let done = world.privacy().erase_person(erase("ada")).await.unwrap().into_inner();
    assert_eq!((&done.pseudonyms[..], done.sequence), (&[pseudonym.clone()][..], 1_001));
    assert_eq!(done.relationships_left, 1, "what the school's own system brought");
    let noted = EventKind::Erasure {
        pseudonyms: vec![pseudonym.as_str().into()],
        basis: "request 7".into(),
        caller: "local-admin".into(),
    };
    assert_eq!(*world.log.events.lock().unwrap(), [noted]);

    assert!(found(&world, about("ada")).await.is_empty());
    let [kept] = &*with_names(&world, about(&pseudonym)).await else { panic!("the decision is gone") };
    assert!(kept.subjects[0].is_pseudonym && kept.subjects[0].id == pseudonym, "{kept:?}");
    assert_eq!(with_names(&world, about("ben")).await[0].subjects[0].id, "ben");

    authorize(&world, world.question("ada", "1")).await.unwrap();
    let again = &found(&world, about("ada")).await[0].subjects[0].id;
    assert_ne!(*again, pseudonym);
    let nobody = world.privacy().erase_person(erase("zoe")).await.unwrap().into_inner();
    assert_eq!(nobody, pb::ErasePersonResponse::default());
}

#[tokio::test]
async fn who_is_under_legal_hold_is_not_erased() {
    let world = World::start().await;
    let mut privacy = world.privacy();
    // Nobody has asked about ada yet.
    let held = privacy.set_legal_hold(hold("ada", true)).await.unwrap().into_inner();
    assert_eq!((held.pseudonyms.len(), held.sequence), (1, 1_001));
    let again = privacy.set_legal_hold(hold("ada", true)).await.unwrap().into_inner();
    assert_eq!((&again.pseudonyms, again.sequence), (&held.pseudonyms, 0));
    let listed = privacy.list_legal_holds(pb::ListLegalHoldsRequest { realm: REALM.to_owned() }).await;
    let [person] = &*listed.unwrap().into_inner().people else { panic!("expected one person") };
    assert_eq!((&person.pseudonym, &*person.r#type), (&held.pseudonyms[0], "Student"));

    let refused = privacy.erase_person(erase("ada")).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::FailedPrecondition, "LEGAL_HOLD"));
    authorize(&world, world.question("ada", "1")).await.unwrap();
    assert_eq!(found(&world, about("ada")).await[0].subjects[0].id, held.pseudonyms[0]);

    let lifted = privacy.set_legal_hold(hold("ada", false)).await.unwrap().into_inner();
    assert_eq!(lifted.sequence, 1_002);
    let unchanged = privacy.set_legal_hold(hold("zoe", false)).await.unwrap().into_inner();
    assert_eq!(unchanged, pb::SetLegalHoldResponse::default(), "nobody becomes known by being let go of");
    assert_eq!(privacy.erase_person(erase("ada")).await.unwrap().into_inner().pseudonyms, held.pseudonyms);
}

#[tokio::test]
async fn pseudonyms_are_resolved_in_their_order() {
    let world = World::start().await;
    for student in ["ada", "ben"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let pseudonym = async |student| found(&world, about(student)).await[0].subjects[0].id.clone();
    let (ada, ben) = (pseudonym("ada").await, pseudonym("ben").await);
    let ask = |pseudonyms: Vec<String>| pb::ResolvePseudonymsRequest {
        realm: REALM.to_owned(),
        pseudonyms,
        purpose: "a parent asks".to_owned(),
    };
    let nobody = "7dbbc79da1291d0eb18997e050942bba".to_owned();
    let found = world.privacy().resolve_pseudonyms(ask(vec![ben, nobody, ada])).await.unwrap().into_inner().people;
    let people: Vec<_> = found.into_iter().map(|found| found.person).collect();
    assert_eq!(people, [Some(entity("Student", "ben")), None, Some(entity("Student", "ada"))]);

    let wrong = world.privacy().resolve_pseudonyms(ask(vec!["ada".to_owned()])).await.unwrap_err();
    assert_eq!(violations(&wrong), ["pseudonyms[0]"]);
    assert!(!format!("{wrong:?}").contains("\"ada\""));
    let many = world.privacy().resolve_pseudonyms(ask(vec![String::new(); 1_001])).await.unwrap_err();
    assert_eq!(violations(&many), ["pseudonyms"]);
}

#[tokio::test]
async fn wrong_requests_name_the_field_and_nobody_without_a_key_is_answered() {
    let world = World::start().await;
    let school = pb::ErasePersonRequest { person: Some(entity("School", "1")), ..erase("") };
    let unknown = pb::ErasePersonRequest { person: Some(entity("Person", "1")), ..erase("") };
    let silent = pb::ErasePersonRequest { basis: " ".to_owned(), ..erase("ada") };
    let long = pb::ErasePersonRequest { basis: "x".repeat(201), ..erase("ada") };
    for (request, field) in [(school, "person.type"), (unknown, "person.type"), (silent, "basis"), (long, "basis")] {
        assert_eq!(violations(&world.privacy().erase_person(request).await.unwrap_err()), [field]);
    }
    let silent = pb::SetLegalHoldRequest { reason: String::new(), ..hold("ada", true) };
    assert_eq!(violations(&world.privacy().set_legal_hold(silent).await.unwrap_err()), ["reason"]);

    let mut nobody = PrivacyServiceClient::new(world.channel.clone());
    let realm = || REALM.to_owned();
    let resolve = pb::ResolvePseudonymsRequest { realm: realm(), ..pb::ResolvePseudonymsRequest::default() };
    let refusals = [
        nobody.erase_person(erase("ada")).await.unwrap_err(),
        nobody.set_legal_hold(hold("ada", true)).await.unwrap_err(),
        nobody.list_legal_holds(pb::ListLegalHoldsRequest { realm: realm() }).await.unwrap_err(),
        nobody.resolve_pseudonyms(resolve).await.unwrap_err(),
    ];
    assert!(refusals.iter().all(|refusal| refusal.code() == Code::Unauthenticated), "{refusals:?}");
    assert!(world.log.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_erasure_that_the_log_could_not_note_is_finished_by_the_next_call() {
    let world = World::start().await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let pseudonym = found(&world, about("ada")).await[0].subjects[0].id.clone();
    let state = world.app.realm(REALM).unwrap();
    // As after a crash between the table and the log.
    let people = state.people.identities.with_id("ada");
    state.people.identities.begin_erasure(&people, &"request 7".into(), &"dpo".into()).unwrap();
    world.log.is_full.store(true, Ordering::Relaxed);
    world.app.finish_erasures().await;
    assert_eq!(state.people.identities.erasing().len(), 1);
    world.log.is_full.store(false, Ordering::Relaxed);
    let done = world.privacy().erase_person(erase("ada")).await.unwrap().into_inner();
    assert_eq!((done.pseudonyms, done.sequence), (vec![pseudonym], 1_001));
    assert!(state.people.identities.erasing().is_empty());
}

#[tokio::test]
async fn interrupted_erasures_are_finished_when_the_log_takes_events_again() {
    let world = World::start().await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let state = world.app.realm(REALM).unwrap();
    world.log.fail_notes(1);
    world.privacy().erase_person(erase("ada")).await.unwrap_err();
    assert_eq!(state.people.identities.erasing().len(), 1);
    world.app.finish_erasures().await;
    assert!(state.people.identities.erasing().is_empty());
    assert_eq!(world.log.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_erasure_or_hold_whose_caller_has_gone_is_done_to_the_end() {
    let world = World::start().await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let state = Arc::clone(world.app.realm(REALM).unwrap());
    let (ada, why, who) = (EntityId::new("Student", "ada"), Arc::from("why"), Arc::from("dpo"));

    world.log.notes_left.forget_permits(usize::MAX);
    let mut noting = world.log.noting.subscribe();
    let hold = world.app.set_legal_hold(REALM, &ada, true, &why, &who);
    // Gone while the log notes it, as when the time of a call is over.
    tokio::select! {
        done = hold => panic!("{done:?}"),
        noted = noting.wait_for(|noting| *noting == 1) => drop(noted.unwrap()),
    }
    world.log.notes_left.add_permits(2);
    // Waits for what is under way.
    world.app.set_legal_hold(REALM, &ada, false, &why, &who).await.unwrap();
    let is_held = |event: &EventKind| matches!(event, EventKind::LegalHold { is_held: true, .. });
    assert!(is_held(&world.log.events.lock().unwrap()[0]));

    let erase = world.app.erase_person(REALM, &ada, &why, &who);
    tokio::select! {
        done = erase => panic!("{done:?}"),
        noted = noting.wait_for(|noting| *noting == 3) => drop(noted.unwrap()),
    }
    assert_eq!(state.people.identities.erasing().len(), 1);
    world.log.notes_left.add_permits(1);
    // Finds nothing left to do, because it waits for what is under way.
    world.app.finish_erasures().await;
    assert!(state.people.identities.erasing().is_empty());
    let erasures =
        world.log.events.lock().unwrap().iter().filter(|event| matches!(event, EventKind::Erasure { .. })).count();
    assert_eq!(erasures, 1);
}

#[tokio::test]
async fn what_is_about_a_held_person_outlives_retention() {
    let world = World::start().await;
    for student in ["ada", "ben", "zoe", "ada"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let deleted = || world.log.deleted_until.swap(0, Ordering::Relaxed);
    world.privacy().set_legal_hold(hold("zoe", true)).await.unwrap();
    world.app.retain().await;
    assert_eq!(deleted(), 2, "the third is about who is held");
    world.privacy().set_legal_hold(hold("ben", true)).await.unwrap();
    world.app.retain().await;
    assert_eq!(deleted(), 1);
    for student in ["ben", "zoe"] {
        world.privacy().set_legal_hold(hold(student, false)).await.unwrap();
    }
    let all = world.log.records().len() as u64;
    world.app.retain().await;
    assert_eq!(deleted(), all - 1, "all but the newest");
}

/// Whatever part a held person has in a decision keeps it, and what a mask took away may have been one.
#[tokio::test]
async fn a_hold_counts_for_every_part_a_person_may_have() {
    let world = World::start().await;
    for student in ["ada", "ben", "zoe"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let held = world.privacy().set_legal_hold(hold("ben", true)).await.unwrap().into_inner().pseudonyms[0].clone();
    let held: Arc<str> = held.into();
    let hashes = PseudonymKey::new([7; 32]);
    let hashed = |field: &str| Mask::as_asked(&hashes, Masking::Hash, field, &held);
    let record = |at: usize| world.log.records()[at].record.clone();
    let (about_ben, about_zoe) = (record(1), record(2));
    let staff = |id: &Arc<str>| Some(EntityId::new("Staff", Arc::clone(id)));
    let parts = [
        DecisionRecord { facts: Arc::clone(&about_ben.facts), ..about_zoe.clone() },
        DecisionRecord { subjects: about_ben.subjects.clone(), ..about_zoe.clone() },
        DecisionRecord { principal: staff(&held), ..about_zoe.clone() },
        DecisionRecord { principal: staff(&hashed("principal")), ..about_zoe.clone() },
        DecisionRecord { actor: staff(&held), ..about_zoe.clone() },
        DecisionRecord { actor: staff(&hashed("actor")), ..about_zoe.clone() },
        DecisionRecord { resource_id: Arc::clone(&held), ..about_zoe.clone() },
        DecisionRecord { resource_id: hashed("resource_id"), ..about_zoe.clone() },
        DecisionRecord { facts: Arc::default(), ..about_zoe.clone() },
        DecisionRecord { facts: vec![0xff].into(), ..about_zoe.clone() },
    ];
    for (at, part) in parts.into_iter().enumerate() {
        world.log.records()[1].record = part;
        world.app.retain().await;
        assert_eq!(world.log.deleted_until.swap(0, Ordering::Relaxed), 1, "{at}");
    }
    world.log.records()[1].record = about_zoe;
    world.app.retain().await;
    assert!(world.log.deleted_until.load(Ordering::Relaxed) >= 3, "somebody else's");
}
