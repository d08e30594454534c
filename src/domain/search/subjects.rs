//! The principals that the service knows, so that one can ask who of them may do something.

use super::{IdList, Known, known::ITEMS_MAX};
use crate::domain::{
    graph::{Graph, TypeId},
    realm::Realm,
};

/// The ids of all entities of the principal's type that the relationships know, and of `further` ones, sorted, each once.
///
/// An entity of another type that has the id of one by a link speaks of it too.
pub fn known_principals<'a>(realm: &Realm, graph: &Graph, further: impl Iterator<Item = &'a str>) -> Known {
    let entity = &realm.file.principal.entity;
    let links = realm.relations.entity(entity).into_iter().flat_map(|rules| rules.links.values());
    let types: Vec<TypeId> = std::iter::once(entity).chain(links).filter_map(|name| graph.type_id(name)).collect();
    let mut found = IdList::default();
    further.for_each(|id| found.push(id));
    let mut is_cut = false;
    graph.each_known(&types, |node| {
        is_cut = found.len() >= ITEMS_MAX;
        if !is_cut {
            graph.with_name(node, |_, id| found.push(id));
        }
        !is_cut
    });
    Known { ids: found.sorted(), is_complete: !is_cut }
}
