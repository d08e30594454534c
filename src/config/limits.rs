//! `[limits]` and `[server]`: how much there may be of everything at once, and how the service ends.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{Layers, MEBIBYTE, size};
use crate::{
    app::{allowance::PER_SECOND_MAX, batch::BATCH_ITEMS_MAX},
    domain::document::Table,
    transport::layer::admission,
};

/// How much there may be of everything at once. Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body with questions over HTTP.
    pub body_bytes_max: usize,
    /// The most questions of a batch.
    pub batch_items_max: usize,
    /// The most connections of each listener.
    pub connections_max: usize,
    /// The most calls of one gRPC connection at once.
    pub streams_max: u32,
    /// The longest headers of a gRPC call.
    pub header_bytes_max: u32,
    /// The most requests that are worked on at once; as many may wait.
    pub requests_max: usize,
    /// How long a request may wait for a place.
    pub wait_max: Duration,
    /// How many requests may wait for somebody else, without a place; 0: they keep theirs.
    pub waiting_max: usize,
    /// The most bytes of messages that came and are not answered yet, of all listeners together.
    pub gathered_bytes_max: usize,
    /// How long one decision may take.
    pub check_max: Duration,
    /// How long many decisions of one call may take.
    pub batch_max: Duration,
    /// How many questions each caller may ask in a second; 0 for any number.
    pub requests_per_second: u32,
    /// How long a connection may live.
    pub connection_max: Duration,
    /// How long nothing may come over a connection.
    pub idle_max: Duration,
    /// How long a stop waits for requests that are under way.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let admission::Limits {
            requests_max,
            wait_max,
            elsewhere_max: waiting_max,
            message_within: _,
            gathered_bytes_max,
            check_within: check_max,
            batch_within: batch_max,
        } = admission::Limits::default();
        Self {
            body_bytes_max: 1024 * 1024,
            batch_items_max: BATCH_ITEMS_MAX,
            connections_max: 1_024,
            streams_max: 256,
            header_bytes_max: 16 * 1024,
            requests_max,
            wait_max,
            waiting_max,
            gathered_bytes_max,
            check_max,
            batch_max,
            requests_per_second: 0,
            connection_max: Duration::from_secs(1_800),
            idle_max: Duration::from_secs(300),
            drain_max: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Those of who is let in to be worked on.
    pub fn admission(&self) -> admission::Limits {
        let Self { requests_max, wait_max, waiting_max, gathered_bytes_max, check_max, batch_max, .. } = *self;
        let (check_within, batch_within) = (check_max, batch_max);
        let kept = admission::Limits::default();
        admission::Limits {
            requests_max,
            wait_max,
            elsewhere_max: waiting_max,
            gathered_bytes_max,
            check_within,
            batch_within,
            ..kept
        }
    }
}

/// What `[server]` says. What is not said depends on whether other machines reach the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Services are described to whoever asks.
    pub reflection: Option<bool>,
    /// How long the service says that it stops before it takes no more connections.
    pub drain_announce: Option<Duration>,
}

/// So long it takes most load balancers to see that a service is not to be asked any more.
const ANNOUNCED: Duration = Duration::from_secs(2);

impl Server {
    /// Whether services are described, for a gRPC listener at this address: by default to the same machine alone.
    pub fn reflection(&self, address: SocketAddr) -> bool {
        self.reflection.unwrap_or_else(|| address.ip().is_loopback())
    }

    /// How long a stop is announced, for listeners at these addresses: by default not at all where only the same machine
    /// reaches them.
    pub fn drain_announce(&self, addresses: &[SocketAddr]) -> Duration {
        let is_local = addresses.iter().all(|address| address.ip().is_loopback());
        self.drain_announce.unwrap_or(if is_local { Duration::ZERO } else { ANNOUNCED })
    }
}

