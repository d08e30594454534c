//! Holds `[context.*]` against schema, tables and each other, and settles what doesn't depend on a question.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Derived, Fact, Filled, Held, Known, Member, Ready, Source, Step, Steps, Text, table::read_rows, text_at};
use crate::domain::{
    access_request::is_filled_otherwise,
    cedar::CedarTypes,
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm_file::{DerivedRule, DerivedSource, RealmFile},
    record_mapping::Relations,
    resource_type::ResourceTypes,
    schema::{AttributeType, RealmSchema},
    template::Template,
};

/// The parts of a realm that derived members are made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::domain) struct Parts<'a> {
    pub(in crate::domain) files: &'a [SourceFile],
    /// Where realm.toml is among them.
    pub(in crate::domain) path: &'a str,
    pub(in crate::domain) file: &'a RealmFile,
    pub(in crate::domain) schema: &'a RealmSchema,
    pub(in crate::domain) relations: &'a Relations,
    pub(in crate::domain) resource_types: &'a ResourceTypes,
    pub(in crate::domain) cedar_types: &'a CedarTypes,
}

/// A value by name, and where in it if it is a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: Arc<str>,
    pub(super) path: Option<Arc<str>>,
}

impl Place {
    fn of(text: &str) -> Self {
        match text.split_once('.') {
            Some((name, path)) => Self { name: name.into(), path: Some(path.into()) },
            None => Self { name: text.into(), path: None },
        }
    }
}

