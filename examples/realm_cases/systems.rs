//! What the runner must know of each system to say its cases in the service's words.

mod auth0;
mod edfi;
mod edx;
mod itslanguage;
mod sem;

use std::collections::{BTreeMap, HashMap};

use hallpass::proto::v1::{self as pb, value::Kind};
use serde_json::{Map, Value as Json};

use crate::cases::{Case, CaseFile};

/// Facts by name.
pub(crate) type Facts = Map<String, Json>;

/// One system.
pub(crate) trait System: std::fmt::Debug {
    /// Where its realm stands below `policies/`.
    fn realm(&self) -> &'static str;

    /// The issuers that its realm trusts.
    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>>;

    /// Files of the realm that follow from the facts, by their path in the realm's folder; the realm's own count for
    /// all others.
    fn tables(&self, _facts: &Facts) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// The records that say the facts, by resource.
    fn records(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>>;

    /// The applications that the realm knows.
    fn applications(&self, _facts: &Facts) -> anyhow::Result<Vec<pb::Application>> {
        Ok(Vec::new())
    }

    /// What the authorization server says of an opaque token, completed by what it always says.
    fn introspection(&self, answer: &Json) -> Json {
        answer.clone()
    }

    /// The case as a question.
    fn question(&self, case: &Case, facts: &Facts) -> anyhow::Result<Question>;
}

/// A question, without realm and token.
#[derive(Debug)]
pub(crate) enum Question {
    /// One question.
    One(pb::AuthorizeRequest),
    /// One for each item; the first that is denied says why all are.
    Items(Vec<pb::AuthorizeRequest>),
    /// What a list is filtered by.
    List(pb::SearchResourcesRequest),
    /// What the bearer's token may do, where the body names this one.
    TokenInfo { body: String },
}

/// An issuer that a realm trusts.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    /// Its `iss`.
    pub(crate) name: String,
    /// The other lines of its table, its keys left out.
    pub(crate) settings: String,
    /// It signs with a shared secret.
    pub(crate) has_secret: bool,
    /// It is asked about opaque tokens; if it signs none, it has no keys.
    pub(crate) introspects: bool,
}

impl Issuer {
    /// An issuer that signs tokens with RSA keys.
    pub(crate) fn signing(issuer: &str, settings: impl Into<String>) -> Self {
        Self { name: issuer.to_owned(), settings: settings.into(), has_secret: false, introspects: false }
    }
}

/// The system of a file.
pub(crate) fn named(system: &str) -> anyhow::Result<Box<dyn System>> {
    Ok(match system {
        "auth0" => Box::new(auth0::Auth0),
        "edfi" => Box::new(edfi::EdFi),
        "edx" => Box::new(edx::OpenEdx),
        "itslanguage" => Box::new(itslanguage::ItsLanguage),
        "sem" => Box::new(sem::Sem),
        _ => anyhow::bail!("unknown system `{system}`, expected one of auth0, edfi, edx, itslanguage, sem"),
    })
}

/// The case's question with the properties of its resource as they stand: `PREFIX:Type` is asked about as `Type`.
pub(crate) fn plain_question(case: &Case) -> pb::AuthorizeRequest {
    let request = &case.request;
    let kind = request.resource.kind.rsplit_once(':').map_or(&*request.resource.kind, |(_, kind)| kind);
    let resource = pb::Resource {
        r#type: kind.to_owned(),
        id: request.resource.id.clone(),
        attributes: values(&request.resource.properties),
        has_attributes: true,
        ..pb::Resource::default()
    };
    pb::AuthorizeRequest {
        action: request.action.clone(),
        resource: Some(resource),
        supported_obligations: ["redact_fields", "row_filter", "apply_profile", "issue_token", "stamp_ownership"]
            .map(str::to_owned)
            .into(),
        ..pb::AuthorizeRequest::default()
    }
}

/// Members as the wire has them; null is no value.
pub(crate) fn values(members: &Map<String, Json>) -> HashMap<String, pb::Value> {
    let given = members.iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.clone(), pb::Value { kind: kind(value) })).collect()
}

/// A text as the wire has it.
pub(crate) fn text(text: &str) -> pb::Value {
    pb::Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn kind(value: &Json) -> Option<Kind> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::IntValue(number.as_i64()?),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => {
            Kind::ListValue(pb::ListValue { values: items.iter().map(|item| pb::Value { kind: kind(item) }).collect() })
        }
        Json::Object(fields) => Kind::RecordValue(pb::RecordValue { fields: values(fields) }),
    })
}

/// The members of an object among the facts; none if it is not there.
pub(crate) fn members<'f>(facts: &'f Facts, name: &str) -> impl Iterator<Item = (&'f String, &'f Json)> {
    facts.get(name).and_then(Json::as_object).into_iter().flatten()
}

/// The items of a list among the facts; none if it is not there.
pub(crate) fn items<'f>(facts: &'f Facts, name: &str) -> impl Iterator<Item = &'f Json> {
    facts.get(name).and_then(Json::as_array).into_iter().flatten()
}
