//! Searches as streams.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, Streaming};

use super::{
    applications, reason, revocations,
    world::{REALM, World, files, text},
};
use crate::{
    app::{
        caller::Presented,
        credentials::Credentials,
        error::Error,
        search::{Candidate, Part as Found, SEARCHES_MAX, Search, SearchRequest},
    },
    domain::{access_request::Question, id::Revision, value::Value},
    proto::v1::{
        self as pb, authorization_service_client::AuthorizationServiceClient, revoked_tokens::Tokens,
        search_resources_response::Part,
    },
};

impl World {
    /// Which files may the client of this school read?
    fn searching(&self, school: &str) -> pb::SearchResourcesRequest {
        pb::SearchResourcesRequest {
            realm: REALM.to_owned(),
            token: self.token(school),
            action: "Read".to_owned(),
            resource_type: "File".to_owned(),
            ..pb::SearchResourcesRequest::default()
        }
    }

    async fn search(
        &self,
        request: pb::SearchResourcesRequest,
    ) -> Result<Streaming<pb::SearchResourcesResponse>, Status> {
        let mut client = AuthorizationServiceClient::new(self.channel.clone());
        client.search_resources(request).await.map(tonic::Response::into_inner)
    }
}

/// The ids that a page found, and its end.
async fn page(mut parts: Streaming<pb::SearchResourcesResponse>) -> (Vec<String>, pb::SearchEnd) {
    let (mut ids, mut end) = (Vec::new(), None);
    while let Some(message) = parts.next().await {
        match message.unwrap().part.unwrap() {
            Part::Answer(answer) => assert_eq!(answer.decision(), pb::Decision::Allow),
            Part::Found(found) => ids.extend(found.resources.into_iter().map(|found| found.id)),
            Part::End(last) => end = Some(last),
        }
    }
    (ids, end.unwrap())
}

fn candidate(student: &str) -> pb::Resource {
    pb::Resource {
        id: format!("file of {student}"),
        attributes: HashMap::from([("student".to_owned(), text(student)), ("other".to_owned(), text("value"))]),
        ..pb::Resource::default()
    }
}

async fn school(world: &World) {
    for student in ["ada", "ben", "cem"] {
        world.enrol(student, "1").await;
    }
}

