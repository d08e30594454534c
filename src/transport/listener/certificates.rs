//! The listeners' certificates at work, taken anew when their files change: connections that there are stay, but for those whose
//! client's certificate was taken back; new ones get the new certificates. Sessions of before are not resumed, because each set
//! of files has its own memory of them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};

use super::{
    handshakes::Handshakes,
    tls::{Files, Material, Options, Protocol, TlsFault},
};
use crate::app::ports::Clock;

/// A certificate that ends within this many seconds is told of.
const SOON_SECONDS: i64 = 7 * 24 * 3_600;

/// Files that stay the same for this long are written to their end: a certificate and its key do not change at one moment.
const STANDS_STILL: Duration = Duration::from_millis(50);

/// So often files are read that go on changing.
const READINGS_MAX: usize = 20;

/// What came of reading the files, with their digest if they could be read.
type Reading = (Result<Files, Vec<TlsFault>>, Option<[u8; 32]>);

/// The certificates at work, and the files they come from.
#[derive(Debug)]
pub struct Certificates {
    options: Options,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Material>,
    /// The digest of the files that were looked at last, whether they could be used or not.
    seen: Mutex<Option<[u8; 32]>>,
    taken_at_us: AtomicI64,
    /// How often changed files were taken since the start.
    taken: AtomicU64,
    failures: AtomicU64,
    /// It was told that lists of revoked certificates are past their time.
    is_told_of_lists: AtomicBool,
    handshakes: Arc<Handshakes>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// Every fault of every file, and a certificate that is past.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Vec<TlsFault>> {
        let files = Files::read(&options)?;
        let material = Material::of(&options, &files)?;
        if material.not_after_seconds <= clock.now_seconds() {
            let message = format!("the certificate in `{}` is past its time", options.certificate.display());
            return Err(vec![TlsFault { key: "certificate", message }]);
        }
        tell_of_end(&material, clock.now_seconds());
        tell_of_readers(&options);
        let opened = Self {
            current: ArcSwap::from_pointee(material),
            seen: Mutex::new(Some(files.digest())),
            taken_at_us: AtomicI64::new(clock.now_us()),
            taken: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_told_of_lists: AtomicBool::new(false),
            handshakes: Arc::default(),
            options,
            clock,
        };
        opened.tell_of_lists();
        Ok(opened)
    }

    /// The TLS that a new connection gets.
    pub(super) fn server_config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        self.current.load().server_config(protocol)
    }

    /// The handshakes of all listeners.
    pub fn handshakes(&self) -> &Arc<Handshakes> {
        &self.handshakes
    }

    /// Until when the service's certificate is good, in seconds since the epoch.
    pub fn not_after_seconds(&self) -> i64 {
        self.current.load().not_after_seconds
    }

    /// Until when all lists of clients' revoked certificates count, in seconds since the epoch; `None` without lists.
    pub fn lists_until_seconds(&self) -> Option<i64> {
        self.current.load().lists_until_seconds()
    }

    /// When the certificates at work were taken, in microseconds since the epoch.
    pub fn taken_at_us(&self) -> i64 {
        self.taken_at_us.load(Ordering::Relaxed)
    }

    /// How often changed files were taken since the start. Whoever reads this first has TLS of so many at least.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// The first of these certificates, or one of those that vouch for it, is on a list of those that were taken back.
    pub(super) fn is_taken_back(&self, chain: &[CertificateDer<'_>]) -> bool {
        let now = u64::try_from(self.clock.now_seconds()).unwrap_or_default();
        self.current.load().is_taken_back(chain, UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }

    /// How often changed files could not be used since the start.
    pub fn reload_failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Looks at the files, as often as the deployment says, for ever.
    pub async fn follow(self: Arc<Self>) {
        let Some(every) = self.options.watch else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            Self::look(Arc::clone(&self)).await;
        }
    }

    /// Looks at the files now, and takes them if they have changed. Files that cannot be used are told of once; those
    /// before stay at work.
    pub async fn look(self: Arc<Self>) {
        // What was cut off is looked at again.
        let look = move || {
            self.look_now();
            self.tell_of_lists();
        };
        tokio::task::spawn_blocking(look).await.ok();
    }

    /// Tells once of lists that are past their time: from then on their authorities' clients are refused.
    fn tell_of_lists(&self) {
        let now_seconds = self.clock.now_seconds();
        let is_past = self.lists_until_seconds().is_some_and(|until| until <= now_seconds);
        if is_past && !self.is_told_of_lists.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a list of revoked certificates (`tls.client_crl`) is past its time; its authority's clients are refused until \
                 a newer one is there"
            );
        } else if !is_past {
            self.is_told_of_lists.store(false, Ordering::Relaxed);
        }
    }

    /// The files and their digest, when that is another one than what was seen and they stand still.
    fn changed(&self, seen: Option<[u8; 32]>) -> Option<Reading> {
        let read = || {
            let files = Files::read(&self.options);
            let digest = files.as_ref().ok().map(Files::digest);
            (files, digest)
        };
        let (mut files, mut digest) = read();
        for _ in 0..READINGS_MAX {
            if digest == seen {
                return None;
            }
            std::thread::sleep(STANDS_STILL);
            let (files_now, digest_now) = read();
            if digest_now == digest {
                return Some((files_now, digest_now));
            }
            (files, digest) = (files_now, digest_now);
        }
        Some((files, digest))
    }

    fn look_now(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((files, digest)) = self.changed(*seen) else { return };
        *seen = digest;
        match files.and_then(|files| Material::of(&self.options, &files)) {
            Ok(material) => {
                tell_of_end(&material, self.clock.now_seconds());
                self.current.store(Arc::new(material));
                self.taken.fetch_add(1, Ordering::Release);
                self.taken_at_us.store(self.clock.now_us(), Ordering::Relaxed);
                tracing::info!("new certificates were taken; connections that there are stay");
            }
            Err(faults) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let faults = faults.join("; ");
                tracing::warn!(%faults, "changed certificates cannot be used; those before stay at work");
            }
        }
    }
}

fn tell_of_end(material: &Material, now_seconds: i64) {
    let left_seconds = material.not_after_seconds.saturating_sub(now_seconds);
    if left_seconds <= 0 {
        tracing::warn!("the service's certificate is past its time, so clients refuse it");
    } else if left_seconds < SOON_SECONDS {
        tracing::warn!(left_hours = left_seconds / 3_600, "the service's certificate is good for a few days only");
    }
}

/// Tells of a key that everybody on the machine can read.
fn tell_of_readers(options: &Options) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&options.key).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            tracing::warn!(
                key = %options.key.display(),
                "the key of the service's certificate can be read by everybody on this machine; `chmod o-r` takes that away"
            );
        }
    }
}
