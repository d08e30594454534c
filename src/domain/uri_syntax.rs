//! When two http URIs are the same one (RFC 3986 sections 6.2.2 and 6.2.3), query and fragment left out.

use std::fmt::Write;

/// An http or https URI in its normal form, without query and fragment: scheme and host in small letters, no default port,
/// percent-encoding in capitals and only where it must be, no dot segments, at least `/` as its path.
///
/// `None` for what is not an absolute http URI of visible ASCII, and for one that names a user.
pub(crate) fn normalized(uri: &str) -> Option<String> {
    let bare = uri.split(['?', '#']).next()?;
    let (scheme, rest) = bare.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = host_and_port(authority)?;
    let mut normal = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| *port != default_port) {
        write!(normal, ":{port}").ok()?;
    }
    normal.push_str(&without_dot_segments(&percent_normalized(path)?));
    Some(normal)
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let end_of_host = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.rfind(':') {
        Some(colon) if colon >= end_of_host => {
            let (host, port) = authority.split_at(colon);
            (host, port.strip_prefix(':').unwrap_or_default())
        }
        _ => (authority, ""),
    };
    let port = match port {
        "" => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        None => !host.bytes().any(|byte| b"@:[]".contains(&byte)),
    };
    if !is_host || host.is_empty() {
        return None;
    }
    // Once more after the letters are small, because what stays encoded has capitals.
    let host = percent_normalized(&percent_normalized(host)?.to_ascii_lowercase())?;
    Some((host, port))
}

/// Decodes what needs no percent-encoding and writes the rest in capitals; `None` for what may not stand in a URI.
fn percent_normalized(text: &str) -> Option<String> {
    let mut normal = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                let decoded = u8::try_from(high * 16 + low).ok()?;
                if is_unreserved(decoded) {
                    normal.push(char::from(decoded));
                } else {
                    write!(normal, "%{decoded:02X}").ok()?;
                }
            }
            _ if is_unreserved(byte) || b"!$&'()*+,;=:@/[]".contains(&byte) => normal.push(char::from(byte)),
            _ => return None,
        }
    }
    Some(normal)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 section 5.2.4, for a path that is empty or begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_dots = segment == "." || segment == "..";
        if segment == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_has_one_form() {
        for (uri, expected) in [
            ("https://api.example/a/b", "https://api.example/a/b"),
            ("HTTPS://API.Example/a/b", "https://api.example/a/b"),
            ("https://api.example:443/a/b?x=1#y", "https://api.example/a/b"),
            ("https://api.example:/a/b#y?x", "https://api.example/a/b"),
            ("https://api.example:8443", "https://api.example:8443/"),
            ("http://api.example:80", "http://api.example/"),
            ("https://api.example:80/", "https://api.example:80/"),
            ("https://api.example?x=/y", "https://api.example/"),
            ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
            ("https://%41pi%2fx.example", "https://api%2Fx.example/"),
            ("https://api.example/%7euser/%2fetc/%c3%a9", "https://api.example/~user/%2Fetc/%C3%A9"),
            ("https://api.example/a/./b/../c", "https://api.example/a/c"),
            ("https://api.example/a/%2e%2E/c/.", "https://api.example/c/"),
            ("https://api.example/../../a/..", "https://api.example/"),
            ("https://api.example/a//b", "https://api.example/a//b"),
            ("https://api.example/A", "https://api.example/A"),
        ] {
            assert_eq!(normalized(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn what_is_no_absolute_http_uri_has_none() {
        for uri in [
            "",
            "/a/b",
            "api.example/a",
            "//api.example/a",
            "ftp://api.example/a",
            "https:///a",
            "https://user@api.example/",
            "https://api.example:port/",
            "https://api.example:65536/",
            "https://api.example:+1/",
            "https://[::1/",
            "https://a:b:c/",
            "https://api.example/%zz",
            "https://api.example/%4",
            "https://api.example/a b",
            "https://api.example/ä",
            "https://api.example/a\nb",
            "https://api.example\\@other/",
        ] {
            assert_eq!(normalized(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(uri in "https?://[a-zA-Z0-9.%:\\[\\]@-]{0,20}[a-zA-Z0-9./%~?#:@;=-]{0,40}") {
            if let Some(normal) = normalized(&uri) {
                prop_assert_eq!(normalized(&normal), Some(normal.clone()));
            }
        }

        #[test]
        fn no_text_at_all_makes_it_panic(uri in ".{0,60}") {
            drop(normalized(&uri));
            drop(normalized(&format!("https://{uri}")));
        }
    }
}
