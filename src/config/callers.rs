//! `[callers.NAME]` and `[authentication]`: who calls, and by what each is known.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::limits;
use crate::{
    app::caller::{self, KeyDigest, KnownCaller, VerifiedCaller},
    domain::{
        document::Table,
        id::RealmName,
        issuer::{Issuer, KeyLocation},
        realm_file::read_issuers,
    },
};

/// How callers show who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Every call must show who makes it. Where other machines reach a listener that is so; else the file may say it.
    pub required: bool,
    /// The issuers whose tokens callers may bring in place of keys; paths of key files are absolute.
    pub issuers: Vec<Issuer>,
}

/// Reads `[authentication]`: whether it must show who makes a call, if that is said, and the issuers. Relative paths start at
/// `base`.
pub(super) fn authentication(root: &Table<'_>, base: &Path) -> (Option<bool>, Vec<Issuer>) {
    let read = root.table("authentication", |table| {
        // Asked for in any case, so that it is known.
        let required = Some(table.flag("required")).filter(|_| table.has("required"));
        let issuers = read_issuers(table).into_iter().map(|(issuer, _)| issuer).collect();
        (required, checked(table, base, issuers))
    });
    read.unwrap_or_default()
}

/// What a realm's issuers may be and those of callers may not.
fn checked(table: &Table<'_>, base: &Path, mut issuers: Vec<Issuer>) -> Vec<Issuer> {
    let mut names = BTreeSet::new();
    for issuer in &mut issuers {
        let name = Arc::clone(&issuer.issuer);
        let fault = |what: &str| table.fault(Some("issuers"), format!("issuer `{name}` {what}"));
        if issuer.audiences.is_empty() {
            // A token for anybody's service would open this one.
            fault("of callers has no `audiences`, expected the name by which its tokens mean this service");
        }
        if issuer.introspection.is_some() || issuer.keys == KeyLocation::Nowhere {
            fault("is one of opaque tokens, and callers bring JWTs; expected `keys` or `discovery`");
        }
        if !names.insert(Arc::clone(&name)) {
            fault("stands twice");
        }
        for file in issuer.files_mut() {
            let from_base = base.join(&*file);
            *file = std::path::absolute(&from_base).unwrap_or(from_base);
        }
    }
    issuers
}

/// The callers that the file names, each with something of its own to show.
pub(super) fn read(root: &Table<'_>, issuers: &[Issuer]) -> Vec<KnownCaller> {
    let named = root.named("callers", |name, table| {
        // The shape of a realm's name keeps names readable wherever they are shown.
        if name.parse::<RealmName>().is_err() || [caller::ADMIN, caller::LOCAL].contains(&name) {
            table.fault(
                None,
                format!(
                    "`{name}` is no name of a caller, expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or \
                     digit, and neither `{}` nor `{}`",
                    caller::ADMIN,
                    caller::LOCAL
                ),
            );
        }
        let roles = table.required_texts("roles");
        if roles.iter().flatten().any(|role| **role == *caller::LOCAL) {
            let message = "is the role of who is on this machine and shows nothing, expected others";
            table.fault(Some("roles"), format!("`{}` {message}", caller::LOCAL));
        }
        let realms = table.texts("realms").unwrap_or_default().into_iter().filter_map(|realm| {
            realm.parse().map_err(|error| table.fault(Some("realms"), format!("{error}"))).ok()
        });
        let realms = realms.collect();
        let (key, spiffe, subject) = (key(table), spiffe(table), subject(table));
        let token = table.table("token", |table| token(table, issuers)).flatten();
        let ways = ["key_sha256", "certificate", "subject", "token"];
        if !ways.into_iter().any(|way| table.has(way)) {
            let message = "has nothing to show who it is, expected one at least of `key_sha256`, `certificate`, `subject` and \
                           `token`; `hallpass callers new` prints the lines";
            table.fault(None, format!("caller `{name}` {message}"));
        }
        let requests_per_second = limits::requests_per_second(table);
        Some(KnownCaller { name: name.into(), roles: roles?, realms, key, spiffe, subject, token, requests_per_second })
    });
    let callers: Vec<KnownCaller> = named.into_iter().map(|(_, caller)| caller).collect();
    check_different(root, &callers);
    callers
}

