//! SARIF 2.1.0 (OASIS): what code hosts and editors show beside the lines of a change.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::domain::fault::{Code, Fault, Severity};

/// Where the meaning of each code is told.
const PAGE: &str = "docs/checks.md";

/// A log of one run with these faults. Files are named relative to where the program runs, as the log's readers want them.
pub(in crate::cli) fn log(faults: &[Fault]) -> Json {
    let rules: Vec<Json> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Json> = faults.iter().map(result).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "hallpass",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Json {
    let sentence = |text: &str| {
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}.", letters.as_str())
    };
    json!({
        "id": code.as_str(),
        "shortDescription": { "text": sentence(code.meaning()) },
        "help": { "text": format!("{} See {PAGE}.", sentence(code.fix())) },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn result(fault: &Fault) -> Json {
    let Fault { file, line, column, source_line, message, end_line, end_column, severity, code, help } = fault;
    let text = help.as_ref().map_or_else(|| message.clone(), |help| format!("{message}\n{help}"));
    let mut location = json!({ "artifactLocation": { "uri": uri(file) } });
    if let Some(object) = location.as_object_mut().filter(|_| *line > 0) {
        let region = json!({
            "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
            "snippet": { "text": source_line },
        });
        object.insert("region".to_owned(), region);
    }
    let index = Code::ALL.iter().position(|known| known == code);
    json!({
        "ruleId": code.as_str(),
        "ruleIndex": index,
        "level": level(*severity),
        "message": { "text": text },
        "locations": [{ "physicalLocation": location }],
    })
}

/// A path as a relative reference (RFC 3986): forward slashes, and `%` before what a URI can't hold.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    let path = path.replace('\\', "/");
    for byte in path.strip_prefix("./").unwrap_or(&path).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members that SARIF 2.1.0 requires, and those whose values it limits.
    fn check_shape(log: &Json) {
        assert_eq!(log["version"], "2.1.0");
        for run in log["runs"].as_array().unwrap() {
            let driver = &run["tool"]["driver"];
            assert!(driver["name"].is_string());
            let rules = driver["rules"].as_array().unwrap();
            for rule in rules {
                assert!(rule["id"].is_string() && rule["help"]["text"].is_string(), "{rule}");
            }
            for result in run["results"].as_array().unwrap() {
                assert!(result["message"]["text"].is_string(), "{result}");
                assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
                let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
                assert_eq!(rules[index]["id"], result["ruleId"]);
                for location in result["locations"].as_array().unwrap() {
                    let place = &location["physicalLocation"];
                    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
                    assert!(!uri.starts_with('/') && !uri.contains([' ', '\\']), "{uri}");
                    let number = |name: &str| place["region"][name].as_u64();
                    if place.get("region").is_some() {
                        assert!(number("startLine") >= Some(1) && number("startColumn") >= Some(1), "{place}");
                        assert!(number("endLine") >= number("startLine"), "{place}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_log_has_the_shape_of_the_standard() {
        let faults = [
            Fault::at("policies/a b/x.cedar", "permit (x)", Some(8..9), "wrong").coded(Code::Syntax).helped("mend it"),
            Fault::in_file("policies/a/realm.toml", "missing").coded(Code::MissingFile),
            Fault::in_file("policies/a/realm.toml", "nothing").coded(Code::NoPolicies),
        ];
        let log = log(&faults);
        check_shape(&log);
        let results = log["runs"][0]["results"].as_array().unwrap();
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "policies/a%20b/x.cedar");
        assert_eq!((&place["region"]["startColumn"], &place["region"]["endColumn"]), (&json!(9), &json!(10)));
        assert_eq!(results[0]["message"]["text"], "wrong\nmend it");
        assert_eq!(results[2]["level"], "warning");
    }
}
