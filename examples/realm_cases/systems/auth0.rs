//! Cases of the realm `auth0`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Facts, Issuer, Question, System, members, plain_question};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct Auth0;

/// The API that all calls of the cases belong to.
const API: &str = "timesheets";

impl System for Auth0 {
    fn realm(&self) -> &'static str {
        "auth0"
    }

    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let issuer = |(name, facts): (&String, &Json)| {
            let (audience, algorithms) = (facts.get("audience"), facts.get("algs"));
            Issuer::signing(name, format!("audiences = {}\nalgorithms = {}\n", json!([audience]), json!(algorithms)))
        };
        Ok(members(&file.facts, "issuers").map(issuer).collect())
    }

    fn tables(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, String>> {
        let of_issuer = members(facts, "issuers").find_map(|(_, issuer)| issuer.get("permission_mode"));
        let mode = facts.get("permission_mode").or(of_issuer).and_then(Json::as_str).unwrap_or("scope");
        let apis = json!({ API: { "permissionMode": mode, "clients": [] } });
        let endpoint = |(name, endpoint): (&String, &Json)| {
            let list = |name: &str| endpoint.get(name).cloned().unwrap_or_else(|| json!([]));
            let (any, all, ownership) = (list("scopes_any"), list("scopes_all"), endpoint.get("ownership"));
            (name.clone(), json!({ "api": API, "any": any, "all": all, "ownership": ownership }))
        };
        let endpoints: Map<String, Json> = members(facts, "endpoints").map(endpoint).collect();
        Ok(BTreeMap::from([
            ("apis.json".to_owned(), apis.to_string()),
            ("endpoints.json".to_owned(), json!(endpoints).to_string()),
        ]))
    }

    fn records(&self, _facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        Ok(BTreeMap::new())
    }

    fn question(&self, case: &Case, _facts: &Facts) -> anyhow::Result<Question> {
        Ok(Question::One(plain_question(case)))
    }
}