/// The flags of `[limits]`.
#[expect(clippy::struct_field_names, reason = "a flag has the name of its field, and its section comes first")]
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LimitFlags {
    /// The longest gRPC message [default: 8388608]
    #[arg(long, value_name = "BYTES")]
    pub limits_message_bytes_max: Option<String>,
    /// About how many verified tokens are remembered [default: 100000]
    #[arg(long, value_name = "COUNT")]
    pub limits_tokens_cached_max: Option<String>,
    /// The longest body with questions over HTTP [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    pub limits_body_bytes_max: Option<String>,
    /// The most questions of a batch [default: 10000]
    #[arg(long, value_name = "COUNT")]
    pub limits_batch_items_max: Option<String>,
    /// The most connections of each listener [default: 1024]
    #[arg(long, value_name = "COUNT")]
    pub limits_connections_max: Option<String>,
    /// The most calls of one gRPC connection at once [default: 256]
    #[arg(long, value_name = "COUNT")]
    pub limits_streams_max: Option<String>,
    /// The longest headers of a gRPC call [default: 16384]
    #[arg(long, value_name = "BYTES")]
    pub limits_header_bytes_max: Option<String>,
    /// The most requests that are worked on at once; as many may wait [default: 256]
    #[arg(long, value_name = "COUNT")]
    pub limits_requests_max: Option<String>,
    /// How long a request may wait for its turn [default: 20]
    #[arg(long, value_name = "MS")]
    pub limits_wait_ms_max: Option<String>,
    /// How many requests may wait for an issuer, fresher relationships or their turn, without keeping others from an answer; 0:
    /// they do [default: 1024]
    #[arg(long, value_name = "COUNT")]
    pub limits_waiting_max: Option<String>,
    /// The most bytes of messages that came and are not answered yet [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub limits_gathered_bytes_max: Option<String>,
    /// How long one decision may take [default: 5000]
    #[arg(long, value_name = "MS")]
    pub limits_check_ms_max: Option<String>,
    /// How long many decisions of one call may take [default: 10000]
    #[arg(long, value_name = "MS")]
    pub limits_batch_ms_max: Option<String>,
    /// How many questions each caller may ask in a second; 0 for any number [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub limits_requests_per_second: Option<String>,
    /// How long a connection may live [default: 1800]
    #[arg(long, value_name = "SECONDS")]
    pub limits_connection_seconds_max: Option<String>,
    /// How long nothing may come over a connection [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub limits_idle_seconds_max: Option<String>,
    /// How long a stop waits for requests that are under way [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub limits_drain_seconds_max: Option<String>,
}

impl LimitFlags {
    /// The flag of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let flag = match key {
            "limits.message_bytes_max" => &self.limits_message_bytes_max,
            "limits.tokens_cached_max" => &self.limits_tokens_cached_max,
            "limits.body_bytes_max" => &self.limits_body_bytes_max,
            "limits.batch_items_max" => &self.limits_batch_items_max,
            "limits.connections_max" => &self.limits_connections_max,
            "limits.streams_max" => &self.limits_streams_max,
            "limits.header_bytes_max" => &self.limits_header_bytes_max,
            "limits.requests_max" => &self.limits_requests_max,
            "limits.wait_ms_max" => &self.limits_wait_ms_max,
            "limits.waiting_max" => &self.limits_waiting_max,
            "limits.gathered_bytes_max" => &self.limits_gathered_bytes_max,
            "limits.check_ms_max" => &self.limits_check_ms_max,
            "limits.batch_ms_max" => &self.limits_batch_ms_max,
            "limits.requests_per_second" => &self.limits_requests_per_second,
            "limits.connection_seconds_max" => &self.limits_connection_seconds_max,
            "limits.idle_seconds_max" => &self.limits_idle_seconds_max,
            "limits.drain_seconds_max" => &self.limits_drain_seconds_max,
            _ => &None,
        };
        flag.as_deref()
    }
}

const KIBIBYTE: i64 = 1024;

/// What a rate may be.
fn rates() -> RangeInclusive<i64> {
    0..=i64::from(PER_SECOND_MAX)
}

