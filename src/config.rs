//! The whole configuration as one value: read once, checked, every fault at once.
//!
//! Defaults, then the file, then the environment, then flags: the later one counts. Nothing else reads the environment.

mod callers;
mod decision_log;
mod envoy;
mod limits;
mod listeners;
mod policies;
mod public_url;
mod tracing;

pub use self::{callers::Authentication, listeners::Tls};

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use crate::{
    app::{
        caller::{self, KnownCaller},
        retention,
        token_cache::TOKENS_MAX_DEFAULT,
    },
    domain::{
        document::{Table, read_document},
        fault::Fault,
        id::RealmName,
        issuer::Issuer,
        mask::Mask,
        realm_file::read_issuers,
    },
    provider::{
        realm_files::Place,
        witness::{self},
    },
    storage::{segment_log, sled},
    telemetry, transport,
};

pub use self::limits::{Limits, Server};

/// The file that is read when none is named.
pub const FILE_DEFAULT: &str = "hallpass.toml";

/// All settings of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where relationships, decisions and their keys are kept; made when missing.
    pub data_dir: PathBuf,
    /// Where the service listens; with port 0 any free port. Other machines reach it only with TLS and callers.
    pub grpc_address: SocketAddr,
    /// Where HTTP is spoken, likewise; `None` for nowhere.
    pub http_address: Option<SocketAddr>,
    /// Where HTTP is found from outside, without a slash at the end; `None` for `http://` and the address itself.
    pub public_url: Option<Arc<str>>,
    /// The folder of realms that is looked through when `realms` is empty.
    pub policies_dir: PathBuf,
    /// How often folders of policies are looked at, where a realm does not say; `None` for never.
    pub watch: Option<Duration>,
    /// The realms that are named one by one.
    pub realms: Vec<RealmConfig>,
    /// Who calls, by name; none for whoever is on this machine, and the local admin.
    pub callers: Vec<KnownCaller>,
    /// The certificates of the listeners; `None` for none.
    pub tls: Option<Tls>,
    /// How callers show who they are.
    pub authentication: Authentication,
    /// What is said of the requests that Envoy asks about; `None` where nothing is.
    pub envoy: Option<transport::envoy::Options>,
    /// The service's own log.
    pub log: telemetry::Options,
    /// Where traces go; `None` for nowhere.
    pub tracing: Option<telemetry::otlp::Options>,
    /// How decisions are kept.
    pub decision_log: segment_log::Options,
    /// What the logs' checkpoints are called by, before a slash and the realm's name; `None` for what is made at first.
    pub log_origin: Option<Arc<str>>,
    /// Where the logs' checkpoints are handed to.
    pub witness: witness::Options,
    /// How relationships are kept.
    pub relationships: sled::Options,
    /// The longest gRPC message, in bytes.
    pub message_bytes_max: usize,
    /// About how many verified tokens are remembered.
    pub tokens_cached_max: usize,
    /// How much there may be of everything at once.
    pub limits: Limits,
    /// What depends on who reaches the service, where that is said.
    pub server: Server,
    /// Where monitors on the same machine ask how it is doing; a loopback address, `None` for nowhere.
    pub ops_address: Option<SocketAddr>,
}

/// A realm of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmConfig {
    /// Its name.
    pub name: RealmName,
    /// Where its files are; several realms may use one place.
    pub place: Place,
    /// How often that is looked at; `None` for never.
    pub watch: Option<Duration>,
    /// The variant of its files that decides; `None` for the files as they stand.
    pub variant: Option<Arc<str>>,
    /// Issuers beside those of realm.toml, and in place of one of the same name; paths of key files are absolute.
    pub issuers: Vec<Issuer>,
    /// How long its decisions are kept.
    pub retention: retention::Rules,
    /// How its decisions are kept, where that differs from [`Config::decision_log`].
    pub decision_log: Option<segment_log::Options>,
    /// What is kept out of its decision log.
    pub mask: Mask,
    /// The folder of the candidate that is to decide in its shadow.
    pub shadow: Option<PathBuf>,
    /// How many questions may be asked about it in a second; 0 for any number.
    pub requests_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "hallpass-data".into(),
            grpc_address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http_address: None,
            public_url: None,
            policies_dir: "policies".into(),
            watch: Some(policies::WATCH_DEFAULT),
            realms: Vec::new(),
            callers: Vec::new(),
            tls: None,
            authentication: Authentication::default(),
            envoy: None,
            log: telemetry::Options::default(),
            tracing: None,
            decision_log: segment_log::Options::default(),
            log_origin: None,
            witness: witness::Options::default(),
            relationships: sled::Options::default(),
            message_bytes_max: 8 * 1024 * 1024,
            tokens_cached_max: TOKENS_MAX_DEFAULT,
            limits: Limits::default(),
            server: Server::default(),
            ops_address: None,
        }
    }
}

