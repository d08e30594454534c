//! Whether two realms understand tokens alike.

use std::{collections::BTreeMap, sync::Arc};

use super::Realm;

impl Realm {
    /// The realm makes of every token the same principal as the other one: by the same mapping, types and names that stand
    /// for others. Whether a token is good is another question.
    pub fn maps_tokens_as(&self, other: &Self) -> bool {
        let principal = &self.file.principal;
        let aliases = |realm: &Self| -> BTreeMap<Arc<str>, Option<Vec<Arc<str>>>> {
            let issuers = realm.file.issuers.iter();
            issuers.map(|issuer| (Arc::clone(&issuer.issuer), issuer.aliases.clone())).collect()
        };
        *principal == other.file.principal
            && self.schema.entities.get(&principal.entity) == other.schema.entities.get(&principal.entity)
            && self.aliases == other.aliases
            && aliases(self) == aliases(other)
    }
}
