//! Secrets in a realm's files. Whoever reads the files, the versions that the data folder keeps, or a log of faults would
//! have them, so the text of a fault never shows one.

use std::ops::Range;

use crate::domain::{
    fault::{Code, Fault},
    policy_set::SourceFile,
};

/// What stands in place of a secret.
const MASK: &str = "********";

/// Finds secrets, each as a fault whose line is masked.
pub(super) fn find(files: &[SourceFile]) -> Vec<Fault> {
    files.iter().flat_map(|file| spans(&file.content).into_iter().map(|found| fault(file, found))).collect()
}

/// The faults with each line masked that holds a secret: another fault may stand on it.
pub(super) fn masked(faults: Vec<Fault>) -> Vec<Fault> {
    faults.into_iter().map(|fault| Fault { source_line: mask(&fault.source_line), ..fault }).collect()
}

fn fault(file: &SourceFile, (span, what): (Range<usize>, &'static str)) -> Fault {
    let at = Fault::at(&file.path, &file.content, Some(span), format!("{what} in a file that others read"));
    let help = "take it out and make a new one: this one counts as known. A deployment keeps secrets in files or variables of its own";
    let (end_line, end_column) = (at.line, at.column + MASK.len());
    Fault { end_line, end_column, ..at.coded(Code::Secret).helped(help) }
}

fn mask(line: &str) -> String {
    let mut shown = line.to_owned();
    for (span, _) in spans(line).into_iter().rev() {
        if shown.is_char_boundary(span.start) && shown.is_char_boundary(span.end) {
            shown.replace_range(span, MASK);
        }
    }
    shown
}

/// The secrets of a text by place, none within another, each with what it is.
fn spans(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found = private_keys(text);
    found.extend(tokens(text));
    found.extend(private_parts(text));
    found.extend(named(text));
    found.sort_by_key(|(span, _)| (span.start, usize::MAX - span.end));
    let mut end = 0;
    found.retain(|(span, _)| {
        let is_apart = span.start >= end;
        end = end.max(span.end);
        is_apart
    });
    found
}

/// PEM blocks of private keys (RFC 7468), by their first line.
fn private_keys(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let starts = text.match_indices("-----BEGIN ").map(|(start, _)| start);
    let found = starts.filter_map(|start| {
        let rest = text.get(start..)?.lines().next()?;
        let end = rest.find(" KEY-----")? + " KEY-----".len();
        rest.get(..end)?.contains("PRIVATE").then_some((start..start + end, "a private key"))
    });
    found.collect()
}

/// Compact tokens (RFC 7515 section 3.1), and keys of services that mark theirs by a beginning.
fn tokens(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c);
    words(text, is_part).filter_map(|(span, word)| Some((span, token(word)?))).collect()
}

/// Keys of services by how they begin, each with its least length.
const MARKS: [(&str, usize); 7] =
    [("AKIA", 20), ("ghp_", 40), ("github_pat_", 50), ("glpat-", 26), ("xoxb-", 40), ("sk_live_", 24), ("AIza", 39)];

fn token(word: &str) -> Option<&'static str> {
    let parts: Vec<&str> = word.split('.').collect();
    if let [header, payload, signature] = parts.as_slice()
        && header.starts_with("eyJ")
        && payload.starts_with("eyJ")
        && header.len() > 15
        && signature.len() >= 20
    {
        return Some("a token");
    }
    MARKS.iter().any(|(mark, length)| word.starts_with(mark) && word.len() >= *length).then_some("a key of a service")
}

/// The runs of such characters, with their places.
fn words(text: &str, is_part: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut at = 0;
    text.split(move |c: char| !is_part(c)).filter_map(move |word| {
        let start = at + text.get(at..)?.find(word)?;
        at = start + word.len();
        (!word.is_empty()).then_some((start..at, word))
    })
}