/// The flags that override the file and the environment, one for each key. Relative paths start at the working folder.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    #[arg(help = "The configuration file [env: HALLPASS_CONFIG] [default: hallpass.toml, if there is one]")]
    pub config: Option<PathBuf>,
    /// Where relationships, decisions and their keys are kept [default: hallpass-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where to listen; other than loopback takes TLS and callers; port 0 takes any free port [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    pub grpc_address: Option<String>,
    /// Where to listen for HTTP, likewise; port 0 takes any free port [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub http_address: Option<String>,
    /// Where HTTP is found from outside, for metadata that names its endpoints, such as `https://pdp.example` [default: the HTTP address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Without `[realms]` in the file, each folder below with a realm.toml is a realm [default: policies]
    #[arg(long, value_name = "DIR")]
    pub policies_dir: Option<String>,
    /// How often folders of policies are looked at for changes: 500ms, 5s, 1m and the like, or off [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub watch: Option<String>,
    /// off, error, warn, info, debug or trace, also by module: `warn,hallpass=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Where traces go over OTLP, by http on this machine or by https [default: nowhere]
    #[arg(long, value_name = "URL")]
    pub tracing_otlp_endpoint: Option<String>,
    /// The share of requests without a trace of their own that are traced, 0 to 1 [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub tracing_sample_ratio: Option<String>,
    /// strict: decisions are on disk before the answer; bounded: within about 20 ms; available: like bounded, and what cannot be kept is answered and counted [default: bounded]
    #[arg(long, value_name = "MODE")]
    pub decision_log_mode: Option<String>,
    /// How many decisions may wait to be written [default: 65536]
    #[arg(long, value_name = "COUNT")]
    pub decision_log_buffer_records: Option<String>,
    /// How long an answer waits when that many wait already [default: 50]
    #[arg(long, value_name = "MS")]
    pub decision_log_full_wait_ms: Option<String>,
    /// How long a file of the decision log gets [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub decision_log_segment_bytes_max: Option<String>,
    /// How old a file of the decision log gets before the next one is begun [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub decision_log_segment_seconds_max: Option<String>,
    /// The relationship store's page cache [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub relationships_cache_bytes: Option<String>,
    /// Relationships are not written when the disk has less room than this [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    pub relationships_free_bytes_min: Option<String>,
    /// Where monitors on this machine ask how the service is doing, loopback only [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub ops_address: Option<String>,
    /// Those of `[limits]`.
    #[command(flatten)]
    pub limits: limits::LimitFlags,
}

impl Flags {
    fn get(&self, key: &str) -> Option<&str> {
        let flag = match key {
            "data_dir" => &self.data_dir,
            "grpc_address" => &self.grpc_address,
            "http_address" => &self.http_address,
            "public_url" => &self.public_url,
            "policies_dir" => &self.policies_dir,
            "watch" => &self.watch,
            "log.level" => &self.log_level,
            "log.format" => &self.log_format,
            "tracing.otlp_endpoint" => &self.tracing_otlp_endpoint,
            "tracing.sample_ratio" => &self.tracing_sample_ratio,
            "decision_log.mode" => &self.decision_log_mode,
            "decision_log.buffer_records" => &self.decision_log_buffer_records,
            "decision_log.full_wait_ms" => &self.decision_log_full_wait_ms,
            "decision_log.segment_bytes_max" => &self.decision_log_segment_bytes_max,
            "decision_log.segment_seconds_max" => &self.decision_log_segment_seconds_max,
            "relationships.cache_bytes" => &self.relationships_cache_bytes,
            "relationships.free_bytes_min" => &self.relationships_free_bytes_min,
            "ops_address" => &self.ops_address,
            _ => return self.limits.get(key),
        };
        flag.as_deref()
    }
}

