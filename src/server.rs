//! The composition root: configuration -> stores, keys, realms -> App -> listeners -> orderly stop.

mod keys;
mod listeners;
mod observing;
mod open;
mod realms;
mod tasks;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use self::open::Service;
pub(crate) use self::{
    keys::RealmKeys,
    open::{keys_folder, signing},
    realms::{below, kept_versions},
};
use self::{listeners::Listening, observing::Observing};
use crate::{app::App, config::Config, transport::listener::Certificates};

/// The file of the data folder with the local admin token.
pub const ADMIN_TOKEN: &str = "admin.token";

/// How long a stop waits for monitors to hear their answers.
const OPS_WAIT: Duration = Duration::from_secs(1);

/// Starts the service and returns when it takes requests.
///
/// # Errors
/// A port that is in use, realms with faults, a data folder that cannot be written or is another process's. Nothing is
/// changed then.
pub async fn start(config: Config) -> Result<Running> {
    start_with(config, |routes| routes).await
}

/// Starts the service with further routes beside its own.
///
/// # Errors
/// Those of [`start`].
pub async fn start_with(config: Config, extra: impl FnOnce(Routes) -> Routes) -> Result<Running> {
    let bound = listeners::bind(&config).await?;
    let service = Service::open(&config).await?;
    tasks::read_local_keys(&service).await;
    let (accepting, working) = (CancellationToken::new(), CancellationToken::new());
    let observing = Observing::start(&config, Arc::clone(service.app.meter()))?;
    let listening = bound.serve(&service.app, &config, extra, &observing, [&accepting, &working]).await?;
    tasks::spawn(&service, &working);
    if let Some(certificates) = listening.certificates.clone() {
        tokio::spawn(working.clone().run_until_cancelled_owned(certificates.follow()));
    }
    let grpc_address = listening.grpc_address;
    tracing::info!(%grpc_address, data_dir = %config.data_dir.display(), "taking requests");
    let addresses: Vec<_> = [Some(config.grpc_address), config.http_address].into_iter().flatten().collect();
    let announce = config.server.drain_announce(&addresses);
    let drain_max = config.limits.drain_max;
    Ok(Running { service, listening, observing, accepting, working, announce, drain_max })
}

/// A service at work.
#[derive(Debug)]
pub struct Running {
    service: Service,
    listening: Listening,
    observing: Observing,
    accepting: CancellationToken,
    working: CancellationToken,
    /// How long a stop is announced before no more connections are taken.
    announce: Duration,
    /// How long a stop waits for requests in flight.
    drain_max: Duration,
}

impl Running {
    /// Where the service listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.listening.grpc_address
    }

    /// Where HTTP is spoken, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.listening.http.as_ref().map(|http| http.address)
    }

    /// Where monitors ask, if they may.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.listening.ops.as_ref().map(|ops| ops.address)
    }

    /// The use cases, for callers within this process.
    pub fn app(&self) -> &Arc<App> {
        &self.service.app
    }

    /// The certificates of the listeners, if they have TLS.
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.listening.certificates.as_ref()
    }

    /// Returns when the service ends by itself, which it does only when it can take no more connections.
    pub async fn ended(&mut self) -> anyhow::Error {
        let http_ended = async {
            match &mut self.listening.http {
                Some(http) => drop((&mut http.serving).await),
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = &mut self.listening.grpc => ended,
            () = http_ended => Ok(Ok(())),
        };
        match ended {
            Ok(Err(error)) => anyhow::Error::new(error).context("no more connections can be taken"),
            _ => anyhow!("no more connections can be taken"),
        }
    }

    /// Stops: says so to health checks and goes on answering for a moment, so that callers go elsewhere; takes no more
    /// connections, lets requests in flight finish for as long as the configuration says, and makes everything durable. Then
    /// the ports and the data folder are free.
    ///
    /// # Errors
    /// A store whose last flush fails; what was acknowledged before is durable all the same.
    pub async fn stop(self) -> Result<()> {
        let Self { service, listening, observing, accepting, working, announce, drain_max } = self;
        let Listening { health, grpc: serving, http, grpc_address: _, certificates: _, ops } = listening;
        tracing::info!("stopping");
        health.drain().await;
        service.app.begin_to_drain();
        tokio::time::sleep(announce).await;
        // Who follows a log would do so for ever.
        service.app.end_tails();
        accepting.cancel();
        tokio::join!(finish(serving, drain_max), async {
            if let Some(http) = http {
                finish(http.serving, drain_max).await;
            }
        });
        working.cancel();
        if let Some(ops) = ops {
            finish(ops.serving, OPS_WAIT).await;
        }
        observing.stop().await;
        let closed = service.close().await;
        tracing::info!("stopped");
        closed
    }
}

