//! Answers of the service as JSON, in the words of the proto files.

use serde_json::{Map, Value as Json, json};

use super::revocations::names;
use crate::proto::v1::{
    self, Application, AuthorizeResponse, Decision, DecisionRecord, Denial, EntityReference, Obligation, Outcome,
    Reason, RecordedSubject, Relationship, Revocation, Value, value::Kind,
};

pub(super) fn answer(answer: &AuthorizeResponse) -> Json {
    let AuthorizeResponse {
        decision,
        outcome: how,
        reasons: why,
        determining_policies,
        denial: refusal,
        decision_id,
        policy_version,
        data_revision,
        obligations: duties,
        explanation,
    } = answer;
    let mut json = json!({
        "decision": effect(*decision),
        "outcome": outcome(*how),
        "reasons": reasons(why),
        "determining_policies": determining_policies,
        "denial": refusal.as_ref().map(denial),
        "decision_id": decision_id,
        "policy_version": policy_version,
        "data_revision": data_revision,
        "obligations": duties.iter().map(obligation).collect::<Vec<_>>(),
    });
    if let (Some(explanation), Some(members)) = (explanation, json.as_object_mut()) {
        members.insert("explanation".to_owned(), super::explain::json(explanation));
    }
    json
}

pub(super) fn obligation(obligation: &Obligation) -> Json {
    let Obligation { id, parameters } = obligation;
    json!({ "id": id, "parameters": values(parameters) })
}

pub(super) fn record(record: &DecisionRecord) -> Json {
    let DecisionRecord {
        decision_id,
        sequence,
        time,
        decision,
        outcome: how,
        reasons: why,
        determining_policies,
        action,
        resource_type,
        resource_id,
        subjects,
        principal,
        issuer,
        attributes,
        policy_version,
        data_revision,
        request_id,
        duration_us,
        obligations,
        actor,
        client,
        purpose,
        kind: _,
        caller,
        adapter,
    } = record;
    json!({
        "decision_id": decision_id,
        "sequence": sequence,
        "time": time.as_ref().map(ToString::to_string),
        "decision": effect(*decision),
        "outcome": outcome(*how),
        "reasons": reasons(why),
        "determining_policies": determining_policies,
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "subjects": subjects.iter().map(subject).collect::<Vec<_>>(),
        "principal": principal.as_ref().map(entity),
        "issuer": issuer,
        "attributes": values(attributes),
        "policy_version": policy_version,
        "data_revision": data_revision,
        "request_id": request_id,
        "duration_us": duration_us,
        "obligations": obligations,
        "actor": actor.as_ref().map(entity),
        "client": client,
        "purpose": purpose,
        "caller": caller,
        "adapter": adapter,
        "kind": match record.kind() {
            v1::RecordKind::Reading => "reading",
            v1::RecordKind::Decision | v1::RecordKind::Unspecified => "decision",
        },
    })
}

pub(super) fn relationship(relationship: &Relationship) -> Json {
    let Relationship { subject, relation, object } = relationship;
    json!({ "subject": subject.as_ref().map(entity), "relation": relation, "object": object.as_ref().map(entity) })
}

pub(super) fn application(application: &Application) -> Json {
    let Application { id, title, attributes, expires_at, disabled, has_secret } = application;
    json!({
        "id": id,
        "title": title,
        "attributes": values(attributes),
        "expires_at": expires_at.as_ref().map(ToString::to_string),
        "disabled": disabled,
        "has_secret": has_secret,
    })
}

pub(super) fn revocation(revocation: &Revocation) -> Json {
    let (issuer, kind, id) = names(revocation);
    let Revocation { tokens: _, issued_before, forget_at, revoked_at } = revocation;
    json!({
        "issuer": issuer,
        "kind": kind,
        "id": id,
        "issued_before": issued_before.as_ref().map(ToString::to_string),
        "forget_at": forget_at.as_ref().map(ToString::to_string),
        "revoked_at": revoked_at.as_ref().map(ToString::to_string),
    })
}

/// `ALLOW` or `DENY`.
pub(super) fn effect(number: i32) -> &'static str {
    Decision::try_from(number).map_or("UNKNOWN", |decision| without_prefix(decision.as_str_name()))
}

/// The outcome's name, without the prefix that all of them have.
pub(super) fn outcome(number: i32) -> &'static str {
    Outcome::try_from(number).map_or("UNKNOWN", |outcome| without_prefix(outcome.as_str_name()))
}

fn without_prefix(name: &'static str) -> &'static str {
    ["DECISION_", "OUTCOME_"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

fn reasons(reasons: &[Reason]) -> Json {
    let reason = |reason: &Reason| {
        let Reason { code, message, policy_id, subjects, hints } = reason;
        json!({ "code": code, "message": message, "policy_id": policy_id, "subjects": subjects, "hints": hints })
    };
    reasons.iter().map(reason).collect()
}

fn denial(denial: &Denial) -> Json {
    let Denial { status, r#type, title, detail, errors, headers, members } = denial;
    json!({
        "status": status,
        "type": r#type,
        "title": title,
        "detail": detail,
        "errors": errors,
        "headers": headers,
        "members": values(members),
    })
}

fn subject(subject: &RecordedSubject) -> Json {
    let RecordedSubject { attribute, r#type, id, is_pseudonym, is_proposed } = subject;
    json!({
        "attribute": attribute, "type": r#type, "id": id, "is_pseudonym": is_pseudonym, "is_proposed": is_proposed
    })
}

pub(super) fn entity(entity: &EntityReference) -> Json {
    let EntityReference { r#type, id } = entity;
    json!({ "type": r#type, "id": id })
}

/// Named values, sorted by name.
pub(super) fn values<'a>(values: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Json {
    let mut named: Vec<_> = values.into_iter().map(|(name, json)| (name.clone(), value(json))).collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    Json::Object(named.into_iter().collect::<Map<_, _>>())
}

/// A value; a reference to an entity becomes its type and id.
pub(super) fn value(value: &Value) -> Json {
    match &value.kind {
        None => Json::Null,
        Some(Kind::BoolValue(flag)) => json!(flag),
        Some(Kind::IntValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::EntityValue(reference)) => entity(reference),
        Some(Kind::ListValue(list)) => list.values.iter().map(self::value).collect(),
        Some(Kind::RecordValue(record)) => values(&record.fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_are_shown_by_their_own_words() {
        assert_eq!((effect(1), effect(2), effect(9)), ("ALLOW", "DENY", "UNKNOWN"));
        assert_eq!((outcome(2), outcome(5)), ("NOT_PERMITTED", "UNAUTHENTICATED"));
    }
}
