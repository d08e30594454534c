//! Proofs by a real solver: what holds is proved, and what does not is contradicted by a request that is really so decided.
//!
//! scripts/install-solver gets the solver; where there is none, these tests say that they were skipped.

use std::{env, fmt::Write as _, path::Path, process::Command, sync::Arc, time::Duration};

use hallpass::{
    app::prove::{Answer, Report, prove},
    config::Environment,
    domain::{
        decision::Outcome,
        id::EntityId,
        policy_set::SourceFile,
        proof::{
            Rules,
            claim::{Claim, Inquiry},
            counterexample::{Counterexample, Facts},
        },
        realm::Realm,
        value::{Attributes, Value},
    },
    provider::{realm_files::read_folder, solver::SolverProgram},
};
use serde_json::{Map, Value as Json};

use crate::decide::realm::{Asked, decided, files, graph, person};

/// Where scripts/install-solver puts it.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci/cvc5/bin/cvc5");

async fn solver() -> Option<SolverProgram> {
    let environment = Environment::of_process();
    let installed = Some(INSTALLED).filter(|path| Path::new(path).is_file());
    let named = environment.get("CVC5").or(installed);
    let program = SolverProgram::find(named, environment.get("PATH").map(AsRef::as_ref)).await;
    program.inspect_err(|error| println!("skipped: {error}")).ok()
}

async fn answers(program: &SolverProgram, rules: Rules, before: Option<Rules>, named: &[&str]) -> (Inquiry, Report) {
    let inquiry = Arc::new(Inquiry::new(rules, before));
    let is_named = |claim: &Claim| named.iter().any(|name| inquiry.words(*claim).contains(name));
    let claims = inquiry.claims().into_iter().filter(is_named).collect();
    let solvers = (0..2).map(|_| program.solver(Duration::from_secs(60))).collect();
    let report = prove(Arc::clone(&inquiry), claims, solvers, |_| {}).await.unwrap();
    (Arc::into_inner(inquiry).unwrap(), report)
}

