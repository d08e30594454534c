//! Explanations of decisions.

use std::sync::Arc;

use super::{Faults, entity, texts, value};
use crate::{
    app::explain::ExplainLevel,
    domain::{
        access_request::Phase,
        decision::Outcome,
        explain::{
            By, Chain, ConjunctSeen, Explanation, Fact, GrantSeen, Hop, PhaseSeen, Place, PolicySeen, Remedies, Remedy,
            RuledOut, State, StrategyOutcome, StrategySeen, ValueSeen,
        },
        relationship::Relationship,
        value::Value,
    },
    proto::v1::{self as pb, remedy::Fact as PbFact},
};

impl Faults {
    /// How much of why is asked for; `None` where the message doesn't say.
    pub(super) fn explain_level(&mut self, number: i32) -> Option<ExplainLevel> {
        match pb::ExplainLevel::try_from(number) {
            Ok(pb::ExplainLevel::Unspecified) => None,
            Ok(pb::ExplainLevel::None) => Some(ExplainLevel::None),
            Ok(pb::ExplainLevel::Reasons) => Some(ExplainLevel::Reasons),
            Ok(pb::ExplainLevel::Full) => Some(ExplainLevel::Full),
            Err(_) => {
                self.add("explain", "is no level, expected NONE, REASONS or FULL");
                None
            }
        }
    }
}

