//! Claims, answered by solvers that say what they are told to.

use async_trait::async_trait;

use super::*;
use crate::domain::{policy_set::SourceFile, proof::Rules};

/// Answers every script alike, and keeps them.
#[derive(Clone, Debug)]
struct Parrot {
    answer: Solved,
    heard: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl FormulaSolver for Parrot {
    async fn solve(&mut self, script: &str) -> Solved {
        self.heard.lock().unwrap().push(script.to_owned());
        self.answer.clone()
    }
}

const REALM: &str = "
title = 'Shelves'
[principal]
entity = 'Clerk'
id = 'sub'
[principal.attributes.level]
claim = 'level'
";

const SCHEMA: &str = "
entity Clerk { level: Long };
entity Shelf;
entity Box;
action Look, Take appliesTo { principal: [Clerk], resource: [Shelf, Box] };
";

const POLICIES: &str = r#"
@id("high") permit (principal, action, resource) when { principal.level > 5 };
@id("low") forbid (principal, action, resource) when { principal.level + 1 < 3 };
"#;

fn inquiry(invariants: &str) -> Arc<Inquiry> {
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    let files = [
        file("realm.toml", REALM),
        file("schema.cedarschema", SCHEMA),
        file("rules.cedar", POLICIES),
        file("invariants/a.cedar", invariants),
    ];
    Arc::new(Inquiry::new(Rules::compile(&files).unwrap(), None))
}

async fn report(inquiry: &Arc<Inquiry>, claims: &[Claim], answer: Solved) -> (Report, Vec<String>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let parrot = Parrot { answer, heard: Arc::clone(&heard) };
    let done = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&done);
    let progress = move |kinds| {
        seen.fetch_max(kinds, Ordering::Relaxed);
    };
    let report = prove(Arc::clone(inquiry), claims.to_vec(), vec![Box::new(parrot)], progress).await.unwrap();
    assert_eq!(done.load(Ordering::Relaxed), inquiry.kinds().len());
    let heard = heard.lock().unwrap().clone();
    (report, heard)
}

const CLAIM: &str = "@never(\"nobody low\") permit (principal, action, resource) when { principal.level < 2 };";

#[tokio::test]
async fn what_the_solver_refutes_is_proved_and_kinds_that_differ_in_names_are_asked_about_once() {
    let inquiry = inquiry(CLAIM);
    let (report, heard) = report(&inquiry, &[Claim::NeverFails(1)], Solved::Refuted).await;
    assert_eq!(report.findings, [Finding { claim: Claim::NeverFails(1), kinds: 4, answer: Answer::Proved }]);
    assert_eq!((report.formulas, report.solved), (4, 1), "{heard:?}");
    assert!(heard[0].contains("(declare-const") && !heard[0].contains(';') && !heard[0].contains("check-sat"));
}

#[tokio::test]
async fn what_the_solver_cannot_tell_is_unknown_with_its_reason_for_each_kind() {
    let unknown = Solved::Unknown("no time".to_owned());
    let (report, _) = report(&inquiry(CLAIM), &[Claim::Invariant(0)], unknown).await;
    let kinds = ["Clerk Look Box", "Clerk Look Shelf", "Clerk Take Box", "Clerk Take Shelf"];
    let reasons = kinds.map(|kind| (kind.to_owned(), "no time".to_owned())).to_vec();
    assert_eq!(report.findings[0].answer, Answer::Unknown(reasons));
}

#[tokio::test]
async fn an_example_that_cannot_be_read_proves_nothing_and_refutes_nothing() {
    let satisfied = Solved::Satisfied("(\n(nonsense)\n)\n".to_owned());
    let (report, _) = report(&inquiry(CLAIM), &[Claim::NeverFails(1)], satisfied).await;
    assert!(matches!(&report.findings[0].answer, Answer::Unknown(reasons) if reasons.len() == 4), "{report:?}");
}

#[tokio::test]
async fn an_invariant_that_no_request_matches_is_said_to_claim_nothing() {
    let nobody = CLAIM.replace("principal.level < 2", "principal.level < 2 && principal.level > 2");
    let (report, _) = report(&inquiry(&nobody), &[Claim::Invariant(0)], Solved::Refuted).await;
    assert_eq!(report.findings, [Finding { claim: Claim::Invariant(0), kinds: 0, answer: Answer::Vacuous }]);
}

#[tokio::test]
async fn claims_that_hold_by_how_they_are_built_need_no_solver() {
    let unknown = Solved::Unknown("not asked".to_owned());
    let (report, heard) = report(&inquiry(CLAIM), &[Claim::NeverFails(0)], unknown).await;
    assert_eq!((&report.findings[0].answer, heard.len()), (&Answer::Proved, 0));
}
