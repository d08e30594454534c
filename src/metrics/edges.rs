//! What is counted at the edges themselves: connections, handshakes, certificates, spans that the collector did not get.

use std::sync::Arc;

use super::{cells::float, one};
use crate::{
    app::ports::meter::{Family, FamilyKind, Sample},
    telemetry::otlp::Queue,
    transport::{
        layer::admission::Places,
        listener::{Certificates, Open},
    },
};

/// The connections of listeners, each by its word.
pub fn connections(listeners: &[(&'static str, Open)]) -> Vec<Family> {
    let count = |open: &Open| Sample::Level(float(u64::try_from(open.connections()).unwrap_or(u64::MAX)));
    let samples = listeners.iter().map(|(name, open)| (vec![Arc::from(*name)], count(open))).collect();
    let (name, help) = ("authz_connections", "Connections that are open");
    vec![Family { name, help, kind: FamilyKind::Gauge, labels: &["listener"], samples }]
}

/// What is held of messages, and how long requests wait for a thread.
pub fn admission(places: &Places) -> Vec<Family> {
    let bytes = Sample::Level(float(u64::try_from(places.gathered_bytes()).unwrap_or(u64::MAX)));
    let held = "Bytes of messages that came and are not answered yet";
    let wait = Sample::Level(places.queue_wait().as_secs_f64());
    let waited = "How long requests wait for a processor now";
    vec![
        one("authz_gathered_bytes", held, FamilyKind::Gauge, bytes),
        one("authz_queue_wait_seconds", waited, FamilyKind::Gauge, wait),
    ]
}

/// What came of handshakes and of new files of certificates.
pub fn of_tls(certificates: &Certificates) -> Vec<Family> {
    let failed = certificates.handshakes().failed().filter(|(_, count)| *count > 0);
    let failed = failed.map(|(why, count)| (vec![Arc::from(why.as_str())], Sample::Count(count)));
    let ends_at = u64::try_from(certificates.not_after_seconds()).unwrap_or(0);
    let lists = certificates.lists_until_seconds().map(|until| {
        let until = u64::try_from(until).unwrap_or(0);
        one(
            "authz_tls_revocation_list_expiry_timestamp_seconds",
            "When the first of the lists of revoked certificates in use is past its time",
            FamilyKind::Gauge,
            Sample::Level(float(until)),
        )
    });
    let mut families = vec![
        Family {
            name: "authz_tls_handshake_failures",
            help: "TLS handshakes that failed, by the reason",
            kind: FamilyKind::Counter,
            labels: &["kind"],
            samples: failed.collect(),
        },
        one(
            "authz_tls_reload_failures",
            "How often new files of certificates were not taken over",
            FamilyKind::Counter,
            Sample::Count(certificates.reload_failures()),
        ),
        one(
            "authz_tls_certificate_expiry_timestamp_seconds",
            "When the server certificate in use ends",
            FamilyKind::Gauge,
            Sample::Level(float(ends_at)),
        ),
    ];
    families.extend(lists);
    families
}

/// Spans that were dropped before the collector had them.
pub fn of_traces(queue: &Queue) -> Family {
    let dropped = queue.dropped();
    let sample = |(why, count): (&str, u64)| (vec![Arc::from(why)], Sample::Count(count));
    Family {
        name: "authz_trace_spans_dropped",
        help: "Spans that the collector did not get, by the reason",
        kind: FamilyKind::Counter,
        labels: &["why"],
        samples: [("queue_full", dropped.queue_full), ("not_taken", dropped.not_taken)].map(sample).into(),
    }
}
