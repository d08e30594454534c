//! Searches: every answer is compared with asking about each resource alone.

pub(crate) mod world;

use std::collections::BTreeSet;
use std::fs;

use hallpass::app::ports::Clock;
use hallpass::proto::v1 as pb;
use hallpass::proto::v1::batch_authorize_result::Result as ItemResult;
use hallpass::proto::v1::search_resources_response::Part;
use hallpass::provider::clock::SystemClock;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};

use self::world::{Chance, Item, World};
use crate::support::{Home, ISSUER, REALM, Service, creating, enrolled_at, entity, fields_of, text};

/// What a search found, all pages together.
#[derive(Debug, Default)]
struct Outcome {
    answer: pb::AuthorizeResponse,
    found: Vec<pb::FoundResource>,
    pages: usize,
    is_complete: bool,
}

fn request(token: &str, resource_type: &str) -> pb::SearchResourcesRequest {
    pb::SearchResourcesRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: "Read".to_owned(),
        resource_type: resource_type.to_owned(),
        ..pb::SearchResourcesRequest::default()
    }
}

/// One page; the parts come in their order, and no message holds more than 500 resources.
async fn page(service: &Service, request: &pb::SearchResourcesRequest) -> Result<(Outcome, String), Status> {
    let mut parts = service.authorization().search_resources(request.clone()).await?.into_inner();
    let mut page = Outcome { pages: 1, ..Outcome::default() };
    let mut place = 0;
    let mut token = None;
    while let Some(message) = parts.message().await? {
        match message.part.unwrap() {
            Part::Answer(answer) => {
                assert_eq!(place, 0, "the answer comes first");
                page.answer = answer;
            }
            Part::Found(found) => {
                assert!(place > 0 && token.is_none() && (1..=500).contains(&found.resources.len()));
                page.found.extend(found.resources);
            }
            Part::End(end) => (page.is_complete, token) = (end.complete, Some(end.next_page_token)),
        }
        place += 1;
    }
    if request.page_size > 0 {
        assert!(page.found.len() <= request.page_size as usize, "{} of {}", page.found.len(), request.page_size);
    }
    Ok((page, token.expect("the end comes last")))
}

/// All pages.
async fn search(service: &Service, mut request: pb::SearchResourcesRequest) -> Result<Outcome, Status> {
    let (mut whole, mut token) = page(service, &request).await?;
    while !token.is_empty() {
        request.page_token = token;
        let (next, next_token) = page(service, &request).await?;
        assert_eq!(next.answer.data_revision, whole.answer.data_revision, "all pages see the same");
        whole.found.extend(next.found);
        whole.pages += 1;
        whole.is_complete = next.is_complete;
        token = next_token;
    }
    Ok(whole)
}

/// All that the service knows of a type and the token's holder may read, by id.
pub(crate) async fn found_by_id(service: &Service, token: &str, resource_type: &str) -> BTreeSet<String> {
    let outcome = search(service, request(token, resource_type)).await.unwrap();
    assert!(outcome.is_complete, "{resource_type}: {:?}", codes(&outcome));
    outcome.found.into_iter().map(|found| found.id).collect()
}

