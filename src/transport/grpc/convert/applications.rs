//! Applications and their tokens. Secrets go in and never come out.

use prost::Message;
use prost_types::Timestamp;

use super::{
    super::page_token::{self, Binding},
    Faults, value,
};
use crate::{
    app::{
        applications::{ApplicationPage, IssueToken, IssuedToken, PutApplication},
        credentials::Secret,
        error::Error,
        secrets::SECRET_BYTES_MAX,
    },
    domain::{
        application::{Application, TokenDigest},
        id::EntityId,
        value::Attributes,
    },
    proto::v1 as pb,
};

/// The most bytes of a page, unless its first application is longer: clients take messages of 4 MiB.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The longest hash of a secret that is looked at, in bytes.
const HASH_BYTES_MAX: usize = 1_024;

pub(crate) fn put(request: pb::PutApplicationRequest) -> Result<(String, PutApplication), Error> {
    let pb::PutApplicationRequest { realm, application, secret, secret_hash } = request;
    let mut faults = Faults::default();
    let application = application.unwrap_or_default();
    // Whether it has a secret is for callers to know, not to say.
    let pb::Application { id, title, attributes, expires_at, disabled, has_secret: _ } = application;
    let application = Application {
        id: faults.text("application.id", id, EntityId::ID_BYTES_MAX),
        title: title.into(),
        attributes: faults.attributes("application.attributes", attributes),
        expires_at_seconds: expires_at.map(|at| whole_seconds(&at)),
        is_disabled: disabled,
        secret_hash: None,
    };
    let secret_hash = Secret(faults.text("secret_hash", secret_hash, HASH_BYTES_MAX));
    faults.none_or((realm, PutApplication { application, secret: Secret(secret.into()), secret_hash }))
}

/// An application as callers see it.
pub(crate) fn application(application: &Application) -> pb::Application {
    let Application { id, title, attributes, expires_at_seconds, is_disabled, secret_hash } = application;
    pb::Application {
        id: id.to_string(),
        title: title.to_string(),
        attributes: value::attributes(attributes),
        expires_at: expires_at_seconds.map(|seconds| Timestamp { seconds, nanos: 0 }),
        disabled: *is_disabled,
        has_secret: secret_hash.is_some(),
    }
}

/// A question for applications, and where its page starts.
pub(crate) struct List {
    pub(crate) realm: String,
    /// The id of the last application of the page before.
    pub(crate) after: Option<String>,
    pub(crate) size: usize,
    /// Makes the next page's token.
    binding: Binding,
}

pub(crate) fn list(mut request: pb::ListApplicationsRequest) -> Result<List, Error> {
    let page_token = std::mem::take(&mut request.page_token);
    let page_size = std::mem::take(&mut request.page_size);
    let binding = Binding::of("ListApplications", &request);
    let pb::ListApplicationsRequest { realm, page_size: _, page_token: _ } = request;
    let cursor = binding.cursor(&page_token)?;
    let after = cursor.map(|id| String::from_utf8(id).map_err(|_| page_token::malformed())).transpose()?;
    Ok(List { realm, after, size: super::page_size(page_size), binding })
}

impl List {
    /// The page as the wire has it; a page of large applications ends early.
    pub(crate) fn page(&self, page: &ApplicationPage) -> pb::ListApplicationsResponse {
        let ApplicationPage { applications, has_more } = page;
        let mut bytes = 0;
        let mut fitting = Vec::with_capacity(applications.len());
        for found in applications {
            let message = application(found);
            bytes += message.encoded_len();
            if bytes > PAGE_BYTES_MAX && !fitting.is_empty() {
                break;
            }
            fitting.push(message);
        }
        let has_more = *has_more || fitting.len() < applications.len();
        let last = fitting.last().filter(|_| has_more);
        let next_page_token = last.map(|last| self.binding.token(last.id.as_bytes())).unwrap_or_default();
        pb::ListApplicationsResponse { applications: fitting, next_page_token }
    }
}

