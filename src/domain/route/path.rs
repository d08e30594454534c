//! The target of an HTTP request, taken apart in one way only: what servers read in more than one way is refused.
//!
//! Who decides about a path and who serves it must see the same one. Servers differ in when they decode, which characters
//! they take for separators, and what they do with dots; so whatever could tell them apart is a fault here (RFC 3986 sections
//! 2.4, 3.3 and 6.2; "deny when in doubt").

use std::fmt;

/// A path as segments, each decoded exactly once, and the query behind it as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Path {
    segments: Vec<String>,
    query: String,
}

/// Why a target is refused. No fault repeats what was sent: paths hold ids of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathFault {
    /// Longer than [`Path::BYTES_MAX`].
    #[error("the path is longer than 8 KiB")]
    TooLong,
    /// It does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// A byte that may not stand in a URI: a blank, a control character, or none of ASCII.
    #[error("the path holds a character that no URI may hold")]
    Character,
    /// A fragment, which never belongs to a request.
    #[error("the path holds `#`")]
    Fragment,
    /// A `%` without two hexadecimal digits.
    #[error("the path holds a `%` that encodes nothing")]
    Percent,
    /// `\`, or an encoded `/` or `\`: separators to some.
    #[error("the path holds an encoded slash or a backslash")]
    Separator,
    /// `//`, which some read as `/`.
    #[error("the path holds an empty segment")]
    Empty,
    /// A segment `.` or `..`, encoded or not.
    #[error("the path holds a segment of dots")]
    Dots,
    /// `;`, behind which some read parameters that are no part of the path.
    #[error("the path holds `;`")]
    Parameters,
    /// An encoded `?` or `#`: behind it, who decodes before taking apart reads a query or a fragment, and a shorter path.
    #[error("the path holds an encoded `?` or `#`")]
    Delimiter,
    /// An encoded control character.
    #[error("the path holds an encoded control character")]
    Control,
    /// Decoded, it is not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Decoded, it holds a `%`: who decodes twice reads another path. That is so whatever follows; some drop a `%` that encodes
    /// nothing, so that `.%25.` becomes `..`.
    #[error("the path, or a parameter that counts, is encoded twice")]
    EncodedTwice,
    /// A query parameter that counts is there twice, or in a spelling that some read as the same.
    #[error("a query parameter that counts comes in more than one way")]
    Query,
}

impl Path {
    /// The longest target, path and query together, in bytes.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// Reads the target of a request as it came: a path, and perhaps `?` and a query.
    ///
    /// # Errors
    /// [`PathFault`], the first in the order of the text.
    pub fn read(raw: &[u8]) -> Result<Self, PathFault> {
        if raw.len() > Self::BYTES_MAX {
            return Err(PathFault::TooLong);
        }
        if let Some(byte) = raw.iter().find(|byte| !byte.is_ascii_graphic() || **byte == b'#') {
            return Err(if *byte == b'#' { PathFault::Fragment } else { PathFault::Character });
        }
        let text = str::from_utf8(raw).map_err(|_| PathFault::Character)?;
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let below = path.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
        let mut segments = Vec::new();
        if !below.is_empty() {
            let mut parts = below.split('/').peekable();
            while let Some(part) = parts.next() {
                // The last one alone may be empty: `/a/` ends in a slash.
                if part.is_empty() && parts.peek().is_some() {
                    return Err(PathFault::Empty);
                }
                segments.push(segment(part)?);
            }
        }
        if segments.iter().all(String::is_empty) && !segments.is_empty() {
            return Err(PathFault::Empty);
        }
        Ok(Self { segments, query: query.to_owned() })
    }

    /// The segments, decoded; none for `/`. The last one is empty where the path ends in a slash.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path with its segments decoded. No segment holds a slash, so two paths never give the same text.
    pub fn decoded(&self) -> String {
        if self.segments.is_empty() { "/".to_owned() } else { self.segments.iter().flat_map(|it| ["/", it]).collect() }
    }

    /// The value of a query parameter, decoded once; `None` where it does not come.
    ///
    /// # Errors
    /// [`PathFault::Query`] for one that comes twice, in another spelling (`Id`, `id[]`), or in a query that some take apart
    /// at `;` or in which `+` could be a blank; [`PathFault::EncodedTwice`] for a value that holds `%`, and for any parameter
    /// whose name does, because it may be this one; [`PathFault`] for what cannot be decoded.
    pub fn query(&self, name: &str) -> Result<Option<String>, PathFault> {
        let wanted = folded(name);
        let mut found = None;
        for (own, value) in self.pairs() {
            let own = once(own)?;
            if folded(&own) != wanted {
                continue;
            }
            if own != name || found.replace(value).is_some() {
                return Err(PathFault::Query);
            }
        }
        let Some(value) = found else {
            // A name that hides behind a `;` was found above: the query is taken apart there, too.
            return Ok(None);
        };
        if value.contains('+') || self.query.contains(';') {
            return Err(PathFault::Query);
        }
        let value = once(value)?;
        if value.chars().any(char::is_control) { Err(PathFault::Control) } else { Ok(Some(value)) }
    }

