//! `[trusted]`: what a caller is believed about a resource and about the request.

use std::{ops::Range, sync::Arc};

use crate::domain::document::Table;

/// The properties and members that count, of each kind those that are listed. What isn't listed doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Properties of resources, by resource type; [`Trusted::ANY`] stands for every type.
    pub resources: Vec<TrustedList>,
    /// Members of the context that callers may send.
    pub context: Option<TrustedList>,
}

/// Names that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedList {
    /// What the list is of: a resource type, [`Trusted::ANY`] or `context`.
    pub of: Arc<str>,
    /// The names.
    pub names: Vec<Arc<str>>,
    /// Where the list stands in realm.toml, in bytes.
    pub place: Range<usize>,
}

impl Trusted {
    /// Stands for every resource type.
    pub const ANY: &str = "*";

    /// Callers are believed this property of a resource of this type.
    pub fn takes(&self, resource_type: &str, property: &str) -> bool {
        let lists = self.resources.iter().filter(|list| *list.of == *resource_type || &*list.of == Self::ANY);
        lists.into_iter().any(|list| list.has(property))
    }

    /// Callers may send this member of the context.
    pub fn takes_context(&self, member: &str) -> bool {
        self.context.as_ref().is_some_and(|list| list.has(member))
    }
}

impl TrustedList {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }
}

/// Reads what is believed.
pub(super) fn read_trusted(table: &Table<'_>) -> Trusted {
    let mut trusted = Trusted::default();
    for of in table.keys() {
        let Some(names) = table.one_or_more(&of) else { continue };
        let list = TrustedList { names, place: table.place(&of), of };
        if *list.of == *"context" {
            trusted.context = Some(list);
        } else {
            trusted.resources.push(list);
        }
    }
    trusted
}