impl Layers<'_> {
    /// `[limits]`, but for the two that [`super::Config`] has itself.
    pub(super) fn limits(&self, table: Option<&Table<'_>>) -> Limits {
        let kept = Limits::default();
        let number = |key: &str, range| self.number(table, &format!("limits.{key}"), range);
        let count = |key: &str, range, default| number(key, range).map_or(default, size);
        let small =
            |key: &str, range, default| number(key, range).map_or(default, |n| u32::try_from(n).unwrap_or(default));
        let seconds = |key: &str, range, default| number(key, range).map_or(default, Duration::from_secs);
        let millis = |key: &str, range, default| number(key, range).map_or(default, Duration::from_millis);
        Limits {
            body_bytes_max: count("body_bytes_max", 64 * KIBIBYTE..=16 * MEBIBYTE, kept.body_bytes_max),
            batch_items_max: count("batch_items_max", 1..=10_000, kept.batch_items_max),
            connections_max: count("connections_max", 1..=1_000_000, kept.connections_max),
            streams_max: small("streams_max", 1..=1_000_000, kept.streams_max),
            header_bytes_max: small("header_bytes_max", 4 * KIBIBYTE..=MEBIBYTE, kept.header_bytes_max),
            requests_max: count("requests_max", 1..=1_000_000, kept.requests_max),
            wait_max: millis("wait_ms_max", 0..=10_000, kept.wait_max),
            waiting_max: count("waiting_max", 0..=1_000_000, kept.waiting_max),
            gathered_bytes_max: count("gathered_bytes_max", MEBIBYTE..=1024 * 1024 * MEBIBYTE, kept.gathered_bytes_max),
            check_max: millis("check_ms_max", 1..=600_000, kept.check_max),
            batch_max: millis("batch_ms_max", 1..=600_000, kept.batch_max),
            requests_per_second: small("requests_per_second", rates(), kept.requests_per_second),
            connection_max: seconds("connection_seconds_max", 10..=86_400, kept.connection_max),
            idle_max: seconds("idle_seconds_max", 1..=86_400, kept.idle_max),
            drain_max: seconds("drain_seconds_max", 0..=3_600, kept.drain_max),
        }
    }
}

/// Reads `[server]`.
pub(super) fn server(root: &Table<'_>) -> Server {
    let read = root.table("server", |table| {
        let said = table.flag("reflection");
        let announce = table.integer("drain_announce_ms", 0..=60_000).and_then(|millis| u64::try_from(millis).ok());
        Server {
            reflection: table.has("reflection").then_some(said),
            drain_announce: announce.map(Duration::from_millis),
        }
    });
    read.unwrap_or_default()
}

/// Takes addresses of this machine only.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("`{text}` is no IP address with a port, expected for example `127.0.0.1:9464`"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "`{text}` is not a loopback address, expected 127.0.0.1 or [::1]: whoever reaches it may read all metrics; others \
         read them at `http_address`"
    ))
}

