//! Copies of a realm with other policies or further claim sets, for tests: nothing is compiled twice for them.

use std::sync::Arc;

use super::{Contexts, Realm};
use crate::domain::{grants::FlatClaimSet, policy_set::PolicySet};

impl Realm {
    /// The realm with these policies. Says the version of its files all the same.
    pub(in crate::domain) fn with_policies(&self, policies: PolicySet) -> Self {
        Self {
            file: self.file.clone(),
            relations: self.relations.clone(),
            schema: self.schema.clone(),
            policies,
            resource_types: self.resource_types.clone(),
            grants: self.grants.clone(),
            profiles: self.profiles.clone(),
            routes: self.routes.clone(),
            version: self.version.clone(),
            variant: self.variant.clone(),
            aliases: self.aliases.clone(),
            settings: self.settings.clone(),
            cedar_types: self.cedar_types.clone(),
            action_entities: self.action_entities.clone(),
            derived: Arc::clone(&self.derived),
            contexts: Contexts::default(),
        }
    }

    /// The realm with further claim sets, their strategies taken as they are.
    pub(in crate::domain) fn with_claim_sets(&self, sets: Vec<FlatClaimSet>) -> Self {
        let mut realm = self.with_policies(self.policies.again());
        if let (Some(grants), Some(settings)) = (&mut realm.grants, &realm.file.grants) {
            grants.add_flat(sets, settings, &realm.resource_types);
        }
        realm
    }
}
