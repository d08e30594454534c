//! The decision: Cedar's answer, turned so that nothing that failed can ever allow.

use std::sync::Arc;

use cedar_policy::{Context, Effect, EntityUid, Request, RestrictedExpression};

use super::{
    access_request::{AccessRequest, Phase, PhaseValues, SETTLED_CONTEXT},
    cedar::{ConditionError, Situation, with_situation},
    decision::{Decision, Obligation, Outcome, Reason},
    denial::{self, Asked},
    derived::Filled,
    entities::Gathering,
    explanation::{self, Explained},
    grants::{Grant, ResolvedGrant},
    graph::Graph,
    obligations::{carried_by_all, obligations},
    policy_set::{Candidates, PlanKey},
    principal::Principal,
    profile::selection::{Refusal, select},
    realm::Realm,
    realm_file::SETTINGS,
    value::{Attributes, Value},
};

/// All that a reason may want to know of one evaluation.
#[derive(Debug)]
pub(super) struct Evaluation<'a> {
    pub(super) realm: &'a Realm,
    pub(super) principal: &'a Principal,
    pub(super) request: &'a AccessRequest,
    pub(super) values: &'a PhaseValues,
    pub(super) grant: Option<&'a Grant>,
    pub(super) candidates: &'a Candidates,
    pub(super) situation: &'a Situation<'a>,
    /// Which policies are candidates depends on which resource of the type it is.
    pub(super) names_resources: bool,
}

/// Decides a question.
///
/// Each phase is evaluated in order and each must allow: an update is judged by the stored values
/// and then by the proposed ones.
pub fn decide(realm: &Realm, principal: &Principal, request: &AccessRequest, graph: &Graph) -> Decision {
    let shaped = match shaped_by_profile(realm, principal, request) {
        Ok(shaped) => shaped,
        Err(refused) => return *refused,
    };
    let request = shaped.as_ref().unwrap_or(request);
    let (mut allowed, mut carried) = (Vec::<Reason>::new(), Vec::new());
    for (index, values) in request.phases.iter().enumerate() {
        let (outcome, mut reasons) = evaluate(realm, principal, request, values, graph);
        if outcome != Outcome::Allowed {
            if index > 0 {
                reasons = explanation::of_second_phase(realm, reasons);
            }
            return denied(realm, principal, request, values.phase, outcome, reasons);
        }
        carried.extend(carried_by_all(reasons.iter().map(|permit| permit.obligations.as_slice())));
        for Explained { reason, .. } in reasons {
            if !allowed.iter().any(|known| known.policy == reason.policy) {
                allowed.push(reason);
            }
        }
    }
    let obligations = match supported(request, obligations(realm, principal, request, &carried)) {
        Ok(obligations) => obligations,
        Err(reason) => {
            let phase = request.phases.last().map_or(Phase::Existing, |values| values.phase);
            return denied(realm, principal, request, phase, Outcome::Indeterminate, vec![reason.into()]);
        }
    };
    Decision {
        outcome: Outcome::Allowed,
        determining_policies: policies_of(&allowed),
        reasons: allowed,
        denial: None,
        obligations,
        policy_version: realm.version.clone(),
    }
}

/// The obligations of an allow that can be given.
///
/// # Errors
/// Why it can't: they are not complete, or the caller has not said of one that it can fulfil it.
pub(super) fn supported(
    request: &AccessRequest,
    obligations: Result<Vec<Obligation>, Reason>,
) -> Result<Vec<Obligation>, Reason> {
    let obligations = obligations?;
    let Some(supported) = &request.supported_obligations else { return Ok(obligations) };
    let Some(obligation) = obligations.iter().find(|obligation| !supported.contains(&obligation.id)) else {
        return Ok(obligations);
    };
    let message = format!("an allow would carry the obligation `{}`, which the caller does not support", obligation.id);
    Err(Reason::plain("OBLIGATION_NOT_SUPPORTED", message))
}

/// The request as its profile lets the policies see it; `None` as it stands.
///
/// # Errors
/// The refusal of a request for the profile that it names, or doesn't. No policy is asked about it.
pub(super) fn shaped_by_profile(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
) -> Result<Option<AccessRequest>, Box<Decision>> {
    let refused = |refusal| Box::new(refused(realm, principal, request, refusal));
    let profile = select(realm, principal, request).map_err(refused)?;
    profile.map_or(Ok(None), |profile| profile.shape(request)).map_err(refused)
}

fn refused(realm: &Realm, principal: &Principal, request: &AccessRequest, refusal: Refusal) -> Decision {
    let Refusal { outcome, code, template, message, details } = refusal;
    let phase = request.phases.first().map_or(Phase::Existing, |values| values.phase);
    let template = template.map(Arc::from);
    let explained = Explained { template, ..Explained::from(Reason::plain(code, message)) };
    let asked = Asked { principal, request, phase, context: &seen_context(realm, principal, request, phase) };
    let denial = denial::render_with(realm, Some(asked), &explained, &details);
    Decision {
        outcome,
        determining_policies: Vec::new(),
        reasons: vec![explained.reason],
        denial: Some(denial),
        obligations: Vec::new(),
        policy_version: realm.version.clone(),
    }
}

