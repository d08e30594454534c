//! The items of a resource type that the service knows, as few of them as can come into question.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        ancestors::ancestors,
        graph::{Graph, NodeId, Steps, TypeId},
        id::EntityId,
        items::{Item, Origin},
        principal::Principal,
        realm::Realm,
        resource_type::{ResourceType, Subject},
        row_filter::{Condition, Filter, Test},
        schema::AttributeType,
        value::Value,
    },
    id_list::IdList,
};

/// The most known items that one search goes through.
pub const ITEMS_MAX: usize = 2_000_000;
/// The most entities that one search passes on its way to them.
const PASSED_MAX: usize = 8_000_000;

/// The items that a search goes through.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Their ids, sorted, each once.
    pub ids: IdList,
    /// Every item that the principal may act on is among them.
    pub is_complete: bool,
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// How the items are known.
    pub item: &'a Item,
    /// Their type.
    pub resource_type: &'a ResourceType,
    /// What passes, where that can be said.
    pub filter: Option<&'a Filter>,
    /// Only what lies within this entity.
    pub within: Option<&'a EntityId>,
}

/// A way to find every item that a test lets pass: it is a test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach<'a> {
    subject: usize,
    links: &'a [Arc<str>],
    from: From<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From<'a> {
    /// These and what lies below them.
    Down(&'a [EntityId]),
    /// This and what lies above it.
    Up(&'a EntityId),
    /// These.
    Here(&'a [Value]),
}

/// The items that come into question. Those that pass are among them as far as the service knows them; others may be.
///
/// None do where the policies may look at a value that the service doesn't know: to take it for one that isn't there could
/// show what they hide.
pub fn known_items(realm: &Realm, principal: &Principal, graph: &Graph, scope: Scope<'_>) -> Known {
    let unknown = || {
        let subjects = scope.resource_type.subjects.iter().enumerate();
        subjects.filter(|(_, subject)| scope.item.origin(subject) == Origin::Unknown)
    };
    if unknown().any(|(place, _)| scope.filter.is_none_or(|filter| looks_at(filter, place))) {
        return Known::default();
    }
    let mut walk = Walk { realm, principal, graph, scope, found: IdList::default(), passed: 0, is_cut: false };
    let reaches = bounds(&walk);
    for reach in reaches.iter().flatten() {
        walk.follow(reach);
    }
    let is_bounded = reaches.is_some();
    if !is_bounded {
        walk.take_all();
    }
    let Walk { found, is_cut, .. } = walk;
    // What nobody knows may lie there too.
    let is_vague =
        scope.within.is_some() && unknown().any(|(_, subject)| matches!(subject.value_type, AttributeType::Entity(_)));
    Known { ids: found.sorted(), is_complete: !is_cut && !is_vague && (is_bounded || scope.item.is_on_record) }
}

/// The condition tests this subject.
fn looks_at(filter: &Filter, subject: usize) -> bool {
    match filter {
        Filter::All | Filter::None => false,
        Filter::Is(test) => test.subject == subject,
        Filter::Not(inner) => looks_at(inner, subject),
        Filter::AllOf(parts) | Filter::AnyOf(parts) => parts.iter().any(|part| looks_at(part, subject)),
    }
}

/// Where to look; `None` when that is everywhere. Of the client's own bound and of the one that the search asks for, the
/// narrower one, as far as that can be seen.
fn bounds<'a>(walk: &Walk<'a>) -> Option<Vec<Reach<'a>>> {
    let scope = walk.scope;
    let own = scope.filter.and_then(|filter| reaches(filter, walk));
    let Some(within) = scope.within else { return own };
    if own.as_ref().is_some_and(|own| !own.iter().any(|reach| reach.is_around(walk.graph, within))) {
        return own;
    }
    // Any of the values may be the one that lies there.
    let subjects = scope.resource_type.subjects.iter().enumerate();
    let known = subjects.filter(|(_, subject)| scope.item.origin(subject) != Origin::Unknown);
    let there: Vec<Reach<'a>> = known
        .map(|(subject, _)| Reach { subject, links: &[], from: From::Down(std::slice::from_ref(within)) })
        .collect();
    if there.iter().all(|reach| walk.can_follow(reach)) { Some(there) } else { own }
}