/// An explanation.
pub(super) fn explanation(explanation: &Explanation) -> pb::Explanation {
    let Explanation {
        outcome: _,
        fault,
        phases,
        permits,
        forbids,
        near_misses,
        remedies: Remedies { found, tried, is_cut },
        left_out,
        hides_people,
    } = explanation;
    pb::Explanation {
        fault_code: fault.as_ref().map(|fault| fault.code.to_string()).unwrap_or_default(),
        fault_message: fault.as_ref().map(|fault| fault.message.to_string()).unwrap_or_default(),
        phases: phases.iter().map(phase).collect(),
        permits: permits.iter().map(policy).collect(),
        forbids: forbids.iter().map(policy).collect(),
        near_misses: near_misses.iter().map(policy).collect(),
        remedies: found.iter().map(remedy).collect(),
        tried: count(*tried),
        remedies_cut: *is_cut,
        left_out: count(*left_out),
        hides_people: *hides_people,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn phase_name(phase: Phase) -> String {
    phase.name().to_owned()
}

fn optional(text: Option<&Arc<str>>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn phase(phase: &PhaseSeen) -> pb::ExplainedPhase {
    let PhaseSeen { phase, outcome, grant, strategies, ruled_out, out_of_scope } = phase;
    let outcome = match outcome {
        Outcome::Allowed => "ALLOWED",
        Outcome::NotPermitted => "NOT_PERMITTED",
        Outcome::Forbidden => "FORBIDDEN",
        Outcome::Indeterminate => "INDETERMINATE",
        Outcome::Unauthenticated => "UNAUTHENTICATED",
    };
    pb::ExplainedPhase {
        phase: phase_name(*phase),
        outcome: outcome.to_owned(),
        grant: grant.as_ref().map(|grant| {
            let GrantSeen { claim_set, has_resource, is_granted, granted_by } = grant;
            pb::ExplainedGrant {
                claim_set: claim_set.to_string(),
                has_resource: *has_resource,
                is_granted: *is_granted,
                granted_by: optional(granted_by.as_ref()),
            }
        }),
        strategies: strategies.iter().map(strategy).collect(),
        ruled_out: ruled_out
            .iter()
            .map(|RuledOut { policy, text, is_negated, place }| pb::RuledOut {
                policy_id: policy.to_string(),
                text: text.to_string(),
                is_negated: *is_negated,
                place: Some(self::place(place)),
            })
            .collect(),
        out_of_scope: count(*out_of_scope),
    }
}

fn strategy(strategy: &StrategySeen) -> pb::ExplainedStrategy {
    let StrategySeen { name, outcome, policies } = strategy;
    let outcome = match outcome {
        StrategyOutcome::Permits => "PERMITS",
        StrategyOutcome::Forbids => "FORBIDS",
        StrategyOutcome::Failed => "FAILED",
        StrategyOutcome::Unmet => "UNMET",
        StrategyOutcome::Passed => "PASSED",
        StrategyOutcome::NoPolicy => "NO_POLICY",
    };
    pb::ExplainedStrategy { name: name.to_string(), outcome: outcome.to_owned(), policies: texts(policies) }
}

fn place(place: &Place) -> pb::PolicyPlace {
    let Place { file, line, column } = place;
    pb::PolicyPlace { file: file.to_string(), line: count(*line), column: count(*column) }
}

fn state(state: State) -> String {
    let name = match state {
        State::Held => "HELD",
        State::NotHeld => "NOT_HELD",
        State::Failed => "FAILED",
        State::NotReached => "NOT_REACHED",
    };
    name.to_owned()
}

fn policy(seen: &PolicySeen) -> pb::ExplainedPolicy {
    let PolicySeen { policy, title, phase, state, reason, place, conjuncts } = seen;
    pb::ExplainedPolicy {
        policy_id: policy.to_string(),
        title: title.to_string(),
        phase: phase_name(*phase),
        state: self::state(*state),
        reason: optional(reason.as_ref()),
        place: Some(self::place(place)),
        conditions: conjuncts.iter().map(condition).collect(),
    }
}

fn condition(conjunct: &ConjunctSeen) -> pb::ExplainedCondition {
    let ConjunctSeen { text, is_negated, place, state, values, missing, chains } = conjunct;
    let values = values.iter().map(|ValueSeen { path, value, members }| pb::SeenValue {
        path: path.to_string(),
        value: value.as_ref().map(value::value),
        members: count(*members),
    });
    pb::ExplainedCondition {
        text: text.to_string(),
        is_negated: *is_negated,
        place: Some(self::place(place)),
        state: self::state(*state),
        values: values.collect(),
        missing: texts(missing),
        chains: chains.iter().map(chain).collect(),
    }
}

fn chain(chain: &Chain) -> pb::RelationshipChain {
    let Chain { from, hops } = chain;
    let hops = hops.iter().map(|Hop { by, to }| {
        let (kind, relation) = match by {
            By::Relation(name) => ("RELATION", name.to_string()),
            By::Past(name) => ("PAST_RELATION", name.to_string()),
            By::Token => ("TOKEN", String::new()),
            By::Prefix => ("PREFIX", String::new()),
            By::Path => ("PATH", String::new()),
        };
        pb::RelationshipHop { kind: kind.to_owned(), relation, to: Some(entity(to)) }
    });
    pb::RelationshipChain { from: Some(entity(from)), hops: hops.collect() }
}

fn remedy(remedy: &Remedy) -> pb::Remedy {
    let Remedy { fact, policy } = remedy;
    let some = |known: &Value| Some(value::value(known));
    let fact = match fact {
        Fact::Relationship(Relationship { subject, relation, object }) => {
            PbFact::Relationship(pb::MissingRelationship {
                subject: Some(entity(subject)),
                relation: relation.to_string(),
                object: Some(entity(object)),
            })
        }
        Fact::Claim { claim, values, adds } => PbFact::Claim(pb::MissingClaim {
            claim: claim.to_string(),
            values: values.iter().map(value::value).collect(),
            adds: *adds,
        }),
        Fact::Grant { claim_set, resource_type, action, strategies } => PbFact::Grant(pb::MissingGrant {
            claim_set: claim_set.to_string(),
            resource_type: resource_type.to_string(),
            action: action.to_string(),
            strategies: texts(strategies),
        }),
        Fact::Property { phase, property, value, parts } => PbFact::Property(pb::MissingProperty {
            phase: phase_name(*phase),
            property: property.to_string(),
            value: some(value),
            parts: parts
                .iter()
                .map(|(property, text)| pb::PropertyPart { property: property.to_string(), text: text.to_string() })
                .collect(),
        }),
        Fact::Context { member, value } => {
            PbFact::Context(pb::MissingContext { member: member.to_string(), value: some(value) })
        }
        Fact::MediaType(media_type) => PbFact::MediaType(pb::MissingMediaType { media_type: media_type.to_string() }),
    };
    pb::Remedy { policy_id: policy.to_string(), fact: Some(fact) }
}
