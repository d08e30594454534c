//! What came of tests in the XML that continuous integration reads: a suite for each file, and one for each realm with
//! what was asked for besides.

use std::fmt::Write as _;

use super::{Arguments, Report, shortfalls};
use crate::domain::policy_test::CaseResult;

pub(super) fn of(reports: &[Report], arguments: &Arguments) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"hallpass\">\n");
    for report in reports {
        match &report.found {
            Ok(found) => {
                for cases in found.cases.chunk_by(|one, other| one.file == other.file) {
                    let shown: Vec<_> = cases.iter().map(|case| (case.name.as_str(), failure(case))).collect();
                    let file = cases.first().map_or("", |case| case.file.as_str());
                    suite(&mut text, &report.path(file), &shown);
                }
                let mut wrong = shortfalls(found, arguments);
                wrong.extend(found.undeserved.iter().map(ToString::to_string));
                if !wrong.is_empty() {
                    let shown: Vec<_> = wrong.into_iter().map(|sentence| ("thresholds", Some(sentence))).collect();
                    suite(&mut text, &report.folder.display().to_string(), &shown);
                }
            }
            Err(faults) => {
                let shown: Vec<_> = faults.iter().map(|fault| ("faults", Some(fault.to_string()))).collect();
                suite(&mut text, &report.folder.display().to_string(), &shown);
            }
        }
    }
    text.push_str("</testsuites>\n");
    text
}

fn failure(case: &CaseResult) -> Option<String> {
    let where_it_is = format!("{}:{}", case.file, case.line);
    (!case.differences.is_empty()).then(|| format!("{where_it_is}\n{}", case.differences.join("\n")))
}

fn suite(text: &mut String, name: &str, cases: &[(&str, Option<String>)]) {
    let (name, tests) = (escaped(name), cases.len());
    let failures = cases.iter().filter(|(_, failure)| failure.is_some()).count();
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\">");
    for (case, failure) in cases {
        let case = escaped(case);
        let _infallible = match failure {
            None => writeln!(text, "    <testcase classname=\"{name}\" name=\"{case}\"/>"),
            Some(failure) => {
                let message = escaped(failure.lines().last().unwrap_or_default());
                writeln!(
                    text,
                    "    <testcase classname=\"{name}\" name=\"{case}\">\n      <failure message=\"{message}\">{}</failure>\n    </testcase>",
                    escaped(failure)
                )
            }
        };
    }
    text.push_str("  </testsuite>\n");
}

/// A text within XML 1.0 or HTML; what neither can hold becomes a question mark.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_say_cannot_break_the_xml() {
        let mut text = String::new();
        let cases = [("a <b> & \"c\"", None), ("d", Some("e:1\nexpected ]]> found \u{1b}".to_owned()))];
        suite(&mut text, "tests/x'.yaml", &cases);
        let tree = roxmltree::Document::parse(&text).unwrap();
        let named: Vec<_> = tree.descendants().filter_map(|node| node.attribute("name")).collect();
        assert_eq!(named, ["tests/x'.yaml", "a <b> & \"c\"", "d"]);
        let failure = tree.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.text(), Some("e:1\nexpected ]]> found ?"));
        assert_eq!(tree.root_element().attribute("failures"), Some("1"));
    }
}