/// The items that may be read, each asked about alone, by their places; and why not, of the others.
async fn asked_alone(
    service: &Service,
    token: &str,
    action: &str,
    resource_type: &str,
    items: &[Item],
) -> (BTreeSet<usize>, BTreeSet<String>) {
    let question = |item: &Item| pb::AuthorizeRequest { resource: Some(item.resource()), ..Default::default() };
    let defaults = pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: action.to_owned(),
        resource: Some(pb::Resource { r#type: resource_type.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let batch = pb::BatchAuthorizeRequest { defaults: Some(defaults), items: items.iter().map(question).collect() };
    let results = service.authorization().batch_authorize(batch).await.unwrap().into_inner().results;
    let (mut allowed, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for (place, result) in results.into_iter().enumerate() {
        match result.result {
            Some(ItemResult::Response(answer)) if answer.decision() == pb::Decision::Allow => {
                allowed.insert(place);
            }
            Some(ItemResult::Response(answer)) => {
                codes.insert(answer.reasons[0].code.clone());
            }
            other => panic!("{resource_type}: {other:?}"),
        }
    }
    (allowed, codes)
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.answer.reasons.iter().map(|reason| &*reason.code).collect()
}

/// How often things occurred, so that nothing is compared with nothing.
#[derive(Debug, Default)]
struct Tally {
    searches: usize,
    refused: usize,
    visible: usize,
    hidden: usize,
    mixed: usize,
    several_pages: usize,
    incomplete: usize,
    /// Found by what was once so.
    past: usize,
}

impl Tally {
    fn count(&mut self, found: &Outcome, visible: usize, of: usize) {
        self.searches += 1;
        self.refused += usize::from(found.answer.decision() != pb::Decision::Allow);
        self.visible += visible;
        self.hidden += of - visible;
        self.mixed += usize::from(visible > 0 && visible < of);
        self.several_pages += usize::from(found.pages > 1);
        self.incomplete += usize::from(!found.is_complete);
    }
}

/// Searches among candidates and compares.
async fn check_candidates(
    service: &Service,
    chance: &mut Chance,
    token: &str,
    resource_type: &str,
    items: &[Item],
    tally: &mut Tally,
) {
    let action = *chance.one(&["Read", "Read", "Read", "ReadChanges"]);
    let (expected, codes_alone) = asked_alone(service, token, action, resource_type, items).await;
    let asked = pb::SearchResourcesRequest {
        action: action.to_owned(),
        candidates: items.iter().map(Item::resource).collect(),
        has_candidates: true,
        page_size: *chance.one(&[0, 1, 3, 7, 20, 1_000]),
        ..request(token, resource_type)
    };
    let found = search(service, asked).await.unwrap();
    let places: Vec<usize> = found.found.iter().map(|found| found.candidate as usize).collect();
    assert!(places.is_sorted(), "candidates keep their order");
    assert!(found.found.iter().all(|found| found.id == items[found.candidate as usize].id));
    assert_eq!(BTreeSet::from_iter(places), expected, "{resource_type} {action}: {:?}", codes(&found));
    assert!(found.is_complete);
    if found.answer.decision() != pb::Decision::Allow {
        assert_eq!(codes_alone, BTreeSet::from([codes(&found)[0].to_owned()]), "refused for the reason of each");
    }
    tally.count(&found, expected.len(), items.len());
}

/// Searches among all that the service knows and compares.
async fn check_known(
    service: &Service,
    chance: &mut Chance,
    token: &str,
    resource_type: &str,
    items: &[Item],
    tally: &mut Tally,
) {
    let action = *chance.one(&["Read", "ReadChanges"]);
    let (expected, _) = asked_alone(service, token, action, resource_type, items).await;
    let page_size = *chance.one(&[0, 1, 3, 7, 20, 1_000]);
    let action = action.to_owned();
    let asked = pb::SearchResourcesRequest { page_size, action, ..request(token, resource_type) };
    let found = search(service, asked).await.unwrap();
    let ids: Vec<&str> = found.found.iter().map(|found| &*found.id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "known items come by id, each once");
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let visible: BTreeSet<&Item> = expected.iter().map(|place| &items[*place]).collect();
    let all: BTreeSet<&str> = visible.iter().map(|item| &*item.id).collect();
    let known: BTreeSet<&str> = visible.iter().filter(|item| item.is_known).map(|item| &*item.id).collect();
    let described = format!("{resource_type}: {:?}", found.answer);
    assert!(ids.is_subset(&all) && ids.is_superset(&known), "{ids:?} of {all:?} {described}");
    assert!(!found.is_complete || ids == all, "nothing may be left out: {ids:?} of {all:?} {described}");
    tally.count(&found, ids.len(), items.len());
    tally.past += ids.difference(&known).count();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_what_asking_about_each_resource_allows() {
    let mut home = Home::new();
    home.tables = String::new();
    world::add_claim_sets(&mut home);
    let service = home.start().await;
    let mut chance = Chance(20_260_804);
    let (mut known, mut candidates) = (Tally::default(), Tally::default());
    let mut worlds = Vec::new();
    for region in 1..=4 {
        worlds.push(World::drawn(&mut chance, region));
        let world = worlds.last().unwrap();
        world.import(&service).await;
        for _ in 0..50 {
            let token = world.token(&home, &mut chance);
            let resource_type = *chance.one(&world::KNOWN_TYPES);
            let items: Vec<Item> = worlds.iter().flat_map(|world| world.items(resource_type)).collect();
            check_known(&service, &mut chance, &token, resource_type, &items, &mut known).await;
            let resource_type = *chance.one(&world::ALL_TYPES);
            let items = world.candidates(&mut chance, resource_type);
            check_candidates(&service, &mut chance, &token, resource_type, &items, &mut candidates).await;
        }
    }
    for (tally, least) in [(&known, 150), (&candidates, 400)] {
        assert!(tally.visible > least && tally.hidden > least && tally.mixed > 25, "{tally:?}");
        assert!(tally.refused > 3 && tally.refused < tally.searches / 2, "{tally:?}");
        assert!(tally.several_pages > 10, "{tally:?}");
    }
    assert!(known.past > 5, "{known:?}");
    assert!(known.incomplete > 3 && known.incomplete < known.searches / 2, "{known:?}");
}

/// A token of a client of the shipped claim sets, all its claims as given.
fn token_of(home: &Home, claim_set: &str, organizations: &str, prefixes: &str) -> String {
    let now_seconds = SystemClock.now_seconds();
    home.sign(&json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3600, "client_id": "client", "scope": claim_set,
        "educationOrganizationIds": organizations, "namespacePrefixes": prefixes,
    }))
}

fn ids(outcome: &Outcome) -> Vec<&str> {
    outcome.found.iter().map(|found| &*found.id).collect()
}

async fn enrol(service: &Service, student: &str, school: &str) {
    service.relationships().write_relationships(creating(vec![enrolled_at(student, school)])).await.unwrap();
}

/// A service with students `a` to `f`, the first four at school 1, the others at school 2.
async fn small(home: &Home) -> Service {
    let service = home.start().await;
    let schools = [r#"{"schoolId":1}"#, r#"{"schoolId":2}"#].map(str::to_owned);
    service.import("schools", &schools).await;
    for (student, school) in [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "2"), ("f", "2")] {
        enrol(&service, student, school).await;
    }
    service
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_as_they_were_while_relationships_change() {
    let home = Home::new();
    let service = small(&home).await;
    let first =
        pb::SearchResourcesRequest { page_size: 2, ..request(&home.token("SISVendor", &[1]), "ed-fi/students") };
    let (outcome, page_token) = page(&service, &first).await.unwrap();
    assert_eq!((ids(&outcome), page_token.is_empty()), (vec!["a", "b"], false));
    let gone = pb::WriteRelationshipsRequest { deletes: vec![enrolled_at("c", "1")], ..creating(Vec::new()) };
    service.relationships().write_relationships(gone).await.unwrap();
    enrol(&service, "bb", "1").await;
    // A newer token of the same principal goes on; what was removed and added since isn't seen.
    let next = pb::SearchResourcesRequest { page_token, token: home.token("SISVendor", &[1]), ..first.clone() };
    let (outcome, last) = page(&service, &next).await.unwrap();
    assert_eq!((ids(&outcome), &*last, outcome.is_complete), (vec!["c", "d"], "", true));
    // Nor is it shown to who asks for newer relationships than the first page saw.
    let newer = pb::SearchResourcesRequest { at_least_revision: service.revision().await, ..next.clone() };
    let stale = page(&service, &newer).await.unwrap_err();
    let reason = tonic_types::StatusExt::get_details_error_info(&stale).unwrap().reason;
    assert_eq!((stale.code(), &*reason), (Code::FailedPrecondition, "PAGE_TOKEN_EXPIRED"));
    let fresh = search(&service, first.clone()).await.unwrap();
    assert_eq!((ids(&fresh), fresh.pages), (vec!["a", "b", "bb", "d"], 2));

    // A page token belongs to its search, its principal, and what its first page saw.
    for (changed, field) in [
        (pb::SearchResourcesRequest { resource_type: "ed-fi/contacts".into(), ..next.clone() }, "page_token"),
        (pb::SearchResourcesRequest { within: Some(entity("Student", "a")), ..next.clone() }, "page_token"),
        (pb::SearchResourcesRequest { token: home.token("SISVendor", &[2]), ..next.clone() }, "page_token"),
        (pb::SearchResourcesRequest { page_token: "AQ".into(), ..next.clone() }, "page_token"),
    ] {
        assert_eq!(fields_of(&page(&service, &changed).await.unwrap_err()), [field]);
    }
    assert!(page(&service, &next).await.is_ok(), "it can be asked for again");
    // Only so many revisions are kept.
    for number in 0..40 {
        enrol(&service, &format!("x{number:02}"), "1").await;
        page(&service, &first).await.unwrap();
    }
    let expired = page(&service, &next).await.unwrap_err();
    let reason = tonic_types::StatusExt::get_details_error_info(&expired).unwrap().reason;
    assert_eq!((expired.code(), &*reason), (Code::FailedPrecondition, "PAGE_TOKEN_EXPIRED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_policies_end_the_searches_under_way() {
    let mut home = Home::new();
    let rules = home.copy_rules();
    let service = small(&home).await;
    let first =
        pb::SearchResourcesRequest { page_size: 1, ..request(&home.token("SISVendor", &[1]), "ed-fi/students") };
    let (_, page_token) = page(&service, &first).await.unwrap();
    let path = rules.join("claim_sets.cedar");
    let policies = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{policies}\n// changed\n")).unwrap();
    service.reload().await;
    let expired = page(&service, &pb::SearchResourcesRequest { page_token, ..first }).await.unwrap_err();
    assert_eq!(expired.code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_over_what_lies_within_an_entity_where_it_says_so() {
    let home = Home::new();
    let service = small(&home).await;
    let token = home.token("SISVendor", &[1, 2]);
    let within = |id: &str| pb::SearchResourcesRequest {
        within: Some(entity("EducationOrganization", id)),
        ..request(&token, "ed-fi/students")
    };
    for (id, expected) in [("1", vec!["a", "b", "c", "d"]), ("2", vec!["e", "f"]), ("3", vec![])] {
        assert_eq!(ids(&search(&service, within(id)).await.unwrap()), expected);
    }
    // Of candidates too, whether or not the service knows them, and in their order.
    let candidates = ["f", "nobody", "a"].map(|id| pb::Resource {
        id: format!("student {id}"),
        attributes: [("studentUniqueId".to_owned(), text(id))].into(),
        ..pb::Resource::default()
    });
    let among = pb::SearchResourcesRequest { candidates: candidates.to_vec(), ..within("2") };
    assert_eq!(ids(&search(&service, among.clone()).await.unwrap()), ["student f"]);
    let everywhere = search(&service, pb::SearchResourcesRequest { within: None, ..among }).await.unwrap();
    assert_eq!(ids(&everywhere), ["student f", "student a"]);
    assert_eq!(everywhere.found.iter().map(|found| found.candidate).collect::<Vec<_>>(), [0, 2]);
    // Where nothing else limits it, all that lies there is known.
    let everyone = home.token("SISVendor", &[]);
    let schools = search(&service, request(&everyone, "ed-fi/schools")).await.unwrap();
    assert_eq!((ids(&schools), schools.is_complete), (vec!["1", "2"], true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_refused_where_no_resource_could_be_found_and_empty_where_none_is() {
    let home = Home::new();
    let service = small(&home).await;
    let nobody = token_of(&home, "SISVendor", "", "uri://ed-fi.org");
    let outcome = search(&service, request(&nobody, "ed-fi/students")).await.unwrap();
    assert_eq!((outcome.answer.decision(), outcome.found.len(), outcome.is_complete), (pb::Decision::Allow, 0, true));
    let vendor = home.token("SISVendor", &[1]);
    let none = pb::SearchResourcesRequest { has_candidates: true, ..request(&vendor, "ed-fi/calendars") };
    let outcome = search(&service, none).await.unwrap();
    assert_eq!((outcome.answer.decision(), outcome.found.len(), outcome.is_complete), (pb::Decision::Allow, 0, true));

    let some = pb::Resource { attributes: [("namespace".to_owned(), text("uri://a"))].into(), ..Default::default() };
    let without_prefixes = token_of(&home, "AssessmentVendor", "1", "");
    let with_prefixes = token_of(&home, "AssessmentVendor", "1", "uri://a");
    for (token, resource_type, codes_expected) in [
        (&*without_prefixes, "ed-fi/assessments", vec!["NAMESPACE_NONE"]),
        (&with_prefixes, "ed-fi/assessments", vec!["SEARCH_ALLOWED"]),
        (&token_of(&home, "RosterVendor", "1", "uri://a"), "ed-fi/assessments", vec!["RESOURCE_NOT_GRANTED"]),
        (&token_of(&home, "NoSuchSet", "1", ""), "ed-fi/students", vec!["CONFIGURATION_ERROR"]),
        ("no token", "ed-fi/students", vec!["TOKEN_FORMAT"]),
    ] {
        let asked = pb::SearchResourcesRequest { candidates: vec![some.clone()], ..request(token, resource_type) };
        let outcome = search(&service, asked).await.unwrap();
        assert_eq!(codes(&outcome), codes_expected);
        let is_allowed = outcome.answer.decision() == pb::Decision::Allow;
        assert_eq!((outcome.found.len(), outcome.answer.denial.is_none()), (usize::from(is_allowed), is_allowed));
        assert_eq!(outcome.answer.obligations.is_empty(), !is_allowed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_follows_the_profile_that_applies() {
    let home = Home::new();
    let service = small(&home).await;
    let token = |profiles: &str| {
        let now_seconds = SystemClock.now_seconds();
        home.sign(&json!({
            "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3600, "client_id": "client",
            "scope": "DistrictHostedSISVendor", "educationOrganizationIds": "1", "profiles": profiles,
        }))
    };
    let unable = request(&token("Student-Directory"), "ed-fi/students");
    let refused = search(&service, unable.clone()).await.unwrap();
    assert_eq!((codes(&refused), refused.found.len()), (vec!["OBLIGATION_NOT_SUPPORTED"], 0));
    let supported_obligations = vec!["apply_profile".to_owned()];
    let able = pb::SearchResourcesRequest { supported_obligations: supported_obligations.clone(), ..unable };
    let one = search(&service, able).await.unwrap();
    let duties: Vec<&str> = one.answer.obligations.iter().map(|obligation| &*obligation.id).collect();
    assert_eq!((duties, one.found.len()), (vec!["row_filter", "apply_profile"], 4));
    let two = pb::SearchResourcesRequest {
        supported_obligations,
        ..request(&token("School-Names, School-Maintenance"), "ed-fi/schools")
    };
    let refused = search(&service, two.clone()).await.unwrap();
    let candidate = pb::Resource {
        r#type: "ed-fi/schools".to_owned(),
        attributes: [("schoolId".to_owned(), text("1"))].into(),
        ..pb::Resource::default()
    };
    let question = pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: two.token.clone(),
        action: two.action.clone(),
        resource: Some(candidate),
        ..pb::AuthorizeRequest::default()
    };
    let alone = service.authorization().authorize(question).await.unwrap().into_inner();
    assert_eq!((&refused.answer.reasons, &refused.answer.denial), (&alone.reasons, &alone.denial));
    assert!(refused.found.is_empty() && refused.answer.decision() == pb::Decision::Deny, "{:?}", codes(&refused));
    let media_type = "application/vnd.ed-fi.school.school-names.readable+json".to_owned();
    let named = search(&service, pb::SearchResourcesRequest { media_type, ..two }).await.unwrap();
    assert_eq!(ids(&named), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_search_is_told_all_that_is_wrong_with_it() {
    let home = Home::new();
    let service = small(&home).await;
    let token = home.token("SISVendor", &[1]);
    let good = request(&token, "ed-fi/students");
    let bad_value = |value: &str| pb::Resource {
        attributes: [("schoolReference.schoolId".to_owned(), text(value))].into(),
        ..pb::Resource::default()
    };
    let proposing = pb::Resource { has_proposed: true, ..pb::Resource::default() };
    let calendars = |candidates| pb::SearchResourcesRequest { candidates, ..request(&token, "ed-fi/calendars") };
    for (asked, expected) in [
        (request(&token, "ed-fi/calendars"), vec!["candidates"]),
        (pb::SearchResourcesRequest { action: "Reed".into(), ..good.clone() }, vec!["action"]),
        (pb::SearchResourcesRequest { action: "Create".into(), ..good.clone() }, vec!["action"]),
        (pb::SearchResourcesRequest { resource_type: "ed-fi/student".into(), ..good.clone() }, vec!["resource_type"]),
        (
            calendars(vec![bad_value("1"), bad_value("x"), bad_value("y")]),
            vec![
                "candidates[1].attributes.schoolReference.schoolId",
                "candidates[2].attributes.schoolReference.schoolId",
            ],
        ),
        (calendars(vec![proposing]), vec!["candidates[0].proposed"]),
        (calendars(vec![pb::Resource::default(); 10_001]), vec!["candidates"]),
        (pb::SearchResourcesRequest { within: Some(entity("Room", "1")), ..good.clone() }, vec!["within.type"]),
        (
            pb::SearchResourcesRequest { within: Some(entity("EducationOrganization", "x")), ..good.clone() },
            vec!["within.id"],
        ),
        (pb::SearchResourcesRequest { request_id: "é".into(), ..good.clone() }, vec!["request_id"]),
        (pb::SearchResourcesRequest { page_token: "x".into(), ..good.clone() }, vec!["page_token"]),
    ] {
        let refused = search(&service, asked).await.unwrap_err();
        assert_eq!(
            (refused.code(), fields_of(&refused)),
            (Code::InvalidArgument, expected.iter().map(ToString::to_string).collect())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_search_shows_and_judges_is_in_the_log() {
    let home = Home::new();
    let service = small(&home).await;
    let asked = pb::SearchResourcesRequest {
        request_id: "r-1".into(),
        ..request(&home.token("SISVendor", &[2]), "ed-fi/students")
    };
    search(&service, asked.clone()).await.unwrap();
    let records = service.decisions_after(0).await;
    let outcomes = |records: &[pb::DecisionRecord]| -> Vec<_> {
        records.iter().map(|record| (record.outcome(), record.subjects.len())).collect()
    };
    // The search itself, then each student shown.
    let allowed = |subjects: usize| (pb::Outcome::Allowed, subjects);
    assert_eq!(outcomes(&records), [allowed(0), allowed(1), allowed(1)]);
    assert!(records.iter().all(|record| record.request_id == "r-1" && record.resource_type == "ed-fi/students"));
    assert!(records[1..].iter().all(|record| record.subjects[0].is_pseudonym && record.resource_id != "e"));
    let candidates = ["a", "e"].map(|id| pb::Resource {
        attributes: [("studentUniqueId".to_owned(), text(id))].into(),
        ..pb::Resource::default()
    });
    let seen = records[2].sequence;
    search(&service, pb::SearchResourcesRequest { candidates: candidates.to_vec(), ..asked.clone() }).await.unwrap();
    let records = service.decisions_after(seen).await;
    assert_eq!(outcomes(&records), [allowed(0), (pb::Outcome::NotPermitted, 1), allowed(1)]);
    let only_filter = pb::SearchResourcesRequest { filter_only: true, ..asked };
    let outcome = search(&service, only_filter).await.unwrap();
    assert_eq!((outcome.found.len(), outcome.is_complete), (0, false));
    assert_eq!(service.decisions_after(records[2].sequence).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_searches() {
    let home = Home::new();
    let service = small(&home).await;
    let token = home.token("SISVendor", &[1]);
    let run = |arguments: &[&str]| {
        let address = ["--address", &service.address, "--token", &token, "--resource", "ed-fi/students"];
        let output = home.command("search").args(address).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, json, _) = run(&["--page-size", "3", "--output", "json"]);
    let json: Json = json.parse().unwrap();
    let shown: Vec<_> = json["resources"].as_array().unwrap().iter().map(|found| found["id"].clone()).collect();
    assert_eq!((code, shown), (Some(0), vec![json!("a"), json!("b"), json!("c")]));
    let next = json["next_page_token"].as_str().unwrap();
    let (code, shown, _) = run(&["--page-size", "3", "--page-token", next]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(code, Some(0));
    assert!(lines[0] == "ALLOW (ALLOWED)" && lines.contains(&"d") && !lines.contains(&"a"), "{shown}");
    let file = home.path("candidates.ndjson");
    let lines = "{\"id\":7,\"attributes\":{\"studentUniqueId\":\"e\"}}\n\n{\"id\":8,\"attributes\":{\"studentUniqueId\":\"a\"}}\n";
    fs::write(&file, lines).unwrap();
    let (_, shown, _) = run(&["--candidates", file.to_str().unwrap(), "--within", "EducationOrganization:1"]);
    assert!(shown.contains("\n8\n1 resource; "), "{shown}");
    let (code, shown, _) = run(&["--action", "Delete", "--within", "Room:1"]);
    assert_eq!((code, &*shown), (Some(2), ""));
}
