//! `POST …/access/v1/search/{subject,resource,action}`: who, what and which, in pages (AuthZEN 1.0 section 8).

use std::sync::Arc;

use axum::response::Response;

use super::{
    Call, Endpoint,
    answer::Results,
    page::{Binding, Wanted, wanted},
    question::{credentials, question},
    read::{self, Action, Entity, Object},
};
use crate::{
    app::{
        authorize::AuthorizeRequest,
        search::{SearchRequest, Searched},
        search_actions::ActionsRequest,
        search_subjects::SubjectsRequest,
    },
    transport::http::problem::Problem,
};

/// Which subjects of a type may do this.
pub(super) async fn subjects(call: &Call<'_>, body: &Object) -> Result<Response, Problem> {
    let parts =
        || Ok((read::entity(body, "subject", false)?, read::action(body)?, read::entity(body, "resource", true)?));
    let (subject, action, resource) = parts().map_err(|message: String| Problem::malformed(&message))?;
    let (binding, page) = page(call, body)?;
    let request = SubjectsRequest {
        asked: asked(call, body, None, &action, &resource)?,
        subject_type: Arc::clone(&subject.kind),
        page_size: page.size(call.settings()?.page_size),
        after: page.after.clone(),
    };
    let found = call.app.search_subjects(request).await.map_err(|error| Problem::of(&error))?;
    let results = found.found.iter().map(|id| Results::entity(&subject.kind, id)).collect();
    Ok(response(call, &binding, &page, &found, results))
}

/// Which resources of a type the subject may do this to.
pub(super) async fn resources(call: &Call<'_>, body: &Object) -> Result<Response, Problem> {
    let parts =
        || Ok((read::entity(body, "subject", true)?, read::action(body)?, read::entity(body, "resource", false)?));
    let (subject, action, resource) = parts().map_err(|message: String| Problem::malformed(&message))?;
    let (binding, page) = page(call, body)?;
    let searched = Entity { properties: None, ..resource };
    let AuthorizeRequest { realm, credentials, mut question, request_id, presented, adapter, .. } =
        asked(call, body, Some(&subject), &action, &searched)?;
    question.attributes = None;
    let request = SearchRequest {
        realm,
        credentials,
        question,
        page_size: Some(page.size(call.settings()?.page_size)),
        after: page.after.clone(),
        request_id,
        presented,
        adapter,
        ..SearchRequest::default()
    };
    let found = call.app.search_page(request).await.map_err(|error| Problem::of(&error))?;
    let results = found.found.iter().map(|id| Results::entity(&searched.kind, id)).collect();
    Ok(response(call, &binding, &page, &found, results))
}

/// Which actions the subject may do to a resource.
pub(super) async fn actions(call: &Call<'_>, body: &Object) -> Result<Response, Problem> {
    let parts = || Ok((read::entity(body, "subject", true)?, read::entity(body, "resource", true)?));
    let (subject, resource) = parts().map_err(|message: String| Problem::malformed(&message))?;
    let (binding, page) = page(call, body)?;
    let request = ActionsRequest {
        asked: asked(call, body, Some(&subject), &Action::default(), &resource)?,
        page_size: page.size(call.settings()?.page_size),
        after: page.after.clone(),
    };
    let found = call.app.search_actions(request).await.map_err(|error| Problem::of(&error))?;
    let results = found.found.iter().map(|name| Results::action(name)).collect();
    Ok(response(call, &binding, &page, &found, results))
}

/// The page that is asked for, and what its token belongs to.
fn page<'c>(call: &'c Call<'_>, body: &Object) -> Result<(Binding<'c>, Wanted), Problem> {
    let endpoint = Endpoint::path(call.endpoint);
    let binding = Binding::of(&call.site.key, endpoint, &call.realm, &call.asker, body);
    let page = wanted(body, &binding, call.app.now_seconds())?;
    Ok((binding, page))
}

/// The question of a search; without a subject where that is searched for.
fn asked(
    call: &Call<'_>,
    body: &Object,
    subject: Option<&Entity>,
    action: &Action,
    resource: &Entity,
) -> Result<AuthorizeRequest, Problem> {
    let settings = call.settings()?;
    let context = read::context(body).map_err(|message: String| Problem::malformed(&message))?;
    Ok(AuthorizeRequest {
        credentials: subject.map(|subject| credentials(settings, subject, &context)).unwrap_or_default(),
        question: question(settings, action, resource, &context),
        ..call.asked(false)
    })
}

fn response(call: &Call<'_>, binding: &Binding<'_>, page: &Wanted, found: &Searched, results: Vec<String>) -> Response {
    let Searched { found: _, obligations, next, is_complete } = found;
    let is_told = page.is_asked || next.is_some() || !is_complete;
    let token = || next.as_ref().map(|cursor| binding.token(cursor, page.limit, call.app.now_seconds()));
    let next_token = is_told.then(|| token().unwrap_or_default());
    Results { next_token, obligations: obligations.clone(), found: results }.into_response()
}
