//! `tests/equivalent_mutants.yaml`: changes that no test can tell from the policy, each with the reason.

use serde_json::Value as Json;

use super::{Fate, Mutant};
use crate::domain::{
    fault::Fault,
    policy_set::SourceFile,
    policy_test::{EQUIVALENT_MUTANTS, listed},
    policy_text::on_one_line,
};

/// A mutant that is said to be equivalent.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    policy: String,
    /// As reports write it: `a == b => a != b`.
    change: String,
    pub(super) why: String,
    /// Where it is said, as a fault without a message.
    place: Fault,
}

impl Declared {
    pub(super) fn names(&self, mutant: &Mutant) -> bool {
        *self.policy == *mutant.policy && self.change == mutant.text
    }
}

/// Reads the declarations of a realm; none where it has no such file.
pub(super) fn read(files: &[SourceFile]) -> Result<Vec<Declared>, Vec<Fault>> {
    let Some(file) = files.iter().find(|file| file.path == EQUIVALENT_MUTANTS) else { return Ok(Vec::new()) };
    let declared = listed(file)?.into_iter().map(|(place, said)| {
        let text = |name: &str| said.get(name).and_then(Json::as_str).unwrap_or_default();
        Declared {
            policy: text("policy").to_owned(),
            change: on_one_line(text("change")),
            why: text("why").split_whitespace().collect::<Vec<_>>().join(" "),
            place,
        }
    });
    Ok(declared.collect())
}

/// Declarations that no surviving mutant answers to.
pub(super) fn undeserved(declared: &[Declared], tried: &[(Mutant, Fate)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for Declared { policy, change, place, .. } in declared {
        let named: Vec<_> =
            tried.iter().filter(|(mutant, _)| *mutant.policy == **policy && mutant.text == *change).collect();
        let message = if named.is_empty() {
            format!("policy `{policy}` has no mutant `{change}`")
        } else if named.iter().all(|(_, fate)| matches!(fate, Fate::Killed(_))) {
            format!("the mutant `{change}` of policy `{policy}` is said to be equivalent, and a test kills it")
        } else {
            continue;
        };
        faults.push(Fault { message, ..place.clone() });
    }
    faults
}
