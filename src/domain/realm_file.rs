//! realm.toml: whose tokens, what they mean, which tables the policies look things up in.

mod actions;
mod authzen;
mod denials;
mod derived;
mod grants;
mod introspection;
mod issuers;
mod oauth_token;
mod obligations;
mod principal;
mod profiles;
mod reasons;
mod resources;
mod routes;
mod settings;
mod token_info;
mod token_rules;
mod trusted;

use std::{ops::Range, sync::Arc};

use super::{document::read_document, fault::Fault, issuer::Issuer, value::Attributes};
pub(super) use denials::{CONTEXT, context_paths, in_quotes};
pub(crate) use issuers::read_issuers;
pub(super) use settings::{settings_for, undeclared};
pub use {
    actions::ActionRule,
    authzen::{AuthzenSettings, NamedType, PAGE_SIZE_MAX, SubjectSource},
    denials::{DenialList, DenialTemplate},
    derived::{DerivedRule, DerivedSource},
    grants::{Addressable, ClaimCase, GrantSettings, Inheritance, Unknown},
    oauth_token::OauthTokenSettings,
    obligations::{ObligationParameter, ObligationRule},
    principal::{ClaimMapping, PrincipalMapping, TextRules},
    profiles::{ExcludedChildren, HeaderForm, InvalidProfiles, MissingProfiles, ProfileSettings},
    reasons::{MissingPeople, NamedSubjects, ReasonSettings},
    resources::{CommonSubject, ResourceSettings},
    routes::{Mapping, QUERY_TOKEN, RouteSettings, Words},
    settings::SETTINGS,
    token_info::TokenInfoSettings,
    trusted::{Trusted, TrustedList},
};

/// The content of realm.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmFile {
    /// What the realm is called in people's words.
    pub title: Arc<str>,
    /// The issuers it trusts.
    pub issuers: Vec<Issuer>,
    /// Where each of them names the aliases that count, or else stands.
    pub(super) issuer_places: Vec<Range<usize>>,
    /// How claims become a principal.
    pub principal: PrincipalMapping,
    /// Where the resource types come from; from the schema where it says nothing.
    pub resources: Option<ResourceSettings>,
    /// What policies read in `context.settings`.
    pub settings: Attributes,
    /// The members of the context that the host fills in itself, by name.
    pub context: Vec<(Arc<str>, DerivedRule)>,
    /// What callers are believed.
    pub trusted: Trusted,
    /// Which values actions are judged by; nothing special for one that isn't named.
    pub actions: Vec<(Arc<str>, ActionRule)>,
    /// What callers must do with allows, by the name of the obligation.
    pub obligations: Vec<(Arc<str>, ObligationRule)>,
    /// How reasons are put together.
    pub reasons: ReasonSettings,
    /// How grants are looked up.
    pub grants: Option<GrantSettings>,
    /// How profiles are looked up.
    pub profiles: Option<ProfileSettings>,
    /// The shapes of denials by reason code.
    pub denials: Vec<(Arc<str>, DenialTemplate)>,
    /// The placeholders that list attributes.
    pub denial_lists: Vec<(Arc<str>, DenialList)>,
    /// What `POST /oauth/token_info` shows, where the realm offers it.
    pub token_info: Option<TokenInfoSettings>,
    /// How applications get tokens over HTTP, where the realm issues them.
    pub oauth_token: Option<OauthTokenSettings>,
    /// What requests of HTTP ask for, where gateways ask about them.
    pub routes: Option<RouteSettings>,
    /// How questions of AuthZEN are understood, where the realm takes them.
    pub authzen: Option<AuthzenSettings>,
}

impl RealmFile {
    /// Tokens say who asks; elsewhere callers name it.
    pub fn takes_tokens(&self) -> bool {
        self.authzen.as_ref().is_none_or(|authzen| authzen.subject != SubjectSource::Named)
    }

    /// What is said about an action, if anything is.
    pub fn action(&self, name: &str) -> Option<&ActionRule> {
        self.actions.iter().find(|(action, _)| **action == *name).map(|(_, rule)| rule)
    }

