//! What came of tests as suites of `JUnit`: one for each file, and one for each realm with what was asked for besides.

use super::{Arguments, Found, Report, shortfalls};
use crate::{
    cli::report::junit::{Case, Failure, Suite},
    domain::{fault::Fault, policy_test::CaseResult},
};

pub(super) fn suites(reports: &[Report], arguments: &Arguments) -> Vec<Suite> {
    reports.iter().flat_map(|report| of_report(report, arguments)).collect()
}

fn of_report(report: &Report, arguments: &Arguments) -> Vec<Suite> {
    let folder = report.folder.display().to_string();
    let suite = |name: &str, failures: Vec<Failure>| {
        let case =
            |failure| Case { name: name.to_owned(), class: folder.clone(), failure: Some(failure), ..Case::default() };
        Suite { name: folder.clone(), cases: failures.into_iter().map(case).collect() }
    };
    match &report.found {
        Ok(found) => {
            let files = found.cases.chunk_by(|one, other| one.file == other.file);
            let files = files.map(|cases| of_file(report, cases));
            let missed = suite("thresholds", missed(found, arguments));
            files.chain(Some(missed).filter(|suite| !suite.cases.is_empty())).collect()
        }
        Err(faults) => vec![suite("faults", faults.iter().map(of_fault).collect())],
    }
}

fn of_file(report: &Report, cases: &[CaseResult]) -> Suite {
    let name = cases.first().map(|case| report.path(&case.file)).unwrap_or_default();
    let case = |case: &CaseResult| Case {
        name: case.name.clone(),
        class: name.clone(),
        failure: failure(case),
        ..Case::default()
    };
    Suite { cases: cases.iter().map(case).collect(), name }
}

fn failure(case: &CaseResult) -> Option<Failure> {
    let message = case.differences.last()?.clone();
    let text = format!("{}:{}\n{}", case.file, case.line, case.differences.join("\n"));
    Some(Failure { kind: "difference".to_owned(), message, text })
}

/// What fell short of what was asked for, and what declares mutants equivalent without right.
fn missed(found: &Found, arguments: &Arguments) -> Vec<Failure> {
    let short = shortfalls(found, arguments).into_iter();
    let short = short.map(|text| Failure { kind: "threshold".to_owned(), message: text.clone(), text });
    short.chain(found.undeserved.iter().map(of_fault)).collect()
}

fn of_fault(fault: &Fault) -> Failure {
    Failure { kind: fault.code.as_str().to_owned(), message: fault.message.clone(), text: fault.to_string() }
}
