//! Coverage as a page: the text of all policies, each condition in the colour of what the tests have seen of it.

use std::{fmt::Write as _, ops::Range};

use super::{
    Report,
    coverage::{Mark, mark, mark_of_policy},
    percent,
};
use crate::{
    cli::report::escaped,
    domain::{coverage::Coverage, policy_set::SourceFile},
};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #ddd}
td.number{text-align:right;font-variant-numeric:tabular-nums}
pre{font:13px/1.6 ui-monospace,monospace;background:#fafafa;border:1px solid #ddd;padding:1rem;overflow-x:auto;counter-reset:line}
.both{background:#c9f0cf}.half{background:#ffe9a8}.none{background:#ffc9c5}
.half::after,.none::after{content:' \u{25c2} ' attr(data-seen);font-size:11px;color:#7a2e00}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#202020;border-color:#444}
td,th{border-color:#444}.both{background:#1d4526}.half{background:#5a4a10}.none{background:#5e2320}
.half::after,.none::after{color:#ffb48a}}
";

pub(super) fn of(reports: &[Report]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>What the tests see of the policies</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>What the tests see of the policies</h1>\n<p><span class=\"both\">true and false</span>, or applied; \
         <span class=\"half\" data-seen=\"what is missing\">one of both</span>; \
         <span class=\"none\" data-seen=\"never asked\">neither</span></p>\n"
    );
    let shown = reports.iter().filter_map(|report| {
        let coverage = report.found.as_ref().ok()?.coverage.as_ref()?;
        Some((report, coverage))
    });
    page.push_str("<table>\n<tr><th>realm</th><th>policies</th><th>seen</th></tr>\n");
    for (report, coverage) in shown.clone() {
        let (name, policies) = (escaped(&report.folder.display().to_string()), coverage.policies.len());
        let share = percent(coverage.share());
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            page,
            "<tr><td><a href=\"#{name}\">{name}</a></td><td class=\"number\">{policies}</td><td class=\"number\">{share}</td></tr>"
        );
    }
    page.push_str("</table>\n");
    for report in reports {
        let name = escaped(&report.folder.display().to_string());
        match &report.found {
            Err(faults) => {
                let _infallible = writeln!(page, "<h2>{name}</h2>\n<p>{} faults: not run</p>", faults.len());
            }
            Ok(found) => {
                let failed = found.failed().count();
                if failed > 0 {
                    let _infallible = writeln!(page, "<p>{name}: {failed} of its tests fail</p>");
                }
            }
        }
    }
    for (report, coverage) in shown {
        let name = escaped(&report.folder.display().to_string());
        let _infallible = writeln!(page, "<h2 id=\"{name}\">{name}</h2>");
        for file in report.files.iter().filter(|file| coverage.policies.iter().any(|policy| policy.file == file.path)) {
            let marked = marked(file, coverage);
            let _infallible = writeln!(page, "<h3>{}</h3>\n<pre>{marked}</pre>", escaped(&file.path));
        }
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The text of a file with its conditions marked. Policies without conditions are marked as a whole.
fn marked(file: &SourceFile, coverage: &Coverage) -> String {
    let mut marks: Vec<(Range<usize>, Mark, &str)> = Vec::new();
    for policy in coverage.policies.iter().filter(|policy| policy.file == file.path) {
        if policy.conjuncts.is_empty() {
            let (mark, word) = mark_of_policy(policy);
            marks.push((policy.span.clone(), mark, word));
        }
        for conjunct in &policy.conjuncts {
            let (mark, word) = mark(conjunct);
            marks.push((conjunct.span.clone(), mark, word));
        }
    }
    marks.sort_by_key(|(span, _, _)| span.start);
    let (mut text, mut at) = (String::new(), 0);
    let part = |span: Range<usize>| escaped(file.content.get(span).unwrap_or_default());
    for (span, mark, word) in marks.into_iter().filter(|(span, _, _)| !span.is_empty()) {
        let class = match mark {
            Mark::Both => "both",
            Mark::Half => "half",
            Mark::None => "none",
        };
        if span.start < at {
            continue;
        }
        let _infallible = write!(
            text,
            "{}<span class=\"{class}\" data-seen=\"{word}\" title=\"{word}\">{}</span>",
            part(at..span.start),
            part(span.clone())
        );
        at = span.end;
    }
    text.push_str(&part(at..file.content.len()));
    text
}
