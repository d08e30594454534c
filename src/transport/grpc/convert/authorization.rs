//! Questions, answers, and what a token may do.

use std::{collections::HashMap, sync::Arc};

use super::{Faults, NAME_BYTES_MAX, PURPOSE_BYTES_MAX, entity, shared, texts, value};
use crate::{
    app::{
        authorize::{Answer, AuthorizeRequest},
        batch::BATCH_ITEMS_MAX,
        credentials::Credentials,
        error::Error,
        explain::Explain,
        token_info::{Inactive, Reachable, TokenInfo},
    },
    domain::{
        access_request::{FieldFault, Question},
        decision::{Decision, Denial, Effect, Obligation, Outcome, Reason},
        id::{EntityId, Revision},
        value::Attributes,
    },
    proto::v1::{self as pb, batch_authorize_result::Result as ItemResult},
};

/// The longest media type.
pub(super) const MEDIA_TYPE_BYTES_MAX: usize = 1_024;
/// The most obligations that a caller can name.
const OBLIGATIONS_MAX: usize = 100;

/// One question. `request_id` counts when the message has none.
pub(crate) fn question(request: pb::AuthorizeRequest, request_id: &str) -> Result<AuthorizeRequest, Error> {
    let mut faults = Faults::default();
    let mut request = read(&mut faults, request);
    if request.request_id.is_empty() {
        request.request_id = request_id.into();
    }
    faults.none_or(request)
}

/// The questions of a batch.
pub(crate) struct Batch {
    /// The questions that could be read, in order.
    pub(crate) questions: Vec<AuthorizeRequest>,
    /// For each item in order, why it could not be read.
    pub(crate) refused: Vec<Option<Error>>,
}

/// Many questions, each completed with what all have in common. `request_id` counts when the messages have none.
pub(crate) fn batch(request: pb::BatchAuthorizeRequest, request_id: &str) -> Result<Batch, Error> {
    let pb::BatchAuthorizeRequest { defaults, items } = request;
    let mut faults = Faults::default();
    if items.len() > BATCH_ITEMS_MAX {
        faults.add("items", format!("has {} items, expected at most {BATCH_ITEMS_MAX}", items.len()));
    }
    let defaults = question(defaults.unwrap_or_default(), request_id)
        .map_err(|error| faults.0.extend(within("defaults", error).fields))
        .unwrap_or_default();
    let defaults = faults.none_or(defaults)?;
    let mut batch = Batch { questions: Vec::with_capacity(items.len()), refused: Vec::with_capacity(items.len()) };
    for item in items {
        let mut faults = Faults::default();
        let mut item = read(&mut faults, item);
        complete(&mut item, &defaults);
        match faults.none_or(item) {
            Ok(item) => {
                batch.questions.push(item);
                batch.refused.push(None);
            }
            Err(error) => batch.refused.push(Some(error)),
        }
    }
    Ok(batch)
}

