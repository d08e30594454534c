//! realm.toml: whose tokens, what they mean, which tables the policies look things up in.

mod profiles;

use std::{path::PathBuf, sync::Arc};

use profiles::read_profiles;
pub use profiles::{ExcludedChildren, HeaderForm, InvalidProfiles, MissingProfiles, ProfileSettings};

use super::{
    document::{Table, read_document},
    fault::Fault,
    issuer::{Algorithm, Issuer, KeyLocation},
};

/// How a claim becomes an attribute of the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMapping {
    /// The attribute of the principal's entity type.
    pub attribute: Arc<str>,
    /// The claim.
    pub claim: Arc<str>,
    /// Where a text is split into the members of a set.
    pub separator: Option<Arc<str>>,
}

/// How claims become a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalMapping {
    /// The Cedar entity type.
    pub entity: Arc<str>,
    /// The claim that gives the id.
    pub id_claim: Arc<str>,
    /// Attributes whose entities contain the principal.
    pub parents: Vec<Arc<str>>,
    /// The attributes.
    pub attributes: Vec<ClaimMapping>,
}

/// How grants are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSettings {
    /// The file of the grants.
    pub file: Arc<str>,
    /// The principal attribute that names the claim set.
    pub claim_set: Arc<str>,
    /// The strategies that the policies know, each with the resource attributes it looks at.
    pub strategies: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Actions for which only these strategies can be used.
    pub usable: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

/// The realm's shape of a denial. Texts hold placeholders in braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenialTemplate {
    /// The HTTP status.
    pub status: u16,
    /// The problem type.
    pub problem_type: Arc<str>,
    /// The title.
    pub title: Arc<str>,
    /// The detail.
    pub detail: Arc<str>,
    /// The detail when several values failed, if it differs.
    pub detail_many: Option<Arc<str>>,
    /// Further errors.
    pub errors: Vec<Arc<str>>,
    /// Further errors when several values failed, if they differ.
    pub errors_many: Option<Vec<Arc<str>>>,
}

/// A placeholder that lists a principal attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialList {
    /// The attribute.
    pub attribute: Arc<str>,
    /// The text when the list is empty.
    pub none: Arc<str>,
    /// The text around one value, which replaces `{}`.
    pub one: Arc<str>,
    /// The text around several.
    pub many: Arc<str>,
    /// How many values are named before `...`.
    pub max: usize,
}

/// The content of realm.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmFile {
    /// What the realm is called in people's words.
    pub title: Arc<str>,
    /// The issuers it trusts.
    pub issuers: Vec<Issuer>,
    /// How claims become a principal.
    pub principal: PrincipalMapping,
    /// The Cedar entity type of the table's resources, and the table's file.
    pub resources: Option<(Arc<str>, Arc<str>)>,
    /// How grants are looked up.
    pub grants: Option<GrantSettings>,
    /// How profiles are looked up.
    pub profiles: Option<ProfileSettings>,
    /// The shapes of denials by reason code.
    pub denials: Vec<(Arc<str>, DenialTemplate)>,
    /// The placeholders that list attributes.
    pub denial_lists: Vec<(Arc<str>, DenialList)>,
}

impl RealmFile {
    /// Reads realm.toml.
    ///
    /// # Errors
    /// Every fault with its line.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        let read = read_document(file, content, |root| {
            let title = root.required_text("title");
            let issuers = root.tables("issuers", read_issuer);
            let principal = root.required_table("principal", read_principal).flatten();
            let resources =
                root.table("resources", |table| table.required_text("entity").zip(table.required_text("file")));
            let grants = root.table("grants", read_grants);
            let profiles = root.table("profiles", read_profiles);
            let denials = root.named("denials", |_, table| read_denial(table));
            let denial_lists = root.named("denial_lists", |_, table| read_denial_list(table));
            Some(Self {
                title: title?,
                issuers,
                principal: principal?,
                resources: resources.flatten(),
                grants: grants.flatten(),
                profiles: profiles.flatten(),
                denials,
                denial_lists,
            })
        })?;
        read.ok_or_else(|| vec![Fault::in_file(file, "is incomplete")])
    }
}

