//! The other ways to ask, against Authorize over gRPC: the server's processor time for the same question.

use crate::{
    load::{Method, by_turns},
    measure::{Goal, Report, info, median, median_ratio},
    service::{Served, rules_of_adapters},
    state::State,
};

const STATE: State = State { students: 10_000 };

/// What it costs to be asked by Envoy, as JSON, and in the words of `AuthZEN`. HTTP/1.1 carries one request at a time, so the last
/// two are read and written one by one, where gRPC takes many at once.
pub(crate) fn run(report: &mut Report) {
    let served = Served::start(STATE, |folder, mut config| {
        config.http_address = Some(([127, 0, 0, 1], 0).into());
        for realm in &mut config.realms {
            realm.place = rules_of_adapters(folder);
        }
        config
    });
    let methods = [Method::Authorize, Method::Check, Method::Json, Method::Authzen];
    let [authorize, check, json, authzen] = by_turns(methods.map(|method| (&served, method)));
    served.stop();
    let over_authorize = |server_us: &[f64]| median_ratio(server_us, &authorize.server_us);
    report.goal("check_over_authorize_server_us", over_authorize(&check.server_us), Goal::AtMost(1.5));
    report.goal("json_over_authorize_server_us", over_authorize(&json.server_us), Goal::AtMost(2.0));
    report.goal("authzen_over_authorize_server_us", over_authorize(&authzen.server_us), Goal::AtMost(2.0));
    for (name, figures) in [("authorize", authorize), ("check", check), ("json", json), ("authzen", authzen)] {
        info(&format!("{name}_beside_others_server_us"), median(&figures.server_us));
        info(&format!("{name}_beside_others_per_s"), median(&figures.calls_per_s));
        // With all places taken: most of it is waiting.
        info(&format!("{name}_beside_others_p50_us"), median(&figures.p50_us));
        info(&format!("{name}_beside_others_p99_us"), median(&figures.p99_us));
    }
}
