//! The XML of `JUnit`, in the form that build servers read: suites of cases, each passed or failed.

use std::fmt::Write as _;

use super::escaped;

/// A suite of cases, for example those of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct Suite {
    /// What it is called.
    pub(in crate::cli) name: String,
    /// Its cases.
    pub(in crate::cli) cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct Case {
    /// What it is called.
    pub(in crate::cli) name: String,
    /// What it belongs to, for example a file.
    pub(in crate::cli) class: String,
    /// How long it took.
    pub(in crate::cli) seconds: Option<f64>,
    /// Why it failed; none where it passed.
    pub(in crate::cli) failure: Option<Failure>,
    /// What is worth a look though it passed.
    pub(in crate::cli) output: String,
}

/// Why a case failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Failure {
    /// What kind of failure it is.
    pub(in crate::cli) kind: String,
    /// In one line.
    pub(in crate::cli) message: String,
    /// In full.
    pub(in crate::cli) text: String,
}

/// The document.
pub(in crate::cli) fn document(suites: &[Suite]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let failures = suite.cases.iter().filter(|case| case.failure.is_some()).count();
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">",
            attribute(&suite.name),
            suite.cases.len()
        );
        for case in &suite.cases {
            write_case(&mut text, case);
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn write_case(text: &mut String, case: &Case) {
    let Case { name, class, seconds, failure, output } = case;
    let seconds = seconds.map(|seconds| format!(" time=\"{seconds:.3}\"")).unwrap_or_default();
    let _infallible =
        write!(text, "    <testcase name=\"{}\" classname=\"{}\"{seconds}", attribute(name), attribute(class));
    if failure.is_none() && output.is_empty() {
        text.push_str("/>\n");
        return;
    }
    text.push_str(">\n");
    if let Some(Failure { kind, message, text: whole }) = failure {
        let (kind, message) = (attribute(kind), attribute(message));
        let _infallible =
            writeln!(text, "      <failure type=\"{kind}\" message=\"{message}\">{}</failure>", escaped(whole));
    }
    if !output.is_empty() {
        let _infallible = writeln!(text, "      <system-out>{}</system-out>", escaped(output));
    }
    text.push_str("    </testcase>\n");
}

/// A text within double quotes, in one line.
fn attribute(text: &str) -> String {
    escaped(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_document_is_read_back_as_it_was() {
        let failure = Failure { kind: "syntax".into(), message: "a < \"b\"\nc".into(), text: "x & y\n\u{7}<z>".into() };
        let case =
            |name: &str, failure| Case { name: name.into(), class: "a.cedar".into(), failure, ..Case::default() };
        let cases = vec![case("<good>", None), case("bad", Some(failure))];
        let text = document(&[Suite { name: "policies/a".into(), cases }]);
        let read = roxmltree::Document::parse(&text).unwrap();
        let suite = read.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!((suite.attribute("tests"), suite.attribute("failures")), (Some("2"), Some("1")));
        let names: Vec<_> = suite.children().filter_map(|node| node.attribute("name")).collect();
        assert_eq!(names, ["<good>", "bad"]);
        let failure = read.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("message"), Some("a < \"b\" c"));
        assert_eq!(failure.text(), Some("x & y\n?<z>"));
    }
}