    /// Names and values as they came. Some take a query apart at `;` as well.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.query.split(['&', ';']).filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

/// Shows nothing of what was asked for: it may name people.
impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({} segments)", self.segments.len())
    }
}

/// What frameworks take for the same name: letters of either size, blanks around it, an index behind it.
fn folded(name: &str) -> String {
    let bare = name.split('[').next().unwrap_or_default();
    bare.replace('+', " ").trim_matches([' ', '\0']).to_ascii_lowercase()
}

/// A segment decoded once.
pub(super) fn segment(part: &str) -> Result<String, PathFault> {
    if part.contains('\\') {
        return Err(PathFault::Separator);
    }
    let segment = once(part)?;
    if segment.contains(['/', '\\']) {
        return Err(PathFault::Separator);
    }
    if segment.contains(['?', '#']) {
        return Err(PathFault::Delimiter);
    }
    if segment.contains(';') {
        return Err(PathFault::Parameters);
    }
    if segment.chars().any(char::is_control) {
        return Err(PathFault::Control);
    }
    if matches!(segment.as_str(), "." | "..") {
        return Err(PathFault::Dots);
    }
    Ok(segment)
}

/// A text that is the same whether it is decoded once or more often.
fn once(text: &str) -> Result<String, PathFault> {
    let decoded = decoded(text)?;
    if decoded.contains('%') { Err(PathFault::EncodedTwice) } else { Ok(decoded) }
}

