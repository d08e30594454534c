//! `[principal]`: how the claims of a token become who asks.

use std::sync::Arc;

use crate::domain::document::Table;

/// How a claim becomes an attribute of the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMapping {
    /// The attribute of the principal's entity type.
    pub attribute: Arc<str>,
    /// The claim.
    pub claim: Arc<str>,
    /// Where a text is split into the members of a set.
    pub separator: Option<Arc<str>>,
    /// More members mean less access, so that a token cannot lift what the application's record says: both count.
    pub restricts: bool,
}

/// How claims become a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalMapping {
    /// The Cedar entity type.
    pub entity: Arc<str>,
    /// The claim that gives the id.
    pub id_claim: Arc<str>,
    /// Attributes whose entities contain the principal.
    pub parents: Vec<Arc<str>>,
    /// The attributes.
    pub attributes: Vec<ClaimMapping>,
}

pub(super) fn read_principal(table: &Table<'_>) -> Option<PrincipalMapping> {
    let entity = table.required_text("entity");
    let id_claim = table.required_text("id");
    let parents = table.texts("parents").unwrap_or_default();
    let attributes = table.named("attributes", |name, table| {
        let separator = table.text("separator");
        let restricts = table.flag("restricts");
        Some(ClaimMapping { attribute: name.into(), claim: table.required_text("claim")?, separator, restricts })
    });
    let attributes: Vec<_> = attributes.into_iter().map(|(_, mapping)| mapping).collect();
    for parent in parents.iter().filter(|parent| !attributes.iter().any(|mapping| mapping.attribute == **parent)) {
        table.fault(Some("parents"), format!("`{parent}` is none of the principal's attributes"));
    }
    Some(PrincipalMapping { entity: entity?, id_claim: id_claim?, parents, attributes })
}
