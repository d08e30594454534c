//! Cases of the realm `openedx`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Facts, Issuer, Question, System, plain_question};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct OpenEdx;

impl System for OpenEdx {
    fn realm(&self) -> &'static str {
        "openedx"
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
