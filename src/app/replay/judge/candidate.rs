//! What decides in place of the policies of each decision's moment.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    decision_record::DecisionRecord,
    id::PolicyVersion,
    policy_set::SourceFile,
    realm::Realm,
    replay::{Touched, Written},
};

/// A candidate set, and how it stands to the version that was asked last.
#[derive(Debug)]
pub(in crate::app::replay) struct Candidate {
    /// The policies.
    pub(super) realm: Arc<Realm>,
    files: Vec<SourceFile>,
    beside: Option<Beside>,
}

/// How a candidate stands to another version.
#[derive(Debug)]
struct Beside {
    version: PolicyVersion,
    reads_alike: bool,
    touched: Touched,
    /// By action and resource type, as records name them.
    known: HashMap<(Arc<str>, Arc<str>), bool>,
}

impl Candidate {
    pub(in crate::app::replay) fn new(realm: Realm, files: Vec<SourceFile>) -> Self {
        Self { realm: Arc::new(realm), files, beside: None }
    }

    /// The digest of its files.
    pub(in crate::app::replay) fn version(&self) -> &PolicyVersion {
        &self.realm.version
    }

    /// Looks at how it stands to the version of a record; `files` are those of that version, if they can be had.
    pub(super) fn beside(&mut self, old: &Realm, files: impl FnOnce() -> Option<Vec<SourceFile>>) {
        if self.beside.as_ref().is_some_and(|beside| beside.version == old.version) {
            return;
        }
        let files = files();
        let touched = files.map_or(Touched::Everything, |files| {
            let new = Written { realm: &self.realm, files: &self.files };
            Touched::between(Written { realm: old, files: &files }, new)
        });
        let (version, reads_alike) = (old.version.clone(), self.realm.reads_claims_as(old));
        self.beside = Some(Beside { version, reads_alike, touched, known: HashMap::new() });
    }

    /// Principals of the other version are those that the candidate would have made of their tokens.
    pub(super) fn reads_alike(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.reads_alike)
    }

    /// What differs from the version of a record may change its decision.
    pub(super) fn touches(&mut self, old: &Realm, record: &DecisionRecord) -> bool {
        let Some(beside) = &mut self.beside else { return true };
        let key = (Arc::clone(&record.action), Arc::clone(&record.resource_type));
        if let Some(known) = beside.known.get(&key) {
            return *known;
        }
        let resource_type = old.resource_types.get(&record.resource_type);
        let touches = resource_type.is_none_or(|resource_type| {
            beside.touched.touches(old, &self.realm, &record.action, &resource_type.entity)
        });
        beside.known.insert(key, touches);
        touches
    }
}
