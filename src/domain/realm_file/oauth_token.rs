//! `[oauth_token]` of realm.toml: how applications get tokens over HTTP.

use std::sync::Arc;

use crate::domain::document::Table;

/// How `POST /oauth/token` issues tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthTokenSettings {
    /// The set among the principal's attributes of which a request's `scope` picks one member; without it, a request
    /// must have no scope.
    pub narrows: Option<Arc<str>>,
    /// How long tokens count, in seconds; `None` for the usual time.
    pub lifetime_seconds: Option<u32>,
    /// What is said to a scope that is no member of any such set.
    pub scope_malformed: Arc<str>,
    /// What is said to a scope that the application does not have.
    pub scope_foreign: Arc<str>,
}

/// Reads the section; the attribute that it names must be one of `attributes`.
pub(super) fn read(table: &Table<'_>, attributes: &[Arc<str>]) -> OauthTokenSettings {
    let narrows = table.text("narrows");
    if let Some(name) = narrows.as_ref().filter(|name| !attributes.contains(name)) {
        table.fault(Some("narrows"), format!("`{name}` is none of the principal's attributes"));
    }
    let lifetime_seconds = table.integer("lifetime_seconds", 60..=86_400);
    let said = |key: &str, otherwise: &str| table.text(key).unwrap_or_else(|| otherwise.into());
    OauthTokenSettings {
        narrows,
        lifetime_seconds: lifetime_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        scope_malformed: said("scope_malformed", "the scope cannot be read"),
        scope_foreign: said("scope_foreign", "the application does not have this scope"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::RealmFile;

    const REALM: &str = r#"
title = "Small"
[principal]
entity = "Client"
id = "client_id"
[principal.attributes.organizations]
claim = "orgs"
[oauth_token]
"#;

    #[test]
    fn the_empty_section_is_enough() {
        let settings = RealmFile::parse("realm.toml", REALM).unwrap().oauth_token.unwrap();
        assert_eq!((settings.narrows, settings.lifetime_seconds), (None, None));
    }

    #[test]
    fn what_it_narrows_must_be_there_and_the_lifetime_within_bounds() {
        let content = format!("{REALM}narrows = \"schools\"\nlifetime_seconds = 5\n");
        let faults = RealmFile::parse("realm.toml", &content).unwrap_err();
        let faults: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect();
        assert_eq!(
            faults,
            [
                "9: `schools` is none of the principal's attributes",
                "10: `oauth_token.lifetime_seconds` is not a whole number of 60 to 86400"
            ]
        );
    }
}
