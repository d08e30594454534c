//! `hallpass test`: the realms' own tests, what they cover of the policies, and whether they notice a change to them.

mod coverage;
mod html;
mod json;
mod junit;
mod mutants;
mod watch;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::{
    Outcome, check,
    parallel::{in_parallel, jobs},
    render::{Screen, Tone, count, counted, note},
    report::junit::document,
};
use crate::domain::{
    coverage::{Coverage, Share},
    fault::Fault,
    mutation::{Fate, Mutant, Trial, killed},
    policy_set::SourceFile,
    policy_test::{Bench, CaseResult, Suite, all},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of realms, or folders that hold such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Only cases whose file or name holds this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How many threads work at once; as many as there are processors where nothing is said
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Run again whenever a file changes, until interrupted
    #[arg(long)]
    watch: bool,
    /// Show which conditions of the policies the tests have seen true and false
    #[arg(long)]
    coverage: bool,
    /// Exit with 1 where the tests of a realm have seen less than this of its conditions, in percent
    #[arg(long, value_name = "PERCENT", requires = "coverage")]
    min_coverage: Option<f64>,
    /// Change the policies one bit at a time, and show the changes that no test notices
    #[arg(long, conflicts_with = "filter")]
    mutants: bool,
    /// Exit with 1 where the tests of a realm notice less than this of the changes, in percent
    #[arg(long, value_name = "PERCENT", requires = "mutants")]
    min_killed: Option<f64>,
    /// How to show what came of it; html shows coverage
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For continuous integration.
    Junit,
    /// For browsers: one page without anything beside it.
    Html,
}

/// What came of a realm's tests.
struct Report {
    folder: PathBuf,
    files: Vec<SourceFile>,
    found: Result<Found, Vec<Fault>>,
}

/// What came of tests that could be run.
#[derive(Default)]
struct Found {
    cases: Vec<CaseResult>,
    coverage: Option<Coverage>,
    mutants: Option<Vec<(Mutant, Fate)>>,
    /// What is wrong with the declarations of equivalent mutants.
    undeserved: Vec<Fault>,
}

impl Found {
    fn failed(&self) -> impl Iterator<Item = &CaseResult> {
        self.cases.iter().filter(|case| !case.differences.is_empty())
    }
}

impl Report {
    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// A fault, failing tests, or less than was asked for.
    fn has_findings(&self, arguments: &Arguments) -> bool {
        self.found.as_ref().map_or(true, |found| {
            found.failed().next().is_some() || !found.undeserved.is_empty() || !shortfalls(found, arguments).is_empty()
        })
    }
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    if arguments.output == Form::Html && !arguments.coverage {
        bail!("`--output html` shows coverage; add `--coverage`");
    }
    if arguments.watch {
        return watch::run(&arguments.folders, || run_once(arguments, screen).map(drop));
    }
    run_once(arguments, screen)
}

fn run_once(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let started = Instant::now();
    let mut reports = Vec::new();
    for folder in check::realm_folders(&arguments.folders)? {
        let files = check::read(&folder)?;
        let found = found(&files, arguments);
        reports.push(Report { folder, files, found });
    }
    match arguments.output {
        Form::Text => text(&reports, arguments, screen)?,
        Form::Json => screen.json(&json::of(&reports, arguments))?,
        Form::Junit => screen.line(document(&junit::suites(&reports, arguments)).trim_end())?,
        Form::Html => screen.line(html::of(&reports).trim_end())?,
    }
    let cases: usize = reports.iter().flat_map(|report| &report.found).map(|found| found.cases.len()).sum();
    note(&format!("{} in {}", counted(cases as u64, "case", "cases"), seconds(started.elapsed())));
    Ok(Outcome::of(reports.iter().any(|report| report.has_findings(arguments))))
}

fn seconds(took: Duration) -> String {
    format!("{}.{:02} s", took.as_secs(), took.subsec_millis() / 10)
}

