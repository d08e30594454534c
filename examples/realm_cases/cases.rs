//! The files of cases as they are written: facts, tokens, requests, and the answers that are expected.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// A file of cases for one system.
#[derive(Debug, Deserialize)]
pub(crate) struct CaseFile {
    /// The system.
    pub(crate) system: String,
    /// "Now" of every case, in seconds since 1970.
    pub(crate) clock: i64,
    /// What the system knows, unless a case says otherwise.
    #[serde(default)]
    pub(crate) facts: Map<String, Json>,
    /// The cases.
    pub(crate) cases: Vec<Case>,
}

/// A question and its answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) title: String,
    pub(crate) token: TokenSpec,
    pub(crate) request: Request,
    /// Facts that differ in this case: `x` stands in for the whole of `x`, `x_patch` for some members of it.
    #[serde(default)]
    facts_override: Map<String, Json>,
    pub(crate) expect: Expected,
}

/// The token that came with the request.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenSpec {
    pub(crate) transport: Transport,
    #[serde(default)]
    pub(crate) scheme: String,
    #[serde(default)]
    pub(crate) header: Map<String, Json>,
    pub(crate) claims: Option<Map<String, Json>>,
    /// The text of an opaque token.
    pub(crate) value: Option<String>,
    /// What the issuer says of an opaque token.
    pub(crate) introspection: Option<Json>,
    /// The claims of a second token, in the query.
    pub(crate) also_query_parameter: Option<Map<String, Json>>,
}

/// How a token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    None,
    AuthorizationHeader,
    QueryParameter,
}

/// What is to be done to what.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) resource: Resource,
    #[serde(default)]
    pub(crate) context: Map<String, Json>,
    #[serde(default)]
    pub(crate) http: Http,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) properties: Map<String, Json>,
}

/// The HTTP request that asked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Http {
    #[serde(default)]
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) headers: Map<String, Json>,
}

/// What is expected of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected {
    pub(crate) decision: Verdict,
    pub(crate) reason_code: String,
    /// Reasons that are as good.
    #[serde(default)]
    pub(crate) accept_reasons: Vec<String>,
    /// The HTTP status that fits; of a denial it is a detail.
    pub(crate) http_hint: Option<u32>,
    /// The status number of the realm's own.
    pub(crate) sem_status: Option<i64>,
    /// How the problem type ends.
    pub(crate) problem_type: Option<String>,
    /// What a refusal advises.
    pub(crate) hint: Option<String>,
    #[serde(default)]
    pub(crate) obligations: Vec<Map<String, Json>>,
    /// The answers to the items of the request.
    pub(crate) items: Option<Vec<ExpectedItem>>,
    /// Whom the decision log names.
    pub(crate) audit: Option<Audit>,
    /// For which scope a token may be issued.
    pub(crate) result_scope: Option<String>,
}

/// The answer to one item.
#[derive(Debug, Deserialize)]
pub(crate) struct ExpectedItem {
    pub(crate) decision: Verdict,
    pub(crate) reason_code: String,
    pub(crate) sem_status: Option<i64>,
}

/// Whom the decision log names.
#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    pub(crate) subject: String,
    pub(crate) actor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Allow,
    Deny,
}

impl CaseFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is no file of cases", path.display()))
    }

    /// The facts of a case.
    pub(crate) fn facts_of(&self, case: &Case) -> anyhow::Result<Map<String, Json>> {
        let mut facts = self.facts.clone();
        for (name, value) in &case.facts_override {
            match (name.strip_suffix("_patch"), value) {
                (Some(patched), Json::Object(members)) => {
                    let patched = facts.entry(patched).or_insert_with(|| Json::Object(Map::new()));
                    let patched = patched.as_object_mut().with_context(|| format!("`{name}` patches no object"))?;
                    patched.extend(members.clone());
                }
                _ => drop(facts.insert(name.clone(), value.clone())),
            }
        }
        Ok(facts)
    }

    /// The claims of all tokens.
    pub(crate) fn all_claims(&self) -> impl Iterator<Item = (&TokenSpec, &Map<String, Json>)> {
        let tokens = self.cases.iter().map(|case| &case.token);
        tokens.flat_map(|token| {
            let claims = token.claims.iter().chain(&token.also_query_parameter);
            claims.map(move |claims| (token, claims))
        })
    }

    /// The issuer that most tokens are of.
    pub(crate) fn main_issuer(&self) -> anyhow::Result<String> {
        let mut issuers: Vec<&str> = self.all_claims().filter_map(|(_, claims)| claims.get("iss")?.as_str()).collect();
        issuers.sort_unstable();
        let longest = issuers.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
        Ok((*longest.and_then(<[_]>::first).context("no token has an issuer")?).to_owned())
    }
}