pub(super) fn denied(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    phase: Phase,
    outcome: Outcome,
    reasons: Vec<Explained>,
) -> Decision {
    let asked = Asked { principal, request, phase, context: &seen_context(realm, principal, request, phase) };
    let denial = denial::render(realm, Some(asked), reasons.first());
    let reasons: Vec<Reason> = reasons.into_iter().map(|explained| explained.reason).collect();
    // A near miss explains a denial; it did not determine it.
    let determining_policies = if outcome == Outcome::NotPermitted { Vec::new() } else { policies_of(&reasons) };
    let (denial, obligations) = (Some(denial), Vec::new());
    Decision { outcome, determining_policies, reasons, denial, obligations, policy_version: realm.version.clone() }
}

/// A denial that no policy was asked for: a bad token, for example.
pub fn refuse(realm: &Realm, outcome: Outcome, reason: Reason) -> Decision {
    let explained = Explained::from(reason);
    let denial = denial::render(realm, None, Some(&explained));
    let reasons = vec![explained.reason];
    let outcome = if outcome == Outcome::Allowed { Outcome::Indeterminate } else { outcome };
    Decision {
        outcome,
        determining_policies: Vec::new(),
        reasons,
        denial: Some(denial),
        obligations: Vec::new(),
        policy_version: realm.version.clone(),
    }
}

