//! What policies look into: the entities that Cedar must be given for them, found in their JSON form.
//!
//! Cedar takes an entity that it was not given for one that nothing contains and that has no attributes, so a
//! `forbid` that asks about such a one would silently not apply. What cannot be followed through an expression,
//! because it is picked by an `if` or taken out of a record that the policy makes, therefore looks into everything.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::id::EntityId;

/// What is looked into, from each place where an expression can start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    pub(super) principal: Look,
    pub(super) action: Look,
    pub(super) resource: Look,
    pub(super) context: Look,
    /// The entities that policies name themselves.
    pub(super) named: BTreeMap<EntityId, Look>,
}

/// What is looked into at an entity or a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// It is asked what contains the entity.
    pub(super) asks_ancestors: bool,
    /// Everything that can be reached from here.
    pub(super) is_endless: bool,
    members: BTreeMap<Arc<str>, Look>,
}

static ENDLESS: Look = Look { asks_ancestors: true, is_endless: true, members: BTreeMap::new() };

impl Look {
    /// The entity itself is needed: naming it is not enough.
    pub(super) fn enters(&self) -> bool {
        self.asks_ancestors || !self.members.is_empty()
    }

    /// What is looked into at the value of an attribute; `None` if the attribute isn't read.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        if self.is_endless { Some(&ENDLESS) } else { self.members.get(name) }
    }

    fn merge(&mut self, other: &Self) {
        self.asks_ancestors |= other.asks_ancestors;
        self.is_endless |= other.is_endless;
        for (name, look) in &other.members {
            self.members.entry(Arc::clone(name)).or_default().merge(look);
        }
    }
}

impl Looks {
    /// What an expression looks into (Cedar's documented policy format).
    pub(super) fn of(expression: &Json) -> Self {
        let mut looks = Self::default();
        looks.add(expression);
        looks
    }

    /// What either looks into.
    pub(super) fn merge(&mut self, other: &Self) {
        self.principal.merge(&other.principal);
        self.action.merge(&other.action);
        self.resource.merge(&other.resource);
        self.context.merge(&other.context);
        for (entity, look) in &other.named {
            self.named.entry(entity.clone()).or_default().merge(look);
        }
    }

    fn add(&mut self, expression: &Json) {
        match expression {
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(operation) => operation.iter().for_each(|(name, body)| self.add_operation(name, body)),
            _ => {}
        }
    }

    fn add_operation(&mut self, name: &str, body: &Json) {
        let side = |name: &str| body.get(name).unwrap_or(&Json::Null);
        match name {
            "Var" | "Value" => {}
            // Its names are free: one of them may be `in`.
            "Record" => body.as_object().into_iter().flatten().for_each(|(_, value)| self.add(value)),
            "in" | "getTag" | "hasTag" => {
                self.enter(side("left"), &[]);
                self.add(side("right"));
            }
            "is" if body.get("in").is_some() => {
                self.enter(side("left"), &[]);
                self.add(side("in"));
            }
            "." | "has" => self.enter(side("left"), &attribute_names(side("attr"))),
            _ => self.add(body),
        }
    }

    /// Notes that attributes, one of the other, are read at what `left` stands for; without any, that it is asked what
    /// contains it.
    fn enter(&mut self, left: &Json, attributes: &[&str]) {
        let Some(place) = self.place(left) else {
            self.everything(left);
            return;
        };
        let end = attributes.iter().fold(place, |place, name| place.members.entry(Arc::from(*name)).or_default());
        end.asks_ancestors |= attributes.is_empty();
    }

    /// The place that an expression stands for: a variable, an entity, or an attribute of a place.
    fn place(&mut self, expression: &Json) -> Option<&mut Look> {
        if let Some(variable) = expression.get("Var").and_then(Json::as_str) {
            return match variable {
                "principal" => Some(&mut self.principal),
                "action" => Some(&mut self.action),
                "resource" => Some(&mut self.resource),
                "context" => Some(&mut self.context),
                _ => None,
            };
        }
        if let Some(entity) = named_entity(expression) {
            return Some(self.named.entry(entity).or_default());
        }
        let access = expression.get(".")?;
        let name = access.get("attr")?.as_str()?;
        Some(self.place(access.get("left")?)?.members.entry(Arc::from(name)).or_default())
    }