fn key(table: &Table<'_>) -> Option<KeyDigest> {
    let key = KeyDigest::parse(&table.text("key_sha256")?);
    let wrong = match key {
        None => "is not 64 hexadecimal digits",
        Some(key) if key == KeyDigest::of("") => "is the digest of no key at all",
        Some(_) => return key,
    };
    table.fault(
        Some("key_sha256"),
        format!("`key_sha256` {wrong}, expected the line that `hallpass callers new` printed"),
    );
    None
}

/// The SPIFFE id of a certificate (SPIFFE-ID sections 2.1 and 2.2).
fn spiffe(table: &Table<'_>) -> Option<Arc<str>> {
    let id = table.text("certificate")?;
    let is_good = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).is_some_and(|(domain, path)| {
        let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_part = |part: &str| !["", ".", ".."].contains(&part) && part.bytes().all(in_path);
        !domain.is_empty() && domain.bytes().all(in_domain) && path.split('/').all(is_part)
    });
    if !is_good || id.len() > SPIFFE_BYTES_MAX {
        let message = "is no SPIFFE id, expected for example `spiffe://north.example/gateway`; a certificate without one is \
                       named by its `subject`";
        table.fault(Some("certificate"), format!("`certificate` `{id}` {message}"));
        return None;
    }
    Some(id)
}

/// The longest SPIFFE id, in bytes (SPIFFE-ID section 2.3).
const SPIFFE_BYTES_MAX: usize = 2_048;

/// The whole subject of a certificate.
fn subject(table: &Table<'_>) -> Option<Arc<str>> {
    let subject = table.text("subject")?;
    let has_shape = subject.split_once('=').is_some_and(|(kind, value)| !kind.is_empty() && !value.is_empty());
    if !has_shape || subject.contains(", ") || subject.starts_with('/') {
        let message = "is no whole subject as RFC 4514 writes it, expected for example `CN=gateway,O=North`; \
                       `openssl x509 -noout -subject -nameopt RFC2253 -in FILE` shows it";
        table.fault(Some("subject"), format!("`subject` `{subject}` {message}"));
        return None;
    }
    Some(subject)
}

/// Whom a token names.
fn token(table: &Table<'_>, issuers: &[Issuer]) -> Option<VerifiedCaller> {
    let (issuer, subject) = (table.required_text("issuer"), table.required_text("subject"));
    let (issuer, subject) = (issuer?, subject?);
    if !issuers.iter().any(|known| known.issuer == issuer) {
        let known: Vec<&str> = issuers.iter().map(|issuer| &*issuer.issuer).collect();
        let known =
            if known.is_empty() { "one to stand there".to_owned() } else { format!("one of {}", known.join(", ")) };
        let message = format!("`{issuer}` does not stand under `[[authentication.issuers]]`, expected {known}");
        table.fault(Some("issuer"), message);
        return None;
    }
    if subject.is_empty() {
        table.fault(Some("subject"), "`subject` is empty, expected the `sub` of the caller's tokens");
        return None;
    }
    Some(VerifiedCaller { issuer, subject })
}