fn read(faults: &mut Faults, request: pb::AuthorizeRequest) -> AuthorizeRequest {
    let pb::AuthorizeRequest {
        realm,
        token,
        token_scheme,
        action,
        resource,
        context,
        at_least_revision,
        request_id,
        media_type,
        supported_obligations,
        query_token,
        proof,
        purpose,
        explain,
    } = request;
    let pb::Resource { r#type, id, attributes, proposed, has_proposed, has_attributes } = resource.unwrap_or_default();
    let question = Question {
        action: faults.text("action", action, NAME_BYTES_MAX),
        resource_type: faults.text("resource.type", r#type, NAME_BYTES_MAX),
        resource_id: faults.text("resource.id", id, EntityId::ID_BYTES_MAX),
        attributes: values(faults, "resource.attributes", attributes, has_attributes),
        proposed: values(faults, "resource.proposed", proposed, has_proposed),
        known: Attributes::default(),
        context: faults.attributes("context", context),
        media_type: faults.text("media_type", media_type, MEDIA_TYPE_BYTES_MAX),
        supported_obligations: Some(supported(faults, supported_obligations)),
    };
    AuthorizeRequest {
        realm: shared(realm),
        credentials: faults.credentials(token, token_scheme, query_token, proof),
        question,
        at_least_revision: Revision(at_least_revision),
        request_id: shared(request_id),
        purpose: faults.text("purpose", purpose, PURPOSE_BYTES_MAX),
        explain: Explain { level: faults.explain_level(explain) },
        ..AuthorizeRequest::default()
    }
}

/// The obligations that a caller says it can fulfil.
pub(super) fn supported(faults: &mut Faults, obligations: Vec<String>) -> Vec<Arc<str>> {
    if obligations.len() > OBLIGATIONS_MAX {
        let message = format!("has {} items, expected at most {OBLIGATIONS_MAX}", obligations.len());
        faults.add("supported_obligations", message);
        return Vec::new();
    }
    let named = obligations.into_iter().enumerate();
    named.map(|(index, id)| faults.text(&format!("supported_obligations[{index}]"), id, NAME_BYTES_MAX)).collect()
}

/// Values that count if there are any, or if the message says that they do.
fn values(faults: &mut Faults, field: &str, values: HashMap<String, pb::Value>, is_given: bool) -> Option<Attributes> {
    (is_given || !values.is_empty()).then(|| faults.attributes(field, values))
}

/// Fills what an item leaves empty.
fn complete(item: &mut AuthorizeRequest, defaults: &AuthorizeRequest) {
    fn fill(text: &mut Arc<str>, default: &Arc<str>) {
        if text.is_empty() {
            *text = Arc::clone(default);
        }
    }
    let AuthorizeRequest {
        realm,
        credentials,
        question,
        at_least_revision,
        request_id,
        purpose,
        explain,
        presented: _,
        adapter: _,
    } = item;
    explain.level = explain.level.or(defaults.explain.level);
    let Credentials { token, scheme, query_token, proof, subject: _ } = credentials;
    fill(realm, &defaults.realm);
    fill(&mut token.0, &defaults.credentials.token.0);
    fill(scheme, &defaults.credentials.scheme);
    fill(&mut query_token.0, &defaults.credentials.query_token.0);
    if proof.is_empty() {
        proof.clone_from(&defaults.credentials.proof);
    }
    fill(request_id, &defaults.request_id);
    fill(purpose, &defaults.purpose);
    if *at_least_revision == Revision::default() {
        *at_least_revision = defaults.at_least_revision;
    }
    let Question {
        action,
        resource_type,
        resource_id,
        attributes,
        proposed,
        known: _,
        context,
        media_type,
        supported_obligations,
    } = question;
    let defaults = &defaults.question;
    fill(media_type, &defaults.media_type);
    if supported_obligations.as_ref().is_none_or(Vec::is_empty) {
        supported_obligations.clone_from(&defaults.supported_obligations);
    }
    fill(action, &defaults.action);
    fill(resource_type, &defaults.resource_type);
    fill(resource_id, &defaults.resource_id);
    if attributes.is_none() {
        attributes.clone_from(&defaults.attributes);
    }
    if proposed.is_none() {
        proposed.clone_from(&defaults.proposed);
    }
    if context.is_empty() {
        context.clone_from(&defaults.context);
    }
}

/// A failure of a part of a message, its fields named from the message's root.
pub(crate) fn within(part: &str, error: Error) -> Error {
    if error.fields.is_empty() {
        return error;
    }
    let Error { kind, reason, message: _, fields, retry_after: _ } = error;
    let fields = fields
        .into_iter()
        .map(|FieldFault { field, message }| FieldFault { field: format!("{part}.{field}"), message });
    Error { kind, reason, ..Error::invalid(fields.collect()) }
}

/// An answer.
pub(crate) fn answer(answer: Answer) -> pb::AuthorizeResponse {
    let Answer { decision, decision_id, data_revision, explanation, principal: _ } = answer;
    let Decision { outcome, reasons, determining_policies, denial, obligations, policy_version } = decision;
    pb::AuthorizeResponse {
        decision: effect(outcome.effect()).into(),
        outcome: self::outcome(outcome).into(),
        reasons: reasons.iter().map(reason).collect(),
        determining_policies: texts(&determining_policies),
        denial: denial.map(self::denial),
        decision_id: decision_id.to_string(),
        policy_version: policy_version.to_string(),
        data_revision: data_revision.0,
        obligations: obligations.iter().map(obligation).collect(),
        explanation: explanation.map(|explanation| super::explanation::explanation(&explanation)),
    }
}

fn obligation(obligation: &Obligation) -> pb::Obligation {
    let Obligation { id, parameters } = obligation;
    pb::Obligation { id: id.to_string(), parameters: value::attributes(parameters) }
}

/// The result of one item of a batch; `code` is that of a status.
pub(crate) fn item(result: Result<Answer, (i32, Error)>) -> pb::BatchAuthorizeResult {
    let result = match result {
        Ok(answer) => ItemResult::Response(self::answer(answer)),
        Err((code, Error { kind: _, reason, message, fields: _, retry_after: _ })) => {
            ItemResult::Error(pb::BatchAuthorizeError { code, message, reason: reason.to_owned() })
        }
    };
    pb::BatchAuthorizeResult { result: Some(result) }
}

pub(super) fn effect(effect: Effect) -> pb::Decision {
    match effect {
        Effect::Allow => pb::Decision::Allow,
        Effect::Deny => pb::Decision::Deny,
    }
}

pub(super) fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Allowed => pb::Outcome::Allowed,
        Outcome::NotPermitted => pb::Outcome::NotPermitted,
        Outcome::Forbidden => pb::Outcome::Forbidden,
        Outcome::Indeterminate => pb::Outcome::Indeterminate,
        Outcome::Unauthenticated => pb::Outcome::Unauthenticated,
    }
}

