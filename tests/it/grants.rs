//! The claim sets of a realm: taken over from the products' own files, and shown to people.

mod editions;
mod sources;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A command of the binary in the repository's folder.
fn hallpass(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_access_matrix_of_the_rules_is_the_one_that_was_read_over() {
    let golden = "policies/edfi/golden/access_matrix.txt";
    let shown = hallpass(&["grants", "matrix", "policies/edfi"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let (shown, kept) = (text(&shown.stdout), fs::read_to_string(golden).unwrap());
    let different = shown.lines().zip(kept.lines()).position(|(a, b)| a != b);
    let first = different.unwrap_or(shown.lines().count().min(kept.lines().count())) + 1;
    assert!(
        shown == kept,
        "{golden} differs from line {first} on. If the change is meant, read over and commit the output of\n    \
         cargo run -- grants matrix policies/edfi > {golden}"
    );
}

#[test]
fn a_grant_is_traced_to_the_claims_that_say_so() {
    let arguments = ["--claim-set", "edfisandbox", "--resource", "ed-fi/programs"];
    let shown = hallpass(&[&["grants", "show", "policies/edfi"], &arguments[..]].concat());
    let shown = text(&shown.stdout);
    let domain = "http://ed-fi.org/identity/claims/domains/relationshipBasedData";
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = shown.lines().map(words).collect();
    for line in [
        vec!["claim", "set", "EdFiSandbox"],
        vec!["claim", "http://ed-fi.org/identity/claims/ed-fi/program"],
        vec!["in", domain],
        vec!["Create", "RelationshipsWithEdOrgsAndPeople", domain, domain],
        vec!["Read", "RelationshipsWithEdOrgsAndPeople", domain, "http://ed-fi.org/identity/claims/ed-fi/program"],
    ] {
        assert!(lines.iter().any(|shown| *shown == line), "{line:?}\n{shown}");
    }
    let unknown = hallpass(&["grants", "show", "policies/edfi", "--claim-set", "SISVendor", "--resource", "Programs"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).starts_with("error: unknown resource type `Programs`"), "{}", text(&unknown.stderr));
}

#[test]
fn warnings_are_findings_only_when_asked_to_be() {
    for (arguments, code) in [(&["check", "policies/edfi"][..], 0), (&["check", "--strict", "policies/edfi"], 1)] {
        let checked = hallpass(arguments);
        let shown = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(code), "{shown}");
        let dead = "warning[unknown-claim]: 12 claims belong to no resource type: ";
        let is_it = |line: &str| line.starts_with("policies/edfi/grants.json:") && line.contains(dead);
        assert!(shown.lines().any(is_it), "{shown}");
    }
}

const DOCUMENT: &str = r#"{
  "claimSets": [{"claimSetName": "A", "isSystemReserved": true}, {"claimSetName": "B", "isSystemReserved": true}],
  "claimsHierarchy": [{"name": "urn:x/a/thing", "claimSets": [
    {"name": "A", "actions": [{"name": "Read"}]}, {"name": "B", "actions": [{"name": "Read"}]}]}]
}"#;
const FRAGMENT: &str = r#"{"name": "C", "resourceClaims": [
  {"name": "a/things", "authorizationStrategyOverridesForCRUD": [{"actionName": "Read", "authorizationStrategies": [{"name": "Free"}]}]}]}"#;

#[test]
fn a_folder_is_imported_and_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("Claims.json"), DOCUMENT).unwrap();
    fs::create_dir(path("more")).unwrap();
    fs::write(path("more/001-c-claimset.json"), FRAGMENT).unwrap();
    fs::write(path("notes.txt"), "no claims").unwrap();
    let (folder_path, table) = (path(""), path("grants.out"));
    let arguments = ["grants", "import", &folder_path, "--claim-sets", "A,C", "--source", "a test", "-o", &table];
    let imported = hallpass(&arguments);
    let said = text(&imported.stderr);
    assert_eq!((imported.status.code(), text(&imported.stdout)), (Some(0), String::new()), "{said}");
    assert!(said.ends_with("2 claim sets, 1 claim, 0 defaults, 2 grants\n"), "{said}");
    assert_eq!(
        fs::read_to_string(&table).unwrap(),
        "{\n \"source\": \"a test\",\n \"claim_sets\": [\"A\"],\n \"claims\": {\n  \"urn:x/a/thing\": \
         {\"parent\": null, \"defaults\": {}, \"claim_sets\": {\"A\": {\"Read\": null}, \"C\": {\"Read\": [\"Free\"]}}}\n }\n}\n"
    );
    let unknown = hallpass(&["grants", "import", &path("Claims.json"), "--claim-sets", "A,Z"]);
    assert_eq!(text(&unknown.stderr), "error: unknown claim set `Z`, expected some of A, B\n");
}

#[test]
fn what_cannot_be_imported_is_told_and_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("Claims.json"), DOCUMENT.replace("\"name\": \"B\"", "\"name\": \"A\"")).unwrap();
    let (claims, table) = (path("Claims.json"), path("grants.json"));
    let imported = hallpass(&["grants", "import", &claims, "-o", &table]);
    assert_eq!(imported.status.code(), Some(1));
    let expected = format!(
        "{claims}: error[data-file]: claimsHierarchy[0].claimSets[1]: claim set `A` stands twice on this claim\n1 fault\n"
    );
    assert_eq!(text(&imported.stderr), expected);
    assert!(!Path::new(&table).exists());
}
