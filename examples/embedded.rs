//! Decides within this program: no listener, no network, and every decision on record as if it had come over the wire.
//!
//! `cargo run --example embedded -- hallpass.toml TOKEN_FILE RECORDS_FOLDER STUDENT` asks whether the token may read the
//! student; exit code 0 is allow. Nobody else may have the configuration's data folder open.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::{env, fs, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use hallpass::{
    app::{
        App,
        authorize::{Answer, AuthorizeRequest},
        caller::Presented,
        credentials::Credentials,
    },
    config::Config,
    domain::{access_request::Question, adapter::Adapter, decision::Effect, value::Value},
    server::Service,
};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [config, token, records, student] = arguments.as_slice() else {
        anyhow::bail!("expected a configuration, a file with a token, a folder of records and a student");
    };
    let token = fs::read_to_string(token).with_context(|| format!("`{token}` cannot be read"))?;
    let service = Service::open(&Config::from_file(Path::new(config))?).await?;
    let answer = ask(service.app(), token.trim(), Path::new(records), student).await;
    // Whatever came of it: only this makes the last decisions durable and lets go of the data folder.
    service.close().await?;
    let answer = answer?;
    println!("{:?}, decision {}", answer.decision.outcome.effect(), answer.decision_id);
    Ok(if answer.decision.outcome.effect() == Effect::Allow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings the records of a folder, one file of lines for each resource, and asks one question.
pub(crate) async fn ask(app: &App, token: &str, records: &Path, student: &str) -> Result<Answer> {
    let mut import = app.import("edfi")?;
    for entry in fs::read_dir(records)? {
        let path = entry?.path();
        let (Some(stem), Some("ndjson")) = (path.file_stem(), path.extension().and_then(|ending| ending.to_str()))
        else {
            continue;
        };
        let lines: Vec<String> = fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
        import.push(&stem.to_string_lossy(), &lines).await?;
    }
    let summary = import.finish().await?;
    ensure!(summary.refused == 0, "{} records were refused", summary.refused);
    let id: Arc<str> = student.into();
    let question = Question {
        action: "Read".into(),
        resource_type: "ed-fi/students".into(),
        resource_id: Arc::clone(&id),
        attributes: Some([("studentUniqueId".into(), Value::String(id))].into_iter().collect()),
        supported_obligations: Some(Vec::new()), // this program fulfils none: an allow with one becomes a deny
        ..Question::default()
    };
    let request = AuthorizeRequest {
        realm: "edfi".into(),
        credentials: Credentials::bearer(token),
        question,
        presented: Presented::embedded(),
        adapter: Adapter::Embedded,
        at_least_revision: summary.revision, // what was just brought counts
        ..AuthorizeRequest::default()
    };
    Ok(app.authorize(request).await?)
}