/// What one must reach to pass the condition; `None` when something may pass that nothing leads to.
fn reaches<'a>(filter: &'a Filter, walk: &Walk<'a>) -> Option<Vec<Reach<'a>>> {
    match filter {
        Filter::All | Filter::Not(_) => None,
        Filter::None => Some(Vec::new()),
        Filter::Is(test) => reach(test).filter(|reach| walk.can_follow(reach)).map(|reach| vec![reach]),
        Filter::AnyOf(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| reaches(part, walk)).collect();
            all.map(|all| all.into_iter().flatten().collect())
        }
        Filter::AllOf(parts) => {
            // Any of them will do: rather a look at few entities than one from somewhere downwards.
            let mut ways: Vec<_> = parts.iter().filter_map(|part| reaches(part, walk)).collect();
            ways.sort_by_key(|way| way.iter().any(|reach| matches!(reach.from, From::Down(_))));
            ways.into_iter().next()
        }
    }
}

fn reach(test: &Test) -> Option<Reach<'_>> {
    let from = match &test.condition {
        Condition::Within(roots) => From::Down(roots),
        Condition::Contains(entity) => From::Up(entity),
        Condition::OneOf(values) => From::Here(values),
        _ => return None,
    };
    Some(Reach { subject: test.subject, links: &test.links, from })
}

impl Reach<'_> {
    /// What lies within the entity is certainly reached.
    fn is_around(&self, graph: &Graph, entity: &EntityId) -> bool {
        let From::Down(roots) = self.from else { return false };
        let above = graph.node(&entity.entity_type, &entity.id).map(|node| graph.ancestors(node, |_| true));
        let is_above = |root: &EntityId| {
            let node = graph.node(&root.entity_type, &root.id);
            node.zip(above.as_ref()).is_some_and(|(node, above)| above.contains(&node))
        };
        roots.iter().any(|root| root == entity || is_above(root))
    }
}

/// A search for items under way.
struct Walk<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    graph: &'a Graph,
    scope: Scope<'a>,
    found: IdList,
    passed: usize,
    /// Something was left out: a limit was reached, or the value of an item isn't known.
    is_cut: bool,
}

impl<'a> Walk<'a> {
    /// The type of a subject's value, and the type that its links lead to.
    fn types(&self, reach: &Reach<'_>) -> Option<(&'a Subject, Arc<str>, Arc<str>)> {
        let subject = self.scope.resource_type.subjects.get(reach.subject)?;
        let AttributeType::Entity(value_type) = &subject.value_type else { return None };
        let linked = reach
            .links
            .iter()
            .try_fold(value_type, |entity_type, link| self.realm.relations.entity(entity_type)?.links.get(link))?;
        Some((subject, Arc::clone(value_type), Arc::clone(linked)))
    }

    /// All that the reach leads to is known by relationships alone, and from the item's side too.
    fn can_follow(&self, reach: &Reach<'_>) -> bool {
        let Some((_, _, linked)) = self.types(reach) else { return false };
        let relations = &self.realm.relations;
        match reach.from {
            From::Here(_) => reach.links.is_empty(),
            From::Up(_) => true,
            From::Down(_) => {
                let present = relations.history_of(&linked).unwrap_or(&linked);
                let through = self.types_above(present);
                let is_related = relations.relation_rules().any(|(_, ends)| ends.subject == *present);
                let is_found_by_id =
                    |name: &Arc<str>| relations.prefixes(name).is_some() || relations.path(name).is_some();
                let has_more = |name: &Arc<str>| is_found_by_id(name) || *name == self.realm.file.principal.entity;
                is_related && !through.iter().any(has_more)
            }
        }
    }

    fn follow(&mut self, reach: &Reach<'_>) {
        let Some((subject, value_type, linked)) = self.types(reach) else { return };
        match reach.from {
            From::Down(roots) => {
                // A history is the past of the entity of the same id.
                let past_of = self.realm.relations.history_of(&linked);
                let wanted = past_of.unwrap_or(&linked);
                let Some(target) = self.graph.type_id(wanted) else { return };
                let mut steps = self.steps_to(wanted);
                if past_of.is_some() {
                    let with_past = self.types_above(wanted).into_iter();
                    let with_past = with_past.filter(|name| self.realm.relations.history(name).is_some());
                    steps.past = with_past.filter_map(|name| self.graph.type_id(&name)).collect();
                }
                let roots: Vec<NodeId> =
                    roots.iter().filter_map(|root| self.graph.node(&root.entity_type, &root.id)).collect();
                let graph = self.graph;
                graph.each_below(&roots, &steps, |node| {
                    self.passed += 1;
                    if graph.type_of(node) == Some(target) && graph.is_known(node) {
                        self.take_value(subject, &value_type, &graph.entity(node).id);
                    }
                    self.goes_on()
                });
            }
            From::Up(entity) => {
                if entity.entity_type == linked {
                    self.take_value(subject, &value_type, &entity.id);
                }
                for above in ancestors(self.realm, self.principal, self.graph, entity) {
                    if above.type_name().to_string() == *linked {
                        self.take_value(subject, &value_type, above.id().unescaped());
                    }
                }
            }
            From::Here(values) => {
                for value in values {
                    if let Value::Entity(entity) = value {
                        self.take_value(subject, &value_type, &entity.id);
                    }
                }
            }
        }
    }

