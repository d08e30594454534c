//! The members of the context that the host fills in itself, as `[context.*]` in realm.toml says: rows of tables, and values
//! made of what is known about action, resource, principal and request.
//!
//! Everything that can be wrong with them is found when the realm is loaded, and what is the same for every question about an
//! action is worked out there too. At a decision a member whose placeholders have no values is not there.

mod compile;
mod table;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cedar_policy::Context;

use self::compile::Place;
pub(super) use self::compile::{Parts, compile};
use super::{
    access_request::{AccessRequest, PhaseValues},
    cedar::{CedarTypes, ReadyValue, with_members},
    forms::{Forms, lower_case},
    principal::Principal,
    record_mapping::Relations,
    schema::AttributeType,
    template::Template,
    value::Value,
};

/// The derived members of a realm's contexts.
#[derive(Debug, Default)]
pub(super) struct Derived {
    members: Vec<Member>,
    actions: BTreeMap<Arc<str>, Steps>,
}

#[derive(Debug)]
struct Member {
    name: Arc<str>,
    value_type: AttributeType,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Row { rows: HashMap<Arc<str>, Arc<Ready>>, keys: Vec<Text> },
    Text { texts: Vec<Text>, forms: Option<Forms>, is_lower_case: bool },
}

/// A template with what its placeholders stand for, in their order.
#[derive(Debug)]
struct Text {
    template: Template,
    facts: Vec<Fact>,
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Action,
    ResourceType,
    ResourceId,
    Resource(Place),
    PrincipalId,
    Principal(Place),
    Setting(Arc<str>),
    /// What the caller says in the context.
    Said(Place),
    /// Another derived member, and the path within it.
    Derived(usize, Option<Arc<str>>),
}

/// A value with the form in which Cedar takes it.
#[derive(Debug)]
struct Ready {
    value: Value,
    ready: ReadyValue,
}

/// How the derived members of one action's context come about.
#[derive(Debug, Default)]
struct Steps {
    /// Those with the same value for every question, as far as they have one.
    settled: Vec<(Step, Arc<Ready>)>,
    /// The others; each comes after those that it needs.
    open: Vec<Step>,
    /// The names of those that are the same for every question and hold no entities, whether they have a value or not.
    settled_names: Vec<Arc<str>>,
    /// The names of those that depend on which resource it is.
    of_resource: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    member: usize,
    /// The action's context declares it; otherwise others need it.
    is_shown: bool,
}

/// What a question brings for the placeholders.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    principal: &'a Principal,
    request: &'a AccessRequest,
    values: &'a PhaseValues,
}

/// What placeholders may stand for so far.
#[derive(Clone, Copy, Debug)]
struct Known<'k> {
    action: &'k str,
    /// `None` when the realm is loaded.
    asked: Option<Asked<'k>>,
    filled: &'k Filled<'k>,
}

/// The derived members of one question's context.
#[derive(Debug, Default)]
pub(super) struct Filled<'r>(Vec<Found<'r>>);

#[derive(Debug)]
struct Found<'r> {
    step: Step,
    name: &'r Arc<str>,
    held: Held<'r>,
}

#[derive(Debug)]
enum Held<'r> {
    Ready(&'r Ready),
    Made(Value),
}

impl Held<'_> {
    fn value(&self) -> &Value {
        match self {
            Self::Ready(ready) => &ready.value,
            Self::Made(value) => value,
        }
    }
}

impl Derived {
    /// The members for a question, by the values of one phase.
    pub(super) fn of<'r>(
        &'r self,
        relations: &Relations,
        principal: &Principal,
        request: &AccessRequest,
        values: &PhaseValues,
    ) -> Filled<'r> {
        let Some(steps) = self.actions.get(&request.action) else { return Filled::default() };
        let mut filled = Filled(Vec::with_capacity(steps.settled.len() + steps.open.len()));
        for (step, ready) in &steps.settled {
            filled.add(self, *step, Held::Ready(ready));
        }
        for step in &steps.open {
            let asked = Some(Asked { principal, request, values });
            let known = Known { action: &request.action, asked, filled: &filled };
            let held = self.members.get(step.member).and_then(|member| member.held(relations, &known));
            if let Some(held) = held {
                filled.add(self, *step, held);
            }
        }
        filled
    }

    /// The members that are the same for every question about an action and that policies can be asked about without any
    /// entities.
    pub(super) fn settled(&self, action: &str) -> &[Arc<str>] {
        self.actions.get(action).map(|steps| steps.settled_names.as_slice()).unwrap_or_default()
    }

    /// The members that depend on which resource it is: without one they are not known.
    pub(super) fn of_resource(&self, action: &str) -> &[Arc<str>] {
        self.actions.get(action).map(|steps| steps.of_resource.as_slice()).unwrap_or_default()
    }
}

