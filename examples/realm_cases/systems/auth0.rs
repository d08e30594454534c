//! Cases of the realm `auth0`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Facts, Issuer, Question, System, plain_question};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct Auth0;

impl System for Auth0 {
    fn realm(&self) -> &'static str {
        "auth0"
    }

    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let settings = "audiences = []\nalgorithms = [\"RS256\", \"RS512\"]\n";
        Ok(vec![Issuer::signing(&file.main_issuer()?, settings)])
    }

    fn records(&self, _facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        Ok(BTreeMap::new())
    }

    fn question(&self, case: &Case, _facts: &Facts) -> anyhow::Result<Question> {
        Ok(Question::One(plain_question(case)))
    }
}
