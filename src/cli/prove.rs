//! `hallpass prove`: what holds for every request at once, proved by a solver, or a request that contradicts it.

mod shown;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Error, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use self::shown::Shown;
use super::{
    Outcome, check, parse,
    render::{Form, Screen, count},
};
use crate::{
    app::prove::{Answer, Report, prove},
    config::Environment,
    domain::proof::{
        Rules,
        claim::{Claim, Inquiry},
    },
    provider::solver::SolverProgram,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of realms, or folders that hold such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Compare with the realm's folder as it was: is exactly the same allowed, is nothing new?
    #[arg(long, value_name = "OLD_DIR")]
    against: Option<PathBuf>,
    /// Only claims with this in their words, or about policies with this in their ids
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// How long the solver may take for one formula: 90s, 30m
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30s")]
    timeout: Duration,
    /// How many solvers to run at once [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// How to show what was found
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// Do not count what the solver cannot tell as a finding
    #[arg(long)]
    allow_unknown: bool,
}

/// What was found out about one realm.
struct Found {
    folder: PathBuf,
    inquiry: Arc<Inquiry>,
    report: Report,
}

/// How many claims came out in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    proved: u64,
    contradicted: u64,
    unknown: u64,
    formulas: u64,
    solved: u64,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let start = Instant::now();
    let folders = check::realm_folders(&arguments.folders)?;
    if arguments.against.is_some() && folders.len() != 1 {
        bail!("--against compares one realm with another state of it; name one realm's folder");
    }
    if arguments.timeout.is_zero() {
        bail!("--timeout of 0 s leaves the solver no time; expected at least 1s");
    }
    let Some(inquiries) = inquiries(&folders, arguments.against.as_deref(), screen)? else {
        return Ok(Outcome::Findings);
    };
    let named: Vec<_> = inquiries.into_iter().map(|inquiry| (claims(&inquiry, &arguments), inquiry)).collect();
    if let (Some(name), true) = (&arguments.only, named.iter().all(|(claims, _)| claims.is_empty())) {
        bail!("no claim has `{name}` in its words, and no policy in its id; try without --only");
    }
    let search_path = environment.get("PATH").map(OsStr::new);
    let program = SolverProgram::find(environment.get("CVC5"), search_path).await?;
    let mut all = Vec::new();
    for (folder, (claims, inquiry)) in folders.into_iter().zip(named) {
        if claims.is_empty() {
            continue;
        }
        let inquiry = Arc::new(inquiry);
        let report = ask(&arguments, &folder, &inquiry, claims, &program).await?;
        let found = Found { folder, inquiry, report };
        if arguments.output == Form::Text {
            Shown { found: &found, against: arguments.against.as_deref() }.text(screen)?;
        }
        all.push(found);
    }
    let tally = Tally::of(&all);
    let took = start.elapsed();
    match arguments.output {
        Form::Text => screen.line(tally.told(took, &program.version, screen))?,
        Form::Json => screen.json(&tally.json(&all, arguments.against.as_deref(), took, &program.version))?,
    }
    Ok(Outcome::of(tally.contradicted > 0 || tally.unknown > 0 && !arguments.allow_unknown))
}

/// The claims about each realm; `None` after faults in their files were shown.
fn inquiries(folders: &[PathBuf], against: Option<&Path>, screen: &mut Screen) -> Result<Option<Vec<Inquiry>>> {
    let mut rules_of = |folder: &Path| -> Result<Option<Rules>> {
        match Rules::compile(&check::read(folder)?) {
            Ok(rules) => Ok(Some(rules)),
            Err(faults) => check::show(folder, faults, screen).map(|()| None),
        }
    };
    let before = against.map(&mut rules_of).transpose()?;
    if matches!(before, Some(None)) {
        return Ok(None);
    }
    let mut before = before.flatten();
    let rules: Vec<Option<Rules>> = folders.iter().map(|folder| rules_of(folder)).collect::<Result<_>>()?;
    let rules: Option<Vec<Rules>> = rules.into_iter().collect();
    Ok(rules.map(|rules| rules.into_iter().map(|rules| Inquiry::new(rules, before.take())).collect()))
}

/// Against another state it is the change that is asked about, unless claims are named.
fn claims(inquiry: &Inquiry, arguments: &Arguments) -> Vec<Claim> {
    let is_asked = |claim: &Claim| match &arguments.only {
        Some(name) => inquiry.words(*claim).contains(name.as_str()),
        None => arguments.against.is_none() || matches!(claim, Claim::NothingNew | Claim::Same),
    };
    inquiry.claims().into_iter().filter(is_asked).collect()
}

async fn ask(
    arguments: &Arguments,
    folder: &Path,
    inquiry: &Arc<Inquiry>,
    claims: Vec<Claim>,
    program: &SolverProgram,
) -> Result<Report> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(processors, usize::from).min(inquiry.kinds().len().max(1));
    let solvers = (0..jobs).map(|_| program.solver(arguments.timeout)).collect();
    let bar = progress_bar(folder, inquiry.kinds().len());
    let shown = bar.clone();
    let report = prove(Arc::clone(inquiry), claims, solvers, move |done| shown.set_position(done as u64)).await;
    bar.finish_and_clear();
    report.map_err(Error::msg)
}

/// Shows how far a realm is, when standard error is a terminal.
fn progress_bar(folder: &Path, kinds: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}  {bar:30} {pos} of {len} kinds of requests  {eta} left");
    let bar = ProgressBar::new(kinds as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(folder.display().to_string());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Tally {
    fn of(all: &[Found]) -> Self {
        let mut tally = Self::default();
        for found in all {
            tally.formulas += found.report.formulas as u64;
            tally.solved += found.report.solved as u64;
            for finding in &found.report.findings {
                match finding.answer {
                    Answer::Proved => tally.proved += 1,
                    Answer::False(_) | Answer::Vacuous => tally.contradicted += 1,
                    Answer::Unknown(_) => tally.unknown += 1,
                }
            }
        }
        tally
    }

    fn told(self, took: Duration, version: &str, screen: &Screen) -> String {
        let Self { proved, contradicted, unknown, formulas, solved } = self;
        let counts = format!("{} proved, {} not so, {} unknown", count(proved), count(contradicted), count(unknown));
        let work = format!("{} formulas, {} of them solved by cvc5 {version}", count(formulas), count(solved));
        let tone = shown::tone(contradicted == 0 && unknown == 0);
        format!("{} in {:.1} s ({work})", screen.toned(tone, &counts), took.as_secs_f64())
    }

    fn json(self, all: &[Found], against: Option<&Path>, took: Duration, version: &str) -> Json {
        let Self { proved, contradicted, unknown, formulas, solved } = self;
        json!({
            "realms": all.iter().map(|found| Shown { found, against }.json()).collect::<Vec<_>>(),
            "proved": proved,
            "false": contradicted,
            "unknown": unknown,
            "formulas": formulas,
            "solved": solved,
            "solver": format!("cvc5 {version}"),
            "seconds": took.as_secs_f64(),
        })
    }
}
