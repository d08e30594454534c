//! Erasures under way.

use std::sync::Arc;

use crate::{
    app::ports::Erasing,
    domain::{id::EntityId, identity::Pseudonym},
};

/// What is kept of a row until its erasure is finished. Its key is gone already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErasedRow {
    pub entity: EntityId,
    pub pseudonym: Pseudonym,
}

/// An erasure that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub rows: Vec<ErasedRow>,
    pub basis: Arc<str>,
    pub caller: Arc<str>,
    /// The log has noted it: the next table is written without it.
    pub is_noted: bool,
}

impl Begun {
    pub(super) fn new(rows: Vec<ErasedRow>, basis: Arc<str>, caller: Arc<str>) -> Self {
        Self { rows, basis, caller, is_noted: false }
    }

    /// It is this erasure.
    pub(super) fn is(&self, erasing: &Erasing) -> bool {
        self.rows.iter().map(|row| row.pseudonym).eq(erasing.pseudonyms.iter().copied())
    }

    pub(super) fn shown(&self) -> Erasing {
        Erasing {
            people: self.rows.iter().map(|row| row.entity.clone()).collect(),
            pseudonyms: self.rows.iter().map(|row| row.pseudonym).collect(),
            basis: Arc::clone(&self.basis),
            caller: Arc::clone(&self.caller),
        }
    }
}
