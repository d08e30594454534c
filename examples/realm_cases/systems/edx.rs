//! Cases of the realm `openedx`.

use std::collections::BTreeMap;

use hallpass::proto::v1 as pb;
use serde_json::{Map, Value as Json, json};

use super::{Facts, Issuer, Question, System, members, plain_question, values};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct OpenEdx;

impl System for OpenEdx {
    fn realm(&self) -> &'static str {
        "openedx"
    }

    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let issuer = |(name, facts): (&String, &Json)| {
            let text = |name: &str| facts.get(name).and_then(Json::as_str);
            let algorithms = facts.get("algs").cloned().unwrap_or_else(|| json!(["RS512", "RS256"]));
            let has_secret = algorithms.as_array().is_some_and(|names| names.contains(&json!("HS256")));
            let major = text("supported_version").and_then(|version| version.split('.').next()).unwrap_or("1");
            let audiences: Vec<&str> = text("audience").into_iter().collect();
            let settings = format!(
                "audiences = {}\nalgorithms = {algorithms}\nscheme = {}\nrequired_claims = [\"iat\", \"preferred_username\"]\n\
                 version = {{ claim = \"version\", major_max = {major}, default = \"1.0.0\" }}\n",
                json!(audiences),
                json!(text("scheme").unwrap_or("JWT")),
            );
            Issuer { has_secret, ..Issuer::signing(name, settings) }
        };
        Ok(members(&file.facts, "issuers").map(issuer).collect())
    }

    fn tables(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, String>> {
        let endpoint = |(name, endpoint): (&String, &Json)| {
            let path = endpoint.get("path").and_then(Json::as_str).unwrap_or_default();
            let filter = if path.contains("{provider_id}") { "tpa_provider" } else { "content_org" };
            let scopes = endpoint.get("required_scopes").cloned().unwrap_or_else(|| json!([]));
            (name.clone(), json!({ "scopes": scopes, "filter": filter }))
        };
        let endpoints: Map<String, Json> = members(facts, "endpoints").map(endpoint).collect();
        Ok(BTreeMap::from([("endpoints.json".to_owned(), json!(endpoints).to_string())]))
    }

    fn records(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        let user = |(name, user): (&String, &Json)| json!({ "username": name, "is_staff": user.get("is_staff") });
        Ok(BTreeMap::from([("users".to_owned(), members(facts, "users").map(user).collect())]))
    }

    fn question(&self, case: &Case, facts: &Facts) -> anyhow::Result<Question> {
        let plain = plain_question(case);
        let action = plain.action.split_once(':').map_or(&*plain.action, |(_, action)| action).to_owned();
        let endpoint = facts.get("endpoints").and_then(|endpoints| endpoints.get(&action)?.get("path")?.as_str());
        let is_of_provider = endpoint.is_some_and(|path| path.contains("{provider_id}"));
        let provider = case.request.resource.properties.get("provider_id").and_then(Json::as_str);
        let resource = plain.resource.map(|resource| {
            let id = provider.unwrap_or(&resource.id).to_owned();
            let r#type = "Provider".to_owned();
            if is_of_provider { pb::Resource { r#type, id, ..pb::Resource::default() } } else { resource }
        });
        let context = values(&case.request.context);
        Ok(Question::One(pb::AuthorizeRequest { action, resource, context, ..plain }))
    }
}
