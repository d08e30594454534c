//! Watches the files of a realm: looks at names, sizes and times every so often, and reloads when something else lies there
//! that has come to rest.

use std::time::Duration;

use super::reload::Trigger;
use crate::{
    app::{App, ports::Fingerprint},
    domain::id::RealmName,
};

/// What the watch of one realm has seen.
#[derive(Debug, Default)]
struct Watch {
    /// At the last look.
    last: Option<Fingerprint>,
    /// When the files were last read.
    read: Option<Fingerprint>,
}

impl Watch {
    /// Whether the files are to be read: they are as they were one look ago, and not as they were read last. So a file
    /// that is being written is left alone until its writer is done or pauses for that long.
    fn is_due(&mut self, now: Fingerprint) -> bool {
        let has_come_to_rest = self.last.replace(now) == Some(now);
        has_come_to_rest && self.read != Some(now)
    }
}

impl App {
    /// Reloads a realm, or the policies that judge callers, whenever their files have changed and come to rest for
    /// `every`. Never returns. Files that are those that decide, or those that were refused, are not tried again.
    pub async fn watch_policies(&self, name: &RealmName, every: Duration) {
        let mut watch = Watch::default();
        let mut last_error = String::new();
        loop {
            tokio::time::sleep(every).await;
            let Some(now) = self.fingerprint(name).await else { continue };
            if !watch.is_due(now) {
                continue;
            }
            match self.reload(name.as_str(), Trigger::Files).await {
                Ok(_) => watch.read = Some(now),
                // Another try may help: the next look finds the files unread still.
                Err(error) if error.message == last_error => {}
                Err(error) => {
                    tracing::error!(realm = %name, "reload failed: {error}");
                    last_error = error.message;
                }
            }
        }
    }

    async fn fingerprint(&self, name: &RealmName) -> Option<Fingerprint> {
        let (source, name) = (std::sync::Arc::clone(&self.source), name.clone());
        tokio::task::spawn_blocking(move || source.fingerprint(&name)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_they_have_come_to_rest_and_not_again() {
        let mut watch = Watch::default();
        let looks = [(1, false), (1, true), (1, true), (2, false), (3, false), (3, true), (1, false), (1, true)];
        for (look, (fingerprint, expected)) in looks.into_iter().enumerate() {
            assert_eq!(watch.is_due([fingerprint; 32]), expected, "look {look}");
        }
        watch.read = Some([1; 32]);
        assert!(!watch.is_due([1; 32]) && !watch.is_due([2; 32]) && !watch.is_due([1; 32]), "as they were read");
    }
}
