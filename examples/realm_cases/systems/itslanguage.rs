//! Cases of the realm `itslanguage`.

use std::collections::{BTreeMap, BTreeSet};

use hallpass::proto::v1 as pb;
use serde_json::{Value as Json, json};

use super::{Facts, Issuer, Question, System, items, members, plain_question};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct ItsLanguage;

/// The resource types of the realm; anything else is asked about as an `Item`.
const RESOURCE_TYPES: [&str; 24] = [
    "Annotation",
    "Assignment",
    "AudioAnalysis",
    "AudioRecognition",
    "BasicAuth",
    "Category",
    "Challenge",
    "ChoiceChallenge",
    "Collection",
    "Download",
    "EmailAuth",
    "Feedback",
    "Group",
    "Organisation",
    "Profile",
    "Progress",
    "PronunciationChallenge",
    "Recording",
    "ReferenceAnnotation",
    "Scope",
    "SpeechChallenge",
    "Student",
    "Tenant",
    "User",
];

impl System for ItsLanguage {
    fn realm(&self) -> &'static str {
        "itslanguage"
    }

    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let issuer = file.main_issuer()?;
        let audiences = json!([issuer]);
        let settings = format!("audiences = {audiences}\nalgorithms = [\"RS256\"]\nquery = true\n");
        let answers: Vec<&Json> = file.cases.iter().filter_map(|case| case.token.introspection.as_ref()).collect();
        let introspects = answers.iter().any(|answer| answer.get("iss").and_then(Json::as_str) == Some(&*issuer));
        let signing = Issuer { introspects, ..Issuer::signing(&issuer, settings) };
        if answers.is_empty() || introspects {
            return Ok(vec![signing]);
        }
        // Answers that name no issuer name no audience either.
        let opaque = "audiences = []\nalgorithms = [\"RS256\"]\nquery = true\n";
        let opaque = Issuer::signing(&format!("{issuer}/tokens"), opaque);
        Ok(vec![signing, Issuer { introspects: true, ..opaque }])
    }

    fn records(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        let role = |(name, permissions): (&String, &Json)| json!({ "role": name, "permissions": permissions });
        let none = json!([]);
        let roles_of: BTreeMap<&str, &Json> =
            members(facts, "principal_roles").map(|(scope, roles)| (scope.as_str(), roles)).collect();
        let privileged: BTreeSet<&str> = items(facts, "may_impersonate").filter_map(Json::as_str).collect();
        let scopes: BTreeSet<&str> = roles_of.keys().chain(&privileged).copied().collect();
        let principal = |scope: &str| {
            let roles = roles_of.get(scope).copied().unwrap_or(&none);
            json!({ "scope": scope, "roles": roles, "may_impersonate": privileged.contains(scope) })
        };
        Ok(BTreeMap::from([
            ("roles".to_owned(), members(facts, "roles").map(role).collect()),
            ("principals".to_owned(), scopes.into_iter().map(principal).collect()),
        ]))
    }

    fn question(&self, case: &Case, _facts: &Facts) -> anyhow::Result<Question> {
        let mut question = plain_question(case);
        question.supported_obligations.push("only_assigned".to_owned());
        question.resource = question.resource.map(|resource| {
            let is_known = RESOURCE_TYPES.contains(&&*resource.r#type);
            let kind = if is_known { resource.r#type.clone() } else { "Item".to_owned() };
            pb::Resource { r#type: kind, ..resource }
        });
        Ok(Question::One(question))
    }
}
