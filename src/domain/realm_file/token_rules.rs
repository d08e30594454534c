//! What an issuer's tokens must be like beyond their signature: how they may come, their version, their profile.

use std::sync::Arc;

use crate::domain::{
    document::Table,
    issuer::{VersionRule, major_version},
    token_proof::DPOP_SCHEME,
};

/// Claims of every access token of RFC 9068 (section 2.2). `aud` and `exp` are looked at in any case.
const RFC9068_CLAIMS: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// The accepted `typ` values and the claims that must be there. A profile brings its own: types of the issuer's stand in
/// their place, claims beside them.
pub(super) fn read_shape(table: &Table<'_>, audiences: Option<&[Arc<str>]>) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let types = table.texts("types");
    let mut claims = table.texts("required_claims").unwrap_or_default();
    let is_profiled = match table.text("profile").as_deref() {
        Some("rfc9068") => true,
        Some(_) => {
            table.fault(Some("profile"), "is no profile of access tokens, expected `rfc9068`");
            false
        }
        None => false,
    };
    if !is_profiled {
        return (types.unwrap_or_default(), claims);
    }
    if audiences.is_some_and(<[_]>::is_empty) {
        let message = "is empty, and tokens of `rfc9068` count only for those whom they name (RFC 9068 section 4)";
        table.fault(Some("audiences"), message);
    }
    if types.as_ref().is_some_and(Vec::is_empty) {
        table.fault(Some("types"), "is empty, and tokens of `rfc9068` say their type (RFC 9068 section 2.1)");
    }
    let missing: Vec<_> =
        RFC9068_CLAIMS.iter().filter(|claim| claims.iter().all(|known| **known != ***claim)).collect();
    claims.extend(missing.into_iter().map(|claim| Arc::from(*claim)));
    (types.unwrap_or_else(|| vec!["at+jwt".into()]), claims)
}

/// Whether tokens that are bound to no key or certificate are refused.
pub(super) fn read_proof(table: &Table<'_>) -> bool {
    if table.text("scheme").is_some_and(|scheme| scheme.eq_ignore_ascii_case(DPOP_SCHEME)) {
        let message = "tokens that are bound to a key come with `DPoP` whatever `scheme` says, and no others do; expected \
                       `proof = \"required\"` to refuse those that are not bound";
        table.fault(Some("scheme"), message);
    }
    let proof = table.text("proof");
    if proof.as_deref().is_some_and(|proof| proof != "required") {
        table.fault(Some("proof"), "`proof` may say `required`; without it, what the token says counts");
    }
    proof.is_some()
}

/// The versions of tokens that are understood; any without the table.
pub(super) fn read_version(table: &Table<'_>) -> Option<VersionRule> {
    let rule = table.table("version", |table| {
        let claim = table.required_text("claim");
        let major_max = table.integer("major_max", 0..=1_000_000);
        if !table.has("major_max") {
            table.fault(None, "`major_max` is missing, expected the highest major version that is understood");
        }
        let default = table.text("default");
        let major_max = u64::try_from(major_max?).ok()?;
        if default.as_deref().is_some_and(|version| major_version(version).is_none_or(|major| major > major_max)) {
            let message = format!("`default` is no version of at most {major_max}, expected for example `1.0.0`");
            table.fault(Some("default"), message);
        }
        Some(VersionRule { claim: claim?, major_max, default })
    });
    rule.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fault::Fault, issuer::Issuer, realm_file::RealmFile};

    fn issuer(said: &str) -> Result<Issuer, Vec<String>> {
        let realm = format!(
            "title = \"Small\"\n[principal]\nentity = \"Client\"\nid = \"client_id\"\n[[issuers]]\nissuer = \"i\"\n\
             algorithms = [\"RS256\"]\nkeys = {{ file = \"keys.json\" }}\n{said}\n"
        );
        let told = |Fault { line, message, .. }: &Fault| format!("{line}: {message}");
        let read = RealmFile::parse("realm.toml", &realm).map_err(|faults| faults.iter().map(told).collect::<Vec<_>>());
        read.map(|realm| realm.issuers.into_iter().next().unwrap())
    }

    fn texts(texts: &[Arc<str>]) -> Vec<&str> {
        texts.iter().map(|text| &**text).collect()
    }

    #[test]
    fn a_profile_brings_types_and_claims() {
        let plain = issuer("audiences = []\nrequired_claims = [\"sub\"]").unwrap();
        assert_eq!((texts(&plain.types), texts(&plain.required_claims)), (vec![], vec!["sub"]));
        assert_eq!((plain.query, plain.version), (false, None));
        let profiled = issuer("audiences = [\"api\"]\nprofile = \"rfc9068\"").unwrap();
        assert_eq!(
            (texts(&profiled.types), texts(&profiled.required_claims)),
            (vec!["at+jwt"], RFC9068_CLAIMS.to_vec())
        );
        let own =
            "audiences = [\"api\"]\nprofile = \"rfc9068\"\ntypes = [\"JWT\"]\nrequired_claims = [\"scope\", \"jti\"]";
        let own = issuer(own).unwrap();
        let expected = ["scope", "jti", "iss", "exp", "aud", "sub", "client_id", "iat"];
        assert_eq!((texts(&own.types), texts(&own.required_claims)), (vec!["JWT"], expected.to_vec()));
    }

    #[test]
    fn a_profile_that_is_unknown_or_made_void_is_a_fault_at_its_place() {
        for (said, expected) in [
            ("audiences = [\"api\"]\nprofile = \"rfc9086\"", "10: is no profile of access tokens, expected `rfc9068`"),
            ("audiences = []\nprofile = \"rfc9068\"", "9: is empty, and tokens of `rfc9068` count only"),
            ("audiences = [\"api\"]\ntypes = []\nprofile = \"rfc9068\"", "10: is empty, and tokens of `rfc9068` say"),
        ] {
            let faults = issuer(said).unwrap_err();
            assert!(matches!(&*faults, [one] if one.starts_with(expected)), "{faults:?}");
        }
    }

    #[test]
    fn a_version_rule_needs_its_claim_its_bound_and_a_default_within_it() {
        let read = |rule: &str| issuer(&format!("audiences = []\nquery = true\nversion = {rule}"));
        let full = read("{ claim = \"version\", major_max = 1, default = \"1.0.0\" }").unwrap();
        let expected = VersionRule { claim: "version".into(), major_max: 1, default: Some("1.0.0".into()) };
        assert_eq!((full.query, full.version), (true, Some(expected)));
        assert!(read("{ claim = \"version\", major_max = 0 }").is_ok());
        for (rule, count) in [
            ("{ major_max = 1 }", 1),
            ("{ claim = \"version\" }", 1),
            ("{ claim = \"version\", major_max = -1 }", 1),
            ("{ claim = \"version\", major_max = 1, default = \"2.0.0\" }", 1),
            ("{ claim = \"version\", major_max = 1, default = \"one\" }", 1),
            ("{ claim = \"version\", major_max = 1, minor_max = 1 }", 1),
            ("{ }", 2),
            ("\"1.0.0\"", 1),
        ] {
            assert_eq!(read(rule).unwrap_err().len(), count, "{rule}");
        }
    }
}