/// Each `%XX` as the byte that it stands for.
fn decoded(text: &str) -> Result<String, PathFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(PathFault::Percent) };
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| PathFault::NotUtf8)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(raw: &[u8], expected: PathFault) {
        assert_eq!(Path::read(raw), Err(expected), "{}", String::from_utf8_lossy(raw));
    }

    #[test]
    fn a_path_is_decoded_once_and_taken_apart() {
        for (raw, expected) in [
            ("/", &[][..]),
            ("/a", &["a"]),
            ("/a/", &["a", ""]),
            ("/a/b%20c/d?x=/../y", &["a", "b c", "d"]),
            ("/%61/%C3%A9/A", &["a", "é", "A"]),
            ("/100/a:b,c=(d)&e+f@g", &["100", "a:b,c=(d)&e+f@g"]),
            ("/a..b/.c/...", &["a..b", ".c", "..."]),
            ("/%22%3c%3e%5b%5d%7b%7d/%26%3d", &["\"<>[]{}", "&="]),
        ] {
            let path = Path::read(raw.as_bytes()).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
            assert_eq!(path.segments(), expected, "{raw}");
        }
        assert_eq!(Path::read(b"/a/%C3%A9/").unwrap().decoded(), "/a/é/");
        assert_eq!(Path::read(b"/").unwrap().decoded(), "/");
    }

    #[test]
    fn what_servers_read_in_more_than_one_way_is_refused() {
        for (raw, expected) in [
            ("", PathFault::NotAbsolute),
            ("a/b", PathFault::NotAbsolute),
            ("*", PathFault::NotAbsolute),
            ("http://host/a", PathFault::NotAbsolute),
            ("//a", PathFault::Empty),
            ("//", PathFault::Empty),
            ("/a//b", PathFault::Empty),
            ("/a//", PathFault::Empty),
            ("/a/./b", PathFault::Dots),
            ("/a/..", PathFault::Dots),
            ("/a/%2e%2E/b", PathFault::Dots),
            ("/a/.%2e", PathFault::Dots),
            ("/a/%2e", PathFault::Dots),
            ("/a%2fb", PathFault::Separator),
            ("/a%2Fb", PathFault::Separator),
            ("/a%5cb", PathFault::Separator),
            ("/a\\b", PathFault::Separator),
            ("/a/..\\b", PathFault::Separator),
            ("/a;b=c/d", PathFault::Parameters),
            ("/a/..;/b", PathFault::Parameters),
            ("/a%3bb", PathFault::Parameters),
            ("/a%00", PathFault::Control),
            ("/a%0d%0a", PathFault::Control),
            ("/a%7f", PathFault::Control),
            ("/a%c2%85", PathFault::Control),
            ("/a%", PathFault::Percent),
            ("/a%4", PathFault::Percent),
            ("/a%zz", PathFault::Percent),
            ("/a%+1", PathFault::Percent),
            ("/%c0%af", PathFault::NotUtf8),
            ("/%ff", PathFault::NotUtf8),
            ("/%ed%a0%80", PathFault::NotUtf8),
            ("/a%3fb", PathFault::Delimiter),
            ("/a%3Fb=c/d", PathFault::Delimiter),
            ("/a/%3f", PathFault::Delimiter),
            ("/a%23b", PathFault::Delimiter),
            ("/%23/a", PathFault::Delimiter),
            ("/a%252fb", PathFault::EncodedTwice),
            ("/%252e%252e/a", PathFault::EncodedTwice),
            ("/a%2541", PathFault::EncodedTwice),
            ("/a%253fb", PathFault::EncodedTwice),
            ("/a%25252fb", PathFault::EncodedTwice),
            ("/a%25%32%66b", PathFault::EncodedTwice),
            ("/a%25u002fb", PathFault::EncodedTwice),
            ("/a/.%25./b", PathFault::EncodedTwice),
            ("/100%25", PathFault::EncodedTwice),
            ("/a#b", PathFault::Fragment),
            ("/a?b#c", PathFault::Fragment),
            ("/a b", PathFault::Character),
            ("/a\tb", PathFault::Character),
            ("/é", PathFault::Character),
            ("/a?é", PathFault::Character),
        ] {
            refused(raw.as_bytes(), expected);
        }
        refused(b"/a\0", PathFault::Character);
        refused(b"/\xff", PathFault::Character);
        refused(format!("/{}", "a".repeat(Path::BYTES_MAX)).as_bytes(), PathFault::TooLong);
        assert!(Path::read(format!("/{}", "a".repeat(Path::BYTES_MAX - 1)).as_bytes()).is_ok());
    }

    #[test]
    fn a_query_parameter_counts_when_it_comes_in_one_way_only() {
        for (query, expected) in [
            ("", Ok(None)),
            ("x=1", Ok(None)),
            ("id=7", Ok(Some("7"))),
            ("x=1&id=%C3%A9%2B&y", Ok(Some("é+"))),
            ("id", Ok(Some(""))),
            ("id=a=b", Ok(Some("a=b"))),
            ("%69d=7", Ok(Some("7"))),
            ("id=7&id=8", Err(PathFault::Query)),
            ("id=7&id=7", Err(PathFault::Query)),
            ("ID=7", Err(PathFault::Query)),
            ("id=7&Id=8", Err(PathFault::Query)),
            ("id[]=8", Err(PathFault::Query)),
            ("id=7&id[0]=8", Err(PathFault::Query)),
            ("+id=7", Err(PathFault::Query)),
            ("id%20=7", Err(PathFault::Query)),
            ("x=1;id=7", Err(PathFault::Query)),
            ("id=7;x=1", Err(PathFault::Query)),
            ("id=a+b", Err(PathFault::Query)),
            ("id=%0a", Err(PathFault::Control)),
            ("id=%", Err(PathFault::Percent)),
            ("i%zz=1&id=7", Err(PathFault::Percent)),
            ("id=%ff", Err(PathFault::NotUtf8)),
            ("x=%&id=7", Ok(Some("7"))),
            ("id=%3f%23%2f", Ok(Some("?#/"))),
            ("x=100%25&id=7", Ok(Some("7"))),
            ("id=100%25", Err(PathFault::EncodedTwice)),
            ("id=%2538", Err(PathFault::EncodedTwice)),
            ("id=7&%2569d=8", Err(PathFault::EncodedTwice)),
        ] {
            let path = Path::read(format!("/a?{query}").as_bytes()).unwrap();
            assert_eq!(path.query("id"), expected.map(|value: Option<&str>| value.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn neither_a_path_nor_a_fault_shows_what_was_asked_for() {
        let path = Path::read(b"/students/ada?x=ada").unwrap();
        assert_eq!(format!("{path:?}"), "Path(2 segments)");
    }

    /// The segments as a client would send them.
    fn rendered(segments: &[String]) -> String {
        if segments.is_empty() {
            return "/".to_owned();
        }
        let mut raw = String::new();
        for segment in segments {
            raw.push('/');
            for byte in segment.bytes() {
                if byte.is_ascii_alphanumeric() {
                    raw.push(char::from(byte));
                } else {
                    write!(raw, "%{byte:02X}").unwrap();
                }
            }
        }
        raw
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let raw: Vec<u8> = std::iter::once(b'/').chain(raw).collect();
            if let Ok(path) = Path::read(&raw) {
                drop(path.query("id"));
                let is_plain = |it: &String| !it.contains(['/', '\\', ';', '?', '#', '\0']) && it != ".." && it != ".";
                prop_assert!(path.segments().iter().all(is_plain));
            }
        }

        #[test]
        fn who_decodes_more_than_once_reads_the_same_path(raw in "/[ab]{0,2}(%(25|2e|61|3f|[0-9a-f]{2})[./0-9a-fu]{0,3}){0,4}") {
            if let Ok(path) = Path::read(raw.as_bytes()) {
                for segment in path.segments() {
                    prop_assert_eq!(decoded(segment), Ok(segment.clone()));
                }
            }
        }

        #[test]
        fn a_path_that_is_written_anew_is_the_same(raw in "/[a-c./%2345fF?;\\\\ ]{0,24}") {
            if let Ok(path) = Path::read(raw.as_bytes()) {
                let again = Path::read(rendered(path.segments()).as_bytes());
                let again = again.map(|path| path.segments().to_vec());
                prop_assert_eq!(again, Ok(path.segments().to_vec()));
            }
        }

        #[test]
        fn two_paths_never_give_the_same_text(a in "/[ab%2/]{0,8}", b in "/[ab%2/]{0,8}") {
            if let (Ok(a), Ok(b)) = (Path::read(a.as_bytes()), Path::read(b.as_bytes())) {
                prop_assert_eq!(a.decoded() == b.decoded(), a.segments() == b.segments());
            }
        }
    }
}
