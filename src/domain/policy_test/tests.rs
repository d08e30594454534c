use serde_json::{Map, Value as Json, json};

use super::*;
use crate::domain::{
    coverage::Coverage,
    matrix::{Cell, matrix},
    mutation::{Change as Made, Fate, Mutant, Trial, killed},
};

const REALM: &str = r#"
title = "Notes"
[principal]
entity = "Reader"
id = "sub"
[principal.attributes.level]
claim = "level"
[trusted]
Note = ["owner", "kind"]
"#;
const SCHEMA: &str =
    "entity Group; entity Reader in [Group] { level?: String }; entity Note { owner?: Reader, kind?: String };
    action read, write appliesTo { principal: [Reader], resource: [Note], context: {} };";
const RELATIONS: &str = r#"
[relations.in_group]
subject = "Reader"
object = "Group"
[[records]]
resource = "readers"
key = ["name"]
[[records.relationships]]
relation = "in_group"
subject = "name"
object = "group"
"#;
const POLICIES: &str = r#"
@id("Owner")
permit (principal is Reader, action, resource is Note)
when { resource has owner && resource.owner == principal };

@id("Chief")
permit (principal, action == Action::"read", resource)
when { principal has level && principal.level == "chief" };

@id("Closed")
@reason("CLOSED")
forbid (principal in Group::"guests", action, resource)
unless { resource has kind && (resource.kind == "public" || resource.kind == "shared") };
"#;

fn file(path: &str, content: &str) -> SourceFile {
    SourceFile { path: path.into(), content: content.into() }
}

fn files(tests: &[(&str, &str)]) -> Vec<SourceFile> {
    let realm = [
        ("realm.toml", REALM),
        ("schema.cedarschema", SCHEMA),
        ("relations.toml", RELATIONS),
        ("notes.cedar", POLICIES),
    ];
    realm.iter().chain(tests).map(|(path, content)| file(path, content)).collect()
}

fn results(tests: &[(&str, &str)]) -> Vec<CaseResult> {
    run(&files(tests)).unwrap_or_else(|faults| panic!("{}", faults.iter().map(ToString::to_string).collect::<String>()))
}

/// A fault without its kind.
fn shown(fault: &Fault) -> String {
    fault.to_string().replacen("error[test-file]: ", "", 1)
}

fn bench(files: &[SourceFile]) -> Bench {
    let suite = Suite::read(files).unwrap();
    let realms = all((0..suite.realms()).map(|realm| suite.compile(realm))).unwrap();
    let ready = all((0..suite.len()).map(|test| suite.ready(test, &realms))).unwrap();
    Bench::new(realms, ready)
}

const TABLE: &str = r"
fixtures: [people]
principals:
  chief: { sub: carl, level: chief }
tables:
  - name: reading
    case: { action: read, resource: { type: Note } }
    columns: [principal, resource.id, resource.attributes.owner, expect, policies]
    rows:
      - [ann, n-1, ann, ALLOW, Owner]
      - [ann, n-2, ben, DENY, ~]
      - [chief, n-2, ben, ALLOW, [Chief]]
      - [{ sub: dot, level: chief }, n-3, dot, ALLOW, [Chief, Owner]]
";
const PEOPLE: &str = "principals: { ann: { sub: ann } }\nfacts: { readers: [{ name: gus, group: guests }] }\n";

#[test]
fn a_row_of_a_table_is_a_case_named_by_its_cells() {
    let results = results(&[("tests/table.yaml", TABLE), ("tests/fixtures/people.yaml", PEOPLE)]);
    assert!(results.iter().all(|case| case.differences.is_empty()), "{results:#?}");
    let names: Vec<_> = results.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "reading: ann | n-1 | ann | ALLOW | Owner",
            "reading: ann | n-2 | ben | DENY | -",
            "reading: chief | n-2 | ben | ALLOW | Chief",
            "reading: … | n-3 | dot | ALLOW | Chief+Owner"
        ]
    );
}

