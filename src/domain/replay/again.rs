//! A decision made once more, and what is compared.

use super::{Change, Judged, change};
use crate::domain::{
    access_request::AccessRequest, decide::decide, decision::Decision, decision_record::DecisionRecord, graph::Graph,
    principal::Principal, realm::Realm, search,
};

/// Decides a question again.
pub fn decide_again(
    judged: Judged,
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    graph: &Graph,
) -> Decision {
    match judged {
        Judged::Resource => decide(realm, principal, request, graph),
        Judged::Search => search::open(realm, principal, request, graph).decision,
    }
}

/// The decision is the one on record: the same outcome, and so the same effect, by the same policies, with the same
/// reason codes in the same order, and the same obligations.
pub fn is_same(record: &DecisionRecord, decision: &Decision) -> bool {
    change(record.into(), decision.into()) == Change::Same
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        decision::{Outcome, Reason},
        decision_record::RecordKind,
        id::{DecisionId, PolicyVersion, Revision},
    };

    fn decision() -> Decision {
        Decision {
            outcome: Outcome::Forbidden,
            reasons: vec![Reason::plain("A", "a"), Reason::plain("B", "b")],
            determining_policies: vec!["p".into(), "q".into()],
            denial: None,
            obligations: Vec::new(),
            policy_version: PolicyVersion("v".into()),
        }
    }

    fn record(decision: Decision) -> DecisionRecord {
        let text = Arc::<str>::default;
        DecisionRecord {
            id: DecisionId(1),
            time_us: 1,
            outcome: decision.outcome,
            reasons: decision.reasons,
            determining_policies: decision.determining_policies,
            action: text(),
            resource_type: text(),
            resource_id: text(),
            subjects: Vec::new(),
            principal: None,
            issuer: text(),
            attributes: Arc::default(),
            policy_version: decision.policy_version,
            data_revision: Revision(1),
            request_id: text(),
            duration_us: 1,
            obligations: Vec::new(),
            actor: None,
            client: text(),
            purpose: text(),
            kind: RecordKind::Decision,
            facts: Arc::default(),
            caller: Arc::default(),
            adapter: None,
        }
    }

    #[test]
    fn outcome_policies_and_reason_codes_count_and_nothing_else() {
        let logged = record(decision());
        let worded = vec![Reason::plain("A", "other words"), Reason::plain("B", "b")];
        assert!(is_same(&logged, &Decision { reasons: worded, ..decision() }));
        for other in [
            Decision { outcome: Outcome::NotPermitted, ..decision() },
            Decision { determining_policies: vec!["p".into()], ..decision() },
            Decision { reasons: vec![Reason::plain("A", "a")], ..decision() },
            Decision { reasons: vec![Reason::plain("B", "b"), Reason::plain("A", "a")], ..decision() },
            Decision { reasons: Vec::new(), ..decision() },
        ] {
            assert!(!is_same(&logged, &other), "{other:?}");
        }
    }
}
