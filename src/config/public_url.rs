//! Where the service is found from outside.

use std::sync::Arc;

/// Metadata name the place to clients, who are led nowhere by an address that stands for all.
pub(super) const MISSING: &str = "`http_address` is every address of this machine, so it has to be said where HTTP is found from \
                                  outside, expected `public_url`, for example `https://pdp.example`";

/// Takes a base of URLs: http or https, a host, a path if there is one, nothing behind it. Without a slash at the end.
pub(super) fn public_url(text: &str) -> Result<Arc<str>, String> {
    let wrong = |what: &str| Err(format!("`{text}` {what}, expected for example `https://pdp.example`"));
    let Some((_, rest)) = text.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) else {
        return wrong("is no URL of http or https");
    };
    if rest.contains(['?', '#', '@']) {
        return wrong("has a query, a fragment or a user");
    }
    if rest.starts_with(['/', ':']) || rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("has no host, or signs that no URL has");
    }
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) || path.contains("//") {
        return wrong("has a path of other signs than letters, digits, `-`, `.`, `_`, `~` and single `/`");
    }
    Ok(text.trim_end_matches('/').into())
}

#[cfg(test)]
mod tests {
    use super::public_url;

    #[test]
    fn a_base_of_urls_has_a_host_and_nothing_behind_its_path() {
        for (text, expected) in [
            ("https://pdp.example", "https://pdp.example"),
            ("https://pdp.example/", "https://pdp.example"),
            ("http://127.0.0.1:8080/authz/", "http://127.0.0.1:8080/authz"),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(expected));
        }
        for text in [
            "",
            "pdp.example",
            "ftp://pdp.example",
            "https://",
            "https:///x",
            "https://u@h",
            "https://h?x",
            "https://h#x",
            "https://h x",
            "https://h/{a}",
            "https://h/a//b",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }
}