/// The variables that count: `HALLPASS_*`, `NO_COLOR` (<https://no-color.org>), `NOTIFY_SOCKET` of service managers, and for
/// the solver `CVC5` and `PATH`. An empty one counts as unset.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let counts = |(name, value): &(String, String)| {
            let others = ["NO_COLOR", "NOTIFY_SOCKET", "CVC5", "PATH"];
            let is_known = name.starts_with("HALLPASS_") || others.contains(&name.as_str());
            is_known && !value.is_empty()
        };
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).filter(counts).collect())
    }
}

/// Every fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Fault>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&faults.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration. A relative path in the file starts at the file's folder.
    ///
    /// # Errors
    /// Every fault, each with its key or variable or flag, its line and what was expected.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let named = flags.config.clone().or_else(|| environment.get("HALLPASS_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| FILE_DEFAULT.into());
        let content = match fs::read_to_string(&path) {
            Ok(content) => content,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let message = format!("the configuration cannot be read: {error}; name a file with --config");
                return Err(ConfigError(vec![Fault::in_file(&path.display().to_string(), message)]));
            }
        };
        Self::read(&path, &content, flags, environment)
    }

    /// Reads a file alone, without environment and flags.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Self::load(&Flags { config: Some(path.to_owned()), ..Flags::default() }, &Environment::default())
    }

    fn read(path: &Path, content: &str, flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        let layers = Layers { base, flags, environment, faults: RefCell::default() };
        let read = read_document(&path.display().to_string(), content, |root| layers.config(root));
        let mut faults = layers.faults.take();
        match read {
            Ok(config) if faults.is_empty() => Ok(config),
            Ok(_) => Err(ConfigError(faults)),
            Err(found) => {
                faults.splice(0..0, found);
                Err(ConfigError(faults))
            }
        }
    }

    /// The folder with this deployment's own policies about who reads the decision log, if it has some.
    pub fn caller_policies(&self) -> Option<PathBuf> {
        Some(self.policies_dir.join(caller::REALM)).filter(|folder| folder.join("realm.toml").is_file())
    }

    /// The realms to serve: those that are named, or else every folder of `policies_dir` with a realm.toml.
    ///
    /// # Errors
    /// A folder that cannot be read or has no realm in it, and names that are no realm names.
    pub fn realms(&self) -> Result<Vec<RealmConfig>, ConfigError> {
        if !self.realms.is_empty() {
            return Ok(self.realms.clone());
        }
        let folder = self.policies_dir.display().to_string();
        let fault = |message: String| ConfigError(vec![Fault::in_file(&folder, message)]);
        let advice = "name a folder of realms with --policies-dir or `policies_dir`, or each realm under `[realms]`";
        let entries =
            fs::read_dir(&self.policies_dir).map_err(|error| fault(format!("cannot be read: {error}; {advice}")))?;
        let mut folders: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        folders.retain(|folder| folder.join("realm.toml").is_file() && !folder.ends_with(caller::REALM));
        folders.sort();
        if folders.is_empty() {
            return Err(fault(format!("has no folder with a realm.toml; {advice}")));
        }
        let realm = |folder: PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().parse();
            let fault = |error: &dyn fmt::Display| Fault::in_file(&folder.display().to_string(), error.to_string());
            name.map_err(|error| fault(&error)).map(|name| RealmConfig {
                name,
                place: Place::Folder(folder),
                watch: self.watch,
                variant: None,
                issuers: Vec::new(),
                retention: retention::Rules::default(),
                decision_log: None,
                mask: Mask::default(),
                shadow: None,
                requests_per_second: 0,
            })
        };
        let (realms, faults): (Vec<_>, Vec<_>) = folders.into_iter().map(realm).partition(Result::is_ok);
        let faults: Vec<Fault> = faults.into_iter().filter_map(Result::err).collect();
        if faults.is_empty() { Ok(realms.into_iter().flatten().collect()) } else { Err(ConfigError(faults)) }
    }
}

