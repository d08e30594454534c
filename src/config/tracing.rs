//! `[tracing]`: where traces go, and of which requests.

use super::Layers;
use crate::{
    app::ports::trace::SampleRatio,
    domain::{document::Table, fault::Fault},
    telemetry::otlp,
};

/// The options; `None` where no collector is named. A relative path starts at the file's folder.
pub(super) fn read(layers: &Layers<'_>, table: Option<&Table<'_>>) -> Option<otlp::Options> {
    let fault = |key: &str, message: String| match table.filter(|table| table.has(key)) {
        Some(table) => table.fault(Some(key), message),
        None => layers.faults.borrow_mut().push(Fault::in_file("[tracing]", message)),
    };
    let endpoint = layers.value(table, "tracing.otlp_endpoint", otlp::endpoint);
    let ca = table.and_then(|table| table.text("ca")).map(|path| layers.base.join(&*path));
    let ratio = ratio(layers, table);
    let Some(endpoint) = endpoint else {
        let names_one = table.is_some_and(|table| table.has("otlp_endpoint"));
        for key in ["ca", "sample_ratio"].into_iter().filter(|key| table.is_some_and(|table| table.has(key))) {
            if !names_one {
                fault(key, format!("`tracing.{key}` is said, and no `tracing.otlp_endpoint`: no trace goes anywhere"));
            }
        }
        return None;
    };
    match (&ca, endpoint.starts_with("https:")) {
        (None, true) => {
            let message = "`tracing.ca` is missing, expected the file of the authorities that vouch for the collector";
            fault("otlp_endpoint", message.to_owned());
        }
        (Some(_), false) => {
            let message =
                "`tracing.ca` is said, and the collector is asked without TLS, expected an `otlp_endpoint` with https";
            fault("ca", message.to_owned());
        }
        (Some(file), true) => {
            if let Err(message) = otlp::authorities(file) {
                fault("ca", format!("`tracing.ca` {message}"));
            }
        }
        (None, false) => {}
    }
    Some(otlp::Options { endpoint, ca, ratio })
}

fn ratio(layers: &Layers<'_>, table: Option<&Table<'_>>) -> SampleRatio {
    let in_file = table.and_then(|table| table.share("sample_ratio"));
    let share = match layers.outside("tracing.sample_ratio") {
        None => in_file,
        Some((origin, text)) => {
            let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            if share.is_none() {
                let message = format!("`{text}` is not a number of 0 to 1");
                layers.faults.borrow_mut().push(Fault::in_file(&origin, message));
            }
            share
        }
    };
    share.and_then(SampleRatio::new).unwrap_or(SampleRatio::NONE)
}
