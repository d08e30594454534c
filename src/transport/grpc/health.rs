//! Whether the service can be asked, as `grpc.health.v1` says it.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::SERVICES;
use crate::app::App;

/// How often the service looks whether it can still do its work.
const PERIOD: Duration = Duration::from_millis(250);

/// Keeps health up to date: `SERVING` while every realm can decide and everything can be kept, `NOT_SERVING` else.
///
/// The service as a whole (the empty name) and each of [`SERVICES`] have the same status. Dropped, all of them
/// become `NOT_SERVING`, as if drained.
#[derive(Debug)]
pub struct Health {
    draining: DropGuard,
    task: JoinHandle<()>,
}

impl Health {
    /// Says how things are, and goes on doing so every 250 ms.
    pub(super) async fn start(app: Arc<App>) -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = health_reporter();
        let draining = CancellationToken::new();
        report(&reporter, status(&app)).await;
        let task = tokio::spawn(watch(app, reporter, draining.clone()));
        (Self { draining: draining.drop_guard(), task }, server)
    }

    /// Says `NOT_SERVING` from now on, so that callers go elsewhere before the listener closes.
    pub async fn drain(self) {
        self.draining.disarm().cancel();
        // A task that failed has nothing more to say.
        drop(self.task.await);
    }
}

async fn watch(app: Arc<App>, reporter: HealthReporter, draining: CancellationToken) {
    let mut last = status(&app);
    while draining.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        let now = status(&app);
        if now != last {
            tracing::warn!(status = %now, "health changes");
        }
        report(&reporter, now).await;
        last = now;
    }
    report(&reporter, ServingStatus::NotServing).await;
}

fn status(app: &App) -> ServingStatus {
    if app.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES.into_iter().chain([""]) {
        reporter.set_service_status(service, status).await;
    }
}
