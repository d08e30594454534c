//! Whether the service can be asked, as `grpc.health.v1` says it.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::{Beside, SERVICES};
use crate::{
    app::{App, ports::CALLERS_REALM},
    proto::v1::decision_log_service_server,
};

/// How often the service looks whether it can still do its work.
const PERIOD: Duration = Duration::from_millis(250);

/// What the names begin with under which health says how the policies of a realm stand.
pub(super) const POLICIES: &str = "hallpass.v1.policies/";

/// Keeps health up to date: `SERVING` while every realm can decide and everything can be kept, `NOT_SERVING` else, and until
/// the keys of all issuers were asked for once.
///
/// The service as a whole (the empty name), each of [`SERVICES`] and those beside them have the same status; but the decision
/// log's service is `NOT_SERVING` also while a log cannot be written and its realm may answer all the same (mode `available`),
/// and when a log is not the one that was signed. Each realm has the name [`POLICIES`] with the realm's own behind it, which is
/// `NOT_SERVING` while its files stand refused: the last good policies decide then, so the service as a whole goes on.
/// Dropped, all of them become `NOT_SERVING`, as if drained.
#[derive(Debug)]
pub struct Health {
    draining: DropGuard,
    task: JoinHandle<()>,
}

impl Health {
    /// Says how things are, and goes on doing so every 250 ms.
    pub(super) async fn start(app: Arc<App>, beside: &'static [Beside]) -> (Self, HealthServer<impl HealthService>) {
        let (reporter, server) = health_reporter();
        let draining = CancellationToken::new();
        report(&reporter, Status::of(&app), beside).await;
        report_policies(&reporter, &app, false).await;
        let task = tokio::spawn(watch(app, reporter, beside, draining.clone()));
        (Self { draining: draining.drop_guard(), task }, server)
    }

    /// Says `NOT_SERVING` from now on, so that callers go elsewhere before the listener closes.
    pub async fn drain(self) {
        self.draining.disarm().cancel();
        // A task that failed has nothing more to say.
        drop(self.task.await);
    }
}

async fn watch(app: Arc<App>, reporter: HealthReporter, beside: &[Beside], draining: CancellationToken) {
    let mut last = Status::of(&app);
    let pause = || async {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = app.readiness_changed() => {}
        }
    };
    while draining.run_until_cancelled(pause()).await.is_some() {
        let now = Status::of(&app);
        let is_fine = now.service == ServingStatus::Serving && now.decision_log == ServingStatus::Serving;
        if now != last && is_fine {
            tracing::info!(status = %now.service, decision_log = %now.decision_log, "health changes");
        } else if now != last {
            tracing::warn!(status = %now.service, decision_log = %now.decision_log, "health changes");
        }
        report(&reporter, now, beside).await;
        report_policies(&reporter, &app, false).await;
        last = now;
    }
    let drained = Status { service: ServingStatus::NotServing, decision_log: ServingStatus::NotServing };
    report(&reporter, drained, beside).await;
    report_policies(&reporter, &app, true).await;
}

#[derive(Clone, Copy, PartialEq)]
struct Status {
    service: ServingStatus,
    decision_log: ServingStatus,
}

impl Status {
    fn of(app: &App) -> Self {
        let serving = |is_serving| if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        let is_ready = app.is_ready();
        let is_log_good = is_ready && app.are_logs_writable() && app.are_logs_continued();
        Self { service: serving(is_ready), decision_log: serving(is_log_good) }
    }
}

async fn report(reporter: &HealthReporter, status: Status, beside: &[Beside]) {
    for service in SERVICES.into_iter().chain(beside.iter().map(|service| service.name)).chain([""]) {
        let is_log = service == decision_log_service_server::SERVICE_NAME;
        reporter.set_service_status(service, if is_log { status.decision_log } else { status.service }).await;
    }
}

/// Says of each realm, and of the policies that judge callers, whether the files decide that were tried last. What changes
/// is in the log with the faults.
async fn report_policies(reporter: &HealthReporter, app: &App, is_draining: bool) {
    let callers = app.callers().policies().map(|policies| (CALLERS_REALM, policies.status()));
    let realms = app.realms().map(|state| (state.name.as_str(), state.policy_status()));
    for (name, status) in realms.chain(callers) {
        let is_good = !is_draining && !status.is_refused();
        let status = if is_good { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(format!("{POLICIES}{name}"), status).await;
    }
}
