//! The issuers: their keys can be had, and they answer about opaque tokens.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    finding::{Finding, State},
    loaded::{self, Trusting},
};
use crate::{
    app::ports::{KeyError, KeySource as _, TokenIntrospector as _},
    config::Config,
    domain::{
        id::RealmName,
        issuer::{Issuer, KeyLocation},
    },
    provider::{clock::SystemClock, introspection::Introspectors, jwks::Jwks},
};

const ISSUERS: &str = "issuers";

/// What an issuer is asked about: a text that nobody ever made a token of.
const NO_TOKEN: &str = "hallpass-doctor-asks-whether-you-answer";

pub(super) async fn check(config: Arc<Config>) -> Vec<Finding> {
    let mut asking = JoinSet::new();
    for Trusting { realm, issuers, takes_tokens: _ } in loaded::issuers_of(&config).await {
        for issuer in issuers {
            asking.spawn(ask(realm.clone(), issuer));
        }
    }
    let mut findings: Vec<Finding> = asking.join_all().await.into_iter().flatten().collect();
    findings.sort_by(|one, other| one.what.cmp(&other.what));
    let count = findings.iter().filter(|finding| finding.state == State::Fine).count();
    findings.retain(|finding| finding.state != State::Fine);
    if count > 0 {
        findings.push(Finding::fine(ISSUERS, format!("{count} can be asked, or their keys are at hand")));
    }
    findings
}

async fn ask(realm: RealmName, issuer: Issuer) -> Vec<Finding> {
    let mut findings = Vec::new();
    let issuers = std::slice::from_ref(&issuer);
    let named = format!("`{}` of `{realm}`", issuer.issuer);
    if issuer.keys != KeyLocation::Nowhere {
        let jwks = Jwks::new(Arc::new(SystemClock), Box::new(|_| ()));
        jwks.set_issuers(&realm, issuers);
        findings.push(match jwks.keys(&realm, &issuer.issuer, None).await {
            Ok(keys) if keys.is_empty() => {
                let what = format!("{named} has no key that can be used, so its tokens are refused");
                Finding::fault(ISSUERS, what, "look into its key set: algorithms, `use`, `key_ops` (docs/issuers.md)")
            }
            Ok(_) => Finding::fine(ISSUERS, named.clone()),
            Err(KeyError::Unavailable { reason, .. }) => {
                Finding::fault(ISSUERS, format!("the keys of {named} cannot be had: {reason}"), unreachable(&issuer))
            }
        });
    }
    if issuer.introspection.is_some() {
        let introspectors = Introspectors::new(Arc::new(SystemClock));
        introspectors.set_issuers(&realm, issuers);
        findings.push(match introspectors.introspect(&realm, &issuer.issuer, NO_TOKEN).await {
            Ok(_) => Finding::fine(ISSUERS, named),
            Err(error) => {
                let what = format!("{named} does not answer about opaque tokens: {}", error.reason);
                Finding::fault(ISSUERS, what, unreachable(&issuer))
            }
        });
    }
    findings
}

/// What to do about an issuer that cannot be asked.
fn unreachable(issuer: &Issuer) -> String {
    match &issuer.keys {
        KeyLocation::File(file) => {
            format!("put the key set into `{}`, readable for the service's user", file.display())
        }
        _ => "its tokens get UNAVAILABLE meanwhile; see whether this machine may reach it (firewall, name, `ca_file`, \
              `private_addresses`; docs/issuers.md)"
            .to_owned(),
    }
}
