//! What the machine grants: open files; and where traces go.

use std::{fs, sync::Arc};

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;

use super::{ANSWER_WITHIN, finding::Finding};
use crate::config::Config;

const OPEN_FILES: &str = "open files";
const TRACES: &str = "traces";

/// Segments, tiles and stores take files beside the connections.
const OPEN_FILES_MIN: u64 = 1_024;

/// The limit of open files: that of the running service if it can be seen, else that of whoever looks.
pub(super) fn open_files(config: &Config) -> Vec<Finding> {
    let (whose, limit) = match of_service(config) {
        Some(limit) => ("the running service", limit),
        None => ("a service started from here", getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)),
    };
    let listeners = [Some(config.grpc_address), config.http_address].into_iter().flatten().count();
    let connections = config.limits.connections_max.saturating_mul(listeners);
    vec![judge(whose, limit, OPEN_FILES_MIN.saturating_add(connections as u64))]
}

fn judge(whose: &str, limit: u64, needed: u64) -> Finding {
    match limit {
        limit if limit < needed => {
            let what = format!(
                "{whose} may have {limit} files and connections open; `connections_max` and the stores take {needed}"
            );
            let advice = "raise it to 65536: `LimitNOFILE=65536` in the unit, or `ulimit -n 65536` before the start";
            Finding::warning(OPEN_FILES, what, advice)
        }
        u64::MAX => Finding::fine(OPEN_FILES, format!("{whose} may have any number")),
        _ => Finding::fine(OPEN_FILES, format!("{whose} may have {limit}")),
    }
}

/// The soft limit of the process that holds the data folder, if it can be asked.
fn of_service(config: &Config) -> Option<u64> {
    let holder = fs::read_to_string(config.data_dir.join("relationships/lock")).ok()?;
    let process: u32 = holder.trim().parse().ok()?;
    // Whose process that is is said by its name; another one may have taken the number.
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    (name.trim() == "hallpass").then(|| soft_limit(&limits)).flatten()
}

/// The soft limit of open files in a text of proc(5); the highest number for none.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Whether the collector of traces can be reached.
pub(super) async fn collector(config: Arc<Config>) -> Vec<Finding> {
    let Some(tracing) = &config.tracing else { return vec![Finding::fine(TRACES, "none go anywhere")] };
    let endpoint = &tracing.endpoint;
    let Ok(uri) = endpoint.parse::<http::Uri>() else { return Vec::new() };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let connecting = tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect((host, port))).await;
    let fault = match connecting {
        Ok(Ok(_)) => return vec![Finding::fine(TRACES, format!("the collector `{endpoint}` can be reached"))],
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
    };
    let what = format!("the collector `{endpoint}` cannot be reached: {fault}");
    vec![Finding::warning(
        TRACES,
        what,
        "decisions go on, traces are dropped; start it, or mend `tracing.otlp_endpoint`",
    )]
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn few_open_files_are_a_warning() {
        assert_eq!(judge("it", 1_024, 2_048).state, State::Warning);
        assert_eq!(judge("it", 2_048, 2_048).state, State::Fine);
        assert_eq!(judge("it", u64::MAX, 2_048).state, State::Fine);
    }

    #[test]
    fn the_limit_of_a_process_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(text), Some(1_024));
        assert_eq!(soft_limit(&text.replace("1024", "unlimited")), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }
}
