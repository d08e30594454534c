//! The service put together by hand: for use cases that need no listener.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use hallpass::{
    app::{App, ports::Clock, realm_state::RealmState, token_cache::TokenCache},
    domain::{id::RealmName, pseudonym::PseudonymKey},
    provider::{
        clock::SystemClock,
        jwks::Jwks,
        realm_files::{RealmFolders, read_folder},
    },
    storage::{
        segment_log::{Options as LogOptions, SegmentLog},
        sled::{Options, SledStore},
    },
};

pub(crate) const REALM: &str = "edfi";

/// The service with its stores in `folder`, and its relationships loaded.
pub(crate) async fn open(folder: &Path) -> App {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let name: RealmName = REALM.parse().unwrap();
    let policies = Path::new("policies/edfi");
    let store = SledStore::open(&folder.join("relationships"), Options::default()).unwrap();
    let log = SegmentLog::open(&folder.join("decisions"), LogOptions::default(), Arc::clone(&clock)).unwrap();
    let files = read_folder(policies).unwrap();
    let pseudonyms = PseudonymKey::new([7; 32]);
    let state = RealmState::start(name.clone(), &files, Vec::new(), &store, Arc::new(log), pseudonyms, clock.now_us())
        .await
        .unwrap();
    App::new(
        Arc::clone(&clock),
        Arc::new(Jwks::new(clock, Box::new(|_| ()))),
        Arc::new(store),
        Arc::new(RealmFolders::new(BTreeMap::from([(name, policies.to_owned())]))),
        Arc::new(TokenCache::default()),
        vec![state],
    )
}