pub(crate) fn issue(request: pb::IssueTokenRequest) -> Result<(String, IssueToken), Error> {
    let pb::IssueTokenRequest { realm, id, secret, lifetime_seconds, narrowed } = request;
    let mut faults = Faults::default();
    let asked = IssueToken {
        id: faults.text("id", id, EntityId::ID_BYTES_MAX),
        secret: Secret(faults.text("secret", secret, SECRET_BYTES_MAX)),
        lifetime_seconds,
        narrowed: faults.attributes("narrowed", narrowed),
    };
    faults.none_or((realm, asked))
}

pub(crate) fn issued(issued: IssuedToken) -> pb::IssueTokenResponse {
    let IssuedToken { token: Secret(token), expires_at_seconds } = issued;
    pb::IssueTokenResponse { token: token.to_string(), expires_at_seconds }
}

/// A token that another server issued.
pub(crate) struct Register {
    pub(crate) realm: String,
    pub(crate) id: String,
    pub(crate) digest: TokenDigest,
    pub(crate) expires_at_seconds: i64,
    pub(crate) narrowed: Attributes,
}

pub(crate) fn register(request: pb::RegisterTokenRequest) -> Result<Register, Error> {
    let pb::RegisterTokenRequest { realm, id, token_sha256, expires_at, narrowed } = request;
    let mut faults = Faults::default();
    let digest = faults.digest(&token_sha256);
    if expires_at.is_none() {
        faults.add("expires_at", "is missing, expected when the token ends");
    }
    let expires_at_seconds = expires_at.map_or(0, |at| whole_seconds(&at));
    let narrowed = faults.attributes("narrowed", narrowed);
    faults.none_or(Register { realm, id, digest, expires_at_seconds, narrowed })
}

pub(crate) fn revoke(request: pb::RevokeTokenRequest) -> Result<(String, TokenDigest), Error> {
    let pb::RevokeTokenRequest { realm, token_sha256 } = request;
    let mut faults = Faults::default();
    let digest = faults.digest(&token_sha256);
    faults.none_or((realm, digest))
}

impl Faults {
    fn digest(&mut self, text: &str) -> TokenDigest {
        let wrong = |error: crate::domain::application::TokenDigestError| {
            self.add("token_sha256", error.to_string());
            TokenDigest([0; 32])
        };
        text.parse().unwrap_or_else(wrong)
    }
}

/// The second that a time lies in: fractions are cut towards the shorter life.
fn whole_seconds(at: &Timestamp) -> i64 {
    let Timestamp { seconds, nanos } = at;
    seconds.saturating_sub(i64::from(*nanos < 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn named(id: &str, title: &str) -> Arc<Application> {
        Arc::new(Application {
            id: id.into(),
            title: title.into(),
            attributes: Attributes::default(),
            expires_at_seconds: None,
            is_disabled: false,
            secret_hash: None,
        })
    }

    #[test]
    fn a_page_of_large_applications_ends_early_and_goes_on_behind_its_last() {
        let list = list(pb::ListApplicationsRequest { realm: "edfi".into(), ..Default::default() }).unwrap();
        let large = "x".repeat(PAGE_BYTES_MAX / 2);
        let applications = vec![named("a", &large), named("b", "small"), named("c", &large)];
        let page = list.page(&ApplicationPage { applications, has_more: false });
        assert_eq!(page.applications.len(), 2);
        assert_eq!(list.binding.cursor(&page.next_page_token).unwrap().unwrap(), b"b");
        let huge = vec![named("a", &"x".repeat(PAGE_BYTES_MAX + 1))];
        let page = list.page(&ApplicationPage { applications: huge, has_more: false });
        assert_eq!((page.applications.len(), &*page.next_page_token), (1, ""));
    }

    #[test]
    fn times_are_cut_to_whole_seconds() {
        for (seconds, nanos, expected) in [(5, 0, 5), (5, 999_999_999, 5), (5, -1, 4), (i64::MIN, -1, i64::MIN)] {
            assert_eq!(whole_seconds(&Timestamp { seconds, nanos }), expected);
        }
    }
}
