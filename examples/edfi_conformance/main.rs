//! Drives the service through conformance cases for Ed-Fi authorization and counts what it gets right.
//!
//! The cases are suites of scenarios in JSON: tokens, claim sets, documents that are written and deleted,
//! and questions with the answers that Ed-Fi's own APIs give. Each scenario gets a realm of its own, with the
//! rules of `policies/edfi` and the grants and resources of the given files, in one service that is started
//! as a process and asked over gRPC.
//!
//! ```sh
//! cargo run --example edfi_conformance -- --cases DIR --claim-sets FILE --resources FILE
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its findings")]

mod cases;
mod drive;
#[path = "../support/process.rs"]
mod process;
mod questions;
mod realms;
mod report;
mod service;
mod views;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use clap::Parser;
use tokio::task::JoinSet;

use crate::cases::{Catalogue, Suite};
use crate::drive::{Driver, Finding};
use crate::realms::Realm;
use crate::report::Report;
use crate::service::Service;

/// How many scenarios run at a time.
const WORKERS: usize = 8;

/// Drives the service through conformance cases for Ed-Fi authorization.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder with the suites, one JSON file each.
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    /// The claim sets that every scenario starts with.
    #[arg(long, value_name = "FILE")]
    claim_sets: PathBuf,
    /// The resources with their claims and securable elements.
    #[arg(long, value_name = "FILE")]
    resources: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let suites = Suite::read_folder(&arguments.cases)?;
    let catalogue = Arc::new(Catalogue::read(&arguments.resources, &arguments.claim_sets)?);
    let report = run(suites, &catalogue).await?;
    print!("{report}");
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every scenario.
async fn run(suites: Vec<Suite>, catalogue: &Arc<Catalogue>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let of_suite = |Suite { suite, scenarios }: Suite| {
        scenarios.into_iter().map(move |scenario| (suite.clone(), scenario)).collect::<Vec<_>>()
    };
    let scenarios: Vec<_> = suites.into_iter().flat_map(of_suite).collect();
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let realms = realms::write(folder.path(), &scenarios, catalogue)?;
    let service = Service::start(folder.path(), &realms).await?;
    let work: Arc<[((String, cases::Scenario), Realm)]> = scenarios.into_iter().zip(realms).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (work, next, catalogue) = (Arc::clone(&work), Arc::clone(&next), Arc::clone(catalogue));
        let (channel, signer) = (service.channel(), service.signer());
        workers.spawn(async move {
            let mut findings = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(((_, scenario), realm)) = work.get(index) else { return findings };
                let driver = Driver::new(channel.clone(), Arc::clone(&signer), &catalogue, realm);
                findings.push((index, driver.run(scenario).await));
            }
        });
    }
    let mut findings: Vec<(usize, Finding)> = workers.join_all().await.into_iter().flatten().collect();
    findings.sort_by_key(|(index, _)| *index);
    for (((suite, scenario), _), (_, finding)) in work.iter().zip(findings) {
        report.add(suite, scenario, finding);
    }
    drop(service);
    Ok(report)
}