/// Runs a realm's tests, file by file on several threads, and whatever else was asked for.
fn found(files: &[SourceFile], arguments: &Arguments) -> Result<Found, Vec<Fault>> {
    let jobs = arguments.jobs.unwrap_or_else(jobs);
    let suite = Suite::read(files)?;
    let realms = all(in_parallel(jobs, suite.realms(), |realm| suite.compile(realm)).into_iter())?;
    let ready = all(in_parallel(jobs, suite.len(), |test| suite.ready(test, &realms)).into_iter())?;
    let mut bench = Bench::new(realms, ready);
    if let Some(text) = &arguments.filter {
        bench.keep(text);
    }
    let cases = in_parallel(jobs, bench.len(), |file| bench.run(file)).into_iter().flatten().collect();
    let mut found = Found { cases, ..Found::default() };
    // A test that fails would notice every change.
    if arguments.mutants && found.failed().next().is_none() {
        let trial = Trial::new(&bench, files)?;
        let tried: Vec<_> =
            in_parallel(jobs, trial.len(), |policy| trial.of_policy(policy)).into_iter().flatten().collect();
        found.undeserved = trial.undeserved(&tried);
        found.coverage = arguments.coverage.then(|| trial.coverage());
        found.mutants = Some(tried);
    } else if arguments.coverage {
        found.coverage = Some(Coverage::of(&bench));
    }
    Ok(found)
}

/// Where less was reached than was asked for, a sentence each.
fn shortfalls(found: &Found, arguments: &Arguments) -> Vec<String> {
    let short = |share: Option<Share>, least: Option<f64>, what: &str| {
        let (share, least) = (share?, least?);
        (share.percent() < least).then(|| format!("{what}: {}, expected {least} %", percent(share)))
    };
    let coverage = found.coverage.as_ref().map(Coverage::share);
    let mutants = found.mutants.as_deref().map(killed);
    let coverage = short(coverage, arguments.min_coverage, "too little was seen of the conditions");
    coverage.into_iter().chain(short(mutants, arguments.min_killed, "too few changes were noticed")).collect()
}

/// `93.2 % (41 of 44)`.
fn percent(share: Share) -> String {
    // Rounded down, so that nothing short of everything is 100.
    let tenths = (share.percent() * 10.0).floor() / 10.0;
    format!("{tenths:.1} % ({} of {})", count(share.seen as u64), count(share.all as u64))
}

fn text(reports: &[Report], arguments: &Arguments, screen: &mut Screen) -> Result<()> {
    let (mut passed, mut failed, mut has_faults) = (0, 0, false);
    for report in reports {
        let found = match &report.found {
            Ok(found) => found,
            Err(faults) => {
                has_faults = true;
                check::show(&report.folder, faults.clone(), screen)?;
                continue;
            }
        };
        for case in found.failed() {
            failed += 1;
            show_failed(report, case, screen)?;
        }
        passed += found.cases.len() - found.failed().count();
    }
    let is_good = failed == 0 && !has_faults;
    let summary = format!("{} passed, {} failed", count(passed as u64), count(failed));
    let broken = if has_faults { "; the tests of realms with faults were not run" } else { "" };
    let tone = if is_good { Tone::Good } else { Tone::Bad };
    screen.line(format_args!("{}{broken}", screen.toned(tone, &summary)))?;
    for report in reports {
        let Ok(found) = &report.found else { continue };
        if let Some(coverage) = &found.coverage {
            coverage::show(&report.folder, coverage, screen)?;
        }
        if let Some(tried) = &found.mutants {
            mutants::show(&report.folder, tried, screen)?;
        } else if arguments.mutants {
            screen.line(format_args!("{}: no mutants were tried, because tests fail", report.folder.display()))?;
        }
        for fault in &found.undeserved {
            screen.line(crate::server::below(&report.folder, fault.clone()))?;
        }
        for shortfall in shortfalls(found, arguments) {
            screen.line(format_args!("{}: {}", report.folder.display(), screen.toned(Tone::Bad, &shortfall)))?;
        }
    }
    Ok(())
}

fn show_failed(report: &Report, case: &CaseResult, screen: &mut Screen) -> Result<()> {
    let word = screen.toned(Tone::Bad, "FAILED");
    screen.line(format_args!("{word} {}:{}: {}", report.path(&case.file), case.line, case.name))?;
    for difference in &case.differences {
        screen.line(format_args!("    {difference}"))?;
    }
    Ok(())
}

/// The path of a file of a realm, as it is found from here.
fn shown(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}
