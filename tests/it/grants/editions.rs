//! The editions of the products' claim sets, where they are kept beside this repository: imported from every form, and
//! resolved, each grant of each claim set on each leaf is compared with the one that was worked out there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hallpass::domain::grants::table::ClaimTable;
use hallpass::domain::policy_set::SourceFile;
use hallpass::domain::realm::Realm;
use hallpass::provider::claims_metadata::{self, Product};
use hallpass::provider::realm_files::read_folder;
use serde_json::{Value as Json, json};

use super::sources::Edition;

const ACTIONS: [&str; 5] = ["Create", "Read", "Update", "Delete", "ReadChanges"];

const SCHEMA: &str = "
entity Client { claimSet: String };
entity Resource { lacks: Set<String> };
action Create, Read, Update, Delete, ReadChanges appliesTo {
    principal: [Client], resource: [Resource], context: { strategies: Set<String> },
};
";

/// The folder with the editions; says so where there is none.
fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, PathBuf::from).join("edfi");
    if folder.join("claim_sets.json").is_file() {
        return Some(folder);
    }
    println!("SKIPPED: no claim sets at {}", folder.display());
    None
}

fn read(folder: &Path, name: &str) -> Json {
    fs::read_to_string(folder.join(name)).unwrap().parse().unwrap()
}

fn source(path: &str, content: impl Into<String>) -> SourceFile {
    SourceFile { path: path.to_owned(), content: content.into() }
}

fn import(file: &SourceFile, product: Product) -> ClaimTable {
    let imported = claims_metadata::read(None, std::slice::from_ref(file)).unwrap();
    assert_eq!(Product::of(&file.content), product);
    assert_eq!(imported.notes, [], "{}", file.path);
    imported.table
}

