//! Whether a caller may ask, which is looked at before every question, against a decision.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use hallpass::{
    app::caller::{KeyDigest, KnownCaller, PeerCertificate, Presented, Right},
    config::Config,
    domain::decision::Outcome,
    server::Service,
};
use tokio::runtime::Runtime;

use crate::{
    decisions::{Students, client, realm},
    measure::{Goal, Report, info, interleaved, median, median_ratio},
    service::{self, REALM},
    state::{AGENCY, State},
};

const ROUNDS: usize = 31;
const TIMES: usize = 4_000;
/// The one that asks is the last.
const CALLERS: usize = 20;

/// What it costs to know who calls, and that the policies let them.
pub(crate) fn run(report: &mut Report) {
    let realm = realm();
    let state = State { students: 10_000 };
    let (graph, agency, mut students) = (state.graph(&realm), client(&realm, AGENCY), Students::of(state));
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let config = Config { callers: (0..CALLERS).map(caller).collect(), ..service::config(folder.path(), Vec::new()) };
    let service = runtime.block_on(Service::open(&config)).unwrap();
    let app = service.app();
    let ([with_key, with_certificate], expected) = (shown(CALLERS - 1), name(CALLERS - 1));
    let ask = |presented: &Presented| {
        let asking = app.may_ask(presented, REALM, Right::Authorize, "");
        assert_eq!(*at_once(asking).unwrap(), *expected);
    };
    let [decision_us, key_us, certificate_us] = interleaved(
        ROUNDS,
        TIMES,
        [&mut || students.decide(&realm, &agency, &graph, Outcome::Allowed), &mut || ask(&with_key), &mut || {
            ask(&with_certificate);
        }],
    );
    runtime.block_on(service.close()).unwrap();
    report.goal("may_ask_with_key_over_decision", median_ratio(&key_us, &decision_us), Goal::AtMost(0.1));
    let ratio = median_ratio(&certificate_us, &decision_us);
    report.goal("may_ask_with_certificate_over_decision", ratio, Goal::AtMost(0.1));
    info("may_ask_with_key_ns", median(&key_us) * 1e3);
    info("may_ask_with_certificate_ns", median(&certificate_us) * 1e3);
}

fn name(number: usize) -> String {
    format!("gateway-{number}")
}

fn key(number: usize) -> String {
    format!("a key of 43 characters, as they are made {number:02}")
}

fn spiffe(number: usize) -> Arc<str> {
    format!("spiffe://bench.example/gateway/{number}").into()
}

fn caller(number: usize) -> KnownCaller {
    KnownCaller {
        name: name(number).into(),
        roles: vec!["enforcer".into()],
        key: Some(KeyDigest::of(&key(number))),
        spiffe: Some(spiffe(number)),
        ..KnownCaller::default()
    }
}

/// A key, and a certificate.
fn shown(number: usize) -> [Presented; 2] {
    let certificate =
        PeerCertificate { spiffe: Some(spiffe(number)), not_after_seconds: i64::MAX, ..PeerCertificate::default() };
    [
        Presented { key: Some(key(number).into()), ..Presented::default() },
        Presented { certificate: Some(Arc::new(certificate)), ..Presented::default() },
    ]
}

/// What comes of work that waits for nothing.
pub(crate) fn at_once<F: Future>(work: F) -> F::Output {
    let done = match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    };
    done.unwrap()
}