/// The layers above the defaults, and the faults of those outside the file.
struct Layers<'a> {
    base: &'a Path,
    flags: &'a Flags,
    environment: &'a Environment,
    faults: RefCell<Vec<Fault>>,
}

impl Layers<'_> {
    fn config(&self, root: &Table<'_>) -> Config {
        let default = Config::default();
        let log = section(root, "log", |table| telemetry::Options {
            level: self.value(table, "log.level", telemetry::level).unwrap_or(default.log.level.clone()),
            format: self.value(table, "log.format", telemetry::Format::from_str).unwrap_or(default.log.format),
        });
        let kept = default.decision_log;
        let (decision_log, log_origin, witness) = section(root, "decision_log", |table| {
            let origin = table.and_then(decision_log::origin);
            let witness = table.and_then(|table| table.table("witness", |table| self.witness(table)));
            (self.decision_log(table, kept), origin, witness.unwrap_or_default())
        });
        let kept = default.relationships;
        let relationships = section(root, "relationships", |table| sled::Options {
            cache_bytes: self
                .number(table, "relationships.cache_bytes", MEBIBYTE..=1024 * 1024 * MEBIBYTE)
                .unwrap_or(kept.cache_bytes),
            free_bytes_min: self
                .number(table, "relationships.free_bytes_min", 0..=1024 * 1024 * MEBIBYTE)
                .unwrap_or(kept.free_bytes_min),
        });
        let (message_bytes_max, tokens_cached_max, limits) = section(root, "limits", |table| {
            let message = self.number(table, "limits.message_bytes_max", 65_536..=1024 * MEBIBYTE);
            (message, self.number(table, "limits.tokens_cached_max", 0..=100_000_000), self.limits(table))
        });
        let watch = self.value(Some(root), "watch", policies::watch).unwrap_or(default.watch);
        let (tls, (required, issuers)) = (listeners::tls(root, self.base), callers::authentication(root, self.base));
        let callers = callers::read(root, &issuers);
        let grpc_address = self.value(Some(root), "grpc_address", listeners::address).unwrap_or(default.grpc_address);
        let http_address = self.value(Some(root), "http_address", listeners::address);
        let addresses = [("grpc_address", Some(grpc_address)), ("http_address", http_address)];
        let public_url = self.value(Some(root), "public_url", public_url::public_url);
        // One that may not be open at all is told of below.
        let may_be_open = tls.is_some() && !callers.is_empty();
        let is_open = may_be_open && http_address.is_some_and(|address| address.ip().is_unspecified());
        if public_url.is_none() && is_open {
            match self.outside("http_address") {
                None => root.fault(Some("http_address"), public_url::MISSING),
                Some((origin, _)) => self.faults.borrow_mut().push(Fault::in_file(&origin, public_url::MISSING)),
            }
        }
        let required = self.check_open(root, &addresses, required, &callers, tls.as_ref());
        Config {
            data_dir: self.path(root, "data_dir").unwrap_or(default.data_dir),
            grpc_address,
            http_address,
            public_url,
            policies_dir: self.path(root, "policies_dir").unwrap_or(default.policies_dir),
            watch,
            realms: self.realms(root, decision_log, watch),
            callers,
            tls,
            authentication: Authentication { required, issuers },
            envoy: envoy::read(root),
            log,
            tracing: section(root, "tracing", |table| tracing::read(self, table)),
            decision_log,
            log_origin,
            witness,
            relationships,
            message_bytes_max: message_bytes_max.map_or(default.message_bytes_max, size),
            tokens_cached_max: tokens_cached_max.map_or(default.tokens_cached_max, size),
            limits,
            server: limits::server(root),
            ops_address: self.value(Some(root), "ops_address", limits::loopback),
        }
    }

    fn realms(
        &self,
        root: &Table<'_>,
        decision_log: segment_log::Options,
        watch: Option<Duration>,
    ) -> Vec<RealmConfig> {
        let realms = root.named("realms", |name, table| {
            let name = name.parse().map_err(|error| table.fault(None, format!("{error}"))).ok();
            if name.as_ref().map(RealmName::as_str) == Some(caller::REALM) {
                table.fault(None, RESERVED);
            }
            let place = policies::place(table, self.base, name.as_ref());
            let watch = policies::watch_of(table, watch);
            let variant = table.text("variant");
            let mut issuers: Vec<Issuer> = read_issuers(table).into_iter().map(|(issuer, _)| issuer).collect();
            for file in issuers.iter_mut().flat_map(Issuer::files_mut) {
                let from_base = self.base.join(&*file);
                *file = std::path::absolute(&from_base).unwrap_or(from_base);
            }
            let (decision_log, mask) = table
                .table("decision_log", |table| {
                    let mask = table.table("mask", Mask::read).unwrap_or_default();
                    (decision_log::of_realm(table, decision_log), mask)
                })
                .unzip();
            let retention = retention_rules(table);
            let shadow = table.text("shadow").map(|folder| self.base.join(&*folder));
            let requests_per_second = limits::requests_per_second(table).unwrap_or_default();
            let (name, place, mask) = (name?, place?, mask.unwrap_or_default());
            Some(RealmConfig {
                name,
                place,
                watch,
                variant,
                issuers,
                retention,
                decision_log,
                mask,
                shadow,
                requests_per_second,
            })
        });
        realms.into_iter().map(|(_, realm)| realm).collect()
    }

    /// The value that a flag or a variable gives, with the name of that; the flag counts first.
    fn outside(&self, key: &str) -> Option<(String, &str)> {
        let flag = self.flags.get(key).map(|text| (format!("--{}", key.replace(['.', '_'], "-")), text));
        flag.or_else(|| {
            let name = format!("HALLPASS_{}", key.replace('.', "_").to_uppercase());
            self.environment.get(&name).map(|text| (name, text))
        })
    }

    /// A value that is written as text in every layer.
    fn value<T>(&self, table: Option<&Table<'_>>, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let name = key.rsplit('.').next().unwrap_or(key);
        let in_file = table.and_then(|table| {
            let fault = |message| table.fault(Some(name), format!("`{key}` {message}"));
            parse(&table.text(name)?).map_err(fault).ok()
        });
        let Some((origin, text)) = self.outside(key) else { return in_file };
        parse(text).map_err(|message| self.faults.borrow_mut().push(Fault::in_file(&origin, message))).ok()
    }

    /// A whole number, written as such in the file.
    fn number(&self, table: Option<&Table<'_>>, key: &str, range: RangeInclusive<i64>) -> Option<u64> {
        let name = key.rsplit('.').next().unwrap_or(key);
        let in_file = table.and_then(|table| table.integer(name, range.clone()));
        let number = match self.outside(key) {
            None => in_file,
            Some((origin, text)) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                if number.is_none() {
                    let message = format!("`{text}` is not a whole number of {} to {}", range.start(), range.end());
                    self.faults.borrow_mut().push(Fault::in_file(&origin, message));
                }
                number
            }
        };
        number.and_then(|number| u64::try_from(number).ok())
    }

    /// A path, relative to the file's folder when the file says so, else to the working folder.
    fn path(&self, root: &Table<'_>, key: &str) -> Option<PathBuf> {
        let in_file = root.text(key).map(|path| self.base.join(&*path));
        self.outside(key).map(|(_, path)| PathBuf::from(path)).or(in_file)
    }
}

/// How long a realm's decisions are kept.
fn retention_rules(table: &Table<'_>) -> retention::Rules {
    let rules = table.table("retention", |table| retention::Rules {
        days: table.integer("days", 1..=36_525).and_then(|days| u32::try_from(days).ok()),
        bytes: table.integer("bytes", MEBIBYTE..=i64::MAX).and_then(|bytes| u64::try_from(bytes).ok()),
        is_held: table.flag("hold"),
    });
    rules.unwrap_or_default()
}

const RESERVED: &str = "`hallpass` is the name of the policies that say who reads the decision log, expected another name; \
                        a folder `hallpass` in `policies_dir` replaces those policies";

const MEBIBYTE: i64 = 1024 * 1024;
/// Reads a table that may be absent; what is outside the file counts all the same.
fn section<T>(root: &Table<'_>, name: &str, read: impl Fn(Option<&Table<'_>>) -> T) -> T {
    root.table(name, |table| read(Some(table))).unwrap_or_else(|| read(None))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
