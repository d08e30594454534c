//! Drives the service through decision cases of the systems that its realms stand for, and counts what it gets right.
//!
//! A file holds the cases of one system in JSON: facts, tokens, questions, and the answers that are expected. The service
//! is started as a process with the system's realm from `policies/`, the facts are imported as records, the tokens are
//! signed with keys that are made for the run (their times moved from the cases' clock to the machine's), and each
//! question is asked over gRPC.
//!
//! ```sh
//! cargo run --example realm_cases -- FILE...
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its findings")]

mod authorization_server;
mod cases;
mod grade;
mod keys;
#[path = "../support/process.rs"]
mod process;
mod systems;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cases::CaseFile;
use crate::grade::Score;
use crate::world::World;

/// Drives the service through decision cases of its realms.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files of cases.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut is_whole = true;
    for path in Arguments::parse().files {
        let file = CaseFile::read(&path)?;
        let score = run(&file).await?;
        for mistake in &score.mistakes {
            println!("{mistake}");
        }
        println!("{} {score}", file.system);
        is_whole &= score.is_whole();
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks every case of a file.
async fn run(file: &CaseFile) -> anyhow::Result<Score> {
    let system = systems::named(&file.system)?;
    let mut world = World::start(file, &*system).await?;
    let mut score = Score::default();
    for case in &file.cases {
        let facts = file.facts_of(case)?;
        let answer = world.ask(case, &facts).await;
        score.grade(case, answer);
    }
    Ok(score)
}
