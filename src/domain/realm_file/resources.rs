//! `[resources]`: the table of resource types.

use std::sync::Arc;

use crate::domain::document::Table;

/// Where the resource types come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSettings {
    /// The Cedar entity type of all of them.
    pub entity: Arc<str>,
    /// The file of the table.
    pub file: Arc<str>,
    /// The values that policies look at in every type of the table, behind those that a type names itself.
    pub subjects: Vec<CommonSubject>,
}

/// A value that policies look at in every resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonSubject {
    /// The attribute of the Cedar entity.
    pub attribute: Arc<str>,
    /// The property of the resource, a dotted path.
    pub path: Arc<str>,
    /// What texts call it.
    pub name: Arc<str>,
}

/// Reads where the resource types come from.
pub(super) fn read_resources(table: &Table<'_>) -> Option<ResourceSettings> {
    let (entity, file) = (table.required_text("entity"), table.required_text("file"));
    let subjects = table.tables("subjects", |table| {
        let (attribute, path) = (table.required_text("attribute"), table.required_text("path"));
        let name = table.required_text("name");
        Some(CommonSubject { attribute: attribute?, path: path?, name: name? })
    });
    Some(ResourceSettings { entity: entity?, file: file?, subjects })
}
