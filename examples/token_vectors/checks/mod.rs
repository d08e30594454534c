//! Runs the vectors of a file and compares the answers.

mod report;
pub(crate) mod service;
mod vectors;

use std::path::Path;

pub(crate) use report::Report;

use self::service::{Answer, Service, TokenCaching};
use self::vectors::{File, Vector};

/// Runs every vector of a file against services of its own.
pub(crate) async fn run(file: &Path) -> anyhow::Result<Report> {
    let file = File::read(file)?;
    let mut report = Report::new(file.notes());
    for vector in &file.vectors {
        let fresh = answer(&file, vector, TokenCaching::Off).await?;
        let cached = answer(&file, vector, TokenCaching::On).await?;
        report.add(vector, &fresh, &cached);
    }
    Ok(report)
}

/// What a service of its own answers to a vector.
async fn answer(file: &File, vector: &Vector, caching: TokenCaching) -> anyhow::Result<Answer> {
    let service = Service::start(file, vector, caching).await?;
    if caching == TokenCaching::On {
        // Whatever the state and the request have against it, a token that is good in itself is known from here on.
        service.warm_up(vector).await;
    }
    service.bring_about(file, vector).await?;
    service.ask(vector).await
}
