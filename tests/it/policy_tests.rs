//! `hallpass test`: what it prints for people and programs, and what it finds.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value as Json;

const REALM: &str =
    "title = \"Notes\"\n[principal]\nentity = \"Reader\"\nid = \"sub\"\n[trusted]\nNote = [\"owner\"]\n";
const SCHEMA: &str = "entity Reader; entity Note { owner?: Reader };\n\
    action read appliesTo { principal: [Reader], resource: [Note], context: {} };\n";
const POLICIES: &str = "@id(\"Owner\") // <mine> & \"yours\"\npermit (principal is Reader, action, resource is Note)\n\
    when { resource has owner && resource.owner == principal };\n";
const TESTS: &str = "principals: { ann: { sub: ann } }\ncases:\n\
    \x20 - { name: one's <own>, principal: ann, action: read, resource: { type: Note, attributes: { owner: ann } }, expect: ALLOW }\n";
const MORE: &str = "\x20 - { name: another's, principal: ann, action: read, resource: { type: Note, attributes: { owner: ben } }, expect: DENY }\n\
    \x20 - { name: nobody's, principal: ann, action: read, resource: { type: Note }, expect: DENY }\n";

/// Runs `hallpass test` in a folder with this realm.
fn run(tests: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| fs::write(folder.path().join(path), content).unwrap();
    fs::create_dir_all(folder.path().join("notes/tests")).unwrap();
    for (path, content) in [
        ("notes/realm.toml", REALM),
        ("notes/schema.cedarschema", SCHEMA),
        ("notes/notes.cedar", POLICIES),
        ("notes/tests/reading.yaml", tests),
    ] {
        write(path, content);
    }
    let output = hallpass(folder.path(), &[&["test", "notes"], arguments].concat());
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    (output, shown)
}

fn hallpass(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hallpass")).args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn a_failing_case_is_shown_with_its_line_in_every_form() {
    let wrong = TESTS.replace("ALLOW", "DENY");
    let (output, shown) = run(&wrong, &[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "FAILED notes/tests/reading.yaml:3: one's <own>\n    decision: expected DENY, found ALLOW\n0 passed, 1 failed\n";
    assert_eq!(shown, expected);
    let (_, shown) = run(&wrong, &["--output", "json"]);
    let json: Json = serde_json::from_str(&shown).unwrap();
    let case = json.pointer("/realms/0/cases/0").unwrap();
    assert_eq!((case["line"].as_u64(), case["passed"].as_bool()), (Some(3), Some(false)));
    let (_, shown) = run(&wrong, &["--output", "junit"]);
    let failure = "<testcase name=\"one&#39;s &lt;own&gt;\" classname=\"notes/tests/reading.yaml\">\n      <failure";
    assert!(shown.contains(failure) && shown.contains("tests=\"1\" failures=\"1\""), "{shown}");
}

#[test]
fn a_filter_keeps_what_it_names() {
    let tests = format!("{TESTS}{MORE}");
    for (filter, expected) in
        [("nobody", "1 passed, 0 failed\n"), ("reading.yaml", "3 passed, 0 failed\n"), ("x", "0 passed, 0 failed\n")]
    {
        assert_eq!(run(&tests, &["--filter", filter, "--jobs", "3"]).1, expected);
    }
}

#[test]
fn too_little_coverage_is_a_finding() {
    let (output, shown) = run(TESTS, &["--coverage", "--min-coverage", "95"]);
    assert_eq!(output.status.code(), Some(1));
    for line in [
        "coverage of notes: 50.0 % (2 of 4), 1 policy",
        "  notes/notes.cedar:2 Owner: 50.0 % (2 of 4), applied to 1 of 1",
        "    never false        3  resource.owner == principal",
        "notes: too little was seen of the conditions: 50.0 % (2 of 4), expected 95 %",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let (output, shown) = run(&format!("{TESTS}{MORE}"), &["--coverage", "--min-coverage", "95"]);
    assert_eq!(
        (output.status.code(), shown.lines().last()),
        (Some(0), Some("coverage of notes: 100.0 % (4 of 4), 1 policy"))
    );
}

#[test]
fn the_page_of_coverage_holds_the_policies_and_nothing_from_elsewhere() {
    let (output, page) = run(TESTS, &["--coverage", "--output", "html"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(page.contains("// &lt;mine&gt; &amp; &quot;yours&quot;"), "{page}");
    let half = "<span class=\"half\" data-seen=\"never false\" title=\"never false\">resource has owner</span>";
    assert!(page.contains(half), "{page}");
    for elsewhere in ["http:", "https:", "<script", "@import", "src="] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let (output, _) = run(TESTS, &["--output", "html"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn mutants_that_survive_are_shown_and_counted() {
    let (output, shown) = run(TESTS, &["--mutants", "--min-killed", "90"]);
    assert_eq!(output.status.code(), Some(1));
    let survivor = "  survived notes/notes.cedar:3 Owner, dropped: resource.owner == principal => true\n    \
        - when { resource has owner && resource.owner == principal };\n    \
        + when { resource has owner && true };\n    near: tests/reading.yaml: one's <own>\n";
    assert!(shown.contains(survivor), "{shown}");
    let (output, shown) = run(&format!("{TESTS}{MORE}"), &["--mutants", "--min-killed", "90", "--coverage"]);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("mutants of notes: 100.0 % ("), "{shown}");
    let (output, shown) = run(&TESTS.replace("ALLOW", "DENY"), &["--mutants"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.ends_with("notes: no mutants were tried, because tests fail\n"), "{shown}");
}