fn policies_of(reasons: &[Reason]) -> Vec<Arc<str>> {
    let mut ids: Vec<Arc<str>> = reasons.iter().filter_map(|reason| reason.policy.clone()).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn indeterminate(code: &str, message: impl Into<Arc<str>>) -> (Outcome, Vec<Explained>) {
    (Outcome::Indeterminate, vec![Reason::plain(code, message).into()])
}

fn evaluate(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    values: &PhaseValues,
    graph: &Graph,
) -> (Outcome, Vec<Explained>) {
    prepared(realm, principal, request, values, graph, judge).unwrap_or_else(|failed| failed)
}

/// Looks up the grant, takes the plan and gathers the facts for `ask`.
///
/// # Errors
/// Why there is nothing to ask: a fault of the configuration.
pub(super) fn prepared<T>(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    values: &PhaseValues,
    graph: &Graph,
    ask: impl FnOnce(&Evaluation<'_>) -> T,
) -> Result<T, (Outcome, Vec<Explained>)> {
    let grant = realm
        .grant(principal, &request.resource_type.name, &request.action)
        .map_err(|fault| indeterminate("CONFIGURATION_ERROR", fault))?;
    let key = PlanKey {
        action: Arc::clone(&request.action),
        principal_type: Arc::clone(&principal.entity.entity_type),
        resource_type: Arc::clone(&request.resource_type.entity),
        grant: grant.as_ref().map_or(0, |grant| grant.number + 1),
    };
    let Some(resource) = realm.cedar_types.uid(&request.resource.entity_type, &request.resource.id) else {
        return Err(unfit("its resource types"));
    };
    let derived = realm.derived.of(&realm.relations, principal, request, values);
    let asked = context_of(realm, request, values.phase, grant.as_ref(), &derived)
        .and_then(|context| cedar_request(realm, principal, request, resource.clone(), context));
    let Some(cedar_request) = asked else { return Err(unfit("the request's context")) };
    // Of a realm without grants the caller may fill in what grants would.
    let settled = if grant.is_some() { &SETTLED_CONTEXT[..] } else { &[SETTINGS] };
    let derived_settled = realm.derived.settled(&request.action);
    let plan = realm.policies.plan(&key, settled, derived_settled, || Some(cedar_request.clone()));
    let mut gathering = Gathering::new(realm, principal, request, values, &derived, graph);
    let candidates = gathering.candidates(&plan, &resource);
    let Some(entities) = gathering.entities(&candidates.looks) else { return Err(unfit("its resource types")) };
    let (candidates, names_resources) = (&*candidates, plan.names_resources());
    let evaluated = with_situation(&cedar_request, entities, |situation| {
        let grant = grant.as_ref().map(|grant| &*grant.grant);
        ask(&Evaluation { realm, principal, request, values, grant, candidates, situation, names_resources })
    });
    evaluated.ok_or_else(|| indeterminate("POLICY_ERROR", "the facts around the resource contradict each other"))
}

fn unfit(what: &str) -> (Outcome, Vec<Explained>) {
    indeterminate("CONFIGURATION_ERROR", format!("the realm's schema does not fit {what}"))
}

/// A forbid that holds denies, and then a permit that holds allows. Where Cedar skips a policy that errors, here an
/// errored forbid denies, and an errored permit never helps: where no other permit applies, the answer is that it could
/// not be decided.
pub(super) fn judge(evaluation: &Evaluation<'_>) -> (Outcome, Vec<Explained>) {
    let (mut forbidding, mut permitting, mut errored) = (Vec::new(), Vec::new(), Vec::new());
    let mut forbid_errored = false;
    for index in &evaluation.candidates.indexes {
        let Some(policy) = evaluation.realm.policies.get(*index) else { continue };
        match (policy.effect, evaluation.situation.holds(&policy.condition)) {
            (_, Ok(false)) => {}
            (Effect::Permit, Ok(true)) => permitting.push(*index),
            (Effect::Forbid, Ok(true)) => forbidding.push(*index),
            (effect, Err(ConditionError)) => {
                errored.push(*index);
                forbid_errored |= effect == Effect::Forbid;
            }
        }
    }
    if !forbidding.is_empty() {
        (Outcome::Forbidden, explanation::forbidden(evaluation, &forbidding))
    } else if forbid_errored || (permitting.is_empty() && !errored.is_empty()) {
        (Outcome::Indeterminate, explanation::errored(evaluation, &errored))
    } else if permitting.is_empty() {
        (Outcome::NotPermitted, explanation::not_permitted(evaluation))
    } else {
        (Outcome::Allowed, explanation::permitted(evaluation, &permitting))
    }
}

fn cedar_request(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    resource: EntityUid,
    context: Context,
) -> Option<Request> {
    let action = realm.policies.action(&request.action)?;
    Request::new(principal.uid().clone(), action.clone(), resource, context, None).ok()
}

/// The whole context. What is kept ready-made holds no derived members: they depend on the question.
fn context_of(
    realm: &Realm,
    request: &AccessRequest,
    phase: Phase,
    grant: Option<&ResolvedGrant>,
    derived: &Filled<'_>,
) -> Option<Context> {
    let context = if request.context.is_empty() {
        let key = (Arc::clone(&request.action), phase, grant.map_or(0, |grant| grant.number + 1));
        realm.contexts.get_or_make(key, || context(realm, request, phase, grant))?
    } else {
        context(realm, request, phase, grant)?
    };
    derived.added_to(context, &realm.cedar_types)
}

/// The context that policies see by the values of a phase, as far as texts can show it: without what follows from the grant.
fn seen_context(realm: &Realm, principal: &Principal, request: &AccessRequest, phase: Phase) -> Attributes {
    let values = request.phases.iter().find(|values| values.phase == phase);
    let derived = values.map(|values| realm.derived.of(&realm.relations, principal, request, values));
    let derived = derived.iter().flat_map(Filled::iter).map(|(name, value)| (Arc::clone(name), value.clone()));
    let said = request.context.iter().map(|(name, value)| (Arc::clone(name), value.clone()));
    let settings = realm.settings.get(&request.action).map(|settings| (SETTINGS.into(), settings.clone()));
    let phase = [("phase".into(), Value::String(phase.name().into()))];
    said.chain(derived).chain(settings).chain(phase).collect()
}

/// The context without derived members: what the request says, and what else the host adds where the action's context
/// declares it.
fn context(realm: &Realm, request: &AccessRequest, phase: Phase, grant: Option<&ResolvedGrant>) -> Option<Context> {
    let declared = &realm.schema.actions.get(&request.action)?.context;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut pairs = vec![("phase", text(phase.name()))];
    if let Some(ResolvedGrant { grant, .. }) = grant {
        pairs.push(("claimSetHasResource", RestrictedExpression::new_bool(grant.has_resource)));
        pairs.push(("actionGranted", RestrictedExpression::new_bool(grant.is_granted)));
        pairs.push(("strategies", RestrictedExpression::new_set(grant.strategies.iter().map(|name| text(name)))));
    }
    if let Some(settings) = realm.settings.get(&request.action) {
        pairs.push((SETTINGS, expression(realm, settings)?));
    }
    let mut members: Vec<(String, RestrictedExpression)> = pairs
        .into_iter()
        .filter(|(name, _)| declared.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in request.context.iter() {
        members.push((name.to_string(), expression(realm, value)?));
    }
    Context::from_pairs(members).ok()
}

/// A value as Cedar takes it in a context; `None` for what it has no words for.
pub(super) fn expression(realm: &Realm, value: &Value) -> Option<RestrictedExpression> {
    let uid =
        |entity: &super::id::EntityId| -> Option<EntityUid> { realm.cedar_types.uid(&entity.entity_type, &entity.id) };
    match value {
        Value::Bool(flag) => Some(RestrictedExpression::new_bool(*flag)),
        Value::Long(number) => Some(RestrictedExpression::new_long(*number)),
        Value::String(text) => Some(RestrictedExpression::new_string(text.to_string())),
        Value::Entity(entity) => uid(entity).map(RestrictedExpression::new_entity_uid),
        Value::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| expression(realm, item)).collect();
            items.map(RestrictedExpression::new_set)
        }
        Value::Record(fields) => {
            let fields: Option<Vec<_>> =
                fields.iter().map(|(name, value)| Some((name.to_string(), expression(realm, value)?))).collect();
            RestrictedExpression::new_record(fields?).ok()
        }
        Value::Null => None,
    }
}