/// Reads one issuer; the deployment's configuration writes issuers in the same words.
pub(crate) fn read_issuer(table: &Table<'_>) -> Option<Issuer> {
    let issuer = table.required_text("issuer");
    let audiences = table.required_texts("audiences");
    let algorithms = table.required_texts("algorithms").map(|names| read_algorithms(table, &names));
    let keys = table.required_table("keys", |keys| match (keys.text("file"), keys.text("url")) {
        (Some(file), None) => Some(KeyLocation::File(PathBuf::from(&*file))),
        (None, Some(url)) if is_safe_url(&url) => Some(KeyLocation::Url(url.to_string())),
        (None, Some(_)) => {
            keys.fault(Some("url"), "the key set's URL is not safe, expected https, or http on a loopback host");
            None
        }
        _ => {
            keys.fault(None, "`keys` needs one of `file` and `url`");
            None
        }
    });
    let scheme = table.text("scheme").unwrap_or_else(|| "Bearer".into());
    let types = table.texts("types").unwrap_or_default();
    let required_claims = table.texts("required_claims").unwrap_or_default();
    let skew_seconds = table.integer("skew_seconds", 0..=120).unwrap_or(30);
    let lifetime_seconds_max = table.integer("lifetime_seconds_max", 1..=315_360_000);
    Some(Issuer {
        issuer: issuer?,
        audiences: audiences?,
        algorithms: algorithms??,
        keys: keys.flatten()?,
        scheme,
        types,
        required_claims,
        skew_seconds,
        lifetime_seconds_max,
    })
}

fn read_algorithms(table: &Table<'_>, names: &[Arc<str>]) -> Option<Vec<Algorithm>> {
    let known = |name: &str| Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
    let algorithms: Option<Vec<_>> = names.iter().map(|name| known(name)).collect();
    let is_mixed = |list: &[Algorithm]| list.contains(&Algorithm::HS256) && list.len() > 1;
    match algorithms {
        Some(list) if !list.is_empty() && !is_mixed(&list) => Some(list),
        Some(list) if is_mixed(&list) => {
            table.fault(Some("algorithms"), "`HS256` cannot stand beside signatures in one issuer");
            None
        }
        _ => {
            let names: Vec<_> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
            table.fault(Some("algorithms"), format!("`algorithms` needs at least one of {}", names.join(", ")));
            None
        }
    }
}

/// https anywhere, http on this machine only.
fn is_safe_url(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or("").to_owned();
    let is_loopback = |authority: &str| {
        let name = authority
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or(authority, |(name, _)| name);
        ["127.0.0.1", "localhost", "[::1]"].contains(&name)
    };
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty() && !host(rest).contains('@'),
        (_, Some(rest)) => is_loopback(&host(rest)),
        _ => false,
    }
}

fn read_principal(table: &Table<'_>) -> Option<PrincipalMapping> {
    let entity = table.required_text("entity");
    let id_claim = table.required_text("id");
    let parents = table.texts("parents").unwrap_or_default();
    let attributes = table.named("attributes", |name, table| {
        let separator = table.text("separator");
        Some(ClaimMapping { attribute: name.into(), claim: table.required_text("claim")?, separator })
    });
    let attributes: Vec<_> = attributes.into_iter().map(|(_, mapping)| mapping).collect();
    for parent in parents.iter().filter(|parent| !attributes.iter().any(|mapping| mapping.attribute == **parent)) {
        table.fault(Some("parents"), format!("`{parent}` is none of the principal's attributes"));
    }
    Some(PrincipalMapping { entity: entity?, id_claim: id_claim?, parents, attributes })
}

