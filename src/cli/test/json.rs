//! What came of tests as JSON.

use serde_json::{Value as Json, json};

use super::{Arguments, Report, coverage::mark, shortfalls};
use crate::domain::{
    coverage::{Coverage, PolicyCoverage, Share},
    fault::Fault,
    mutation::{Fate, Mutant, killed},
};

pub(super) fn of(reports: &[Report], arguments: &Arguments) -> Json {
    json!({ "realms": reports.iter().map(|report| realm(report, arguments)).collect::<Vec<_>>() })
}

fn realm(report: &Report, arguments: &Arguments) -> Json {
    let folder = report.folder.display().to_string();
    let found = match &report.found {
        Ok(found) => found,
        Err(faults) => return json!({ "folder": folder, "faults": faults.iter().map(fault).collect::<Vec<_>>() }),
    };
    let cases = found.cases.iter().map(|case| {
        let passed = case.differences.is_empty();
        let (file, name) = (&case.file, &case.name);
        if passed {
            json!({ "file": file, "name": name, "passed": true })
        } else {
            json!({ "file": file, "name": name, "passed": false, "line": case.line, "differences": case.differences })
        }
    });
    let undeserved: Vec<Json> = found.undeserved.iter().map(fault).collect();
    json!({
        "folder": folder,
        "cases": cases.collect::<Vec<_>>(),
        "coverage": found.coverage.as_ref().map(coverage),
        "mutants": found.mutants.as_deref().map(mutants),
        "faults": undeserved,
        "shortfalls": shortfalls(found, arguments),
    })
}

fn fault(fault: &Fault) -> Json {
    let Fault { file, line, column, message, .. } = fault;
    json!({ "file": file, "line": line, "column": column, "message": message })
}

fn share(share: Share) -> Json {
    json!({ "seen": share.seen, "all": share.all, "percent": share.percent() })
}

fn coverage(coverage: &Coverage) -> Json {
    let policies = coverage.policies.iter().map(|policy| {
        let PolicyCoverage { id, file, line, fitted, applied, conjuncts, .. } = policy;
        let conjuncts = conjuncts.iter().map(|conjunct| {
            json!({
                "text": conjunct.text,
                "line": conjunct.line,
                "column": conjunct.column,
                "negated": conjunct.is_negated,
                "true": conjunct.held,
                "false": conjunct.failed,
                "seen": mark(conjunct).1,
            })
        });
        let conjuncts: Vec<Json> = conjuncts.collect();
        json!({
            "policy": id, "file": file, "line": line, "fitted": fitted, "applied": applied,
            "share": share(policy.share()), "conditions": conjuncts,
        })
    });
    json!({ "share": share(coverage.share()), "policies": policies.collect::<Vec<_>>() })
}

fn mutants(tried: &[(Mutant, Fate)]) -> Json {
    let shown = tried.iter().map(|(mutant, fate)| {
        let Mutant { policy, file, line, change, text, lines } = mutant;
        let (fate, detail) = match fate {
            Fate::Killed(by) => ("killed", json!({ "by": by })),
            Fate::Survived(nearest) => ("survived", json!({ "nearest": nearest })),
            Fate::Equivalent(why) => ("equivalent", json!({ "why": why })),
        };
        json!({
            "policy": policy, "file": file, "line": line, "change": change.name(), "text": text,
            "before": lines.0, "after": lines.1, "fate": fate, "detail": detail,
        })
    });
    json!({ "share": share(killed(tried)), "mutants": shown.collect::<Vec<_>>() })
}
