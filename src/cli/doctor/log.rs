//! The decision logs: the newest checkpoint of each is signed by the log's key, fits its tree, and is the newest that was.

use std::fs;

use super::finding::Finding;
use crate::{
    config::Config,
    domain::{checkpoint::Checkpoint, signed_note::SignedNote},
    storage::{
        checkpoint_key,
        segment_log::verify::{Newest, newest},
    },
};

const LOG: &str = "decision log";

pub(super) fn check(config: &Config) -> Vec<Finding> {
    config.realms.iter().map(|realm| check_realm(config, realm.name.as_str())).collect()
}

fn check_realm(config: &Config, realm: &str) -> Finding {
    let folder = config.data_dir.join("realms").join(realm).join("decisions");
    if !folder.is_dir() {
        return Finding::fine(LOG, format!("`{realm}` has none yet"));
    }
    // Read first: it is written first, so that a service at work cannot make it seem ahead.
    let kept = kept_size(config, realm);
    let verify = format!("hallpass decisions verify {}", config.data_dir.display());
    match newest(&folder) {
        Err(error) => {
            let what = format!("that of `{realm}` cannot be read: {error}");
            Finding::fault(LOG, what, "run this as the service's user; if it is that, look at the disk")
        }
        Ok(Newest::Bad(what)) => {
            let advice = format!("with the service stopped, or on a copy: {verify}; then ask who could write there");
            Finding::fault(LOG, format!("the newest checkpoint of `{realm}`: {what}"), advice)
        }
        Ok(Newest::Missing) if kept > 0 => behind(realm, 0, kept, &verify),
        Ok(Newest::Missing) => Finding::fine(LOG, format!("that of `{realm}` has no checkpoint yet")),
        Ok(Newest::Good(Checkpoint { size, .. })) if size < kept => behind(realm, size, kept, &verify),
        Ok(Newest::Good(Checkpoint { size, .. })) => {
            Finding::fine(LOG, format!("the newest checkpoint of `{realm}`, over {size} entries, is good"))
        }
    }
}

fn behind(realm: &str, size: u64, kept: u64, verify: &str) -> Finding {
    let what = format!(
        "that of `{realm}` has checkpoints over {size} entries, and one over {kept} was signed: signed entries were taken away, \
         or an older copy was put back"
    );
    let advice = format!("{verify}; after a restore on purpose see docs/proofs.md, `--restored`");
    Finding::fault(LOG, what, advice)
}

/// Over how many entries the newest checkpoint was that is kept beside the key; 0 when none can be read.
fn kept_size(config: &Config, realm: &str) -> u64 {
    let path = checkpoint_key::newest(&config.data_dir.join("keys"), realm);
    let note = fs::read_to_string(path).ok().and_then(|text| SignedNote::parse(&text).ok());
    note.and_then(|note| Checkpoint::parse(note.text()).ok()).map_or(0, |checkpoint| checkpoint.size)
}
