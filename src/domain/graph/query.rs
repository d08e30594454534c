//! Reading relationships by their ends, page by page.

use std::{collections::BinaryHeap, sync::Arc};

use super::{Graph, RelationId, TypeId};
use crate::domain::{id::EntityId, relationship::Relationship};

/// Which relationships to read; each condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationshipQuery {
    /// Only those of this subject.
    pub subject: Option<EntityId>,
    /// Only those of this relation.
    pub relation: Option<Arc<str>>,
    /// Only those to this object.
    pub object: Option<EntityId>,
}

impl Graph {
    /// The relationships that a query asks for, in the order of [`Relationship`], at most `limit` of them, beginning
    /// after `after`, which need not be here any more.
    ///
    /// The order is that of the names, so a cursor outlives the process. Costs the number of relationships of the
    /// subject (or of the object, if there is no subject; all of them, if there is neither) times the log of `limit`.
    pub fn relationships(
        &self,
        query: &RelationshipQuery,
        after: Option<&Relationship>,
        limit: usize,
    ) -> Vec<Relationship> {
        // The `limit` smallest ones by now, the greatest of them on top.
        let mut page = BinaryHeap::new();
        self.each_edge(query, |relationship| {
            if after.is_some_and(|after| relationship <= *after) {
                return;
            }
            if page.len() < limit {
                page.push(relationship);
            } else if let Some(mut greatest) = page.peek_mut()
                && relationship < *greatest
            {
                *greatest = relationship;
            }
        });
        page.into_sorted_vec()
    }

    /// Hands over every relationship that a query asks for, in no order that means anything.
    fn each_edge(&self, query: &RelationshipQuery, mut each: impl FnMut(Relationship)) {
        let relations = match &query.relation {
            None => RelationId::ALL,
            Some(name) => match self.relation_id(name) {
                Some(relation) => (relation, relation),
                None => return,
            },
        };
        match (&query.subject, &query.object) {
            (Some(subject), wanted) => {
                let Some(node) = self.find(subject) else { return };
                for (relation, parent) in self.parents_by(node, relations) {
                    let object = self.entity(parent);
                    if wanted.as_ref().is_none_or(|wanted| *wanted == object) {
                        each(Relationship { subject: subject.clone(), relation: self.relation_name(relation), object });
                    }
                }
            }
            (None, Some(object)) => {
                let Some(node) = self.find(object) else { return };
                for entity_type in self.types.numbers() {
                    for (relation, child) in self.children_by(node, TypeId(entity_type), relations) {
                        let (subject, relation) = (self.entity(child), self.relation_name(relation));
                        each(Relationship { subject, relation, object: object.clone() });
                    }
                }
            }
            (None, None) => {
                for (subject, parents) in self.forward.iter() {
                    for parent in parents.iter().filter(|parent| (relations.0..=relations.1).contains(&parent.relation))
                    {
                        let (subject, object) = (self.entity(subject), self.entity(parent.node));
                        each(Relationship { subject, relation: self.relation_name(parent.relation), object });
                    }
                }
            }
        }
    }
}
