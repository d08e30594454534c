//! The facts that might turn a deny, read off the comparisons that stand in the way. Whether they do is found out by
//! deciding again; here nothing is promised.

mod values;

use std::sync::Arc;

use cedar_policy::Effect;
use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, ValueKind};

use self::values::Values;
use super::{
    Fact, State,
    look::{Look, entities_of, entity_of, mentions, path_of, state},
    need::{Need, needs},
    slot::Slot,
};
use crate::domain::{
    access_request::GRANT_CONTEXT,
    id::EntityId,
    policy_set::CompiledPolicy,
    relationship::Relationship,
    resource_type::{LACKS, Subject, parts_of_id},
    value::Value,
};

/// The most facts that are proposed for one phase.
const PROPOSALS_MAX: usize = 300;
/// The most members of a set that relationships are proposed to.
const OBJECTS_MAX: usize = 10;
/// How many entities of a type are looked for below another.
const BELOW_MAX: usize = 3;

/// A fact, and the policy that stands in the way without it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) fact: Fact,
    pub(super) policy: Arc<str>,
}

/// What might turn the deny of a phase: by the policies that were asked, and by those that were ruled out.
pub(super) fn proposals(look: &Look<'_>, asked: &[&CompiledPolicy], ruled_out: &[&CompiledPolicy]) -> Vec<Proposal> {
    let every = asked.iter().chain(ruled_out).copied().collect();
    let mut proposer = Proposer { look, values: Values::new(look, every), policy: Arc::default(), found: Vec::new() };
    for policy in asked {
        proposer.policy = Arc::clone(&policy.id);
        for (expression, wanted) in amiss(look, policy) {
            for need in needs(look.evaluation.situation, expression, wanted) {
                proposer.meet(&need);
            }
        }
    }
    if let Some(policy) = ruled_out.iter().find(|policy| policy.effect == Effect::Permit) {
        proposer.policy = Arc::clone(&policy.id);
        proposer.grants();
    }
    proposer.found
}

/// The conditions of a policy that stand in the way, each with what it would have to come to.
fn amiss<'p>(look: &Look<'_>, policy: &'p CompiledPolicy) -> Vec<(&'p Expr, bool)> {
    let situation = look.evaluation.situation;
    let states = policy.conjuncts.iter().map(|conjunct| (conjunct, state(situation, conjunct, true)));
    let expression = |conjunct: &'p crate::domain::conjunct::Conjunct| conjunct.condition.expression();
    match policy.effect {
        Effect::Permit => {
            let open = states.filter(|(_, state)| *state != State::Held);
            open.map(|(conjunct, _)| (expression(conjunct), !conjunct.is_negated)).collect()
        }
        Effect::Forbid => {
            let states: Vec<_> = states.collect();
            let is_off = states.iter().any(|(_, state)| *state == State::NotHeld);
            let all = states.into_iter().filter(|_| !is_off);
            all.map(|(conjunct, _)| (expression(conjunct), conjunct.is_negated)).collect()
        }
    }
}

struct Proposer<'l, 'a> {
    look: &'l Look<'a>,
    values: Values<'l, 'a>,
    policy: Arc<str>,
    found: Vec<Proposal>,
}

impl Proposer<'_, '_> {
    fn add(&mut self, fact: Fact) {
        if self.found.len() < PROPOSALS_MAX && !self.found.iter().any(|known| known.fact == fact) {
            self.found.push(Proposal { fact, policy: Arc::clone(&self.policy) });
        }
    }

    /// Proposes what might make a comparison come out as it is wanted.
    fn meet(&mut self, need: &Need<'_>) {
        if let ExprKind::BinaryApp { op: BinaryOp::In, arg1, arg2 } = need.expression.expr_kind()
            && need.wanted
        {
            self.relationships(arg1, arg2);
        }
        let mut mentioned = Vec::new();
        mentions(need.expression, &mut mentioned);
        for (path, _) in mentioned {
            self.say_at(&path, need.expression);
        }
    }

    /// Proposes what could be said at a path.
    fn say_at(&mut self, path: &str, within: &Expr) {
        let evaluation = self.look.evaluation;
        if path.strip_prefix("context.").is_some_and(|name| GRANT_CONTEXT.contains(&name)) {
            self.grants();
        } else if path.strip_prefix("resource.") == Some(LACKS) {
            for name in texts(within) {
                self.say_at(&format!("resource.{name}"), within);
            }
        } else if let Some(slot) = Slot::at(evaluation, path) {
            for values in self.values.at(path, slot) {
                self.say(slot, values);
            }
        } else if path.starts_with("context.") {
            for slot in Slot::sources(evaluation) {
                for values in self.values.at(path, slot) {
                    self.say(slot, values);
                }
            }
        } else if let Some((start, _)) = path.rsplit_once('.').filter(|(start, _)| start.contains('.')) {
            self.say_at(start, within);
        }
    }

    fn say(&mut self, slot: Slot<'_>, values: Vec<Value>) {
        let phase = self.look.evaluation.values.phase;
        let whole = |mut values: Vec<Value>| {
            if slot.is_set() { Value::List(values) } else { values.pop().unwrap_or(Value::Null) }
        };
        match slot {
            Slot::Claim(mapping, _) => {
                let said: Option<Vec<Value>> = values.iter().map(|value| mapping.said_for(value)).collect();
                let claim = mapping.path.join(".").into();
                let adds = slot.is_set();
                if let Some(values) = said {
                    self.add(Fact::Claim { claim, values, adds });
                }
            }
            Slot::Property(subject) => {
                let value = whole(values);
                if let Some(parts) = parts(subject, &value) {
                    self.add(Fact::Property { phase, property: Arc::clone(&subject.path), value, parts });
                }
            }
            Slot::Context(name, _) => self.add(Fact::Context { member: Arc::clone(name), value: whole(values) }),
        }
    }

