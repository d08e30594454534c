//! Shows tokens to the service and counts what it gets right.
//!
//! A file of token vectors has issuers with their keys and rules, a fixed time, and tokens, each with the answer and
//! reasons that are right for it. Each is shown to the service's own way of a decision, once to a service that has not
//! seen the token and once to one that has verified it before.
//!
//! ```sh
//! cargo run --example token_vectors -- FILE
//! ```
#![expect(clippy::print_stdout, reason = "an example prints its findings")]

mod checks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Shows tokens to the service and counts what it gets right.
#[derive(Debug, Parser)]
struct Arguments {
    /// The vectors: JSON with `clock`, `clock_skew_s`, `profiles` and `vectors`.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut is_whole = true;
    for file in Arguments::parse().files {
        let report = checks::run(&file).await?;
        print!("{report}");
        is_whole &= report.is_whole();
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