/// Lets a listener's requests in flight finish, for a while.
async fn finish<T>(mut serving: JoinHandle<T>, drain_max: Duration) {
    if !serving.is_finished() && tokio::time::timeout(drain_max, &mut serving).await.is_err() {
        tracing::warn!("some requests were still in flight after {} s and are cut off", drain_max.as_secs());
        serving.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::{net::TcpListener, sync::mpsc};
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::transport::Channel;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;
    use crate::proto::v1::{ImportRecordsRequest, relationship_service_client::RelationshipServiceClient};

    fn config(folder: &Path) -> Config {
        Config {
            data_dir: folder.join("data"),
            grpc_address: ([127, 0, 0, 1], 0).into(),
            policies_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"),
            ..Config::default()
        }
    }

    async fn connect(running: &Running) -> Channel {
        Channel::from_shared(format!("http://{}", running.grpc_address())).unwrap().connect().await.unwrap()
    }

    async fn refused(config: Config) -> String {
        format!("{:#}", start(config).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_stop_frees_the_port_and_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let grpc_address = running.grpc_address();
        let mut health = HealthClient::new(connect(&running).await);
        let status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status();
        assert_eq!(status.as_str_name(), "SERVING");
        let key = fs::read(folder.path().join("data/pseudonym.key")).unwrap();
        running.stop().await.unwrap();
        let again = start(Config { grpc_address, ..config(folder.path()) }).await.unwrap();
        again.stop().await.unwrap();
        assert_eq!(fs::read(folder.path().join("data/pseudonym.key")).unwrap(), key);
    }

    #[tokio::test]
    async fn a_stop_lets_requests_in_flight_finish() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let app = Arc::clone(running.app());
        let (sender, receiver) = mpsc::channel(1);
        let mut client = RelationshipServiceClient::new(connect(&running).await);
        let import = tokio::spawn(async move { client.import_records(ReceiverStream::new(receiver)).await });
        let message = || ImportRecordsRequest {
            realm: "edfi".to_owned(),
            resource: "stateEducationAgencies".to_owned(),
            records: vec![r#"{"stateEducationAgencyId": 1, "nameOfInstitution": "One"}"#.to_owned()],
        };
        // Each message but the last was taken over by the connection when the next one fits.
        for _ in 0..3 {
            sender.send(message()).await.unwrap();
        }
        let stop = tokio::spawn(running.stop());
        sender.send(message()).await.unwrap();
        drop(sender);
        assert_eq!(import.await.unwrap().unwrap().into_inner().accepted, 4);
        stop.await.unwrap().unwrap();
        assert!(!app.is_ready(), "nothing is decided after the stop");
    }

    #[tokio::test]
    async fn a_port_in_use_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc_address = taken.local_addr().unwrap();
        let error = refused(Config { grpc_address, ..config(folder.path()) }).await;
        assert!(error.starts_with(&format!("cannot listen on {grpc_address}; stop whatever uses the port")), "{error}");
        assert!(!folder.path().join("data").exists());
    }

    #[tokio::test]
    async fn a_data_folder_has_one_service() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let error = refused(config(folder.path())).await;
        assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
        running.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_data_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data"), "a file").unwrap();
        let error = refused(config(folder.path())).await;
        assert!(error.contains(&folder.path().join("data").display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn realms_with_faults_are_shown_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let realm = folder.path().join("policies/one");
        fs::create_dir_all(&realm).unwrap();
        fs::write(realm.join("realm.toml"), "titel = 1\n").unwrap();
        let policies_dir = folder.path().join("policies");
        let error = refused(Config { policies_dir, ..config(folder.path()) }).await;
        assert!(error.contains("policies/one/realm.toml:1:1: error[unknown-key]: unknown key `titel`"), "{error}");
        assert!(error.contains("policies/one/schema.cedarschema: error[missing-file]: is missing"), "{error}");
        assert!(!folder.path().join("data").exists());
    }
}
