//! `@accept("CODE: why")`: what an author means although a check warns of it.

use std::sync::Arc;

use super::Found;
use crate::domain::{
    fault::{Code, Fault, Severity, nearest},
    realm::Realm,
};

/// The codes that the text of an `@accept` names, each with the reason why: `CODE: why; CODE: why`.
///
/// # Errors
/// A sentence about the first that is unknown, an error, or without a reason.
pub(in crate::domain) fn read_accepted(text: &str) -> Result<Vec<Code>, String> {
    let mut accepted = Vec::new();
    for part in text.split(';').map(str::trim) {
        let (name, why) = part.split_once(':').map_or((part, ""), |(name, why)| (name.trim(), why.trim()));
        let warnings = || Code::ALL.iter().filter(|code| code.severity() == Severity::Warning);
        let Some(code) = warnings().find(|code| code.as_str() == name) else {
            let near = nearest(name, warnings().map(|code| code.as_str()));
            let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("`{name}` in `@accept` is not the code of a warning{near}"));
        };
        if why.is_empty() {
            return Err(format!("`@accept` doesn't say why, expected `{name}: the reason`"));
        }
        accepted.push(*code);
    }
    Ok(accepted)
}

/// The faults that no policy accepts, and those of policies that accept what isn't found.
pub(super) fn settle(realm: &Realm, found: Vec<Found>) -> Vec<Fault> {
    let accepted = |id: &Arc<str>, code: Code| {
        let policy = realm.policies.iter().find(|policy| policy.id == *id);
        policy.is_some_and(|policy| policy.accepted.contains(&code))
    };
    let needless = realm.policies.iter().flat_map(|policy| {
        let is_found =
            |code: Code| found.iter().any(|(id, fault)| id.as_ref() == Some(&policy.id) && fault.code == code);
        let unmet = policy.accepted.iter().copied().filter(move |code| !is_found(*code));
        unmet.map(|code| {
            let message = format!("the policy `{}` accepts `{}`, which is not found here", policy.id, code.as_str());
            policy.annotation_fault("accept", message).coded(Code::NeedlessAccept).helped("take it out")
        })
    });
    let needless: Vec<Fault> = needless.collect();
    let kept = found.into_iter().filter(|(id, fault)| !id.as_ref().is_some_and(|id| accepted(id, fault.code)));
    kept.map(|(_, fault)| fault).chain(needless).collect()
}
