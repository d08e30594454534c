//! JSON from strangers that must mean the same to everyone who reads it (RFC 7493).

use serde_json::{Map, Value};

/// The deepest nesting that is read; the outermost object counts as one.
pub(crate) const DEPTH_MAX: usize = 32;

/// Why a text is not a JSON object that has one meaning only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// The bytes are not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// Not JSON: a syntax error, a byte order mark, text behind the value, or a lone surrogate.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// An object somewhere in it has a name twice; names are compared after their escapes are read.
    DuplicateName,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl JsonFault {
    /// What is wrong, to be put behind the name of the thing that was read.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "is not UTF-8",
            Self::NotJson => "is not JSON",
            Self::NotAnObject => "is not a JSON object",
            Self::DuplicateName => "has a name twice in one object",
            Self::TooDeep => "is nested too deep",
        }
    }
}

/// Reads one JSON object.
///
/// # Errors
/// [`JsonFault`].
pub(crate) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let text = str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
    let value: Value = serde_json::from_str(text).map_err(|_| JsonFault::NotJson)?;
    let kept = members(&value, 1)?;
    let Value::Object(object) = value else { return Err(JsonFault::NotAnObject) };
    // The reader keeps the last of several members of one name, so a duplicate is a member that got lost.
    if kept == members_written(text) { Ok(object) } else { Err(JsonFault::DuplicateName) }
}

/// How many members all objects in the value have together.
fn members(value: &Value, depth: usize) -> Result<usize, JsonFault> {
    let inside = |inner: &Value| members(inner, depth + 1);
    match value {
        Value::Array(_) | Value::Object(_) if depth > DEPTH_MAX => Err(JsonFault::TooDeep),
        Value::Array(items) => items.iter().map(inside).sum(),
        Value::Object(object) => object.values().map(inside).sum::<Result<usize, _>>().map(|sum| sum + object.len()),
        _ => Ok(0),
    }
}

/// How many members are written in a text that is known to be JSON: one colon each, outside of strings.
fn members_written(text: &str) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_is_written() {
        for good in [r"{}", r#" {"a":{"b":[1,{"c":"x:y"}]},"d\"":"\\","e:":":"} "#, r#"{"a":{"x":1},"b":{"x":1}}"#] {
            assert_eq!(Value::Object(read_object(good.as_bytes()).unwrap()), good.parse::<Value>().unwrap(), "{good}");
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        for (bad, fault) in [
            (&b"{\"a\":\"\xff\"}"[..], JsonFault::NotUtf8),
            (b"", JsonFault::NotJson),
            (b"\xef\xbb\xbf{}", JsonFault::NotJson),
            (b"{} {}", JsonFault::NotJson),
            (b"{\"a\":1,}", JsonFault::NotJson),
            (b"{\"a\":\"\\ud800\"}", JsonFault::NotJson),
            (b"{\"a\":NaN}", JsonFault::NotJson),
            (b"{\"a\":1e400}", JsonFault::NotJson),
            (b"[1]", JsonFault::NotAnObject),
            (b"\"a\"", JsonFault::NotAnObject),
            (b"{\"a\":1,\"a\":1}", JsonFault::DuplicateName),
            (b"{\"scope\":1,\"sc\\u006fpe\":1}", JsonFault::DuplicateName),
            (b"{\"x\":[{\"a\":{\"b\":1}},{\"b\":{},\"b\":{\"c\":1}}]}", JsonFault::DuplicateName),
            (deep(33).as_bytes(), JsonFault::TooDeep),
            (deep(200).as_bytes(), JsonFault::NotJson),
        ] {
            assert_eq!(read_object(bad), Err(fault), "{}", String::from_utf8_lossy(bad));
        }
        assert!(read_object(deep(32).as_bytes()).is_ok());
    }
}
