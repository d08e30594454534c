//! `GET /metrics`: what was counted, how the decision logs are doing, and how policies stand to their files, as `OpenMetrics`
//! 1.0 or in the text format of Prometheus 0.0.4, whichever is asked for.
//!
//! Values are read when they are asked for. Labels are names of the configuration and words of policies and of this program:
//! nothing here is about a person, and no value comes from a request.

mod counted;
mod policies;
mod text_format;

use std::{fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::{Shared, problem::Problem};
use crate::{
    app::{App, caller::Right, ports::LogStatus},
    transport::layer::caller::presented,
};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /metrics`.
pub(super) async fn of_service(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let presented = presented(request.headers(), request.extensions());
    shared.app.may_ask(&presented, "", Right::ReadMetrics, "").await.map_err(|error| Problem::of(&error))?;
    answer(&shared.app, request.headers())
}

/// `GET /metrics` where nobody else than the same machine can ask.
pub(super) async fn for_anybody(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    answer(&app, &headers)
}

fn answer(app: &Arc<App>, headers: &HeaderMap) -> Result<Response, Problem> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open_metrics = accepted.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/openmetrics-text")
    });
    let text = render(app).map_err(|_| Problem::no_such_path())?;
    let (text, content) = if is_open_metrics { (text, OPEN_METRICS) } else { (text_format::of(&text), TEXT_FORMAT) };
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, content);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// All metrics as text.
///
/// # Errors
/// None: writing to a text cannot fail.
fn render(app: &Arc<App>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counted::Counted(Arc::clone(app))));
    registry.register_collector(Box::new(Logs(Arc::clone(app))));
    registry.register_collector(Box::new(policies::Policies(Arc::clone(app))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The decision logs of all realms.
#[derive(Debug)]
struct Logs(Arc<App>);

impl Collector for Logs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let logs: Vec<_> = self.0.realms().map(|realm| (realm.name.as_str(), realm.log_status())).collect();
        let mut family = Family { encoder: &mut encoder, logs: &logs };
        family.encode("authz_audit_queue_depth", "Decisions that wait to be written", None, |log| {
            Some(gauge(log.waiting))
        })?;
        family.encode("authz_audit_writable", "1 when the decision log takes records, 0 when not", None, |log| {
            Some(gauge(u64::from(log.is_writable)))
        })?;
        family.encode("authz_audit_undamaged", "1 when all that was read of it is whole, 0 when not", None, |log| {
            Some(gauge(u64::from(log.is_undamaged)))
        })?;
        let dropped = "Decisions that were answered and not kept since the start";
        family.encode("authz_audit_dropped", dropped, None, |log| Some(ConstCounter::new(log.dropped)))?;
        let gaps = "Gaps that were written to the decision log since the start";
        family.encode("authz_audit_gaps", gaps, None, |log| Some(ConstCounter::new(log.gaps)))?;
        let entries = "Entries that were ever written to the decision log";
        family.encode("authz_audit_entries", entries, None, |log| Some(ConstCounter::new(log.entries)))?;
        checkpoints(&mut family)?;
        let flushed = "When the last entries became durable";
        family.encode("authz_audit_last_flush_timestamp", flushed, Some(&Unit::Seconds), |log| {
            log.flushed_at_us.map(|time_us| ConstGauge::new(seconds(time_us)))
        })?;
        let refusals: Vec<_> = self.0.realms().map(|realm| (realm.name.as_str(), realm.refusals_left_out())).collect();
        let mut family = Family { encoder: &mut encoder, logs: &refusals };
        let left_out = "Calls of unknown callers that were refused and not put on record since the start";
        family.encode("authz_audit_refusals_left_out", left_out, None, |count| Some(ConstCounter::new(*count)))
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// What is signed of the logs, and who has heard of it.
fn checkpoints(family: &mut Family<'_, '_, LogStatus>) -> Result<(), fmt::Error> {
    let unsigned = "Entries behind the newest checkpoint";
    family.encode("authz_audit_unsigned_entries", unsigned, None, |log| {
        Some(gauge(log.checkpoints.as_ref()?.unsigned))
    })?;
    let is_signed = "1 when checkpoints of the decision log can be made, 0 when not";
    family.encode("authz_audit_signable", is_signed, None, |log| {
        Some(gauge(u64::from(log.checkpoints.as_ref()?.fault.is_none())))
    })?;
    let failures = "How often no checkpoint could be made since the start";
    family.encode("authz_audit_checkpoint_failures", failures, None, |log| {
        Some(ConstCounter::new(log.checkpoints.as_ref()?.failures))
    })?;
    let failures = "How often a checkpoint could not be handed to a witness since the start";
    family
        .encode("authz_audit_witness_failures", failures, None, |log| Some(ConstCounter::new(log.witness?.failures)))?;
    let lag = "Entries that the witness furthest behind was not handed a checkpoint of";
    family.encode("authz_audit_witness_lag_entries", lag, None, |log| Some(gauge(log.witness?.lag)))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since the epoch are exact in a float until the year 2255")]
fn seconds(time_us: i64) -> f64 {
    time_us as f64 / 1e6
}

/// Writes one metric of every log, from what is known of each.
struct Family<'a, 'b, T = LogStatus> {
    encoder: &'a mut DescriptorEncoder<'b>,
    logs: &'a [(&'a str, T)],
}

impl<T> Family<'_, '_, T> {
    fn encode<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&T) -> Option<M>,
    ) -> Result<(), fmt::Error> {
        let values: Vec<_> = self.logs.iter().filter_map(|(realm, log)| Some((*realm, value(log)?))).collect();
        let Some((_, first)) = values.first() else { return Ok(()) };
        let mut metric = self.encoder.encode_descriptor(name, help, unit, first.metric_type())?;
        for (realm, value) in &values {
            value.encode(metric.encode_family(&[("realm", *realm)])?)?;
        }
        Ok(())
    }
}