/// The `requests_per_second` of a realm or a caller; 0 for any number.
pub(super) fn requests_per_second(table: &Table<'_>) -> Option<u32> {
    table.integer("requests_per_second", rates()).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment};

    fn read(content: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment: Environment = variables.iter().copied().collect();
        let read = Config::read(Path::new("hallpass.toml"), content, &super::super::Flags::default(), &environment);
        read.map_err(|error| error.0.iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect())
    }

    #[test]
    fn every_limit_is_set_by_its_name() {
        let content = "[limits]\nbody_bytes_max = 65536\nbatch_items_max = 1\nconnections_max = 2\nstreams_max = 3\n\
                       header_bytes_max = 4096\nrequests_max = 4\nwait_ms_max = 5\nwaiting_max = 13\ngathered_bytes_max = 1048576\n\
                       check_ms_max = 11\nbatch_ms_max = 12\nrequests_per_second = 6\n\
                       connection_seconds_max = 10\nidle_seconds_max = 7\ndrain_seconds_max = 8\n";
        let limits = read(content, &[]).unwrap().limits;
        let expected = Limits {
            body_bytes_max: 65_536,
            batch_items_max: 1,
            connections_max: 2,
            streams_max: 3,
            header_bytes_max: 4_096,
            requests_max: 4,
            wait_max: Duration::from_millis(5),
            waiting_max: 13,
            gathered_bytes_max: 1_048_576,
            check_max: Duration::from_millis(11),
            batch_max: Duration::from_millis(12),
            requests_per_second: 6,
            connection_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(7),
            drain_max: Duration::from_secs(8),
        };
        assert_eq!(limits, expected);
        let variables = [("HALLPASS_LIMITS_REQUESTS_MAX", "9"), ("HALLPASS_LIMITS_DRAIN_SECONDS_MAX", "0")];
        let limits = read(content, &variables).unwrap().limits;
        assert_eq!(limits, Limits { requests_max: 9, drain_max: Duration::ZERO, ..expected });
        assert_eq!(read("", &[]).unwrap().limits, Limits::default());
    }

    #[test]
    fn what_is_out_of_range_is_a_fault_with_its_line_and_never_no_limit() {
        for (line, range) in [
            ("body_bytes_max = 16777217", "65536 to 16777216"),
            ("batch_items_max = 0", "1 to 10000"),
            ("batch_items_max = 10001", "1 to 10000"),
            ("connections_max = 0", "1 to 1000000"),
            ("streams_max = 0", "1 to 1000000"),
            ("header_bytes_max = 1", "4096 to 1048576"),
            ("requests_max = 0", "1 to 1000000"),
            ("wait_ms_max = -1", "0 to 10000"),
            ("waiting_max = -1", "0 to 1000000"),
            ("gathered_bytes_max = 1048575", "1048576 to 1099511627776"),
            ("check_ms_max = 0", "1 to 600000"),
            ("batch_ms_max = 600001", "1 to 600000"),
            ("requests_per_second = 1000001", "0 to 1000000"),
            ("connection_seconds_max = 9", "10 to 86400"),
            ("idle_seconds_max = 0", "1 to 86400"),
            ("drain_seconds_max = 3601", "0 to 3600"),
        ] {
            let key = line.split(' ').next().unwrap();
            let expected = format!("2: `limits.{key}` is not a whole number of {range}");
            assert_eq!(read(&format!("[limits]\n{line}\n"), &[]).unwrap_err(), [expected]);
        }
    }

    #[test]
    fn realms_have_rates_of_their_own() {
        let content = "[realms.one]\nfolder = \"a\"\nrequests_per_second = 50\n[realms.other]\nfolder = \"b\"\n";
        let realms = read(content, &[]).unwrap().realms;
        assert_eq!((realms[0].requests_per_second, realms[1].requests_per_second), (50, 0));
        let faults = read("[realms.one]\nfolder = \"a\"\nrequests_per_second = -1\n", &[]).unwrap_err();
        assert!(faults[0].contains("`realms.one.requests_per_second` is not a whole number of 0 to"), "{faults:?}");
    }

    #[test]
    fn what_the_server_does_by_itself_depends_on_who_reaches_it() {
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 1], 1)));
        let server = read("", &[]).unwrap().server;
        assert!(server.reflection(here) && !server.reflection(there));
        assert_eq!(
            (server.drain_announce(&[here]), server.drain_announce(&[here, there])),
            (Duration::ZERO, ANNOUNCED)
        );
        let server = read("[server]\nreflection = false\ndrain_announce_ms = 7\n", &[]).unwrap().server;
        assert!(!server.reflection(here));
        assert_eq!(server.drain_announce(&[there]), Duration::from_millis(7));
        assert!(read("[server]\nreflexion = true\n", &[]).is_err());
    }

    #[test]
    fn the_listener_of_monitors_is_for_this_machine_alone() {
        let config = read("ops_address = \"127.0.0.1:9464\"\n", &[]).unwrap();
        assert_eq!(config.ops_address, Some(([127, 0, 0, 1], 9_464).into()));
        assert_eq!(read("", &[]).unwrap().ops_address, None);
        let faults = read("ops_address = \"0.0.0.0:9464\"\n", &[]).unwrap_err();
        assert!(faults[0].contains("`ops_address` `0.0.0.0:9464` is not a loopback address"), "{faults:?}");
    }
}