#[test]
fn a_case_that_fails_says_where_it_stands_and_what_differs() {
    let wrong = TABLE.replace("[ann, n-2, ben, DENY, ~]", "[ann, n-2, ben, ALLOW, Owner]");
    let results = results(&[("tests/table.yaml", &wrong), ("tests/fixtures/people.yaml", PEOPLE)]);
    let failed: Vec<_> = results.iter().filter(|case| !case.differences.is_empty()).collect();
    let expected = ["decision: expected ALLOW, found DENY", "policies: expected Owner, found nothing"];
    assert_eq!((failed.len(), failed[0].line), (1, 11));
    assert_eq!(failed[0].differences, expected);
}

#[test]
fn a_case_may_add_facts_of_its_own_and_name_outcome_and_near_misses() {
    let tests = r"
principals: { gus: { sub: gus }, guest: { sub: hal } }
facts: { readers: [{ name: hal, group: guests }] }
cases:
  - { name: by nobody's leave, principal: gus, action: read, resource: { type: Note }, outcome: NOT_PERMITTED, near_misses: [Chief, Owner] }
  - name: as a guest by facts
    principal: gus
    action: read
    resource: { type: Note, attributes: { owner: gus } }
    facts: { readers: [{ name: gus, group: guests }] }
    outcome: FORBIDDEN
    expect: DENY
    reasons: CLOSED
    near_misses: []
  - name: as a guest by a relationship
    principal: gus
    action: write
    resource: { type: Note, attributes: { owner: gus } }
    relationships: [{ subject: { Reader: gus }, relation: in_group, object: { Group: guests } }]
    outcome: FORBIDDEN
  - { name: and no guest any more, principal: guest, action: write, resource: { type: Note, attributes: { owner: hal } }, facts: { readers: [{ name: hal, group: staff }] }, outcome: ALLOWED }
  - { name: nor in the next case, principal: gus, action: write, resource: { type: Note, attributes: { owner: gus } }, outcome: ALLOWED }
";
    let results = results(&[("tests/a.yaml", tests)]);
    assert_eq!(results.len(), 5);
    assert!(results.iter().all(|case| case.differences.is_empty()), "{results:#?}");
}

#[test]
fn faults_of_tests_have_places() {
    let case = "cases:\n  - { principal: a, action: read, resource: { type: Note }, expect: DENY }\n";
    for (content, expected) in [
        ("cases: []\n", "tests/a.yaml:1:1: a file of tests needs `cases` or `tables`"),
        ("principals:\n  a: x\ncases:\n  - x: 1\n", "tests/a.yaml:2:6: expected a mapping"),
        (
            "cases:\n  - principal: a\n    acton: read\n    resource: { type: Note }\n    expect: DENY\n",
            "tests/a.yaml:3:5: unknown key `acton`",
        ),
        (
            "cases:\n  - principal: a\n    action: read\n    resource: { typ: Note }\n    expect: DENY\n",
            "tests/a.yaml:4:17: unknown key `typ`",
        ),
        (
            "cases:\n  - principal: a\n    action: read\n    resource: { type: Note }\n    expect: MAYBE\n",
            "tests/a.yaml:5:13: expected one of ALLOW, DENY",
        ),
        (
            "cases:\n  - principal: a\n    action: read\n    resource: { type: Note }\n",
            "tests/a.yaml:2:5: the key `expect` is missing",
        ),
        (
            "cases:\n  - { principal: a, action: read, resource: { type: Note }, expect: DENY, problem: { state: 403 } }\n",
            "tests/a.yaml:2:86: unknown key `state`",
        ),
        (
            "fixtures: [nobody]\n",
            "tests/a.yaml:1:12: unknown fixture `nobody`, expected a file of tests/fixtures/: people",
        ),
        (
            "fixtures: [people]\nprincipals:\n  b: { sub: b }\n  ann: { sub: b }\n",
            "tests/a.yaml:4:3: `ann` is in tests/fixtures/people.yaml already",
        ),
        (
            "tables:\n  - columns: [action, expect]\n    rows:\n      - [read]\n",
            "tests/a.yaml:4:9: expected a list of 2 cells: action, expect",
        ),
        (
            "tables:\n  - columns: [action.x, action]\n    case: { action: read }\n    rows:\n      - [read, read]\n",
            "tests/a.yaml:5:9: the column `action.x` leads through a value that is no mapping",
        ),
        (
            "tables:\n  - columns: [principal, expect]\n    case: { action: read, resource: { type: Note } }\n    rows:\n      - [a, DENY]\n      - [a, NO]\n",
            "tests/a.yaml:6:9: expected one of ALLOW, DENY",
        ),
        (
            &format!("principals: {{ b: {{ sub: b }} }}\n{case}"),
            "tests/a.yaml:3:18: unknown principal `a`, expected one of b",
        ),
        (
            &format!("principals: {{ a: {{ sub: a }} }}\nfacts:\n  readers:\n    - {{ name: a }}\n{case}"),
            "tests/a.yaml:4:7: facts.readers[0]: ",
        ),
        (
            &format!(
                "principals: {{ a: {{ sub: a }} }}\nrelationships:\n  - {{ subject: {{ Reader: a }}, relation: near, object: {{ Group: b }} }}\n{case}"
            ),
            "tests/a.yaml:3:5: relationships[0]: ",
        ),
        ("cases: [\n", "tests/a.yaml:"),
    ] {
        let files = files(&[("tests/a.yaml", content), ("tests/fixtures/people.yaml", PEOPLE)]);
        let faults = run(&files).unwrap_err();
        let shown: Vec<_> = faults.iter().map(shown).collect();
        assert!(shown.iter().any(|fault| fault.starts_with(expected)), "{content}\n{}", shown.join("\n"));
    }
}

#[test]
fn a_fault_of_a_fixture_is_told_once_and_a_fixture_has_no_cases() {
    let test =
        "fixtures: [people]\ncases:\n  - { principal: ann, action: read, resource: { type: Note }, expect: DENY }\n";
    let people = "principals: { ann: { sub: ann } }\ncases: []\n";
    let files = files(&[("tests/a.yaml", test), ("tests/b.yaml", test), ("tests/fixtures/people.yaml", people)]);
    let faults = run(&files).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(shown(&faults[0]).starts_with("tests/fixtures/people.yaml:2:1: unknown key `cases`"), "{}", faults[0]);
}

#[test]
fn a_request_that_the_realm_refuses_fails_its_case_and_no_other() {
    let tests = "principals: { a: { sub: a }, b: { name: b } }\ncases:\n\
                 \x20 - { name: one, principal: a, action: erase, resource: { type: Note }, expect: DENY }\n\
                 \x20 - { name: two, principal: b, action: read, resource: { type: Note }, expect: DENY }\n\
                 \x20 - { name: three, principal: a, action: read, resource: { type: Note }, expect: DENY }\n";
    let results = results(&[("tests/a.yaml", tests)]);
    assert!(results[0].differences[0].starts_with("bad request: action: is no action"), "{results:?}");
    assert_eq!(results[1].differences, ["the token's claim `sub` is missing"]);
    assert!(results[2].differences.is_empty());
}

/// A policy, how often it fitted and applied, and how often each condition held and failed.
type Counted = (String, usize, usize, Vec<(usize, usize)>);

fn coverage(tests: &str) -> Vec<Counted> {
    let coverage = Coverage::of(&bench(&files(&[("tests/a.yaml", tests)])));
    let policies = coverage.policies.iter().map(|policy| {
        let conjuncts = policy.conjuncts.iter().map(|conjunct| (conjunct.held, conjunct.failed)).collect();
        (policy.id.to_string(), policy.fitted, policy.applied, conjuncts)
    });
    policies.collect()
}

#[test]
fn conditions_are_counted_as_far_as_cedar_asks_them() {
    let tests = r"
principals: { a: { sub: a, level: chief }, b: { sub: b }, g: { sub: g } }
facts: { readers: [{ name: g, group: guests }] }
cases:
  - { principal: a, action: read, resource: { type: Note, attributes: { owner: b } }, expect: ALLOW }
  - { principal: b, action: read, resource: { type: Note, attributes: { owner: b } }, expect: ALLOW }
  - { principal: b, action: write, resource: { type: Note }, expect: DENY }
  - { principal: g, action: write, resource: { type: Note, attributes: { owner: g, kind: secret } }, expect: DENY }
";
    assert_eq!(
        coverage(tests),
        [
            ("Owner".to_owned(), 4, 2, vec![(3, 1), (2, 1)]),
            ("Chief".to_owned(), 2, 1, vec![(1, 1), (1, 0)]),
            ("Closed".to_owned(), 1, 1, vec![(0, 1)]),
        ]
    );
    let share = Coverage::of(&bench(&files(&[("tests/a.yaml", tests)]))).share();
    assert_eq!((share.seen, share.all), (4 + 3 + 1, 4 + 4 + 2));
}

fn tried(tests: &str, equivalent: &str) -> (Vec<(Mutant, Fate)>, Vec<Fault>) {
    let declared = ("tests/equivalent_mutants.yaml", equivalent);
    let given = [("tests/a.yaml", tests), declared];
    let files = files(if equivalent.is_empty() { &given[..1] } else { &given });
    let bench = bench(&files);
    let trial = Trial::new(&bench, &files).unwrap();
    let tried: Vec<_> = (0..trial.len()).flat_map(|policy| trial.of_policy(policy)).collect();
    let undeserved = trial.undeserved(&tried);
    (tried, undeserved)
}

const ONE_CASE: &str = "principals: { a: { sub: a, level: chief } }\ncases:\n\
    \x20 - { name: one's own, principal: a, action: write, resource: { type: Note, attributes: { owner: a } }, expect: ALLOW, policies: Owner }\n";

#[test]
fn a_change_that_no_test_notices_survives_with_its_line() {
    let (tried, _) = tried(ONE_CASE, "");
    let of = |policy: &str, text: &str| {
        let found = tried.iter().find(|(mutant, _)| *mutant.policy == *policy && mutant.text == text);
        found.unwrap_or_else(|| panic!("no {policy} {text} in {:#?}", texts(&tried)))
    };
    let (mutant, fate) = of("Owner", "resource.owner == principal => true");
    assert_eq!((mutant.line, mutant.change, &*mutant.file), (4, Made::Dropped, "notes.cedar"));
    assert_eq!(mutant.lines.0, "when { resource has owner && resource.owner == principal };");
    assert_eq!(mutant.lines.1, "when { resource has owner && true };");
    assert_eq!(*fate, Fate::Survived(vec!["tests/a.yaml: one's own".into()]));
    for text in
        ["resource.owner == principal => resource.owner != principal", "permit => forbid", "the policy => nothing"]
    {
        assert_eq!(of("Owner", text).1, Fate::Killed("tests/a.yaml: one's own".into()), "{text}");
    }
    // Widened to every action, the other permit would determine the decision too.
    assert!(matches!(of("Chief", "action == Action::\"read\" => action").1, Fate::Killed(_)));
    let either = r#"resource.kind == "public" || resource.kind == "shared""#;
    let either = format!("{either} => {}", either.replace("||", "&&"));
    assert!(matches!(of("Closed", &either).1, Fate::Survived(_)));
    let share = killed(&tried);
    assert_eq!(share.all, tried.len());
    assert!(share.seen > 3 && share.seen < share.all);
}

fn texts(tried: &[(Mutant, Fate)]) -> Vec<String> {
    tried.iter().map(|(mutant, _)| format!("{}: {}", mutant.policy, mutant.text)).collect()
}

#[test]
fn what_is_ill_typed_or_changes_nothing_is_no_mutant() {
    let (tried, _) = tried(ONE_CASE, "");
    let texts = texts(&tried);
    // Without `has`, the attribute may not be there; and there are no principals but readers, no resources but notes.
    for none in [
        "Owner: resource has owner => true",
        "Owner: principal is Reader => principal",
        "Owner: resource is Note => resource",
    ] {
        assert!(!texts.iter().any(|text| text == none), "{none}: {texts:#?}");
    }
}

#[test]
fn what_is_declared_equivalent_must_be_there_and_survive() {
    let declared = "mutants:\n\
        \x20 - { policy: Owner, change: resource.owner == principal => true, why: because }\n\
        \x20 - { policy: Owner, change: permit => forbid, why: not so }\n\
        \x20 - { policy: Owner, change: a => b, why: unheard of }\n";
    let (tried, undeserved) = tried(ONE_CASE, declared);
    let equivalent: Vec<_> = tried.iter().filter(|(_, fate)| matches!(fate, Fate::Equivalent(_))).collect();
    assert_eq!(equivalent.len(), 1);
    assert_eq!(equivalent[0].1, Fate::Equivalent("because".into()));
    assert_eq!(killed(&tried).all, tried.len() - 1);
    let shown: Vec<_> = undeserved.iter().map(shown).collect();
    assert!(shown[0].starts_with("tests/equivalent_mutants.yaml:3:5: the mutant `permit => forbid`"), "{shown:?}");
    assert!(
        shown[1].starts_with("tests/equivalent_mutants.yaml:4:5: policy `Owner` has no mutant `a => b`"),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 2);
}

#[test]
fn the_matrix_says_what_holds_whatever_the_resource() {
    let tests = r"
principals: { chief: { sub: c, level: chief }, ann: { sub: a }, ben: { sub: b }, gus: { sub: g } }
facts: { readers: [{ name: g, group: guests }] }
cases:
  - { principal: chief, action: read, resource: { type: Note }, expect: ALLOW }
  - { principal: ann, action: read, resource: { type: Note }, expect: DENY }
  - { principal: ben, action: read, resource: { type: Note }, expect: DENY }
  - { principal: gus, action: read, resource: { type: Note }, expect: DENY }
  - { principal: { sub: own, level: chief }, action: read, resource: { type: Note }, expect: ALLOW }
";
    let found = matrix(&bench(&files(&[("tests/a.yaml", tests)])));
    assert_eq!(found.columns, [("read".into(), "Note".into()), ("write".into(), "Note".into())]);
    let rows: Vec<_> = found.rows.iter().map(|(names, cells)| (names.join(" "), cells.as_slice())).collect();
    assert_eq!(
        rows,
        [
            ("chief (a)".to_owned(), &[Cell::Allow, Cell::Depends][..]),
            ("ann (a) ben (a) gus (a)".to_owned(), &[Cell::Depends, Cell::Depends]),
        ]
    );
}

/// The JSON schema of a mapping.
fn schema(keys: &shape::Keys) -> Json {
    let properties = keys.known.iter().map(|(name, kind, words)| {
        let mut of_kind = schema_of(*kind);
        of_kind["description"] = json!(words);
        ((*name).to_owned(), of_kind)
    });
    let mut schema = json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    if !keys.required.is_empty() {
        schema["required"] = json!(keys.required);
    }
    schema
}

fn schema_of(kind: shape::Kind) -> Json {
    use shape::Kind;
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Named => json!({ "type": "object" }),
        Kind::NamedMappings => json!({ "type": "object", "additionalProperties": { "type": "object" } }),
        Kind::NamedLists => json!({ "type": "object", "additionalProperties": { "type": "array" } }),
        Kind::TextOrNamed => json!({ "type": ["string", "object"] }),
        Kind::Texts => json!({ "anyOf": [{ "type": "string" }, texts] }),
        Kind::List => json!({ "type": "array" }),
        Kind::Obligations => json!({
            "anyOf": [{ "type": "object" }, { "type": "array", "items": { "type": ["string", "object"] } }],
        }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Keys(keys) => schema(keys),
        Kind::ListOf(keys) => json!({ "type": "array", "items": schema(keys) }),
    }
}

#[test]
fn the_schemas_for_editors_say_what_the_reader_takes() {
    let mut tests = schema(&shape::FILE);
    tests["anyOf"] = json!([{ "required": ["cases"] }, { "required": ["tables"] }]);
    tests["properties"]["cases"]["items"]["anyOf"] = json!([{ "required": ["expect"] }, { "required": ["outcome"] }]);
    for (name, title, mut expected) in [
        ("realm-tests", "Tests of a realm's policies: tests/*.yaml", tests),
        ("realm-fixtures", "What tests of a realm share: tests/fixtures/*.yaml", schema(&shape::FIXTURE)),
        (
            "realm-equivalent-mutants",
            "Changes to policies that no question can tell: tests/equivalent_mutants.yaml",
            schema(&shape::EQUIVALENTS),
        ),
    ] {
        expected["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        expected["title"] = json!(title);
        let expected = format!("{expected:#}\n");
        let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("HALLPASS_BLESS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == expected, "{path} is not what the reader takes; HALLPASS_BLESS=1 takes that over");
    }
}
