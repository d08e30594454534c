//! Which actions a principal may do to a resource: each decided as if it were asked about alone, and kept in the log before
//! it is shown.

use std::sync::Arc;

use super::{
    App,
    authorize::{AuthorizeRequest, Snapshot},
    caller::Right,
    error::Error,
    open_question::{Asked, NOT_UNDERSTOOD, held},
    search::{Cursor, Searched},
};
use crate::domain::{
    access_request::{Phase, Question},
    decide::decide,
    decision::{Effect, Reason},
    replay::Judged,
};

/// A page of a search for actions.
#[derive(Clone, Debug, Default)]
pub struct ActionsRequest {
    /// The question, without its action.
    pub asked: AuthorizeRequest,
    /// At most this many actions.
    pub page_size: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl App {
    /// Searches the actions that the subject may do. Those that are judged by the values of a request's body are not found:
    /// there is none yet. Of a question that the realm has no words for there are none.
    ///
    /// # Errors
    /// As [`App::authorize`]; a page of other relationships or policies than can still be seen.
    pub async fn search_actions(&self, request: ActionsRequest) -> Result<Searched, Error> {
        let ActionsRequest { asked, page_size, after } = request;
        let started_us = self.clock.now_us();
        let (asker, state) = self.may_authorize(&asked, Right::SearchActions).await?;
        let snapshot = self.snapshot_of_page(state, &asked, after.as_ref()).await?;
        let caller = self.verify_for(&snapshot, &asked, self.proofs.call()).await?;
        let remarks = asked.remarks(asker, Judged::Resource);
        let (actions, place) = (actions_for(&snapshot, &asked.question), after.map_or(0, |cursor| cursor.place));
        let Some(who) = caller.as_ref().ok().filter(|_| !actions.is_empty()) else {
            let reason = Reason::plain(NOT_UNDERSTOOD, "no action applies to the resource's type");
            let (_, record) = self.deny_unfit(&snapshot, &caller, &asked.question, reason, &remarks, started_us);
            self.keep_one(&snapshot.state, record).await?;
            return Ok(Searched::nothing());
        };
        let (mut page, mut records, mut judged) = (Searched::nothing(), Vec::new(), place);
        for (name, action) in actions.iter().skip(place) {
            if page.found.len() >= page_size {
                break;
            }
            judged += 1;
            let question = Question { action: Arc::clone(action), ..asked.question.clone() };
            let Ok(Asked::Fit(_, checked)) = held(&snapshot, &question, asked.adapter) else { continue };
            let started_us = self.clock.now_us();
            let decision = decide(&snapshot.loaded.realm, &who.principal, &checked, &snapshot.graph);
            if decision.outcome.effect() == Effect::Allow {
                records.push(self.record(&snapshot, &caller, &checked, &decision, &remarks, started_us)?);
                page.take(name, &decision);
            }
        }
        if judged < actions.len() {
            if place == 0 {
                snapshot.state.recent.keep(Arc::clone(&snapshot.graph), started_us, self.clock.now_us());
            }
            page.next = Some(snapshot.cursor(judged));
        }
        self.unkept(&snapshot.state, records).keep().await?;
        Ok(page)
    }
}

/// The names of the actions that apply to principals and the question's resource type, each with its action, in order. An
/// action has the names that the realm gives it.
fn actions_for(snapshot: &Snapshot, question: &Question) -> Vec<(Arc<str>, Arc<str>)> {
    let realm = &snapshot.loaded.realm;
    let Some(resource_type) = realm.resource_types.get(&question.resource_type) else { return Vec::new() };
    let needs_body =
        |action: &Arc<str>| realm.file.action(action).is_some_and(|rule| rule.needs.contains(&Phase::Proposed));
    let applying = realm.schema.actions.iter().filter(|(action, shape)| {
        let applies =
            shape.resources.contains(&resource_type.entity) && shape.principals.contains(&realm.file.principal.entity);
        applies && !needs_body(action)
    });
    let names = |action| realm.file.authzen.as_ref().map_or(vec![action], |settings| settings.names_of_action(action));
    let named = |action| names(action).into_iter().map(move |name| (Arc::clone(name), Arc::clone(action)));
    applying.flat_map(|(action, _)| named(action)).collect()
}