#[tokio::test]
async fn a_page_token_holds_the_search_for_five_minutes() {
    let world = World::start().await;
    school(&world).await;
    let first = pb::SearchResourcesRequest { page_size: 1, ..world.searching("1") };
    let (ids, end) = page(world.search(first.clone()).await.unwrap()).await;
    assert_eq!((ids, end.complete), (vec!["ada".to_owned()], true));
    let second = pb::SearchResourcesRequest { page_token: end.next_page_token, ..first };
    // Without a write the first page's relationships are those of now, however long it takes.
    world.clock.pass(301);
    let (ids, _) = page(world.search(second.clone()).await.unwrap()).await;
    assert_eq!(ids, ["ben"]);
    world.enrol("dan", "1").await;
    let expired = world.search(second.clone()).await.unwrap_err();
    assert_eq!((expired.code(), &*reason(&expired)), (Code::FailedPrecondition, "PAGE_TOKEN_EXPIRED"));

    let first = pb::SearchResourcesRequest { page_token: String::new(), ..second };
    let (_, end) = page(world.search(first.clone()).await.unwrap()).await;
    world.enrol("eve", "1").await;
    let second = pb::SearchResourcesRequest { page_token: end.next_page_token, page_size: 9, ..first };
    world.clock.pass(100);
    let (ids, end) = page(world.search(second.clone()).await.unwrap()).await;
    assert_eq!((ids, &*end.next_page_token), (vec!["ben".to_owned(), "cem".to_owned(), "dan".to_owned()], ""));
    // Reading on doesn't make it last longer.
    world.clock.pass(199);
    assert!(world.search(second.clone()).await.is_ok());
    world.clock.pass(1);
    assert_eq!(world.search(second).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn pages_of_candidates_take_the_same_candidates_again() {
    let world = World::start().await;
    school(&world).await;
    let candidates = vec![candidate("cem"), candidate("nobody"), candidate("ada"), candidate("ben")];
    let mut request = pb::SearchResourcesRequest { candidates, page_size: 1, ..world.searching("1") };
    let mut found = Vec::new();
    loop {
        let (ids, end) = page(world.search(request.clone()).await.unwrap()).await;
        found.extend(ids);
        request.page_token = end.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        // The same values in another map, whose order differs.
        request.candidates = ["cem", "nobody", "ada", "ben"].map(candidate).to_vec();
    }
    assert_eq!(found, ["file of cem", "file of ada", "file of ben"]);
}

#[tokio::test]
async fn nothing_is_shown_that_cannot_be_logged() {
    let world = World::start().await;
    school(&world).await;
    world.log.leave_appends(1);
    let mut parts = world.search(world.searching("1")).await.unwrap();
    assert!(matches!(parts.next().await.unwrap().unwrap().part, Some(Part::Answer(_))));
    world.log.is_full.store(true, Ordering::Relaxed);
    world.log.leave_appends(1);
    let failed = parts.next().await.unwrap().unwrap_err();
    assert_eq!((failed.code(), &*reason(&failed)), (Code::Unavailable, "DECISION_LOG_UNAVAILABLE"));
    assert!(parts.next().await.is_none());
    world.log.leave_appends(1);
    assert_eq!(world.search(world.searching("1")).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_search_ends_when_its_caller_is_gone() {
    let world = World::start().await;
    school(&world).await;
    // The search itself and its first piece.
    world.log.leave_appends(2);
    let candidates = vec![candidate("ada"); 2_000];
    let mut parts = world.search(pb::SearchResourcesRequest { candidates, ..world.searching("1") }).await.unwrap();
    assert!(matches!(parts.next().await.unwrap().unwrap().part, Some(Part::Answer(_))));
    let Some(Part::Found(found)) = parts.next().await.unwrap().unwrap().part else { panic!("nothing was found") };
    assert_eq!((found.resources.len(), world.app.searches_under_way()), (500, 1));
    drop(parts);
    while world.app.searches_under_way() > 0 {
        tokio::task::yield_now().await;
    }
    world.log.leave_appends(100);
    assert_eq!(world.log.records().len(), 501);
}

/// A search of several pieces that has shown its first ones.
async fn half_way(world: &World, token: &str) -> Search {
    let attributes = [("student".into(), Value::String("ada".into()))].into_iter().collect();
    let request = SearchRequest {
        realm: REALM.into(),
        credentials: Credentials::bearer(token),
        question: Question { action: "Read".into(), resource_type: "File".into(), ..Question::default() },
        candidates: Some(vec![Candidate { id: "f".into(), attributes }; 1_200]),
        presented: Presented::embedded(),
        ..SearchRequest::default()
    };
    let mut search = world.app.search(request).await.unwrap();
    assert!(matches!(search.next().await, Ok(Some(Found::Answer(_)))));
    assert!(matches!(search.next().await, Ok(Some(Found::Found(found))) if found.len() == 500));
    search
}

/// What comes of the rest of a search: how many resources, and the end or the code of an error.
async fn rest(mut search: Search) -> (usize, Result<(), String>) {
    let mut count = 0;
    loop {
        match search.next().await {
            Ok(Some(Found::Found(found))) => count += found.len(),
            Ok(Some(Found::End { .. })) => break (count, Ok(())),
            Ok(other) => panic!("{other:?}"),
            Err(Error { reason, .. }) => {
                assert!(matches!(search.next().await, Ok(None)), "nothing follows an error");
                break (count, Err(reason.to_owned()));
            }
        }
    }
}

fn outdated() -> (usize, Result<(), String>) {
    (0, Err("SEARCH_OUTDATED".to_owned()))
}

#[tokio::test]
async fn a_search_ends_with_its_token() {
    let world = World::start().await;
    school(&world).await;
    let short = world.token_saying(&serde_json::json!({ "schools": "1", "exp": super::world::NOW + 100 }));
    let search = half_way(&world, &short).await;
    world.clock.pass(299);
    assert_eq!(rest(search).await, outdated());

    applications::put(&world, applications::application(&["1"])).await;
    let token = applications::issue(&world, HashMap::new()).await;
    let (kept, search) = (half_way(&world, &world.token("1")).await, half_way(&world, &token).await);
    assert!(applications::revoke(&world, &token).await);
    assert_eq!(rest(search).await, outdated());
    // What others lost costs nobody else a search.
    assert_eq!(rest(kept).await, (700, Ok(())));
    let search = half_way(&world, &applications::issue(&world, HashMap::new()).await).await;
    applications::put(&world, applications::application(&["1", "2"])).await;
    assert_eq!(rest(search).await, outdated(), "it stands for other schools now");
}

#[tokio::test]
async fn a_search_ends_when_its_token_is_revoked() {
    let world = World::start().await;
    school(&world).await;
    let token = world.token_saying(&serde_json::json!({ "schools": "1", "jti": "one" }));
    let (kept, search) = (half_way(&world, &world.token("1")).await, half_way(&world, &token).await);
    revocations::revoke(&world, Tokens::TokenId("one".into())).await;
    assert_eq!(rest(search).await, outdated());
    assert_eq!(rest(kept).await, (700, Ok(())), "what others lost costs nobody else a search");
}

#[tokio::test]
async fn a_search_ends_with_its_policies_and_after_five_minutes() {
    let world = World::start().await;
    school(&world).await;
    let search = half_way(&world, &world.token("1")).await;
    world.clock.pass(299);
    assert_eq!(rest(search).await, (700, Ok(())));
    let search = half_way(&world, &world.token("1")).await;
    world.clock.pass(300);
    assert_eq!(rest(search).await, outdated());

    let mut changed = files();
    changed[0].content.push_str("// changed\n");
    for (files, expected) in [(files(), (700, Ok(()))), (changed, outdated())] {
        let token = world.token_saying(&serde_json::json!({ "schools": "1", "exp": super::world::NOW + 6_000 }));
        let search = half_way(&world, &token).await;
        *world.source.0.lock().unwrap() = Some(files);
        assert_eq!(world.app.reload_policies(REALM).await.unwrap().1, []);
        assert_eq!(rest(search).await, expected);
    }
}

#[tokio::test]
async fn only_so_many_searches_are_under_way() {
    let world = World::start().await;
    school(&world).await;
    let waiting = (0..SEARCHES_MAX).map(|_| {
        let app = Arc::clone(&world.app);
        let request = SearchRequest {
            realm: REALM.into(),
            at_least_revision: Revision(1_000),
            presented: Presented::embedded(),
            ..SearchRequest::default()
        };
        async move { app.search(request).await.is_ok() }
    });
    let waiting: JoinSet<bool> = waiting.collect();
    while world.app.searches_under_way() < SEARCHES_MAX {
        tokio::task::yield_now().await;
    }
    let refused = world.search(world.searching("1")).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::ResourceExhausted, "TOO_MANY_SEARCHES"));
    drop(waiting);
    while world.app.searches_under_way() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(page(world.search(world.searching("1")).await.unwrap()).await.0.len(), 3);
}