    /// Whatever an expression may come to is looked into.
    fn everything(&mut self, expression: &Json) {
        for look in [&mut self.principal, &mut self.action, &mut self.resource, &mut self.context] {
            look.merge(&ENDLESS);
        }
        self.name_all(expression);
        self.add(expression);
    }

    fn name_all(&mut self, expression: &Json) {
        if let Some(entity) = named_entity(expression) {
            self.named.entry(entity).or_default().merge(&ENDLESS);
            return;
        }
        match expression {
            Json::Array(items) => items.iter().for_each(|item| self.name_all(item)),
            Json::Object(fields) => fields.values().for_each(|field| self.name_all(field)),
            _ => {}
        }
    }
}

/// `has` takes one attribute, or several, one of the other.
pub(super) fn attribute_names(attribute: &Json) -> Vec<&str> {
    match attribute {
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn named_entity(expression: &Json) -> Option<EntityId> {
    let entity = expression.get("Value")?.get("__entity")?;
    Some(EntityId::new(entity.get("type")?.as_str()?, entity.get("id")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use cedar_policy::Policy;

    use super::*;

    /// `resource.student^` reads the student's ancestors, `resource.*` everything.
    fn looks(condition: &str) -> String {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        let looks = Looks::of(&policy.to_json().unwrap()["conditions"][0]["body"]);
        let mut text = String::new();
        for (name, look) in
            [("p", &looks.principal), ("a", &looks.action), ("r", &looks.resource), ("c", &looks.context)]
        {
            write(&mut text, name, look);
        }
        for (entity, look) in &looks.named {
            write(&mut text, &format!("{}:{}", entity.entity_type, entity.id), look);
        }
        text.trim_end().to_owned()
    }

    fn write(text: &mut String, path: &str, look: &Look) {
        if look.is_endless {
            write!(text, "{path}* ").unwrap();
        } else if look.asks_ancestors {
            write!(text, "{path}^ ").unwrap();
        } else if look.members.is_empty() {
            write!(text, "{path} ").unwrap();
        }
        for (name, member) in &look.members {
            write(text, &format!("{path}.{name}"), member);
        }
    }

    #[test]
    fn what_is_asked_about_is_looked_into_and_what_is_only_named_is_not() {
        for (condition, expected) in [
            ("principal == resource", "p a r c"),
            ("principal in resource.org", "p^ a r.org c"),
            ("resource.student in principal.orgs", "p.orgs a r.student^ c"),
            ("resource.student.responsibility in principal.orgs", "p.orgs a r.student.responsibility^ c"),
            ("resource is T in principal.org && resource is T", "p.org a r^ c"),
            ("resource.a has b.c", "p a r.a.b.c c"),
            ("resource[\"a\"].b like \"x*\" || [resource.c, 1].contains(2)", "p a r.a.b r.c c"),
            ("action in [Action::\"x\"] && context.n + principal.m > 3", "p.m a^ r c.n"),
            ("T::\"1\" in T::\"2\" && N::T::\"1\".a == 1", "p a r c N::T:1.a T:1^"),
            ("{\"in\": resource.a, Var: principal.b} == {left: 1, \"is\": 2}", "p.b a r.a c"),
            ("(if context.f then principal else T::\"1\") in T::\"2\"", "p* a* r* c* c.f T:1*"),
            ("{x: resource.a}.x.b == 1", "p* a* r* r.a c*"),
            ("ip(\"::1\").isInRange(context.ip) && -resource.n < 2", "p a r.n c.ip"),
        ] {
            assert_eq!(looks(condition), expected, "{condition}");
        }
    }
}
