//! A page of a search as a whole, for callers who take it at once.

use std::sync::Arc;

use super::{AUTHORIZE_EACH, Cursor, Part, ROW_FILTER, SearchRequest};
use crate::{
    app::{App, authorize::Snapshot, error::Error},
    domain::decision::Decision,
};

/// A page of what a search found. What it shows is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// The ids or names, each once.
    pub found: Vec<Arc<str>>,
    /// The ids of the obligations that some of the allows carry.
    pub obligations: Vec<Arc<str>>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
    /// The pages so far hold all that there is.
    pub is_complete: bool,
}

impl Searched {
    /// A page of nothing.
    pub(in crate::app) fn nothing() -> Self {
        Self { found: Vec::new(), obligations: Vec::new(), next: None, is_complete: true }
    }

    /// Takes what was allowed.
    pub(in crate::app) fn take(&mut self, found: &Arc<str>, decision: &Decision) {
        self.found.push(Arc::clone(found));
        self.oblige(decision);
    }

    fn oblige(&mut self, decision: &Decision) {
        for duty in &decision.obligations {
            if !self.obligations.contains(&duty.id) {
                self.obligations.push(Arc::clone(&duty.id));
            }
        }
    }
}

impl Snapshot {
    /// Where a page ended that saw this.
    pub(in crate::app) fn cursor(&self, place: usize) -> Cursor {
        Cursor {
            revision: self.graph.revision(),
            version: self.loaded.realm.version.clone(),
            holder: Arc::default(),
            place,
            has_gap: false,
        }
    }
}

impl App {
    /// Searches resources as [`App::search`], and collects a page.
    ///
    /// # Errors
    /// Those of [`App::search`] and of the search under way.
    pub async fn search_page(self: &Arc<Self>, request: SearchRequest) -> Result<Searched, Error> {
        let mut search = self.search(request).await?;
        let mut page = Searched::nothing();
        while let Some(part) = search.next().await? {
            match part {
                Part::Answer(answer) => page.oblige(&answer.decision),
                Part::Found(found) => page.found.extend(found.into_iter().map(|found| found.id)),
                Part::End { next, is_complete } => (page.next, page.is_complete) = (next, is_complete),
            }
        }
        // What a caller would put into a query of its own is none of its duties here.
        page.obligations.retain(|id| **id != *AUTHORIZE_EACH && **id != *ROW_FILTER);
        Ok(page)
    }
}