    /// Reads realm.toml.
    ///
    /// # Errors
    /// Every fault with its line.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        let read = read_document(file, content, |root| {
            let title = root.required_text("title");
            let (issuers, issuer_places) = issuers::read_issuers(root).into_iter().unzip();
            let principal = root.required_table("principal", principal::read_principal).flatten();
            let resources = root.table("resources", resources::read_resources);
            let settings = settings::read_settings(root);
            let context = root.named("context", |_, table| derived::read_derived(table));
            let trusted = root.table("trusted", trusted::read_trusted).unwrap_or_default();
            let actions = root.named("actions", |_, table| Some(actions::read_action(table)));
            let obligations = root.named("obligations", |name, table| Some(obligations::read_obligation(name, table)));
            let reasons = root.table("reasons", reasons::read_reasons).unwrap_or_default();
            let grants = root.table("grants", grants::read_grants);
            let profiles = root.table("profiles", profiles::read_profiles);
            let denials = root.named("denials", |_, table| denials::read_denial(table));
            let denial_lists = root.named("denial_lists", |_, table| denials::read_denial_list(table));
            let attributes = principal.iter().flat_map(|principal| &principal.attributes);
            let attributes: Vec<_> = attributes.map(|mapping| Arc::clone(&mapping.attribute)).collect();
            let token_info = root.table("token_info", |table| token_info::read(table, &attributes));
            let oauth_token = root.table("oauth_token", |table| oauth_token::read(table, &attributes));
            let routes = root.table("routes", routes::read_routes);
            let entity = principal.as_ref().map(|principal| &principal.entity);
            let authzen = root.table("authzen", |table| authzen::read(table, entity));
            Some(Self {
                title: title?,
                issuers,
                issuer_places,
                principal: principal?,
                resources: resources.flatten(),
                settings,
                context,
                trusted,
                actions,
                obligations,
                reasons,
                grants: grants.flatten(),
                profiles: profiles.flatten(),
                denials,
                denial_lists,
                token_info: token_info.flatten(),
                oauth_token,
                routes,
                authzen: authzen.flatten(),
            })
        })?;
        read.ok_or_else(|| vec![Fault::in_file(file, "is incomplete")])
    }
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
                "2: unknown key `titel`, expected one of actions, authzen, context, denial_lists, denials, grants, issuers, oauth_token, obligations, principal, profiles, reasons, resources, routes, settings, title, token_info, trusted",
            ]
        );
    }

    #[test]
    fn an_issuer_says_whether_its_clients_are_applications_or_leaves_it_open() {
        let issuer = |said: &str| {
            let keys = "algorithms = [\"RS256\"]\nkeys = { file = \"keys.json\" }";
            format!("{SMALL}\n[[issuers]]\nissuer = \"https://idp.example\"\naudiences = []\n{keys}\n{said}\n")
        };
        for (said, expected) in [("", None), ("applications = true", Some(true)), ("applications = false", Some(false))]
        {
            let realm = RealmFile::parse("realm.toml", &issuer(said)).unwrap();
            assert_eq!(realm.issuers[0].applications, expected, "{said}");
        }
        assert_eq!(faults(&issuer("applications = 1")).len(), 1);
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

    /// realm.toml with one issuer that says this beside its name and audiences.
    fn trusting(said: &str) -> String {
        format!("{SMALL}\n[[issuers]]\nissuer = \"https://idp.example/a\"\naudiences = []\n{said}\n")
    }

    fn issuer(said: &str) -> Issuer {
        RealmFile::parse("realm.toml", &trusting(said)).unwrap().issuers.remove(0)
    }

    #[test]
    fn an_issuer_says_how_its_keys_are_found_and_how_often_they_are_fetched() {
        use crate::domain::issuer::{Discovery, KeyLocation, Refetch};

        let found = issuer("algorithms = [\"RS256\"]\nkeys = { url = \"https://idp.example/k\" }");
        assert_eq!(found.refetch, Refetch { seconds: 30, burst: 3, max_stale_seconds: 86_400 });
        let found = issuer(
            "algorithms = [\"RS256\"]\ndiscovery = \"oauth\"\nhosts = [\"keys.example\"]\nprivate_addresses = true\n\
             ca_file = \"ca.pem\"\nkeys = { refetch_seconds = 60, refetch_burst = 2, max_stale_seconds = 3600 }",
        );
        assert_eq!((found.keys, found.servers.discovery), (KeyLocation::Discovered, Some(Discovery::Oauth)));
        assert_eq!(found.refetch, Refetch { seconds: 60, burst: 2, max_stale_seconds: 3600 });
        assert_eq!(issuer("algorithms = [\"RS256\"]\ndiscovery = \"oidc\"").keys, KeyLocation::Discovered);
    }

    #[test]
    fn an_issuer_may_demand_bound_tokens_and_does_so_by_no_scheme_word() {
        let keys = "algorithms = [\"RS256\"]\nkeys = { file = \"k\" }";
        assert!(!issuer(keys).is_proof_required);
        assert!(issuer(&format!("{keys}\nproof = \"required\"")).is_proof_required);
        for wrong in ["proof = \"optional\"", "proof = \"\"", "proof = true", "scheme = \"dpop\""] {
            assert_eq!(faults(&trusting(&format!("{keys}\n{wrong}"))).len(), 1, "{wrong}");
        }
        let secrets = "algorithms = [\"HS256\", \"HS512\"]\nkeys = { file = \"k\" }";
        assert_eq!(issuer(secrets).algorithms.len(), 2);
    }

    #[test]
    fn an_issuer_of_opaque_tokens_needs_no_keys() {
        use crate::domain::{introspection::ClientAuthentication, issuer::KeyLocation};

        let mut found = issuer(
            "ca_file = \"ca.pem\"\nintrospection = { url = \"https://idp.example/i\", client_id = \"pdp\", client_secret_file = \"s\" }",
        );
        assert_eq!((&found.keys, found.algorithms.len()), (&KeyLocation::Nowhere, 0));
        assert_eq!(found.files_mut().count(), 2, "files are found from the realm's folder");
        let introspection = found.introspection.unwrap();
        assert_eq!((introspection.cache_seconds, introspection.negative_cache_seconds), (60, 10));
        assert_eq!(introspection.authentication, ClientAuthentication::Basic("s".into()));
        let found = issuer(
            "algorithms = [\"RS256\"]\ndiscovery = \"oidc\"\nintrospection = { discovery = true, client_id = \"pdp\", private_key_file = \"k\" }",
        );
        assert!(found.introspection.unwrap().url.is_none());
    }

    #[test]
    fn settings_of_issuers_that_cannot_be_meant_are_faults_with_their_lines() {
        let keys = "algorithms = [\"RS256\"]\nkeys = { url = \"https://idp.example/k\" }";
        let file = "algorithms = [\"RS256\"]\nkeys = { file = \"k\" }";
        let asking = |said: &str| format!("introspection = {{ {said} }}");
        let good = "url = \"https://idp.example/i\", client_id = \"pdp\", client_secret_file = \"s\"";
        for (said, line, words) in [
            (format!("{keys}\ndiscovery = \"oidc\""), 16, "finds nothing"),
            (
                "algorithms = [\"RS256\"]\ndiscovery = \"webfinger\"\nkeys = { file = \"k\" }".to_owned(),
                15,
                "`oidc` or `oauth`",
            ),
            (format!("{keys}\nhosts = [\"keys.example\"]"), 16, "no `discovery`"),
            (
                "algorithms = [\"RS256\"]\ndiscovery = \"oidc\"\nhosts = [\"https://keys.example\"]".to_owned(),
                16,
                "no host",
            ),
            (format!("{file}\nca_file = \"ca.pem\""), 16, "in a file"),
            (format!("{file}\nprivate_addresses = true"), 16, "in a file"),
            (keys.replace(" }", ", refetch_seconds = 0 }"), 15, "1 to 3600"),
            (keys.replace(" }", ", refetch_burst = 11 }"), 15, "1 to 10"),
            (keys.replace(" }", ", max_stale_seconds = 1 }"), 15, "300 to 604800"),
            (keys.replace("https://", "https://user@"), 15, "without a user"),
            (asking("client_id = \"pdp\", client_secret_file = \"s\""), 14, "one of `url` and `discovery"),
            (asking("discovery = true, client_id = \"pdp\", client_secret_file = \"s\""), 14, "has no `discovery`"),
            (asking("url = \"http://idp.example/i\", client_id = \"pdp\", client_secret_file = \"s\""), 14, "not safe"),
            (asking("url = \"https://idp.example/i\", client_id = \"pdp\""), 14, "exactly one of"),
            (asking(&format!("{good}, private_key_file = \"k\"")), 14, "exactly one of"),
            (asking(&format!("{good}, auth = \"digest\"")), 14, "unknown method"),
            (asking(&format!("{good}, key_id = \"k\"")), 14, "private_key_jwt"),
            (asking(&format!("{good}, cache_seconds = 61")), 14, "0 to 60"),
            (asking(&format!("{good}, negative_cache_seconds = 11")), 14, "0 to 10"),
            (format!("{}\n[[issuers]]\nissuer = \"b\"\naudiences = []\n{}", asking(good), asking(good)), 18, "already"),
        ] {
            let found = faults(&trusting(&said));
            let is_told = found.len() == 1 && found[0].starts_with(&format!("{line}: ")) && found[0].contains(words);
            assert!(is_told, "{said}\n{found:#?}");
        }
    }
}
