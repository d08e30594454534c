//! Principals of decisions that are made again, at hand for the next one.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    decision_record::DecisionRecord,
    id::{EntityId, PolicyVersion},
    principal::Principal,
    realm::Realm,
    replay::PrincipalFacts,
    value::Attributes,
};

/// How many are at hand.
const PRINCIPALS_MAX: usize = 4_096;

/// Principals that were made of what the log has of them: few ask many questions, and what a principal is a part of is
/// found out once for each.
#[derive(Debug, Default)]
pub(super) struct Principals {
    known: HashMap<EntityId, Vec<Known>>,
    number: usize,
}

/// A principal, and what it was made of beside its name.
#[derive(Debug)]
struct Known {
    version: PolicyVersion,
    recorded: Arc<Attributes>,
    facts: Arc<PrincipalFacts>,
    principal: Arc<Principal>,
}

impl Principals {
    /// The principal of a record, as a realm has it; `None` where the realm can't.
    pub(super) fn of(
        &mut self,
        realm: &Realm,
        record: &DecisionRecord,
        facts: &Arc<PrincipalFacts>,
    ) -> Option<Arc<Principal>> {
        let name = facts.entity.as_ref().or(record.principal.as_ref())?;
        let is_it = |known: &&Known| {
            known.version == realm.version && known.recorded == record.attributes && known.facts == *facts
        };
        if let Some(known) = self.known.get(name).and_then(|known| known.iter().find(is_it)) {
            return Some(Arc::clone(&known.principal));
        }
        let (entity, attributes) = facts.principal(record)?;
        let principal = Arc::new(Principal::again(realm, entity, attributes).ok()?);
        if self.number >= PRINCIPALS_MAX {
            *self = Self::default();
        }
        self.number += 1;
        let (recorded, facts) = (Arc::clone(&record.attributes), Arc::clone(facts));
        let known = Known { version: realm.version.clone(), recorded, facts, principal: Arc::clone(&principal) };
        self.known.entry(name.clone()).or_default().push(known);
        Some(principal)
    }
}
