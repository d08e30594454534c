//! The row filter as an API gets it: a tree of tests with all that a query needs to know of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Condition, Filter, Test,
    reach::{Way, follows_paths, relations_between, types_above, way},
    tested_type,
};
use crate::domain::{
    ancestors::ancestors,
    decision::Obligation,
    graph::Graph,
    id::EntityId,
    id_path::PathRule,
    obligations::plain,
    prefix::PrefixRule,
    principal::Principal,
    realm::Realm,
    resource_type::{ResourceType, Subject},
    schema::AttributeType,
    value::{Attributes, Value},
};

/// The id of the obligation.
pub const ROW_FILTER: &str = "row_filter";
/// No test carries more ids than these with the closure applied.
pub const EXPANDED_IDS_MAX: usize = 10_000;

/// The obligation to show only resources that pass.
///
/// Its parameters are `decision` (`all`, `none` or `conditional`), `filter` where it is conditional, `null_rule`,
/// `resource_type`, `data_revision` and `policy_version`. A filter is a record with the one name `all` or `any` (lists of
/// filters) or `not` (a filter), or a test: a record with the name `test`.
pub fn obligation(
    filter: &Filter,
    realm: &Realm,
    principal: &Principal,
    resource_type: &ResourceType,
    graph: &Graph,
) -> Obligation {
    let writer = Writer { realm, principal, resource_type, graph };
    let (decision, tree) = match filter {
        Filter::All => ("all", None),
        Filter::None => ("none", None),
        filter => ("conditional", Some(writer.node(filter))),
    };
    let revision = i64::try_from(graph.revision().0).unwrap_or(i64::MAX);
    let parameters = [
        ("decision", Some(text(decision))),
        ("filter", tree),
        ("null_rule", Some(text("exclude"))),
        ("resource_type", Some(Value::String(Arc::clone(&resource_type.name)))),
        ("data_revision", Some(Value::Long(revision))),
        ("policy_version", Some(Value::String(Arc::clone(&realm.version.0)))),
    ];
    Obligation { id: ROW_FILTER.into(), parameters: named(parameters) }
}

struct Writer<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    resource_type: &'a ResourceType,
    graph: &'a Graph,
}

/// A test's name and what it says beside that of its subject.
type Said = (&'static str, Vec<(&'static str, Option<Value>)>);

