//! The text format of Prometheus 0.0.4, made of `OpenMetrics`: what differs are the names of counters and three sorts of
//! comments.

/// The same metrics, for who does not ask for `OpenMetrics`.
pub(super) fn of(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The help comes before the type, and has the type's name.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take() {
                for part in ["# HELP ", name, suffix, " ", words, "\n"] {
                    text.push_str(part);
                }
            }
            for part in ["# TYPE ", name, suffix, " ", kind, "\n"] {
                text.push_str(part);
            }
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_its_whole_name_everywhere() {
        let open = "# HELP a_b Some words.\n# TYPE a_b counter\na_b_total{c=\"# d\"} 1\n\
                    # HELP e_seconds More.\n# TYPE e_seconds gauge\n# UNIT e_seconds seconds\ne_seconds 2.5\n# EOF\n";
        let expected = "# HELP a_b_total Some words.\n# TYPE a_b_total counter\na_b_total{c=\"# d\"} 1\n\
                        # HELP e_seconds More.\n# TYPE e_seconds gauge\ne_seconds 2.5\n";
        assert_eq!(of(open), expected);
    }
}