impl<'r> Filled<'r> {
    fn add(&mut self, derived: &'r Derived, step: Step, held: Held<'r>) {
        if let Some(member) = derived.members.get(step.member) {
            self.0.push(Found { step, name: &member.name, held });
        }
    }

    fn value(&self, member: usize) -> Option<&Value> {
        self.0.iter().find(|found| found.step.member == member).map(|found| found.held.value())
    }

    fn shown(&self) -> impl Iterator<Item = &Found<'r>> {
        self.0.iter().filter(|found| found.step.is_shown)
    }

    /// The names and values that the action's context declares.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.shown().map(|found| (found.name, found.held.value()))
    }

    /// The context with these members; `None` when the schema lacks a type of theirs.
    pub(super) fn added_to(&self, context: Context, types: &CedarTypes) -> Option<Context> {
        if self.shown().next().is_none() {
            return Some(context);
        }
        let ready = |held: &Held<'_>| match held {
            Held::Ready(ready) => Some(ready.ready.clone()),
            Held::Made(value) => types.ready(value),
        };
        with_members(&context, self.shown().map(|found| (&**found.name, ready(&found.held))))
    }
}

impl Member {
    /// The value, if the placeholders of some text have theirs.
    fn held<'r>(&'r self, relations: &Relations, known: &Known<'_>) -> Option<Held<'r>> {
        match &self.source {
            Source::Row { rows, keys } => {
                let row = |key: &Text| rows.get(key.filled(known)?.as_str());
                keys.iter().find_map(row).map(|row| Held::Ready(row))
            }
            Source::Text { texts, forms, is_lower_case } => {
                let text = texts.iter().find_map(|text| text.filled(known))?;
                let read = forms.as_ref().map_or(Some(Cow::Borrowed(&*text)), |forms| forms.read(&text))?;
                let read = if *is_lower_case { Cow::Owned(lower_case(&read)) } else { read };
                typed(&read, &self.value_type, relations).map(Held::Made)
            }
        }
    }
}

impl Text {
    fn filled(&self, known: &Known<'_>) -> Option<String> {
        let mut facts = self.facts.iter();
        self.template.fill(|_| facts.next()?.text(known))
    }
}

impl Fact {
    fn text<'k>(&'k self, known: &Known<'k>) -> Option<Cow<'k, str>> {
        let asked = || known.asked;
        match self {
            Self::Action => Some(Cow::Borrowed(known.action)),
            Self::Setting(text) => Some(Cow::Borrowed(text)),
            Self::ResourceType => Some(Cow::Borrowed(&asked()?.request.resource_type.name)),
            Self::ResourceId => {
                Some(&asked()?.request.resource_id).filter(|id| !id.is_empty()).map(|id| (&**id).into())
            }
            Self::Resource(place) => {
                let Asked { request, values, .. } = asked()?;
                let mut subjects = request.resource_type.subjects.iter().zip(&values.values);
                let (_, value) = subjects.find(|(subject, _)| subject.attribute == place.name)?;
                text_at(value.as_ref()?, place.path.as_deref())
            }
            Self::PrincipalId => Some(Cow::Borrowed(&asked()?.principal.entity.id)),
            Self::Principal(place) => text_at(asked()?.principal.attributes.get(&place.name)?, place.path.as_deref()),
            Self::Said(place) => text_at(asked()?.request.context.get(&place.name)?, place.path.as_deref()),
            Self::Derived(member, path) => text_at(known.filled.value(*member)?, path.as_deref()),
        }
    }
}

/// The text of a single value, or of the one at a path within a record.
fn text_at<'v>(value: &'v Value, path: Option<&str>) -> Option<Cow<'v, str>> {
    match (value, path) {
        (Value::Record(fields), Some(path)) => text_at(fields.at(path)?, None),
        (Value::String(text), None) => Some(Cow::Borrowed(text)),
        (Value::Entity(entity), None) => Some(Cow::Borrowed(&entity.id)),
        (Value::Long(number), None) => Some(Cow::Owned(number.to_string())),
        (Value::Bool(flag), None) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        (_, Some(_)) | (Value::List(_) | Value::Record(_) | Value::Null, None) => None,
    }
}

/// What a text says as a single value of this type; `None` where it says none.
fn typed(text: &str, wanted: &AttributeType, relations: &Relations) -> Option<Value> {
    match wanted {
        AttributeType::Bool => text.parse().ok().map(Value::Bool),
        AttributeType::Long => text.parse().ok().map(Value::Long),
        AttributeType::String => Some(Value::String(text.into())),
        AttributeType::Entity(entity_type) if relations.names_nothing(entity_type, text) => None,
        AttributeType::Entity(entity_type) => relations.entity_id(entity_type, text).ok().map(Value::Entity),
        AttributeType::Set(_) | AttributeType::Record(_) | AttributeType::Other => None,
    }
}
