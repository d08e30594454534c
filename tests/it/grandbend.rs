//! A whole district, where its records are kept beside this repository: every answer about every person is compared
//! with one worked out here from the records alone.

mod every_resource;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hallpass::proto::v1 as pb;
use hallpass::proto::v1::batch_authorize_result::Result as ItemResult;
use serde_json::{Value as Json, json};

use self::oracle::Oracle;
use crate::search::found_by_id;
use crate::support::{Home, REALM, Service, reading};

const DISTRICT: i64 = 255_901;
const FOREIGN_DISTRICT: i64 = 255_902;
const FOREIGN_SCHOOL: i64 = 255_902_001;

/// Records by resource.
pub(crate) type Records = BTreeMap<String, Vec<Json>>;

/// The folder with the records; says so where there is none.
fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, PathBuf::from).join("data/grandbend");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no district at {}", folder.display());
    None
}

fn read(folder: &Path) -> Records {
    let mut records = Records::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "ndjson") {
            let resource = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let lines = fs::read_to_string(&path).unwrap();
            records.insert(resource, lines.lines().map(|line| line.parse().unwrap()).collect());
        }
    }
    records
}

/// A district next door, to which one student of this one has moved.
fn add_foreign_district(records: &mut Records) {
    let mover = records["students"][7].clone();
    let mut add = |resource: &str, record: Json| records.get_mut(resource).unwrap().push(record);
    add("localEducationAgencies", json!({ "localEducationAgencyId": FOREIGN_DISTRICT }));
    let district = json!({ "localEducationAgencyId": FOREIGN_DISTRICT });
    add("schools", json!({ "schoolId": FOREIGN_SCHOOL, "localEducationAgencyReference": district }));
    add(
        "studentSchoolAssociations",
        json!({ "entryDate": "2022-05-02", "schoolReference": { "schoolId": FOREIGN_SCHOOL }, "studentReference": mover }),
    );
}

/// The people of a kind whom the token's holder may read, among all on record.
async fn readable(service: &Service, token: &str, resource: &str, property: &str, ids: &[String]) -> BTreeSet<String> {
    let defaults = pb::AuthorizeRequest { realm: REALM.to_owned(), token: token.to_owned(), ..Default::default() };
    let item = |id: &String| reading("", &format!("ed-fi/{resource}"), property, id);
    let batch = pb::BatchAuthorizeRequest { defaults: Some(defaults), items: ids.iter().map(item).collect() };
    let results = service.authorization().batch_authorize(batch).await.unwrap().into_inner().results;
    assert_eq!(results.len(), ids.len());
    let mut readable = BTreeSet::new();
    for (id, result) in ids.iter().zip(results) {
        match result.result {
            Some(ItemResult::Response(response)) if response.decision() == pb::Decision::Allow => {
                readable.insert(id.clone());
            }
            Some(ItemResult::Response(response)) => assert_eq!(response.reasons[0].code, "RELATIONSHIP_MISSING"),
            other => panic!("{resource} {id}: {other:?}"),
        }
    }
    readable
}

/// Adds a claim set that reaches students through responsibility alone.
fn add_responsibility_claim_set(home: &mut Home) {
    let path = home.copy_rules().join("grants.json");
    let mut grants: Json = fs::read_to_string(&path).unwrap().parse().unwrap();
    grants["claims"]["http://ed-fi.org/identity/claims/ed-fi/student"]["claim_sets"]["Responsible"] =
        json!({ "Read": ["RelationshipsWithStudentsOnlyThroughResponsibility"] });
    fs::write(&path, grants.to_string()).unwrap();
}

fn ids(records: &Records, resource: &str, property: &str) -> Vec<String> {
    records[resource].iter().map(|record| record[property].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_of_a_district_is_seen_by_whom_the_records_say() {
    let Some(folder) = folder() else { return };
    let mut records = read(&folder);
    add_foreign_district(&mut records);
    let mut home = Home::new();
    add_responsibility_claim_set(&mut home);
    // Not every decision of thousands has to wait for the disk.
    home.tables = String::new();
    let service = home.start().await;
    let (mut accepted, mut skipped) = (0, 0);
    for (resource, records) in &records {
        let lines: Vec<String> = records.iter().map(Json::to_string).collect();
        let answer = service.import(resource, &lines).await;
        assert_eq!(answer.accepted + answer.skipped, u64::try_from(lines.len()).unwrap(), "{resource}");
        (accepted, skipped) = (accepted + answer.accepted, skipped + answer.skipped);
    }
    let oracle = Oracle::of(&records);
    let schools = records["schools"].iter().map(|school| school["schoolId"].as_i64().unwrap());
    let service_center = records["educationServiceCenters"][0]["educationServiceCenterId"].as_i64().unwrap();
    let clients: Vec<i64> = schools.chain([DISTRICT, service_center, FOREIGN_DISTRICT]).collect();
    let mut decisions = 0;
    for &client in &clients {
        let expected = [
            ("SISVendor", "students", "studentUniqueId", oracle.students(client)),
            ("SISVendor", "contacts", "contactUniqueId", oracle.contacts(client)),
            ("SISVendor", "staffs", "staffUniqueId", oracle.staff(client)),
            ("Responsible", "students", "studentUniqueId", oracle.students_by_responsibility(client)),
        ];
        for (claim_set, resource, property, expected) in expected {
            let ids = ids(&records, resource, property);
            let token = home.token(claim_set, &[client]);
            let readable = readable(&service, &token, resource, property, &ids).await;
            decisions += ids.len();
            let wrong: Vec<_> = readable.symmetric_difference(&expected).take(5).collect();
            assert!(wrong.is_empty(), "{client} reads {resource} under {claim_set}: differs for {wrong:?}");
            let found = found_by_id(&service, &token, &format!("ed-fi/{resource}")).await;
            assert_eq!(found, expected, "{client} finds {resource} under {claim_set}");
        }
    }
    assert_eq!(oracle.students(DISTRICT).len(), 960, "the oracle sees everybody who is enrolled");
    assert_eq!(oracle.students(FOREIGN_DISTRICT).len(), 1, "and who moved");
    println!(
        "{accepted} records accepted, {skipped} of no interest; {decisions} decisions of {} clients",
        clients.len()
    );
}