/// The private member of a JWK (RFC 7517 section 9.3, RFC 7518 section 6): `d`, or `k` of a key with `"kty": "oct"`.
fn private_parts(text: &str) -> Vec<(Range<usize>, &'static str)> {
    if !text.contains("kty") {
        return Vec::new();
    }
    let is_shared = text.contains("oct");
    let pairs = pairs(text).filter(|(key, value, _)| {
        (*key == "d" || *key == "k" && is_shared)
            && value.len() >= 20
            && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    });
    pairs.map(|(_, _, span)| (span, "a private key")).collect()
}

/// Values under a key that says that they are secret.
fn named(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let found = pairs(text).filter(|(key, value, _)| is_secret_key(key) && is_secret(value));
    found.map(|(_, _, span)| (span, "a secret")).collect()
}

fn is_secret_key(key: &str) -> bool {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let whole = ["password", "passwd", "apikey", "accesstoken", "refreshtoken", "privatekey", "signingkey"];
    key.ends_with("secret") || whole.iter().any(|name| key.ends_with(name))
}

/// No placeholder, no path and no sentence: a text that could open something.
fn is_secret(value: &str) -> bool {
    let is_placeholder = value.contains(['{', '<', '$', '…', ' ', '/']) || value.chars().all(|c| c == '*' || c == 'x');
    let is_file = [".pem", ".key", ".json", ".txt"].iter().any(|ending| value.ends_with(ending));
    let is_word = value.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '-') && value.len() < 16;
    value.len() >= 8 && !is_placeholder && !is_file && !is_word
}

/// `key = "value"`, `"key": "value"` and `key: value`: each line's pairs, with the place of the value.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str, Range<usize>)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    words(text, is_part).filter_map(|(span, key)| {
        let rest = text.get(span.end..)?;
        let value = rest.trim_start_matches(['"', '\'']).trim_start_matches(' ');
        let value = value.strip_prefix(['=', ':'])?.trim_start_matches(' ');
        let bare = value.strip_prefix(['"', '\'']);
        let start = text.len() - bare.unwrap_or(value).len();
        let value = match bare {
            Some(quoted) => quoted.split(['"', '\'', '\n']).next()?,
            None => value.split([',', '}', '\n', ' ']).next()?,
        };
        Some((key, value, start..start + value.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str) -> Vec<String> {
        let file = SourceFile { path: "realm.toml".into(), content: content.into() };
        let faults = masked(find(&[file]));
        faults.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.source_line)).collect()
    }

    #[test]
    fn secrets_are_found_and_never_shown() {
        let word = "Q".repeat(24);
        for (content, expected) in [
            (format!("a = 1\nclient_secret = \"{word}\"\n"), "2:18 client_secret = \"********\""),
            (format!("{{\"kty\": \"RSA\", \"d\": \"{word}\"}}"), "1:22 {\"kty\": \"RSA\", \"d\": \"********\"}"),
            (format!("key = {{ kty = \"oct\", k = \"{word}\" }}"), "1:27 key = { kty = \"oct\", k = \"********\" }"),
            (format!("t: eyJ{word}.eyJ{word}.{word}"), "1:4 t: ********"),
            ("k = \"-----BEGIN EC PRIVATE KEY-----\"".into(), "1:6 k = \"********\""),
            (format!("password: Tr0ub4dor&3{word}"), "1:11 password: ********"),
            (format!("id: AKIA{word}"), "1:5 id: ********"),
        ] {
            assert_eq!(found(&content), [expected], "{content}");
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_is_left_alone() {
        for content in [
            "client_secret = \"{secret}\"",
            "key_file = \"keys/private_key.pem\"",
            "private_key = \"signing.pem\"",
            "detail = \"The password: is wrong, say so\"",
            "title = \"eyJ is how tokens begin\"",
            "-----BEGIN PUBLIC KEY-----",
            "{\"kty\": \"RSA\", \"n\": \"QQQQQQQQQQQQQQQQQQQQQQQQ\", \"e\": \"AQAB\"}",
            "claim = \"secret\"",
            "d = \"QQQQQQQQQQQQQQQQQQQQQQQQ\"",
        ] {
            assert_eq!(found(content), Vec::<String>::new(), "{content}");
        }
    }
}