impl Writer<'_> {
    fn node(&self, filter: &Filter) -> Value {
        let list =
            |name, parts: &[Filter]| single(name, Value::List(parts.iter().map(|part| self.node(part)).collect()));
        match filter {
            Filter::All => single("all", Value::List(Vec::new())),
            Filter::None => nothing(),
            Filter::AllOf(parts) => list("all", parts),
            Filter::AnyOf(parts) => list("any", parts),
            Filter::Not(inner) => single("not", self.node(inner)),
            Filter::Is(test) => self.tests(test),
        }
    }

    /// A test; several, any of which is to pass, where its ids are of several types.
    fn tests(&self, test: &Test) -> Value {
        let tested = tested_type(self.realm, self.resource_type, test);
        let mut said: Vec<Said> = match (&test.condition, &tested) {
            (Condition::HasValue, _) => vec![("has_value", Vec::new())],
            (Condition::OneOf(values), _) => vec![("one_of", vec![("values", Some(self.plain(values)))])],
            (Condition::Includes(values), _) => vec![("includes", vec![("values", Some(self.plain(values)))])],
            (Condition::Within(above), Some(tested)) => {
                by_type(above).into_iter().filter_map(|(of, ids)| self.within(tested, of, &ids)).collect()
            }
            (Condition::Contains(below), Some(tested)) => {
                let starts = self.starts(below, tested);
                if starts.iter().any(|start| follows_paths(self.realm, &start.entity_type)) {
                    return self.containing_by_paths(test, tested, &starts);
                }
                by_type(&starts).into_iter().map(|(of, ids)| self.containing(tested, of, &ids)).collect()
            }
            (Condition::Within(_) | Condition::Contains(_), None) => Vec::new(),
        };
        let last = said.pop();
        match (said.is_empty(), last) {
            (_, None) => nothing(),
            (true, Some(said)) => self.leaf(test, tested.as_ref(), said),
            (false, Some(last)) => {
                let leaves = said.into_iter().chain([last]).map(|said| self.leaf(test, tested.as_ref(), said));
                single("any", Value::List(leaves.collect()))
            }
        }
    }

    fn leaf(&self, test: &Test, tested: Option<&Arc<str>>, (name, more): Said) -> Value {
        let subject = self.resource_type.subjects.get(test.subject);
        let shared = |text: &Arc<str>| Value::String(Arc::clone(text));
        let links = (!test.links.is_empty()).then(|| Value::List(test.links.iter().map(shared).collect()));
        let element = subject.and_then(|subject| match &subject.value_type {
            AttributeType::Set(element) => Some(&**element),
            _ => None,
        });
        let element = element.and_then(|it| if let AttributeType::Entity(name) = it { Some(name) } else { None });
        let is_one = subject.is_some_and(|subject| subject.more.is_empty());
        let said = [
            ("test", Some(text(name))),
            ("subject", subject.map(|subject| shared(&subject.attribute))),
            ("path", subject.filter(|_| is_one).map(|subject| shared(&subject.path))),
            ("name", subject.filter(|_| is_one).map(|subject| shared(&subject.name))),
            ("parts", subject.filter(|_| !is_one).map(parts)),
            ("entity_type", tested.or(element).map(shared)),
            ("links", links),
        ];
        Value::Record(named(said.into_iter().chain(more)))
    }

    /// Paths are no relations that a query could follow upwards: all that contains the entities is named.
    fn containing_by_paths(&self, test: &Test, tested: &Arc<str>, starts: &[EntityId]) -> Value {
        let above = self.all_above(tested, starts);
        if above.is_empty() {
            return nothing();
        }
        self.leaf(test, Some(tested), ("one_of", vec![("values", Some(self.ids(&above)))]))
    }

    /// `None` where none of the ids can contain anything.
    fn within(&self, tested: &Arc<str>, of: &Arc<str>, ids: &[EntityId]) -> Option<Said> {
        if let Way::Path(rule) = way(self.realm, self.principal, tested, of) {
            let segments_max = i64::try_from(PathRule::SEGMENTS_MAX).unwrap_or(i64::MAX);
            let said = vec![
                ("ids", Some(self.ids(ids))),
                ("separator", Some(text(rule.separator.encode_utf8(&mut [0; 4])))),
                ("segments_max", Some(Value::Long(segments_max))),
            ];
            return Some(("within_path", said));
        }
        if let Some(rule) = self.prefixes(tested, of) {
            // Only those that the principal has contain what starts with them.
            let own: BTreeSet<&EntityId> = self.principal.entities(&rule.attribute).collect();
            let prefixes = ids.iter().filter(|id| own.contains(id)).map(|id| Value::String(Arc::clone(&id.id)));
            let prefixes: Vec<Value> = prefixes.collect();
            let is_any = !prefixes.is_empty();
            let said = vec![
                ("prefixes", Some(Value::List(prefixes))),
                ("boundary", Some(text(if rule.ends_with_segment { "segment" } else { "plain" }))),
                ("case", Some(text(if rule.ignores_case { "ignore" } else { "exact" }))),
            ];
            return is_any.then_some(("prefix", said));
        }
        let relations = relations_between(self.realm, tested, of);
        if relations.is_empty() && tested == of {
            return Some(("one_of", vec![("values", Some(self.ids(ids)))]));
        }
        Some(("within", self.related(tested, of, ids, &relations, self.below(of, ids))))
    }

    fn containing(&self, tested: &Arc<str>, of: &Arc<str>, ids: &[EntityId]) -> Said {
        let relations = relations_between(self.realm, of, tested);
        ("contains", self.related(of, of, ids, &relations, self.above(tested, ids)))
    }

    fn related(
        &self,
        start: &str,
        of: &Arc<str>,
        ids: &[EntityId],
        relations: &[Arc<str>],
        expanded: Option<BTreeSet<EntityId>>,
    ) -> Vec<(&'static str, Option<Value>)> {
        let relations = Value::List(relations.iter().map(|name| Value::String(Arc::clone(name))).collect());
        let is_expanded = Value::Bool(expanded.is_some());
        let counts_removed = self.realm.relations.history_of(start).is_some();
        vec![
            ("relations", Some(relations)),
            ("removed", Some(Value::Bool(counts_removed))),
            ("ids_type", Some(Value::String(Arc::clone(of)))),
            ("ids", Some(self.ids(ids))),
            ("expanded", Some(is_expanded)),
            ("expanded_ids", expanded.map(|expanded| self.ids(&expanded))),
        ]
    }

    /// How entities of the tested type are found by prefixes, if they are in the other type that way.
    fn prefixes(&self, tested: &str, of: &Arc<str>) -> Option<&PrefixRule> {
        let rule = self.realm.relations.prefixes(tested)?;
        let principal = self.realm.schema.entities.get(&self.principal.entity.entity_type)?;
        let is_of = |value_type: &AttributeType| *value_type == AttributeType::Entity(Arc::clone(of));
        let is_prefix = match &principal.get(&rule.attribute)?.value_type {
            AttributeType::Set(element) => is_of(element),
            single => is_of(single),
        };
        is_prefix.then_some(rule)
    }

    /// The ids and everything of their type below them; `None` where that is too much, or not known to the graph alone.
    fn below(&self, of: &Arc<str>, ids: &[EntityId]) -> Option<BTreeSet<EntityId>> {
        let others = types_above(self.realm, of);
        let is_alone = others.iter().all(|other| other == of || !types_above(self.realm, other).contains(of));
        let is_plain = *of != self.principal.entity.entity_type && self.realm.relations.prefixes(of).is_none();
        let is_plain = is_plain && self.realm.relations.history_of(of).is_none();
        if !is_alone || !is_plain {
            return None;
        }
        let mut found: BTreeSet<EntityId> = ids.iter().cloned().collect();
        for id in ids {
            let Some(node) = self.graph.node(&id.entity_type, &id.id) else { continue };
            for below in self.graph.descendants_of_type(node, of) {
                found.insert(self.graph.entity(below));
                if found.len() > EXPANDED_IDS_MAX {
                    return None;
                }
            }
        }
        (found.len() <= EXPANDED_IDS_MAX).then_some(found)
    }

    /// The ids and everything above them, as far as it is of this type; `None` where that is too much.
    fn above(&self, wanted: &str, ids: &[EntityId]) -> Option<BTreeSet<EntityId>> {
        let found = self.all_above(wanted, ids);
        (found.len() <= EXPANDED_IDS_MAX).then_some(found)
    }

    fn all_above(&self, wanted: &str, ids: &[EntityId]) -> BTreeSet<EntityId> {
        let mut found = BTreeSet::new();
        for id in ids {
            let above = ancestors(self.realm, self.principal, self.graph, id);
            let above = above.into_iter().filter(|uid| uid.type_name().to_string() == *wanted);
            found.extend(above.map(|uid| EntityId::new(wanted, uid.id().unescaped())));
            found.extend((*id.entity_type == *wanted).then(|| id.clone()));
        }
        found
    }

    /// Where the way up starts: at what the principal's token names, and at the principal itself where more is known of it.
    fn starts(&self, below: &EntityId, tested: &Arc<str>) -> Vec<EntityId> {
        if *below != self.principal.entity {
            return vec![below.clone()];
        }
        let mut starts = self.principal.parents.clone();
        let of = &below.entity_type;
        if of == tested || types_above(self.realm, of).len() > 1 {
            starts.push(below.clone());
        }
        starts
    }

    fn ids<'i>(&self, ids: impl IntoIterator<Item = &'i EntityId>) -> Value {
        Value::List(ids.into_iter().map(|id| self.id(id)).collect())
    }

    /// Whole numbers as such, so that a query can compare them with a column of numbers.
    fn id(&self, entity: &EntityId) -> Value {
        plain(self.realm, &Value::Entity(entity.clone()))
    }

    /// Values without the types of entities, which the test says once.
    fn plain(&self, values: &[Value]) -> Value {
        Value::List(values.iter().map(|value| plain(self.realm, value)).collect())
    }
}

