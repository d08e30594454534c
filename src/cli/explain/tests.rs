//! The trees of a handful of cases, as they are read.

use std::{fs, path::Path};

use clap::Parser;

use super::{Arguments, Asked, of_case, tree, written};
use crate::cli::json;

const CASES: [(&str, &str, &str); 9] = [
    ("edfi_allow", "edfi", "tests/relationships.yaml:the state reads the students of its districts"),
    ("edfi_deny", "edfi", "tests/relationships.yaml:and not the student of the school next door"),
    ("edfi_contact", "edfi", "tests/relationships.yaml:nor through a student who is enrolled nowhere"),
    ("auth0_scope", "auth0", "tests/timesheets.yaml:without the scope nothing is read, and the challenge names it"),
    ("auth0_owner", "auth0", "tests/timesheets.yaml:a colleague's is not"),
    ("sem_consent", "sem", "tests/consent.yaml:the one side has not answered yet"),
    ("openedx_organization", "openedx", "tests/access.yaml:not of another organization"),
    ("itslanguage_role", "itslanguage", "tests/roles.yaml:without a role nothing"),
    ("hallpass_names", "hallpass", "tests/rights.yaml:an auditor sees no names"),
];

fn folder(realm: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(realm)
}

/// The text without what changes with every edit of the realm.
fn shown(realm: &str, case: &str) -> String {
    let answer = of_case(&folder(realm), case).unwrap();
    let version: String = answer.policy_version.chars().take(12).collect();
    written(&tree(&answer), |_, text| text.to_owned()).replace(&version, "VERSION")
}

#[test]
fn the_trees_are_those_that_were_read_over() {
    let mut differing = Vec::new();
    for (name, realm, case) in CASES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/explain/{name}.txt"));
        let shown = shown(realm, case);
        if std::env::var_os("HALLPASS_BLESS").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        if shown != kept {
            println!("==== {name}\n{shown}");
            differing.push(path.display().to_string());
        }
    }
    assert!(differing.is_empty(), "read over what differs; HALLPASS_BLESS=1 takes it over:\n{}", differing.join("\n"));
}

#[test]
fn programs_get_the_same_as_json() {
    let (_, realm, case) = CASES[1];
    let answer = json::answer(&of_case(&folder(realm), case).unwrap());
    assert_eq!(answer["decision"], "DENY");
    let explanation = &answer["explanation"];
    assert_eq!(explanation["near_misses"][0]["state"], "NOT_HELD");
    let conditions = explanation["near_misses"][0]["conditions"].as_array().unwrap();
    let open = conditions.iter().find(|condition| condition["state"] == "NOT_HELD").unwrap();
    assert_eq!(open["place"]["file"], "relationships.cedar");
    assert!(open["values"].as_array().unwrap().iter().any(|value| value["path"] == "resource.student"));
    let relationship =
        explanation["remedies"].as_array().unwrap().iter().find(|it| it["kind"] == "relationship").unwrap();
    assert_eq!(relationship["fact"]["relation"], "enrolled_at");
    assert_eq!(explanation["phases"][0]["strategies"][0]["outcome"], "UNMET");
}

#[test]
fn a_case_that_is_not_there_is_told_with_those_that_are() {
    let refused = |case: &str| format!("{:#}", of_case(&folder("openedx"), case).unwrap_err());
    assert!(refused("tests/access.yaml").starts_with("`tests/access.yaml` names no case"));
    assert!(refused("tests/other.yaml:x").contains("there are tests/access.yaml"));
    assert!(refused("tests/access.yaml:x").contains("; there are: a restricted application sees"));
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

#[test]
fn a_question_takes_a_token_and_a_case_does_not() {
    let parse =
        |line: &str| Line::try_parse_from(format!("explain {line}").split(' ')).map(|line| line.arguments.asked);
    assert!(matches!(parse("--token t --action Read --resource R --output json").unwrap(), Asked::Question(..)));
    assert!(matches!(parse("--realm-folder d --case a.yaml:b").unwrap(), Asked::Case(_)));
    for wrong in [
        "",
        "--action Read --resource R",
        "--token t --action Read",
        "--case a:b",
        "--realm-folder d",
        "--realm-folder d --case a:b --action Read",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
