//! An explanation for programs, with the names of the wire.

use serde_json::{Value as Json, json};

use crate::{
    cli::json::{entity, value},
    proto::v1::{
        EntityReference, ExplainedCondition, ExplainedGrant, ExplainedPhase, ExplainedPolicy, ExplainedStrategy,
        Explanation, MissingClaim, MissingContext, MissingGrant, MissingMediaType, MissingProperty,
        MissingRelationship, PolicyPlace, PropertyPart, RelationshipChain, RelationshipHop, Remedy, RuledOut,
        SeenValue, Value, remedy::Fact,
    },
};

/// The explanation.
pub(in crate::cli) fn explanation(explanation: &Explanation) -> Json {
    let Explanation {
        fault_code,
        fault_message,
        phases,
        permits,
        forbids,
        near_misses,
        remedies,
        tried,
        remedies_cut,
        left_out,
        hides_people,
    } = explanation;
    json!({
        "fault_code": fault_code,
        "fault_message": fault_message,
        "phases": phases.iter().map(phase).collect::<Vec<_>>(),
        "permits": permits.iter().map(policy).collect::<Vec<_>>(),
        "forbids": forbids.iter().map(policy).collect::<Vec<_>>(),
        "near_misses": near_misses.iter().map(policy).collect::<Vec<_>>(),
        "remedies": remedies.iter().map(remedy).collect::<Vec<_>>(),
        "tried": tried,
        "remedies_cut": remedies_cut,
        "left_out": left_out,
        "hides_people": hides_people,
    })
}

fn phase(phase: &ExplainedPhase) -> Json {
    let ExplainedPhase { phase, outcome, grant, strategies, ruled_out, out_of_scope } = phase;
    let grant = grant.as_ref().map(|ExplainedGrant { claim_set, has_resource, is_granted, granted_by }| {
        json!({
            "claim_set": claim_set,
            "has_resource": has_resource,
            "is_granted": is_granted,
            "granted_by": granted_by,
        })
    });
    let strategies = strategies.iter().map(|ExplainedStrategy { name, outcome, policies }| {
        json!({ "name": name, "outcome": outcome, "policies": policies })
    });
    let ruled_out = ruled_out.iter().map(|RuledOut { policy_id, text, is_negated, place }| {
        json!({
            "policy_id": policy_id,
            "text": text,
            "is_negated": is_negated,
            "place": place.as_ref().map(self::place),
        })
    });
    json!({
        "phase": phase,
        "outcome": outcome,
        "grant": grant,
        "strategies": strategies.collect::<Vec<_>>(),
        "ruled_out": ruled_out.collect::<Vec<_>>(),
        "out_of_scope": out_of_scope,
    })
}

fn place(place: &PolicyPlace) -> Json {
    let PolicyPlace { file, line, column } = place;
    json!({ "file": file, "line": line, "column": column })
}

fn policy(policy: &ExplainedPolicy) -> Json {
    let ExplainedPolicy { policy_id, title, phase, state, reason, place, conditions } = policy;
    json!({
        "policy_id": policy_id,
        "title": title,
        "phase": phase,
        "state": state,
        "reason": reason,
        "place": place.as_ref().map(self::place),
        "conditions": conditions.iter().map(condition).collect::<Vec<_>>(),
    })
}

fn condition(condition: &ExplainedCondition) -> Json {
    let ExplainedCondition { text, is_negated, place, state, values, missing, chains } = condition;
    let values = values.iter().map(|SeenValue { path, value, members }| {
        json!({ "path": path, "value": optional(value.as_ref()), "members": members })
    });
    json!({
        "text": text,
        "is_negated": is_negated,
        "place": place.as_ref().map(self::place),
        "state": state,
        "values": values.collect::<Vec<_>>(),
        "missing": missing,
        "chains": chains.iter().map(chain).collect::<Vec<_>>(),
    })
}

fn chain(chain: &RelationshipChain) -> Json {
    let RelationshipChain { from, hops } = chain;
    let hops = hops.iter().map(
        |RelationshipHop { kind, relation, to }| json!({ "kind": kind, "relation": relation, "to": end(to.as_ref()) }),
    );
    json!({ "from": end(from.as_ref()), "hops": hops.collect::<Vec<_>>() })
}

fn end(reference: Option<&EntityReference>) -> Json {
    reference.map_or(Json::Null, entity)
}

fn optional(known: Option<&Value>) -> Json {
    known.map_or(Json::Null, value)
}

/// The fact with its kind: `relationship`, `claim`, `grant`, `property`, `context` or `media_type`.
fn remedy(remedy: &Remedy) -> Json {
    let Remedy { policy_id, fact } = remedy;
    let (kind, fact) = match fact {
        Some(Fact::Relationship(MissingRelationship { subject, relation, object })) => (
            "relationship",
            json!({ "subject": end(subject.as_ref()), "relation": relation, "object": end(object.as_ref()) }),
        ),
        Some(Fact::Claim(MissingClaim { claim, values, adds })) => {
            let values: Vec<Json> = values.iter().map(value).collect();
            ("claim", json!({ "claim": claim, "values": values, "adds": adds }))
        }
        Some(Fact::Grant(MissingGrant { claim_set, resource_type, action, strategies })) => (
            "grant",
            json!({
                "claim_set": claim_set,
                "resource_type": resource_type,
                "action": action,
                "strategies": strategies,
            }),
        ),
        Some(Fact::Property(MissingProperty { phase, property, value, parts })) => {
            let parts =
                parts.iter().map(|PropertyPart { property, text }| json!({ "property": property, "text": text }));
            let parts: Vec<Json> = parts.collect();
            let value = optional(value.as_ref());
            ("property", json!({ "phase": phase, "property": property, "value": value, "parts": parts }))
        }
        Some(Fact::Context(MissingContext { member, value })) => {
            ("context", json!({ "member": member, "value": optional(value.as_ref()) }))
        }
        Some(Fact::MediaType(MissingMediaType { media_type })) => ("media_type", json!({ "media_type": media_type })),
        None => ("unknown", Json::Null),
    };
    json!({ "policy_id": policy_id, "kind": kind, "fact": fact })
}
