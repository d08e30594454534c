//! The clock: tokens, certificates and the log go by it.

use std::{collections::BTreeMap, sync::Arc};

use prost_types::Timestamp;
use tokio::task::JoinSet;

use super::{
    ANSWER_WITHIN,
    finding::Finding,
    loaded::{self, Trusting},
};
use crate::{
    app::ports::Clock as _,
    config::Config,
    domain::issuer::{Issuer, KeyLocation, Servers},
    provider::{clock::SystemClock, outbound::Outbound},
};

const CLOCK: &str = "clock";

/// No clock is before this: 22 November 2026, when this was written.
const WRITTEN_SECONDS: i64 = 1_795_305_600;

/// Clocks may differ so much before it is told, in seconds.
const OFFSET_MAX: i64 = 5;

pub(super) async fn check(config: Arc<Config>) -> Vec<Finding> {
    let mut asking = JoinSet::new();
    for (url, servers) in places(loaded::issuers_of(&config).await) {
        asking.spawn(async move { offset(&url, &servers).await.map(|offset| (host(&url), offset)) });
    }
    let offsets: Vec<(String, i64)> = asking.join_all().await.into_iter().flatten().collect();
    judge(SystemClock.now_seconds(), &offsets)
}

/// One URL of every issuer that is asked over a network.
fn places(trusting: Vec<Trusting>) -> BTreeMap<String, Servers> {
    let issuers = trusting.into_iter().flat_map(|trusting| trusting.issuers);
    let place = |issuer: Issuer| {
        let of_introspection = issuer.introspection.and_then(|how| how.url).map(|url| url.to_string());
        let url = match issuer.keys {
            KeyLocation::Url(url) => Some(url),
            KeyLocation::Discovered => Some(issuer.issuer.to_string()),
            KeyLocation::File(_) | KeyLocation::Nowhere => of_introspection,
        };
        Some((url?, issuer.servers))
    };
    issuers.filter_map(place).collect()
}

/// How many seconds a server's clock is before this one's.
async fn offset(url: &str, servers: &Servers) -> Option<i64> {
    let asked_at = SystemClock.now_seconds();
    // Who cannot be reached is told of with the issuers.
    let reached = Outbound::new(servers, ANSWER_WITHIN).reach(url, "the issuer").await.ok()?;
    let answered_at = SystemClock.now_seconds();
    let said = date_seconds(&reached.date?)?;
    // Anything between question and answer is as it should be.
    Some(if said < asked_at { said - asked_at } else { (said - answered_at).max(0) })
}

fn judge(now_seconds: i64, offsets: &[(String, i64)]) -> Vec<Finding> {
    let advice =
        "let the machine keep time (chrony, systemd-timesyncd): tokens are refused or taken too long by a wrong clock";
    if now_seconds < WRITTEN_SECONDS {
        let now = Timestamp { seconds: now_seconds, nanos: 0 };
        return vec![Finding::fault(CLOCK, format!("it is {now}, before this program was written"), advice)];
    }
    let wrong = |(host, offset): &&(String, i64)| offset.abs() > OFFSET_MAX && !host.is_empty();
    let findings: Vec<Finding> = offsets
        .iter()
        .filter(wrong)
        .map(|(host, offset)| {
            let direction = if *offset > 0 { "behind" } else { "ahead of" };
            let what = format!("this machine's clock is {} s {direction} that of `{host}`", offset.abs());
            Finding::warning(CLOCK, what, advice)
        })
        .collect();
    if !findings.is_empty() {
        return findings;
    }
    let what = if offsets.is_empty() {
        "no issuer was there to compare the clock with".to_owned()
    } else {
        format!("agrees with that of {} issuers within {OFFSET_MAX} s", offsets.len())
    };
    vec![Finding::fine(CLOCK, what)]
}

/// A URL's host and port, without anything secret that it may hold.
fn host(url: &str) -> String {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since the epoch of an IMF-fixdate, as every server writes it (RFC 9110 section 5.6.7).
fn date_seconds(text: &str) -> Option<i64> {
    let (_, date) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = date.split(' ').collect::<Vec<_>>()[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else { return None };
    let read = Timestamp::date_time(
        year.parse().ok()?,
        u8::try_from(month).ok()?,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second.parse().ok()?,
    );
    read.ok().map(|timestamp| timestamp.seconds)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn dates_of_servers_are_read() {
        assert_eq!(date_seconds("Sun, 22 Nov 2026 00:00:00 GMT"), Some(WRITTEN_SECONDS));
        assert_eq!(date_seconds("Thu, 01 Jan 1970 00:01:05 GMT"), Some(65));
        for bad in [
            "",
            "22 Nov 2026 00:00:00 GMT",
            "Sun, 22 Nov 2026 00:00 GMT",
            "Sun, 22 Foo 2026 00:00:00 GMT",
            "Sun, 31 Feb 2026 00:00:00 GMT",
            "Sun, 22 Nov 2026 00:00:00 CET",
        ] {
            assert_eq!(date_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_clock_before_its_program_is_a_fault_and_one_that_differs_a_warning() {
        let state = |now, offsets: &[(&str, i64)]| {
            let offsets: Vec<_> = offsets.iter().map(|(host, offset)| ((*host).to_owned(), *offset)).collect();
            judge(now, &offsets).into_iter().map(|finding| finding.state).collect::<Vec<_>>()
        };
        assert_eq!(state(WRITTEN_SECONDS - 1, &[]), [State::Fault]);
        assert_eq!(state(WRITTEN_SECONDS, &[]), [State::Fine]);
        assert_eq!(state(WRITTEN_SECONDS, &[("a", 5), ("b", -5)]), [State::Fine]);
        assert_eq!(state(WRITTEN_SECONDS, &[("a", 6), ("b", -600), ("c", 0)]), [State::Warning, State::Warning]);
    }

    #[test]
    fn a_host_is_shown_without_what_may_be_secret() {
        assert_eq!(host("https://user:secret@idp.example:8443/keys?key=secret"), "idp.example:8443");
        assert_eq!(host("https://idp.example"), "idp.example");
    }
}