fn rules(files: &[SourceFile]) -> Rules {
    Rules::compile(files).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn house(policies: &str, invariant: &str) -> Vec<SourceFile> {
    let mut files = files("", &[policies]);
    files.push(SourceFile { path: "invariants/house.cedar".into(), content: invariant.to_owned() });
    files
}

/// Policies of the house, a claim about them, and whether it holds.
const CLAIMS: &[(&str, &str, bool)] = &[
    (
        r#"@id("own") permit (principal, action, resource is Document) when { resource has owner && resource.owner == principal };"#,
        r#"@never("others") permit (principal, action, resource is Document) unless { resource has owner && resource.owner == principal };"#,
        true,
    ),
    (
        r#"@id("own") permit (principal, action, resource is Document) when { resource has owner && resource.owner == principal || principal.level > 5 };"#,
        r#"@never("others") permit (principal, action, resource is Document) unless { resource has owner && resource.owner == principal };"#,
        false,
    ),
    (
        r#"@id("parts") permit (principal, action, resource is Document) when { resource in principal.parts };
           @id("closed") forbid (principal, action == Action::"Delete", resource) when { context.flag };"#,
        r#"@never("elsewhere") permit (principal, action, resource is Document) when { resource has part } unless { resource.part in principal.parts };"#,
        false,
    ),
    (
        r#"@id("parts") permit (principal, action, resource is Document) when { resource has part && resource.part in principal.parts };"#,
        r#"@never("reading") permit (principal, action == Action::"Read", resource is Document) when { resource has part && !principal.parts.contains(resource.part) };"#,
        false,
    ),
    (
        r#"@id("parts") permit (principal, action, resource is Document) when { resource has part && resource.part in principal.parts };
           @id("closed") forbid (principal, action, resource) when { context has place && principal in context.place };"#,
        r#"@never("in the place") permit (principal, action, resource) when { context has place && principal in context.place };"#,
        true,
    ),
    (
        r#"@id("all") permit (principal, action, resource is Document);
           @id("overflow") forbid (principal, action, resource) when { principal.level + 1 < 0 };"#,
        r#"@always("of level 7") permit (principal, action, resource is Document) when { principal.level == 7 };"#,
        true,
    ),
];

#[tokio::test]
async fn what_holds_is_proved_and_a_counterexample_is_really_allowed() {
    let Some(program) = solver().await else { return };
    for (policies, invariant, holds) in CLAIMS {
        let files = house(policies, invariant);
        let (inquiry, report) = answers(&program, rules(&files), None, &[""]).await;
        let of_invariant = report.findings.iter().find(|finding| inquiry.promise(finding.claim).is_some()).unwrap();
        match &of_invariant.answer {
            // That a forbid may fail makes it unknown whether something is always allowed.
            Answer::Unknown(reasons) => {
                assert!(*holds && policies.contains("overflow"), "{invariant}: {reasons:?}");
                assert!(reasons[0].1.contains("the forbid `overflow` may fail to evaluate"), "{reasons:?}");
            }
            Answer::Proved => assert!(*holds, "{invariant}"),
            Answer::False(example) => {
                assert!(!holds, "{invariant}: {example:?}");
                let realm = Realm::compile(&files, None).unwrap();
                assert_eq!(outcome(&realm, example), Outcome::Allowed, "{invariant}: {example:?}");
            }
            Answer::Vacuous => panic!("{invariant} matches nothing"),
        }
    }
}

#[tokio::test]
async fn a_policy_that_can_overflow_is_shown_a_request_on_which_it_fails() {
    let Some(program) = solver().await else { return };
    let (policies, invariant, _) = CLAIMS.last().unwrap();
    let files = house(policies, invariant);
    let (_, report) = answers(&program, rules(&files), None, &["overflow", "all"]).await;
    let [Answer::Proved, Answer::False(example), ..] = [&report.findings[0].answer, &report.findings[1].answer] else {
        panic!("{report:?}")
    };
    let realm = Realm::compile(&files, None).unwrap();
    assert_eq!(example.now.failed, ["overflow".into()]);
    assert_eq!(outcome(&realm, example), Outcome::Indeterminate);
}

#[tokio::test]
async fn what_a_change_newly_allows_is_found_and_what_it_takes_away_is_no_news() {
    let Some(program) = solver().await else { return };
    let narrow = house(CLAIMS[3].0, "");
    let wide =
        house(&CLAIMS[3].0.replace("when { resource has part &&", "when { context.flag || resource has part &&"), "");
    let changes = ["denied before", "as before"];
    let (_, report) = answers(&program, rules(&wide), Some(rules(&narrow)), &changes).await;
    for finding in &report.findings {
        let Answer::False(example) = &finding.answer else { panic!("{finding:?}") };
        let [now, before] = [&wide, &narrow].map(|files| outcome(&Realm::compile(files, None).unwrap(), example));
        assert_eq!((now, before), (Outcome::Allowed, Outcome::NotPermitted), "{example:?}");
        assert!(example.before.as_ref().is_some_and(|before| !before.is_allowed));
    }
    let (_, report) = answers(&program, rules(&narrow), Some(rules(&wide)), &changes).await;
    let [nothing_new, same] = [&report.findings[0].answer, &report.findings[1].answer];
    assert!(*nothing_new == Answer::Proved && matches!(same, Answer::False(_)), "{report:?}");
    let (_, report) = answers(&program, rules(&narrow), Some(rules(&narrow)), &changes).await;
    assert!(report.findings.iter().all(|finding| finding.answer == Answer::Proved), "{report:?}");
}

/// The shipped rules for relationships, one of them without its path.
#[tokio::test]
async fn a_strategy_that_forgets_its_path_contradicts_the_shipped_claims() {
    let Some(program) = solver().await else { return };
    let shipped = read_folder(Path::new("policies/edfi")).unwrap();
    let claims = ["a student who has no path", "enrolment alone opens", "responsibility alone opens"];
    let (_, report) = answers(&program, rules(&shipped), None, &claims).await;
    assert_eq!(report.findings.len(), claims.len());
    assert!(report.findings.iter().all(|finding| finding.answer == Answer::Proved), "{report:?}");

    let mut changed = shipped;
    let file = changed.iter_mut().find(|file| file.path == "relationships.cedar").unwrap();
    let start = file.content.find("@id(\"RelationshipsWithStudentsOnly\")").unwrap();
    let rule =
        file.content[start..].replacen("then resource.student in principal.educationOrganizations", "then true", 1);
    file.content.replace_range(start.., &rule);
    let (inquiry, report) = answers(&program, rules(&changed), None, &claims).await;
    for finding in &report.findings {
        let words = inquiry.words(finding.claim);
        match &finding.answer {
            Answer::False(example) => {
                assert!(!words.contains("responsibility alone"), "{words}");
                assert_eq!(example.now.permits, ["RelationshipsWithStudentsOnly".into()]);
            }
            answer => {
                assert!(*answer == Answer::Proved && words.contains("responsibility alone"), "{words}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_command_shows_counterexamples_and_its_exit_code_says_so() {
    let Some(_) = solver().await else { return };
    let folder = tempfile::tempdir().unwrap();
    for file in house(CLAIMS[1].0, CLAIMS[1].1) {
        let path = folder.path().join(file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.content).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.arg("prove").arg(folder.path()).args(arguments);
        if Environment::of_process().get("CVC5").is_none() && Path::new(INSTALLED).is_file() {
            command.env("CVC5", INSTALLED);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, error) = run(&["--only", "others"]);
    assert_eq!(code, Some(1), "{text}{error}");
    assert!(text.contains("FALSE    never: others") && text.contains("is allowed by `own`"), "{text}");
    let (_, text, _) = run(&["--only", "others", "--output", "json"]);
    let json: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(json.pointer("/realms/0/claims/0/answer"), Some(&"false".into()));
    assert_eq!(json.pointer("/realms/0/claims/0/counterexample/verdict/permits"), Some(&serde_json::json!(["own"])));
    let (code, text, error) = run(&["--only", "own"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("1 policy never fails to evaluate"), "{text}");
    assert_eq!(run(&["--only", "nothing of that kind"]).0, Some(2));
}

/// Decides the request of a counterexample, from its values and relationships alone.
fn outcome(realm: &Realm, example: &Counterexample) -> Outcome {
    let Counterexample { principal, action, resource, context, entities, .. } = example;
    let facts = |of: &EntityId| entities.iter().find(|facts| facts.entity == *of);
    let attributes =
        |of: &EntityId| facts(of).map_or_else(|| "{}".to_owned(), |facts| json(&facts.attributes).to_string());
    let related: Vec<[String; 3]> = entities.iter().flat_map(relationships).collect();
    let related: Vec<(&str, &str, &str)> = related.iter().map(|[a, b, c]| (&**a, &**b, &**c)).collect();
    let asker = person(realm, &name(&principal.id), &attributes(principal));
    let asked = Asked {
        claims: "{}",
        action,
        resource: (&resource.entity_type, &name(&resource.id)),
        values: &attributes(resource),
        proposed: None,
        context: &json(context).to_string(),
    };
    decided(realm, &asker, &asked, &graph(&related)).outcome
}

/// The solver likes empty ids, which the service does not take.
fn name(id: &str) -> String {
    let mut name = "e".to_owned();
    write!(name, "{id}").unwrap();
    name
}

fn relationships(facts: &Facts) -> Vec<[String; 3]> {
    let Facts { entity, ancestors, .. } = facts;
    let relation = |above: &EntityId| match (&*entity.entity_type, &*above.entity_type) {
        ("Person", "Part") => "member",
        ("Document", "Part") => "filed",
        ("Document", "Document") => "page_of",
        ("Part", "Part") => "part_of",
        ("Part", "Area") => "in_area",
        other => panic!("no relation for {other:?}"),
    };
    let entity_named = |entity: &EntityId| format!("{}::{}", entity.entity_type, name(&entity.id));
    ancestors.iter().map(|above| [entity_named(entity), relation(above).to_owned(), entity_named(above)]).collect()
}

fn json(attributes: &Attributes) -> Json {
    let members: Map<String, Json> =
        attributes.iter().map(|(name, value)| (name.to_string(), value_json(value))).collect();
    Json::Object(members)
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Long(number) => (*number).into(),
        Value::String(text) => (&**text).into(),
        Value::Entity(entity) => name(&entity.id).into(),
        Value::List(items) => items.iter().map(value_json).collect(),
        Value::Record(fields) => json(fields),
        Value::Null => Json::Null,
    }
}