/// The properties that make an id together.
fn parts(subject: &Subject) -> Value {
    let first = (&subject.path, &subject.name);
    let all = std::iter::once(first).chain(subject.more.iter().map(|part| (&part.path, &part.name)));
    let shared = |text: &Arc<str>| Some(Value::String(Arc::clone(text)));
    let parts = all.map(|(path, name)| Value::Record(named([("path", shared(path)), ("name", shared(name))])));
    Value::List(parts.collect())
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn named(pairs: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Attributes {
    pairs.into_iter().filter_map(|(name, value)| Some((Arc::from(name), value?))).collect()
}

fn single(name: &'static str, value: Value) -> Value {
    Value::Record(named([(name, Some(value))]))
}

/// What nothing passes.
fn nothing() -> Value {
    single("any", Value::List(Vec::new()))
}

/// Sorted, each id once.
fn by_type(ids: &[EntityId]) -> BTreeMap<&Arc<str>, Vec<EntityId>> {
    let mut sorted: BTreeMap<&Arc<str>, BTreeSet<&EntityId>> = BTreeMap::new();
    for id in ids {
        sorted.entry(&id.entity_type).or_default().insert(id);
    }
    sorted.into_iter().map(|(of, ids)| (of, ids.into_iter().cloned().collect())).collect()
}