fn read_grants(table: &Table<'_>) -> Option<GrantSettings> {
    let file = table.required_text("file");
    let claim_set = table.required_text("claim_set");
    let strategies = table.text_lists("strategies");
    let usable = table.text_lists("usable");
    Some(GrantSettings { file: file?, claim_set: claim_set?, strategies, usable })
}

fn read_denial(table: &Table<'_>) -> Option<DenialTemplate> {
    let status = table.integer("status", 400..=599);
    let problem_type = table.required_text("type");
    let title = table.required_text("title");
    let detail = table.text("detail").unwrap_or_default();
    let detail_many = table.text("detail_many");
    let errors = table.texts("errors").unwrap_or_default();
    let errors_many = table.texts("errors_many");
    Some(DenialTemplate {
        status: u16::try_from(status.unwrap_or(403)).unwrap_or(403),
        problem_type: problem_type?,
        title: title?,
        detail,
        detail_many,
        errors,
        errors_many,
    })
}

fn read_denial_list(table: &Table<'_>) -> Option<DenialList> {
    let attribute = table.required_text("attribute");
    let none = table.text("none").unwrap_or_default();
    let one = table.text("one").unwrap_or_else(|| "{}".into());
    let many = table.text("many").unwrap_or_else(|| "{}".into());
    let max = table.integer("max", 1..=1_000).and_then(|max| usize::try_from(max).ok()).unwrap_or(5);
    Some(DenialList { attribute: attribute?, none, one, many, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
title = "Small"
[principal]
entity = "Client"
id = "client_id"
parents = ["organizations"]
[principal.attributes.organizations]
claim = "orgs"
separator = ","
"#;

    fn faults(content: &str) -> Vec<String> {
        RealmFile::parse("realm.toml", content)
            .unwrap_err()
            .iter()
            .map(|fault| format!("{}: {}", fault.line, fault.message))
            .collect()
    }

    #[test]
    fn a_small_realm_reads() {
        let realm = RealmFile::parse("realm.toml", SMALL).unwrap();
        assert_eq!((&*realm.title, &*realm.principal.entity, realm.principal.attributes.len()), ("Small", "Client", 1));
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_line() {
        let content = SMALL.replace("title = \"Small\"", "titel = 1").replace("\"organizations\"]", "\"other\"]");
        assert_eq!(
            faults(&content),
            [
                "1: `title` is missing, expected a string",
                "6: `other` is none of the principal's attributes",
                "2: unknown key `titel`, expected one of denial_lists, denials, grants, issuers, principal, profiles, resources, title",
            ]
        );
    }

    #[test]
    fn an_issuer_needs_safe_keys_and_known_algorithms() {
        let issuer = |algorithms: &str, keys: &str| {
            format!(
                "{SMALL}\n[[issuers]]\nissuer = \"https://idp.example\"\naudiences = []\nalgorithms = {algorithms}\nkeys = {keys}\n"
            )
        };
        assert!(
            RealmFile::parse("realm.toml", &issuer("[\"RS256\"]", "{ url = \"https://idp.example/keys\" }")).is_ok()
        );
        assert!(
            RealmFile::parse("realm.toml", &issuer("[\"RS256\"]", "{ url = \"http://127.0.0.1:8080/keys\" }")).is_ok()
        );
        for (algorithms, keys) in [
            ("[\"none\"]", "{ file = \"keys.json\" }"),
            ("[]", "{ file = \"keys.json\" }"),
            ("[\"HS256\", \"RS256\"]", "{ file = \"keys.json\" }"),
            ("[\"RS256\"]", "{ url = \"http://idp.example/keys\" }"),
            ("[\"RS256\"]", "{ url = \"http://localhost.evil.example/keys\" }"),
            ("[\"RS256\"]", "{ }"),
        ] {
            assert_eq!(faults(&issuer(algorithms, keys)).len(), 1, "{algorithms} {keys}");
        }
    }
}