    /// Takes every item that is known at all.
    fn take_all(&mut self) {
        let (graph, item) = (self.graph, self.scope.item);
        if !item.facts.is_empty() {
            let Some(entity_type) = graph.type_id(&item.entity) else { return };
            graph.each_spoken_of(entity_type, |node| {
                self.passed += 1;
                self.take_item(&graph.entity(node).id);
                self.goes_on()
            });
            return;
        }
        // A linked entity has the id of the one that it is linked from.
        let links = self.realm.relations.entity(&item.entity).into_iter().flat_map(|rules| rules.links.values());
        let types: Vec<TypeId> =
            std::iter::once(&item.entity).chain(links).filter_map(|name| graph.type_id(name)).collect();
        graph.each_known(&types, |node| {
            self.passed += 1;
            self.take_item(&graph.entity(node).id);
            self.goes_on()
        });
    }

    fn goes_on(&mut self) -> bool {
        let is_enough = self.found.len() >= ITEMS_MAX || self.passed >= PASSED_MAX;
        self.is_cut |= is_enough;
        !is_enough
    }

    /// Takes the items whose subject has this value.
    fn take_value(&mut self, subject: &Subject, value_type: &str, id: &str) {
        match self.scope.item.origin(subject) {
            Origin::Own => self.take_item(id),
            Origin::Unknown => {}
            Origin::Related(relation) => {
                let graph = self.graph;
                let Some(node) = graph.node(value_type, id) else { return };
                let item = graph.type_id(&self.scope.item.entity).zip(graph.relation_id(relation));
                let Some((entity_type, relation)) = item else { return };
                for child in graph.children_of(node, entity_type, relation) {
                    self.passed += 1;
                    self.take_item(&graph.entity(child).id);
                }
            }
        }
    }

    /// Takes the entity if it is an item.
    fn take_item(&mut self, id: &str) {
        let (graph, item) = (self.graph, self.scope.item);
        if item.facts.is_empty() && item.values.is_empty() {
            self.found.push(id);
            return;
        }
        let Some(node) = graph.node(&item.entity, id) else { return };
        let said = graph.facts(node).map(|said| said.facts.as_slice()).unwrap_or_default();
        if !item.facts.iter().all(|fact| said.contains(fact)) {
            return;
        }
        let is_single = |attribute: &Arc<str>| {
            let mut subjects = self.scope.resource_type.subjects.iter();
            subjects.any(|it| it.attribute == *attribute && !matches!(it.value_type, AttributeType::Set(_)))
        };
        for (_, relation) in item.values.iter().filter(|(attribute, _)| is_single(attribute)) {
            let relation = graph.relation_id(relation);
            if graph.parents(node).filter(|(by, _)| Some(*by) == relation).count() > 1 {
                self.is_cut = true;
                return;
            }
        }
        self.found.push(id);
    }

    /// The type and all types that can stand above it.
    fn types_above(&self, entity_type: &Arc<str>) -> BTreeSet<Arc<str>> {
        let mut above = BTreeSet::from([Arc::clone(entity_type)]);
        loop {
            let ends = self.realm.relations.relation_rules().map(|(_, ends)| ends);
            let next: Vec<_> = ends.filter(|ends| above.contains(&ends.subject)).map(|ends| &ends.object).collect();
            let before = above.len();
            above.extend(next.into_iter().cloned());
            if above.len() == before {
                return above;
            }
        }
    }

    /// The way down to a type, through nothing else than what can stand above it.
    fn steps_to(&self, entity_type: &Arc<str>) -> Steps {
        let through = self.types_above(entity_type);
        let step = |from: &Arc<str>| {
            let below = self.realm.relations.relation_rules().map(|(_, ends)| ends).filter(|ends| ends.object == *from);
            let below: BTreeSet<TypeId> = below
                .filter(|ends| through.contains(&ends.subject))
                .filter_map(|ends| self.graph.type_id(&ends.subject))
                .collect();
            Some((self.graph.type_id(from)?, below.into_iter().collect()))
        };
        Steps { down: through.iter().filter_map(step).collect(), past: Vec::new() }
    }
}
