//! `POST …/access/v1/evaluations`: many questions (AuthZEN 1.0 section 7).

use axum::{body::Body, response::Response};
use serde_json::Value as Json;

use super::{
    Call, answer as answers,
    evaluation::{self, Asked},
    read::{Object, member},
};
use crate::{
    domain::decision::Effect,
    transport::http::{answer::with_body, problem::Problem},
};

/// The most questions of a request.
const ITEMS_MAX: usize = 1_000;
/// What the defaults may take in all items together, in bytes.
const DEFAULTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an item takes from the top where it does not say it.
const DEFAULTS: [&str; 4] = ["subject", "action", "resource", "context"];

/// Decides many questions; without any, the one that the defaults are.
pub(super) async fn answer(call: &Call<'_>, body: &Object) -> Result<Response, Problem> {
    let items = match member(body, "evaluations") {
        Some(Json::Array(items)) if !items.is_empty() => items,
        None | Some(Json::Array(_)) => return evaluation::answer(call, body).await,
        Some(_) => return Err(Problem::malformed("`evaluations` is no list")),
    };
    let until = until(body)?;
    check_sizes(body, items.len())?;
    let mut asked = Vec::with_capacity(items.len());
    for item in items {
        asked.push(merged(body, item).map_or_else(|fault| Ok(Err(fault)), |item| evaluation::asked(call, &item))?);
        if until == Some(Effect::Deny) && asked.last().is_some_and(Result::is_err) {
            break;
        }
    }
    let results = results(call, asked, until).await?;
    Ok(with_body(Body::from(format!("{{\"evaluations\":{}}}", Json::Array(results)))))
}

/// The results in order, up to the one that decides.
async fn results(
    call: &Call<'_>,
    asked: Vec<Result<Asked, String>>,
    until: Option<Effect>,
) -> Result<Vec<Json>, Problem> {
    let has_reasons: Vec<_> =
        asked.iter().map(|item| item.as_ref().map(Asked::has_reasons).map_err(Clone::clone)).collect();
    let requests = asked.into_iter().filter_map(|item| Some(item.ok()?.0)).collect();
    let answers = call.app.authorize_batch(requests, until).await.map_err(|error| Problem::of(&error))?;
    // Where nothing could be decided, there is no answer.
    if let (false, Some(Err(error))) = (answers.iter().any(Result::is_ok), answers.first()) {
        return Err(Problem::of(error));
    }
    let mut answers = answers.into_iter();
    let mut results = Vec::with_capacity(has_reasons.len());
    for item in has_reasons {
        let (result, effect) = match item {
            Err(fault) => (answers::of_fault(400, &fault), Effect::Deny),
            Ok(has_reasons) => {
                let Some(answer) = answers.next() else { break };
                match answer {
                    Ok(answer) => (answers::of_decision(&answer, has_reasons), answer.decision.outcome.effect()),
                    Err(error) => {
                        let problem = Problem::of(&error);
                        (answers::of_fault(problem.status(), problem.detail()), Effect::Deny)
                    }
                }
            }
        };
        results.push(result);
        if until == Some(effect) {
            break;
        }
    }
    Ok(results)
}

/// The decision that ends the answer, as the request's semantic has it.
fn until(body: &Object) -> Result<Option<Effect>, Problem> {
    let options = match member(body, "options") {
        None => return Ok(None),
        Some(Json::Object(options)) => options,
        Some(_) => return Err(Problem::malformed("`options` is no object")),
    };
    match member(options, "evaluations_semantic").map(Json::as_str) {
        None | Some(Some("execute_all")) => Ok(None),
        Some(Some("deny_on_first_deny")) => Ok(Some(Effect::Deny)),
        Some(Some("permit_on_first_permit")) => Ok(Some(Effect::Allow)),
        Some(_) => Err(Problem::malformed(
            "`options.evaluations_semantic` is none of `execute_all`, `deny_on_first_deny` and `permit_on_first_permit`",
        )),
    }
}

/// Holds the number of items and what they take from the defaults against the limits.
fn check_sizes(body: &Object, items: usize) -> Result<(), Problem> {
    if items > ITEMS_MAX {
        return Err(Problem::malformed(&format!("`evaluations` has {items} items, expected at most {ITEMS_MAX}")));
    }
    let mut bytes: usize = 0;
    for name in DEFAULTS {
        match member(body, name) {
            None => {}
            Some(Json::Object(_)) => bytes += body.get(name).map_or(0, |json| json.to_string().len()),
            Some(_) => return Err(Problem::malformed(&format!("`{name}` is no object"))),
        }
    }
    if bytes.saturating_mul(items) > DEFAULTS_BYTES_MAX {
        return Err(Problem::malformed("the defaults are too long for so many items, expected fewer of them"));
    }
    Ok(())
}

/// An item with the defaults in the place of what it leaves out.
fn merged(body: &Object, item: &Json) -> Result<Object, String> {
    let Json::Object(item) = item else { return Err("the item is no object".to_owned()) };
    let chosen = DEFAULTS.into_iter().filter_map(|name| {
        let value = member(item, name).or_else(|| member(body, name))?;
        Some((name.to_owned(), value.clone()))
    });
    Ok(chosen.collect())
}
