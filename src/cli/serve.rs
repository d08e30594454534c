//! `hallpass serve`: the service, until it is told to stop.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, notify, render::Screen};
use crate::{
    config::{Config, Environment, Flags},
    server, telemetry,
};

const NOTES: &str = "\
Every setting can stand in the configuration file, in a variable such as HALLPASS_DATA_DIR, or in a flag; the later one
counts. Once requests are taken, standard output has one line: listening on ADDRESS, and a second one if HTTP is spoken:
listening on http://ADDRESS, or https://ADDRESS with TLS; with --ops-address a last one: monitored on http://ADDRESS. SIGTERM and SIGINT stop the service after the requests in flight. SIGHUP takes the files of
all realms, and the certificates of the listeners, as they are now, as a change of the files does by itself within two
looks (--watch; [tls] watch); files with faults are refused and the last good ones stay. The configuration itself is read at the start alone.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Flags,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let config = Config::load(&arguments.settings, environment)?;
    telemetry::start(&config.log)?;
    // Before anything is opened, so that a stop is orderly from the first moment on.
    let mut terminated = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let mut hung_up = signal(SignalKind::hangup()).context("signals cannot be received")?;
    let mut running = server::start(config).await?;
    let scheme = if running.certificates().is_some() { "https" } else { "http" };
    let http = running.http_address().map(|address| format!("listening on {scheme}://{address}\n")).unwrap_or_default();
    let ops = running.ops_address().map(|address| format!("monitored on http://{address}\n")).unwrap_or_default();
    // All lines in one go: who waits for the first one need not stay to read the second.
    screen.out().write_all(format!("listening on {}\n{http}{ops}", running.grpc_address()).as_bytes())?;
    screen.out().flush()?;
    notify::tell(notify::READY, environment);
    let (app, certificates) = (Arc::clone(running.app()), running.certificates().cloned());
    let reloading = async move {
        while hung_up.recv().await.is_some() {
            if let Some(certificates) = &certificates {
                Arc::clone(certificates).look().await;
            }
            app.reload_all().await;
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        _ = terminated.recv() => None,
        _ = interrupted.recv() => None,
        error = running.ended() => Some(error),
        () = reloading => None,
    };
    notify::tell(notify::STOPPING, environment);
    running.stop().await?;
    ended.map_or(Ok(Outcome::Fine), Err)
}