/// Compiles the members that realm.toml says the host fills in.
///
/// # Errors
/// Every fault, with its line where it is one of realm.toml: a member that the schema doesn't declare, requires, or types
/// in several ways, a table that isn't there or a row that doesn't fit, a placeholder that stands for nothing or for more than one
/// value, members that need each other.
pub(in crate::domain) fn compile(parts: &Parts<'_>) -> Result<Derived, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut members = Vec::new();
    for (name, rule) in &parts.file.context {
        match parts.member(name, rule) {
            Ok(member) => members.push(member),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let order = match order(&members) {
        Ok(order) => order,
        Err(circle) => return Err(vec![parts.circle(&members, &circle)]),
    };
    let mut derived = Derived { members, actions: BTreeMap::new() };
    for (action, shape) in &parts.schema.actions {
        let is_shown =
            |member: usize| derived.members.get(member).is_some_and(|it| shape.context.contains_key(&it.name));
        let mut needed = BTreeSet::new();
        let mut open: Vec<usize> = order.iter().copied().filter(|member| is_shown(*member)).collect();
        while let Some(member) = open.pop() {
            if needed.insert(member) {
                open.extend(derived.members.get(member).into_iter().flat_map(Member::needs));
            }
        }
        let order: Vec<Step> = order
            .iter()
            .filter(|member| needed.contains(member))
            .map(|member| Step { member: *member, is_shown: is_shown(*member) })
            .collect();
        if !order.is_empty() {
            let steps = parts.steps(&derived, action, &order);
            derived.actions.insert(Arc::clone(action), steps);
        }
    }
    Ok(derived)
}

impl Parts<'_> {
    fn fault(&self, rule: &DerivedRule, message: impl Into<String>) -> Fault {
        match self.files.iter().find(|file| file.path == self.path) {
            Some(file) => Fault::at(&file.path, &file.content, Some(rule.place.clone()), message),
            None => Fault::in_file(self.path, message),
        }
    }

    fn no_file(&self, table: &Arc<str>) -> Fault {
        let content = self.files.iter().find(|file| file.path == self.path).map_or("", |file| &file.content);
        let quoted = format!("\"{table}\"");
        let place = content.find(&quoted).map(|start| start..start + quoted.len());
        let fault = Fault::at(self.path, content, place, format!("the realm's folder has no file `{table}`"));
        fault.coded(Code::MissingFile).near(table, self.files.iter().map(|file| file.path.as_str()))
    }

    fn circle(&self, members: &[Member], circle: &[usize]) -> Fault {
        let names = circle.iter().filter_map(|member| Some(format!("`{}`", members.get(*member)?.name)));
        let message =
            format!("these need each other, so that none can come first: {}", names.collect::<Vec<_>>().join(", "));
        let rule = circle.first().and_then(|member| self.file.context.get(*member));
        rule.map_or_else(|| Fault::in_file(self.path, message.clone()), |(_, rule)| self.fault(rule, message.clone()))
    }

    fn member(&self, name: &Arc<str>, rule: &DerivedRule) -> Result<Member, Vec<Fault>> {
        let value_type = self.declared(name).map_err(|message| vec![self.fault(rule, message)])?;
        let texts = |templates: &[Template]| {
            let texts = templates.iter().map(|template| self.text(template));
            let (texts, wrong): (Vec<_>, Vec<_>) = texts.partition(Result::is_ok);
            let wrong: Vec<Fault> =
                wrong.into_iter().filter_map(Result::err).flatten().map(|it| self.fault(rule, it)).collect();
            if wrong.is_empty() { Ok(texts.into_iter().flatten().collect::<Vec<Text>>()) } else { Err(wrong) }
        };
        let source = match &rule.source {
            DerivedSource::Row { table, keys } => {
                let keys = texts(keys)?;
                let Some(file) = self.files.iter().find(|file| *file.path == **table) else {
                    return Err(vec![self.no_file(table)]);
                };
                Source::Row { rows: read_rows(file, &value_type, self.relations, self.cedar_types)?, keys }
            }
            DerivedSource::Text { templates, forms, is_lower_case } => {
                if !is_single(&value_type) {
                    let message = format!(
                        "the schema declares `context.{name}` as what no text can be, expected a string, a whole number, a \
                         boolean or an entity"
                    );
                    return Err(vec![self.fault(rule, message)]);
                }
                Source::Text { texts: texts(templates)?, forms: forms.clone(), is_lower_case: *is_lower_case }
            }
        };
        Ok(Member { name: Arc::clone(name), value_type, source })
    }

    /// The type that every action's context declares the member with.
    fn declared(&self, name: &str) -> Result<AttributeType, String> {
        if is_filled_otherwise(self.file, name) {
            return Err(format!("`context.{name}` is filled in by the service already"));
        }
        let declared =
            self.schema.actions.iter().filter_map(|(action, shape)| Some((action, shape.context.get(name)?)));
        let mut declared = declared.peekable();
        let Some((first, member)) = declared.peek().copied() else {
            return Err(format!("no action's context in the schema declares `{name}`"));
        };
        for (action, other) in declared {
            if other.is_required {
                return Err(format!(
                    "action `{action}` requires `context.{name}`, which may have no value: declare it as `{name}?`"
                ));
            }
            if other.value_type != member.value_type {
                return Err(format!("actions `{first}` and `{action}` declare `context.{name}` with different types"));
            }
        }
        Ok(member.value_type.clone())
    }

    /// The template with what its placeholders stand for.
    fn text(&self, template: &Template) -> Result<Text, Vec<String>> {
        let facts: Vec<_> = template.names().map(|name| self.fact(name)).collect();
        let wrong: Vec<String> = facts.iter().filter_map(|fact| fact.as_ref().err()).cloned().collect();
        let facts: Vec<Fact> = facts.into_iter().flatten().collect();
        if wrong.is_empty() { Ok(Text { template: template.clone(), facts }) } else { Err(wrong) }
    }

    fn fact(&self, name: &str) -> Result<Fact, String> {
        let unknown = || {
            format!(
                "`{{{name}}}` stands for nothing, expected `action`, `resource.type`, `resource.id`, \
                 `resource.ATTRIBUTE`, `principal.id`, `principal.ATTRIBUTE`, `settings.NAME` or `context.NAME`"
            )
        };
        match name.split_once('.') {
            None if name == "action" => Ok(Fact::Action),
            Some(("resource", "type")) => Ok(Fact::ResourceType),
            Some(("resource", "id")) => Ok(Fact::ResourceId),
            Some(("resource", rest)) => self.of_resource(name, rest),
            Some(("principal", "id")) => Ok(Fact::PrincipalId),
            Some(("principal", rest)) => self.of_principal(name, rest),
            Some(("settings", rest)) => {
                let text = self.file.settings.get(rest).and_then(|value| text_at(value, None));
                let none = || format!("`{{{name}}}` stands for nothing: there is no setting `{rest}`");
                text.map(|text| Fact::Setting(text.into())).ok_or_else(none)
            }
            Some(("context", rest)) => self.of_context(name, rest),
            _ => Err(unknown()),
        }
    }

    fn of_resource(&self, name: &str, rest: &str) -> Result<Fact, String> {
        let place = Place::of(rest);
        let subjects = self.resource_types.values().flat_map(|it| &it.subjects);
        let mut types = subjects.filter(|subject| subject.attribute == place.name).map(|it| &it.value_type).peekable();
        if types.peek().is_none() {
            let (attribute, any) = (&place.name, self.schema.entities.values().any(|it| it.contains_key(&place.name)));
            let trusted = if any { ", or none is trusted with it in `[trusted]`" } else { "" };
            return Err(format!("`{{{name}}}` stands for nothing: no resource type has `{attribute}`{trusted}"));
        }
        if types.all(|value_type| is_single_at(value_type, place.path.as_deref())) {
            Ok(Fact::Resource(place))
        } else {
            Err(not_single(name))
        }
    }

    fn of_principal(&self, name: &str, rest: &str) -> Result<Fact, String> {
        let place = Place::of(rest);
        let principal = &self.file.principal.entity;
        let is_link = self.relations.entity(principal).is_some_and(|rules| rules.links.contains_key(&place.name));
        let declared = self.schema.entities.get(principal).and_then(|members| members.get(&place.name));
        match declared.filter(|_| !is_link) {
            None => Err(format!(
                "`{{{name}}}` stands for nothing: no claim can give `{principal}` the attribute `{}`",
                place.name
            )),
            Some(member) if is_single_at(&member.value_type, place.path.as_deref()) => Ok(Fact::Principal(place)),
            Some(_) => Err(not_single(name)),
        }
    }

    fn of_context(&self, name: &str, rest: &str) -> Result<Fact, String> {
        let place = Place::of(rest);
        let member = &place.name;
        let mut declared = self.schema.actions.values().filter_map(|shape| shape.context.get(member)).peekable();
        if declared.peek().is_none() {
            return Err(format!(
                "`{{{name}}}` stands for nothing: no action's context in the schema declares `{member}`"
            ));
        }
        if !declared.all(|member| is_single_at(&member.value_type, place.path.as_deref())) {
            return Err(not_single(name));
        }
        if let Some(number) = self.file.context.iter().position(|(other, _)| other == member) {
            return Ok(Fact::Derived(number, place.path));
        }
        if is_filled_otherwise(self.file, member) || !self.file.trusted.takes_context(member) {
            return Err(format!(
                "`{{{name}}}` stands for nothing: it is neither derived nor is `{member}` one of `trusted.context`"
            ));
        }
        Ok(Fact::Said(place))
    }

    /// Settles what is the same for every question about an action. `order` holds what its context needs.
    fn steps(&self, derived: &Derived, action: &str, order: &[Step]) -> Steps {
        let mut steps = Steps::default();
        let (mut constant, mut of_resource) = (BTreeSet::new(), BTreeSet::new());
        for step in order {
            let Some(member) = derived.members.get(step.member) else { continue };
            if member.facts().any(|fact| fact.is_of_resource(&of_resource)) {
                of_resource.insert(step.member);
                steps.of_resource.push(Arc::clone(&member.name));
            }
            if !member.facts().all(|fact| fact.is_constant(&constant)) {
                steps.open.push(*step);
                continue;
            }
            constant.insert(step.member);
            if !holds_entities(&member.value_type) {
                steps.settled_names.push(Arc::clone(&member.name));
            }
            steps.settled.extend(self.settled(derived, action, &steps, *step));
        }
        steps
    }

    fn settled(&self, derived: &Derived, action: &str, steps: &Steps, step: Step) -> Option<(Step, Arc<Ready>)> {
        let mut filled = Filled::default();
        for (step, ready) in &steps.settled {
            filled.add(derived, *step, Held::Ready(ready));
        }
        let known = Known { action, asked: None, filled: &filled };
        let value = derived.members.get(step.member)?.held(self.relations, &known)?.value().clone();
        let ready = self.cedar_types.ready(&value)?;
        Some((step, Arc::new(Ready { value, ready })))
    }
}

impl Member {
    fn facts(&self) -> impl Iterator<Item = &Fact> {
        let (Source::Row { keys: texts, .. } | Source::Text { texts, .. }) = &self.source;
        texts.iter().flat_map(|text| &text.facts)
    }

    /// The other members that it needs.
    fn needs(&self) -> impl Iterator<Item = usize> {
        self.facts().filter_map(|fact| if let Fact::Derived(member, _) = fact { Some(*member) } else { None })
    }
}

impl Fact {
    fn is_of_resource(&self, members: &BTreeSet<usize>) -> bool {
        match self {
            Self::ResourceId | Self::Resource(_) => true,
            Self::Derived(member, _) => members.contains(member),
            _ => false,
        }
    }

    fn is_constant(&self, members: &BTreeSet<usize>) -> bool {
        match self {
            Self::Action | Self::Setting(_) => true,
            Self::Derived(member, _) => members.contains(member),
            _ => false,
        }
    }
}

/// The members, each behind those that it needs.
///
/// # Errors
/// Members that need each other in a circle.
fn order(members: &[Member]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order = Vec::with_capacity(members.len());
    for member in 0..members.len() {
        visit(members, member, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit(members: &[Member], member: usize, path: &mut Vec<usize>, order: &mut Vec<usize>) -> Result<(), Vec<usize>> {
    if order.contains(&member) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|other| *other == member) {
        return Err(path.split_off(start));
    }
    path.push(member);
    for needed in members.get(member).into_iter().flat_map(Member::needs) {
        visit(members, needed, path, order)?;
    }
    path.pop();
    order.push(member);
    Ok(())
}

fn not_single(name: &str) -> String {
    format!("`{{{name}}}` is not one value: only a string, a whole number, a boolean or an entity fills a placeholder")
}

fn is_single(value_type: &AttributeType) -> bool {
    matches!(value_type, AttributeType::Bool | AttributeType::Long | AttributeType::String | AttributeType::Entity(_))
}

/// What stands at a path within a value of this type is a single value.
fn is_single_at(value_type: &AttributeType, path: Option<&str>) -> bool {
    let Some(path) = path else { return is_single(value_type) };
    let AttributeType::Record(members) = value_type else { return false };
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    members.get(name).is_some_and(|member| is_single_at(&member.value_type, rest))
}

fn holds_entities(value_type: &AttributeType) -> bool {
    match value_type {
        AttributeType::Entity(_) => true,
        AttributeType::Set(element) => holds_entities(element),
        AttributeType::Record(members) => members.values().any(|member| holds_entities(&member.value_type)),
        AttributeType::Bool | AttributeType::Long | AttributeType::String | AttributeType::Other => false,
    }
}