/// Notes callers that could be taken for each other.
fn check_different(root: &Table<'_>, callers: &[KnownCaller]) {
    for (index, caller) in callers.iter().enumerate() {
        let earlier = || callers.iter().take(index);
        let fault = |what: &str| {
            let message = format!("caller `{}` has the {what} of another, expected one for each", caller.name);
            root.fault(Some("callers"), message);
        };
        if caller.key.is_some() && earlier().any(|other| other.key == caller.key) {
            fault("key");
        }
        if caller.spiffe.is_some() && earlier().any(|other| other.spiffe == caller.spiffe) {
            fault("certificate");
        }
        if caller.subject.is_some() && earlier().any(|other| other.subject == caller.subject) {
            fault("subject");
        }
        if caller.token.is_some() && earlier().any(|other| other.token == caller.token) {
            fault("token");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Flags};

    const TLS: &str = "[tls]\ncertificate = \"s.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"\n";
    const ISSUER: &str = "[[authentication.issuers]]\nissuer = \"https://idp.example\"\naudiences = [\"pdp\"]\n\
                          algorithms = [\"EdDSA\"]\nkeys = { file = \"keys.json\" }\n";

    fn read(content: &str) -> Result<Config, Vec<String>> {
        let read = Config::read(Path::new("etc/hallpass.toml"), content, &Flags::default(), &Environment::default());
        read.map_err(|error| error.0.iter().map(|fault| format!("{} {}", fault.line, fault.message)).collect())
    }

    #[track_caller]
    fn check(content: &str, expected: &[&str]) {
        let found = read(content).unwrap_err();
        for expected in expected {
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    fn caller(name: &str, way: &str) -> String {
        format!("[callers.{name}]\nroles = [\"enforcer\"]\n{way}\n")
    }

    #[test]
    fn a_caller_shows_a_certificate_or_a_token_as_well_as_a_key() {
        let [one, two, three] = [
            caller("one", "certificate = \"spiffe://north.example/gateway\""),
            caller("two", "subject = \"CN=two,O=North\""),
            caller("three", "token = { issuer = \"https://idp.example\", subject = \"three\" }"),
        ];
        let config = read(&format!("{TLS}{ISSUER}{one}{two}{three}")).unwrap();
        let find = |name: &str| config.callers.iter().find(|caller| *caller.name == *name).unwrap();
        assert_eq!(find("one").spiffe.as_deref(), Some("spiffe://north.example/gateway"));
        assert_eq!(find("two").subject.as_deref(), Some("CN=two,O=North"));
        assert_eq!(find("three").token.as_ref().unwrap().subject.as_ref(), "three");
        let [issuer] = &config.authentication.issuers[..] else { panic!("one issuer") };
        assert_eq!(issuer.keys, KeyLocation::File(std::path::absolute("etc/keys.json").unwrap()));
    }

    #[test]
    fn a_caller_that_could_never_show_itself_is_a_fault() {
        check(&caller("one", ""), &["1 caller `one` has nothing to show who it is"]);
        check(
            &caller("one", "subject = \"CN=one\""),
            &["caller `one` shows a certificate, and no listener asks for one"],
        );
        let token = caller("one", "token = { issuer = \"https://idp.example\", subject = \"one\" }");
        check(&token, &["3 `https://idp.example` does not stand under `[[authentication.issuers]]`"]);
        check(
            &caller("local", "key_sha256 = \"x\""),
            &["`local` is no name of a caller", "is not 64 hexadecimal digits"],
        );
    }

    #[test]
    fn names_in_certificates_have_their_form() {
        for id in
            ["https://a/b", "spiffe://A/b", "spiffe://a", "spiffe://a/", "spiffe://a/../b", "spiffe://a/b?c", "gateway"]
        {
            check(&format!("{TLS}{}", caller("one", &format!("certificate = \"{id}\""))), &["is no SPIFFE id"]);
        }
        for subject in ["gateway", "/CN=gateway", "CN=a, O=b", "=a", "CN="] {
            check(&format!("{TLS}{}", caller("one", &format!("subject = \"{subject}\""))), &["is no whole subject"]);
        }
    }

    #[test]
    fn callers_that_could_be_taken_for_each_other_are_faults() {
        let ways = [
            ("certificate = \"spiffe://a/b\"", "certificate"),
            ("subject = \"CN=a\"", "subject"),
            ("token = { issuer = \"https://idp.example\", subject = \"a\" }", "token"),
        ];
        for (way, what) in ways {
            let content = format!("{TLS}{ISSUER}{}{}", caller("one", way), caller("two", way));
            check(&content, &[&format!("has the {what} of another")]);
        }
    }

    #[test]
    fn issuers_of_callers_say_whom_their_tokens_are_for() {
        check(&ISSUER.replace("[\"pdp\"]", "[]"), &["`https://idp.example` of callers has no `audiences`"]);
        check(&format!("{ISSUER}{ISSUER}"), &["`https://idp.example` stands twice"]);
        check("[authentication]\nrequired = 1\n", &["2 `authentication.required` is of type integer"]);
    }
}
