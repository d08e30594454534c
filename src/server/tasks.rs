//! What the service does beside answering.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Service;
use crate::{
    app::{App, caller, ports::KeySource as _},
    domain::{id::RealmName, issuer::KeyLocation},
    provider::jwks::Jwks,
};

/// How often key sets that are about to be stale are fetched again.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// How often old decisions are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);

/// How often erasures that were interrupted are tried again.
const ERASURES_EVERY: Duration = Duration::from_secs(60);

/// Starts all of it; it ends when `working` is cancelled.
pub(super) fn spawn(service: &Service, working: &CancellationToken) {
    let until = || working.clone();
    let app = || Arc::clone(&service.app);
    tokio::spawn(until().run_until_cancelled_owned(keep_keys(app(), Arc::clone(&service.jwks))));
    for witness in &service.witnesses {
        let witness = Arc::clone(witness);
        tokio::spawn(until().run_until_cancelled_owned(async move { witness.follow().await }));
    }
    tokio::spawn(until().run_until_cancelled_owned(keep_to_retention(app())));
    tokio::spawn(until().run_until_cancelled_owned(keep_erasing(app())));
    let shadowed = app();
    tokio::spawn(until().run_until_cancelled_owned(async move { shadowed.follow_shadows().await }));
    for (realm, every) in service.watches.clone() {
        let app = app();
        tokio::spawn(until().run_until_cancelled_owned(async move { app.watch_policies(&realm, every).await }));
    }
}

/// Reads the keys that are in files. The service is not ready before those of other issuers were asked for once, which is
/// done while it runs.
pub(super) async fn read_local_keys(service: &Service) {
    let of_realms = service.app.realms().map(|realm| (realm.name.clone(), realm.policies().realm.file.issuers.clone()));
    let of_callers =
        caller::REALM.parse().ok().map(|realm: RealmName| (realm, service.app.callers().issuers().to_vec()));
    let mut are_all_read = true;
    for (realm, issuers) in of_realms.chain(of_callers) {
        for issuer in issuers {
            match issuer.keys {
                // What fails is logged where it is read.
                KeyLocation::File(_) => drop(service.jwks.keys(&realm, &issuer.issuer, None).await),
                KeyLocation::Nowhere => {}
                KeyLocation::Url(_) | KeyLocation::Discovered => are_all_read = false,
            }
        }
    }
    if !are_all_read {
        service.app.await_keys();
    }
}

/// Fetches every issuer's keys, and then again before they are stale. What fails is logged where it is fetched.
async fn keep_keys(app: Arc<App>, jwks: Arc<Jwks>) {
    let mut first = tokio::task::JoinSet::new();
    for realm in app.realms() {
        for issuer in &realm.policies().realm.file.issuers {
            let (jwks, realm, issuer) = (Arc::clone(&jwks), realm.name.clone(), Arc::clone(&issuer.issuer));
            first.spawn(async move { drop(jwks.keys(&realm, &issuer, None).await) });
        }
    }
    if let Ok(realm) = caller::REALM.parse::<RealmName>() {
        for issuer in app.callers().issuers() {
            let (jwks, realm, issuer) = (Arc::clone(&jwks), realm.clone(), Arc::clone(&issuer.issuer));
            first.spawn(async move { drop(jwks.keys(&realm, &issuer, None).await) });
        }
    }
    first.join_all().await;
    app.keys_tried();
    let mut ticks = tokio::time::interval(KEYS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        jwks.refresh_due().await;
    }
}

/// Deletes what the realms' retention rules say, now and then again.
async fn keep_to_retention(app: Arc<App>) {
    let mut ticks = tokio::time::interval(RETENTION_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.retain().await;
    }
}

/// Finishes erasures that were interrupted, now and then again.
async fn keep_erasing(app: Arc<App>) {
    let mut ticks = tokio::time::interval(ERASURES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.finish_erasures().await;
    }
}