    /// Proposes relationships that would put an entity into others.
    fn relationships(&mut self, left: &Expr, right: &Expr) {
        let (realm, situation) = (self.look.evaluation.realm, self.look.evaluation.situation);
        let Some(entity) = situation.value(left).as_ref().and_then(entity_of) else { return };
        let containers = situation.value(right).map(|value| entities_of(&value)).unwrap_or_default();
        let base = realm.relations.history_of(&entity.entity_type);
        let start = base.map_or(entity.clone(), |base| EntityId::new(Arc::clone(base), Arc::clone(&entity.id)));
        let above = self.above(left, &entity);
        let starts: Vec<EntityId> = std::iter::once(start).chain(above).collect();
        // What lies in something that the question names isn't looked up: it may be out of reach.
        let is_asked = path_of(right).is_some_and(|path| path.starts_with("resource"));
        for container in containers.iter().take(OBJECTS_MAX) {
            for subject in &starts {
                let (container, subject) = (container.clone(), subject.clone());
                self.relate(&subject, &container, is_asked);
            }
        }
        if path_of(left).as_deref() == Some("principal") {
            self.parents(&containers, is_asked);
        }
    }

    /// What contains whom the token names. What contains something that the question names isn't looked at: it may be out
    /// of reach.
    fn above(&self, left: &Expr, entity: &EntityId) -> Vec<EntityId> {
        let (evaluation, graph) = (self.look.evaluation, self.look.graph);
        let principal = evaluation.principal;
        if !path_of(left).is_some_and(|path| path.starts_with("principal")) {
            return Vec::new();
        }
        let of_token = principal.parents.iter().filter(|_| *entity == principal.entity).cloned();
        let node = graph.node(&entity.entity_type, &entity.id);
        let above = node.map(|node| graph.ancestors(node, |_| true)).unwrap_or_default();
        let above = above.into_iter().take(OBJECTS_MAX).map(|node| graph.entity(node));
        of_token.take(OBJECTS_MAX).chain(above).collect()
    }

    fn relate(&mut self, subject: &EntityId, container: &EntityId, is_asked: bool) {
        let realm = self.look.evaluation.realm;
        let rules = realm.relations.relations().filter(|(_, rule)| rule.subject == subject.entity_type);
        let rules: Vec<_> = rules.map(|(name, rule)| (Arc::clone(name), Arc::clone(&rule.object))).collect();
        for (relation, object_type) in rules {
            let objects = if object_type == container.entity_type {
                vec![container.clone()]
            } else if is_asked {
                Vec::new()
            } else {
                self.values.below(container, &object_type, BELOW_MAX)
            };
            for object in objects {
                let (subject, relation) = (subject.clone(), Arc::clone(&relation));
                self.add(Fact::Relationship(Relationship { subject, relation, object }));
            }
        }
    }

    /// Proposes claims that put the principal into others.
    fn parents(&mut self, containers: &[EntityId], is_asked: bool) {
        let evaluation = self.look.evaluation;
        for name in &evaluation.realm.file.principal.parents {
            let Some(slot) = Slot::at(evaluation, &format!("principal.{name}")) else { continue };
            let crate::domain::schema::AttributeType::Entity(wanted) = slot.single_type() else { continue };
            for container in containers.iter().take(OBJECTS_MAX) {
                let mut entities = vec![container.clone()];
                if container.entity_type != *wanted {
                    entities = if is_asked { Vec::new() } else { self.values.below(container, wanted, BELOW_MAX) };
                }
                for entity in entities {
                    self.say(slot, vec![Value::Entity(entity)]);
                }
            }
        }
    }

    /// Proposes grants: each strategy alone, and besides those that are granted.
    fn grants(&mut self) {
        let evaluation = self.look.evaluation;
        for fact in super::grant::proposals(evaluation.realm, evaluation.principal, evaluation.request) {
            self.add(fact);
        }
    }
}

/// What each property has of an id that several make together; none for a property alone. `None` for what is no such id.
fn parts(subject: &Subject, value: &Value) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    if subject.more.is_empty() {
        return Some(Vec::new());
    }
    let Value::Entity(entity) = value else { return None };
    let parts = parts_of_id(&entity.id);
    let is_whole = parts.len() == subject.paths().count();
    is_whole.then(|| subject.paths().cloned().zip(parts.into_iter().map(Arc::from)).collect())
}

/// The texts that an expression names.
fn texts(expression: &Expr) -> Vec<String> {
    let ExprKind::BinaryApp { arg2, .. } = expression.expr_kind() else { return Vec::new() };
    match arg2.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => vec![text.to_string()],
        _ => Vec::new(),
    }
}

/// The members of a set, or the value alone.
fn members(value: &cedar_policy_core::ast::Value) -> Vec<cedar_policy_core::ast::Value> {
    match &value.value {
        ValueKind::Set(set) => set.iter().cloned().collect(),
        _ => vec![value.clone()],
    }
}
