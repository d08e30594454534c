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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Flags};

    fn read(content: &str, flags: &Flags, variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment: Environment = variables.iter().copied().collect();
        Config::read(Path::new("etc/hallpass.toml"), content, flags, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_is_named_by_file_variable_or_flag() {
        let tracing = |content: &str, flags: &Flags, variables: &[(&str, &str)]| {
            let options = read(content, flags, variables).unwrap().tracing.unwrap();
            (options.endpoint.to_string(), options.ratio)
        };
        let (file, url) =
            ("[tracing]\notlp_endpoint = \"http://127.0.0.1:4317\"\n", "http://127.0.0.1:4317".to_owned());
        assert_eq!(tracing(file, &Flags::default(), &[]), (url.clone(), SampleRatio::NONE));
        for (ratio, share) in [("0.25", 0.25), ("1", 1.0), ("0", 0.0), ("1.0", 1.0)] {
            let content = format!("{file}sample_ratio = {ratio}\n");
            assert_eq!(tracing(&content, &Flags::default(), &[]).1, SampleRatio::new(share).unwrap(), "{ratio}");
        }
        let variables =
            [("HALLPASS_TRACING_OTLP_ENDPOINT", "http://localhost:1"), ("HALLPASS_TRACING_SAMPLE_RATIO", "0.5")];
        let half = SampleRatio::new(0.5).unwrap();
        assert_eq!(tracing(file, &Flags::default(), &variables), ("http://localhost:1".to_owned(), half));
        let flags = Flags { tracing_otlp_endpoint: Some(url.clone()), ..Flags::default() };
        assert_eq!(tracing("", &flags, &variables), (url, half));
        assert_eq!(read("", &Flags::default(), &[]).unwrap().tracing, None);
    }

    #[test]
    fn what_would_send_no_traces_or_send_them_unprotected_is_a_fault_with_its_line() {
        let http = "otlp_endpoint = \"http://127.0.0.1:4317\"";
        let https = "otlp_endpoint = \"https://otel.example:4317\"";
        for (content, expected) in [
            (
                "otlp_endpoint = \"http://otel.example:4317\"".to_owned(),
                ":2:17: error[configuration]: `tracing.otlp_endpoint` ",
            ),
            (https.to_owned(), ":2:17: error[configuration]: `tracing.ca` is missing"),
            (
                format!("{http}\nca = \"ca.pem\""),
                ":3:6: error[configuration]: `tracing.ca` is said, and the collector is asked without TLS",
            ),
            (
                format!("{https}\nca = \"nowhere.pem\""),
                ":3:6: error[configuration]: `tracing.ca` `etc/nowhere.pem` cannot be read",
            ),
            (
                "sample_ratio = 0.5".to_owned(),
                ":2:16: error[configuration]: `tracing.sample_ratio` is said, and no `tracing.otlp_endpoint`",
            ),
            (format!("{http}\nsample_ratio = 1.5"), ":3:16: "),
            (format!("{http}\nsample_ratio = \"all\""), "is not a number of 0 to 1"),
            (format!("{http}\nratio = 0.5"), "unknown key `tracing.ratio`"),
        ] {
            let faults = read(&format!("[tracing]\n{content}\n"), &Flags::default(), &[]).unwrap_err();
            assert!(faults.contains(expected), "{content}: {faults}");
        }
        let variables =
            [("HALLPASS_TRACING_OTLP_ENDPOINT", "http://localhost:1"), ("HALLPASS_TRACING_SAMPLE_RATIO", "2")];
        let faults = read("", &Flags::default(), &variables).unwrap_err();
        assert!(
            faults.contains("HALLPASS_TRACING_SAMPLE_RATIO: error[configuration]: `2` is not a number"),
            "{faults}"
        );
    }
}