pub(super) fn reason(reason: &Reason) -> pb::Reason {
    let Reason { code, message, policy, subjects, hints } = reason;
    pb::Reason {
        code: code.to_string(),
        message: message.to_string(),
        policy_id: policy.as_deref().unwrap_or_default().to_owned(),
        subjects: texts(subjects),
        hints: texts(hints),
    }
}

fn denial(denial: Denial) -> pb::Denial {
    let Denial { status, problem_type, title, detail, errors, headers, members } = denial;
    let headers = headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let members = value::attributes(&members);
    pb::Denial { status: status.into(), r#type: problem_type, title, detail, errors, headers, members }
}

/// The realm and the credentials of a question about a token.
pub(crate) fn token_question(request: pb::GetTokenInfoRequest) -> Result<(String, Credentials), Error> {
    let pb::GetTokenInfoRequest { realm, token, token_scheme, query_token, proof } = request;
    let mut faults = Faults::default();
    let credentials = faults.credentials(token, token_scheme, query_token, proof);
    faults.none_or((realm, credentials))
}

/// What a token may do.
pub(crate) fn token_info(info: Result<TokenInfo, Inactive>) -> pb::GetTokenInfoResponse {
    let TokenInfo { principal, attributes, reachable, resources, claims, expires_at_seconds } = match info {
        Ok(info) => info,
        Err(Inactive(reason)) => {
            return pb::GetTokenInfoResponse { reason: reason.to_string(), ..pb::GetTokenInfoResponse::default() };
        }
    };
    let resources = resources
        .iter()
        .map(|(r#type, actions)| pb::ResourceActions { r#type: r#type.to_string(), actions: texts(actions) });
    let claims =
        claims.iter().map(|(claim, actions)| pb::ClaimActions { claim: claim.to_string(), actions: texts(actions) });
    pb::GetTokenInfoResponse {
        active: true,
        reason: String::new(),
        principal: Some(entity(&principal)),
        attributes: value::attributes(&attributes),
        reachable: reachable.iter().map(self::reachable).collect(),
        resources: resources.collect(),
        expires_at_seconds,
        claims: claims.collect(),
    }
}

fn reachable(reachable: &Reachable) -> pb::ReachableEntity {
    let Reachable { entity: reached, facts, parents } = reachable;
    let facts = facts.iter().flat_map(|facts| &facts.facts);
    pb::ReachableEntity {
        entity: Some(entity(reached)),
        facts: facts.map(|(name, fact)| (name.to_string(), fact.to_string())).collect(),
        parents: parents.iter().map(entity).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::explain::ExplainLevel;

    fn one(name: &str) -> HashMap<String, pb::Value> {
        let kind = Some(pb::value::Kind::StringValue(name.to_owned()));
        HashMap::from([(name.to_owned(), pb::Value { kind })])
    }

    /// A message whose every field has a value that names it.
    fn full(prefix: &str) -> pb::AuthorizeRequest {
        let named = |name: &str| format!("{prefix}{name}");
        pb::AuthorizeRequest {
            realm: named("realm"),
            token: named("token"),
            token_scheme: named("scheme"),
            action: named("action"),
            resource: Some(pb::Resource {
                r#type: named("type"),
                id: named("id"),
                attributes: one(&named("attributes")),
                proposed: one(&named("proposed")),
                has_proposed: false,
                has_attributes: false,
            }),
            context: one(&named("context")),
            at_least_revision: prefix.len() as u64,
            request_id: named("request"),
            media_type: named("media"),
            supported_obligations: vec![named("obligation")],
            query_token: named("query"),
            proof: Some(pb::TokenProof {
                method: named("method"),
                uri: named("uri"),
                dpop: vec![named("dpop")],
                client_certificate: named("certificate").into(),
            }),
            purpose: named("purpose"),
            explain: match prefix {
                "d-" => pb::ExplainLevel::None.into(),
                "item-" => pb::ExplainLevel::Full.into(),
                _ => 0,
            },
        }
    }

    fn items(defaults: pb::AuthorizeRequest, items: Vec<pb::AuthorizeRequest>) -> Batch {
        batch(pb::BatchAuthorizeRequest { defaults: Some(defaults), items }, "sent").unwrap()
    }

    #[test]
    fn every_field_that_an_item_leaves_empty_comes_from_the_defaults_and_no_other() {
        let Batch { questions, refused } =
            items(full("d-"), vec![pb::AuthorizeRequest::default(), full("item-"), full("")]);
        assert!(refused.iter().all(Option::is_none) && refused.len() == 3);
        for (item, prefix, revision) in [(&questions[0], "d-", 2), (&questions[1], "item-", 5), (&questions[2], "", 2)]
        {
            let AuthorizeRequest {
                realm,
                credentials,
                question,
                at_least_revision,
                request_id,
                purpose,
                explain,
                presented: _,
                adapter: _,
            } = item;
            let level = if prefix == "item-" { ExplainLevel::Full } else { ExplainLevel::None };
            assert_eq!(explain.level, Some(level));
            let Credentials { token, scheme, query_token, proof, subject: _ } = credentials;
            let Question {
                action,
                resource_type,
                resource_id,
                attributes,
                proposed,
                context,
                media_type,
                supported_obligations,
                known: _,
            } = question;
            let (attributes, proposed) = (attributes.as_ref().unwrap(), proposed.as_ref().unwrap());
            let name = |values: &Attributes| Arc::clone(values.iter().next().unwrap().0);
            let texts = [
                (realm, "realm"),
                (&token.0, "token"),
                (scheme, "scheme"),
                (&query_token.0, "query"),
                (&proof.method, "method"),
                (&proof.uri, "uri"),
                (&proof.dpop[0], "dpop"),
                (action, "action"),
                (resource_type, "type"),
                (resource_id, "id"),
                (&name(attributes), "attributes"),
                (&name(proposed), "proposed"),
                (&name(context), "context"),
                (request_id, "request"),
                (purpose, "purpose"),
                (media_type, "media"),
                (&supported_obligations.as_ref().unwrap()[0], "obligation"),
            ];
            for (found, field) in texts {
                assert_eq!(**found, format!("{prefix}{field}"));
            }
            assert_eq!(*proof.client_certificate, *format!("{prefix}certificate").as_bytes());
            assert_eq!(*at_least_revision, Revision(revision));
        }
    }

    #[test]
    fn values_that_are_given_but_empty_stay_empty() {
        let given = pb::Resource { has_attributes: true, has_proposed: true, ..pb::Resource::default() };
        let item = pb::AuthorizeRequest { resource: Some(given), ..pb::AuthorizeRequest::default() };
        let read = question(item.clone(), "").unwrap().question;
        assert_eq!((read.attributes, read.proposed), (Some(Attributes::default()), Some(Attributes::default())));
        let read = &items(full("d-"), vec![item]).questions[0].question;
        assert!(read.attributes.as_ref().unwrap().is_empty() && read.proposed.as_ref().unwrap().is_empty());
        let read = question(pb::AuthorizeRequest::default(), "").unwrap().question;
        assert_eq!((read.attributes, read.proposed), (None, None));
    }

    #[test]
    fn the_request_id_beside_the_message_counts_when_the_message_has_none() {
        assert_eq!(&*question(full(""), "sent").unwrap().request_id, "request");
        assert_eq!(&*question(pb::AuthorizeRequest::default(), "sent").unwrap().request_id, "sent");
        let defaults = pb::AuthorizeRequest::default();
        assert_eq!(&*items(defaults, vec![pb::AuthorizeRequest::default()]).questions[0].request_id, "sent");
    }

    #[test]
    fn a_token_of_any_length_is_a_question() {
        let long = pb::AuthorizeRequest { token: "x".repeat(20_000), ..pb::AuthorizeRequest::default() };
        assert_eq!(question(long, "").unwrap().credentials.token.0.len(), 20_000);
    }

    #[test]
    fn all_faults_of_a_message_come_back_at_once() {
        let mut request = full("");
        request.action = "a".repeat(257);
        request.context = one(&"c".repeat(513));
        let resource = request.resource.as_mut().unwrap();
        resource.r#type = "t".repeat(257);
        resource.id = "i".repeat(513);
        let kind = Some(pb::value::Kind::StringValue("x".repeat(65_537)));
        resource.attributes = HashMap::from([("big".to_owned(), pb::Value { kind })]);
        let fields = |error: Error| error.fields.into_iter().map(|fault| fault.field).collect::<Vec<_>>();
        let context = format!("context.{}", "c".repeat(80));
        let expected = ["action", "resource.type", "resource.id", "resource.attributes.big", &context];
        assert_eq!(fields(question(request.clone(), "").unwrap_err()), expected);
        let too_many = pb::BatchAuthorizeRequest {
            defaults: Some(pb::AuthorizeRequest { action: request.action.clone(), ..pb::AuthorizeRequest::default() }),
            items: vec![pb::AuthorizeRequest::default(); BATCH_ITEMS_MAX + 1],
        };
        assert_eq!(fields(batch(too_many, "").err().unwrap()), ["items", "defaults.action"]);
        let Batch { questions, refused } = items(full(""), vec![full(""), request]);
        assert_eq!(questions.len(), 1);
        assert_eq!(refused[1].as_ref().unwrap().fields.len(), expected.len());
    }
}
