//! `[token_info]` of realm.toml: what the holder of a token is told about it.

use std::sync::Arc;

use crate::domain::document::Table;

/// What `POST /oauth/token_info` shows. Attributes are those of the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfoSettings {
    /// The attribute whose entities are shown with all that they contain.
    pub organizations: Arc<str>,
    /// The attribute that lists the namespace prefixes.
    pub namespace_prefixes: Option<Arc<str>>,
    /// The attribute that lists the names of profiles.
    pub profiles: Option<Arc<str>>,
    /// What stands before an organization's type, for example `edfi.`.
    pub type_prefix: Arc<str>,
    /// How the claims begin that are services, in any spelling that the grants know; without it none are shown.
    pub services: Option<Arc<str>>,
    /// Members that are shown without a value, because some clients look for them.
    pub null_members: Vec<Arc<str>>,
    /// Refusals of what a request holds have `errors` and `validationErrors` even where they are empty.
    pub has_empty_members: bool,
}

/// The members that an answer has anyway.
pub(super) const MEMBERS: [&str; 8] = [
    "active",
    "assigned_profiles",
    "claim_set",
    "client_id",
    "education_organizations",
    "namespace_prefixes",
    "resources",
    "services",
];

/// Reads the section; every attribute that it names must be one of `attributes`.
pub(super) fn read(table: &Table<'_>, attributes: &[Arc<str>]) -> Option<TokenInfoSettings> {
    let known = |key: &str, name: Option<Arc<str>>| {
        if let Some(name) = name.as_ref().filter(|name| !attributes.contains(name)) {
            table.fault(Some(key), format!("`{name}` is none of the principal's attributes"));
        }
        name
    };
    let organizations = known("organizations", table.required_text("organizations"));
    let namespace_prefixes = known("namespace_prefixes", table.text("namespace_prefixes"));
    let profiles = known("profiles", table.text("profiles"));
    let type_prefix = table.text("type_prefix").unwrap_or_default();
    let services = table.text("services");
    let null_members = table.texts("null_members").unwrap_or_default();
    for name in null_members.iter().filter(|name| MEMBERS.contains(&&***name)) {
        table.fault(Some("null_members"), format!("`{name}` has a value of its own"));
    }
    let has_empty_members = table.flag("empty_members");
    Some(TokenInfoSettings {
        organizations: organizations?,
        namespace_prefixes,
        profiles,
        type_prefix,
        services,
        null_members,
        has_empty_members,
    })
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
[token_info]
"#;

    fn read(section: &str) -> Result<RealmFile, Vec<String>> {
        RealmFile::parse("realm.toml", &format!("{REALM}{section}"))
            .map_err(|faults| faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect())
    }

    #[test]
    fn organizations_are_enough() {
        let settings = read("organizations = \"organizations\"").unwrap().token_info.unwrap();
        assert_eq!((&*settings.organizations, &*settings.type_prefix), ("organizations", ""));
        assert_eq!((settings.services, settings.profiles, settings.namespace_prefixes), (None, None, None));
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_line() {
        assert_eq!(
            read("organizations = \"schools\"\nprofiles = \"views\"\nnull_members = [\"active\"]\nname = 1")
                .unwrap_err(),
            [
                "9: `schools` is none of the principal's attributes",
                "10: `views` is none of the principal's attributes",
                "11: `active` has a value of its own",
                "12: unknown key `token_info.name`, expected one of empty_members, namespace_prefixes, null_members, organizations, profiles, services, type_prefix",
            ]
        );
        assert_eq!(read("").unwrap_err(), ["8: `token_info.organizations` is missing, expected a string"]);
    }
}