/// A realm with a resource type for each leaf.
fn realm(table: &ClaimTable, leaves: &BTreeSet<&str>, inheritance: &str) -> Realm {
    let names: BTreeSet<_> = table
        .claims
        .iter()
        .flat_map(|claim| {
            let defaults = claim.defaults.iter().flat_map(|(_, names)| names);
            let granted = claim.claim_sets.iter().flat_map(|(_, actions)| actions);
            defaults.chain(granted.flat_map(|(_, names)| names.iter().flatten())).cloned().collect::<Vec<_>>()
        })
        .collect();
    let strategies: Vec<_> = names.iter().map(|name| format!("{name} = []\n")).collect();
    let strategies = strategies.concat();
    let known: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    let known = format!(
        "@id(\"known\") permit (principal, action, resource) when {{ context.strategies.containsAny([{}]) }};",
        known.join(", ")
    );
    let settings = format!(
        "title = \"Editions\"\n[principal]\nentity = \"Client\"\nid = \"sub\"\n[principal.attributes.claimSet]\nclaim = \"scope\"\n\
         [resources]\nentity = \"Resource\"\nfile = \"resources.json\"\n\
         [grants]\nfile = \"grants.json\"\nclaim_set = \"claimSet\"\ninheritance = \"{inheritance}\"\n[grants.strategies]\n{strategies}"
    );
    let resources: serde_json::Map<_, _> =
        leaves.iter().map(|leaf| ((*leaf).to_owned(), json!({ "claim": leaf, "subjects": [] }))).collect();
    let files = [
        source("realm.toml", settings),
        source("schema.cedarschema", SCHEMA),
        source("rules.cedar", known),
        source("resources.json", json!({ "resources": resources }).to_string()),
        source("grants.json", table.text()),
    ];
    Realm::compile(&files, None).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// How many grants were compared, and those that differ.
fn differences(realm: &Realm, leaves: &BTreeSet<&str>, edition: &Edition<'_>, expected: &Json) -> (usize, Vec<String>) {
    let grants = realm.grants.as_ref().unwrap();
    let (mut compared, mut different) = (0, Vec::new());
    for claim_set in edition.claim_sets() {
        for leaf in leaves {
            let policy = expected["matrix"][claim_set][*leaf].as_u64();
            let policy = policy.map(|index| &expected["policies"][usize::try_from(index).unwrap()]);
            for (place, action) in ACTIONS.into_iter().enumerate() {
                let grant = grants.find(claim_set, leaf, action).grant;
                let strategies: Vec<_> = grant.strategies.iter().map(|name| &**name).collect();
                let found = match (grant.has_resource, grant.is_granted) {
                    (false, _) => json!("no resource"),
                    (true, false) => Json::Null,
                    (true, true) => json!(strategies),
                };
                let wanted = policy.map_or_else(|| json!("no resource"), |policy| policy[place].clone());
                compared += 1;
                if found != wanted {
                    different.push(format!("{claim_set} {action} {leaf}: found {found}, wanted {wanted}"));
                }
            }
        }
    }
    (compared, different)
}

#[test]
fn every_edition_imported_from_every_form_resolves_as_its_product_does() {
    let Some(folder) = folder() else { return };
    let (editions, effective) = (read(&folder, "claim_sets.json"), read(&folder, "effective_policies.json"));
    let mut compared_in_all = 0;
    for (name, edition) in editions["editions"].as_object().unwrap() {
        let edition = Edition(edition);
        let tables = [
            import(&source("Claims.json", edition.document()), Product::Dms),
            import(&source("copies.sql", edition.copies()), Product::Ods),
            import(&source("inserts.sql", edition.inserts()), Product::Ods),
            import(&source("claims.xml", edition.xml()), Product::Ods),
        ];
        let is_leaf = |claim: &&Json| claim["leaf"] == json!(true);
        let leaves: BTreeSet<_> =
            edition.claims().iter().filter(is_leaf).map(|claim| claim["name"].as_str().unwrap()).collect();
        let inheritance = if name.starts_with("ods") { "first_override" } else { "nearest" };
        for table in &tables {
            assert_eq!(sorted(table), sorted(&tables[0]), "{name}: the forms say different things");
        }
        let realm = realm(&tables[0], &leaves, inheritance);
        let (compared, different) = differences(&realm, &leaves, &edition, &effective["editions"][name]);
        assert_eq!(
            different.len(),
            0,
            "{name}: {} of {compared}: {:#?}",
            different.len(),
            &different[..different.len().min(20)]
        );
        assert!(compared > 12 * 300 * ACTIONS.len(), "{name}: {compared}");
        compared_in_all += compared;
    }
    println!("{compared_in_all} grants of {} editions compared", editions["editions"].as_object().unwrap().len());
}

/// The claims by name with all they say, in no order.
fn sorted(table: &ClaimTable) -> Vec<Json> {
    let json: Json = table.text().parse().unwrap();
    let claims = json["claims"].as_object().unwrap();
    let mut claims: Vec<_> = claims.iter().map(|(name, claim)| json!([name, claim])).collect();
    claims.sort_by_key(ToString::to_string);
    claims
}

#[test]
fn the_rules_grant_what_the_product_ships() {
    let Some(folder) = folder() else { return };
    let editions = read(&folder, "claim_sets.json");
    let edition = Edition(&editions["editions"]["dms-ds52"]);
    let mut shipped = import(&source("Claims.json", edition.document()), Product::Dms);
    // Those of the product's own end-to-end tests are left out.
    let names: Vec<_> = shipped.claim_set_names().into_iter().filter(|name| !name.starts_with("E2E-")).collect();
    assert_eq!((names.len(), shipped.keep_claim_sets(&names).len()), (14, 0));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi/grants.json");
    let ours = ClaimTable::parse("grants.json", &fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(ours.claim_set_names().into_iter().collect::<Vec<_>>(), names);
    let (ours, shipped) = (sorted(&ours), sorted(&shipped));
    let different: Vec<_> = ours.iter().filter(|claim| !shipped.contains(claim)).collect();
    assert_eq!((different.len(), ours.len(), shipped.len()), (0, 413, 413), "{different:#?}");
}

#[test]
fn the_rules_as_a_variant_take_the_other_products_claims() {
    let Some(folder) = folder() else { return };
    let editions = read(&folder, "claim_sets.json");
    let table = import(&source("copies.sql", Edition(&editions["editions"]["ods-5.2"]).copies()), Product::Ods);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi");
    let mut files = read_folder(&rules).unwrap();
    files.retain(|file| file.path != "grants.json");
    files.push(source("grants.json", table.text()));
    let realm = Realm::compile(&files, Some("ods")).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let grants = realm.grants.as_ref().unwrap();
    // An edition without TPDM; every other resource is found by one of the two spellings, and every grant can be used.
    let unusable: Vec<_> =
        grants.faults().into_iter().filter(|fault| !fault.resource_type.starts_with("tpdm/")).collect();
    assert_eq!((unusable.len(), grants.fault_count()), (0, 33), "{unusable:#?}");
    let grant = grants.find("SIS Vendor", "ed-fi/students", "Read").grant;
    assert_eq!(grant.strategies, ["RelationshipsWithEdOrgsAndPeople".into()]);
    assert_eq!(grant.lineage[0], "http://ed-fi.org/ods/identity/claims/student".into());
    let (settings, shown) = (realm.file.grants.as_ref().unwrap(), realm.file.token_info.as_ref().unwrap());
    let services = grants.claims_behind("Ed-Fi Sandbox", shown.services.as_ref().unwrap(), settings);
    assert_eq!(services.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["identity"]);
}
