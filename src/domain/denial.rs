//! The realm's own shape of a denial, filled in from its templates.

use std::sync::Arc;

use super::{
    access_request::{AccessRequest, Phase},
    decision::{Denial, Reason},
    explanation::Explained,
    id::EntityId,
    principal::Principal,
    realm::Realm,
    realm_file::{CONTEXT, DenialList, DenialTemplate, in_quotes},
    resource_type::ResourceType,
    value::{Attributes, Value},
};

/// What a refusal says besides its reason, by placeholder; these count before the placeholders of every denial.
pub(super) type Details = Vec<(&'static str, Detail)>;

/// One thing that a refusal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Stands as it is.
    Text(String),
    /// Each in quotes; several make the texts for many count.
    Names(Vec<String>),
}

/// What was asked, by whom, and which values it was denied for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) principal: &'a Principal,
    pub(super) request: &'a AccessRequest,
    pub(super) phase: Phase,
    /// The context that the policies saw.
    pub(super) context: &'a Attributes,
}

/// The longest text, in characters, that a member of the context takes in a denial. Callers say what is in it.
const CONTEXT_CHARACTERS_MAX: usize = 1_024;

/// Renders a reason by the template that it names or that has the name of its code. Without one that of all bad tokens
/// (`TOKEN`) or of all that was asked about (`default`) is used, and without that a plain 401 or 403.
pub(super) fn render(realm: &Realm, asked: Option<Asked<'_>>, explained: Option<&Explained>) -> Denial {
    let none = || Denial { status: 403, ..Denial::default() };
    explained.map_or_else(none, |explained| render_with(realm, asked, explained, &Details::new()))
}

/// Renders a reason with what else is to be said of it.
pub(super) fn render_with(realm: &Realm, asked: Option<Asked<'_>>, explained: &Explained, details: &Details) -> Denial {
    let Explained { reason, strategies, template, obligations: _ } = explained;
    let find = |code: &str| realm.file.denials.iter().find(|(name, _)| **name == *code).map(|(_, template)| template);
    // What is refused before it is a question is refused for its token, unless for its path or for what it asks: then no
    // words but its own fit.
    let code = &*reason.code;
    let is_of_request = asked.is_none() && (code.starts_with("ROUTE") || code == "QUESTION_NOT_UNDERSTOOD");
    let of_token = || if asked.is_none() { find("TOKEN") } else { None };
    let of_all = || if is_of_request { None } else { of_token().or_else(|| find("default")) };
    let named = template.as_deref().and_then(find);
    let own = named.or_else(|| find(&reason.code));
    let Some(template) = own.or_else(of_all) else {
        let status = if asked.is_none() { status_of_request(&reason.code).unwrap_or(401) } else { 403 };
        return Denial {
            status,
            title: reason.code.to_string(),
            detail: reason.message.to_string(),
            ..Denial::default()
        };
    };
    let filler = Filler { realm, asked, reason, strategies, details };
    let DenialTemplate {
        status,
        problem_type,
        title,
        detail,
        detail_many,
        errors,
        errors_many,
        headers,
        members,
        place: _,
    } = template;
    let names_many = |(_, detail): &(&str, Detail)| matches!(detail, Detail::Names(names) if names.len() > 1);
    let is_many = reason.subjects.len() > 1 || details.iter().any(names_many);
    let detail = detail_many.as_ref().filter(|_| is_many).unwrap_or(detail);
    let errors = errors_many.as_ref().filter(|_| is_many).unwrap_or(errors);
    let unlike_others = if own.is_none() && asked.is_none() { status_of_request(&reason.code) } else { None };
    Denial {
        status: unlike_others.unwrap_or(*status),
        problem_type: problem_type.to_string(),
        title: title.to_string(),
        detail: filler.fill(detail),
        errors: errors.iter().flat_map(|error| filler.fill_each(error)).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| (Arc::clone(name), filler.fill_header(value)))
            .filter(|(_, value)| !value.trim().is_empty())
            .collect(),
        members: members.iter().map(|(name, value)| (Arc::clone(name), filler.fill_member(value))).collect(),
    }
}

/// The status of a refusal for which the realm has no words of its own, where it is another than that of bad tokens: a
/// request that is malformed (RFC 6750 section 3.1, `invalid_request`), or that no route fits. That there is no such path is
/// not told.
fn status_of_request(code: &str) -> Option<u16> {
    match code {
        "ROUTE_UNKNOWN" | "QUESTION_NOT_UNDERSTOOD" => Some(403),
        "TOKEN_AMBIGUOUS" | "ROUTE_AMBIGUOUS" | "ROUTE_TOKEN_IN_QUERY" | "ROUTE_VALUE_INVALID" => Some(400),
        _ => None,
    }
}

struct Filler<'a> {
    realm: &'a Realm,
    asked: Option<Asked<'a>>,
    reason: &'a Reason,
    strategies: &'a [Arc<str>],
    details: &'a Details,
}

impl Filler<'_> {
    /// A text that names the strategy comes once for each.
    fn fill_each(&self, template: &str) -> Vec<String> {
        if self.strategies.len() < 2 || !template.contains("{strategy}") {
            return vec![self.fill(template)];
        }
        let alone = |strategy| Self { strategies: std::slice::from_ref(strategy), ..*self };
        self.strategies.iter().map(|strategy| alone(strategy).fill(template)).collect()
    }

    /// Replaces each `{placeholder}`; an unknown one stays as it stands.
    fn fill(&self, template: &str) -> String {
        self.fill_with(template, String::push_str)
    }

    /// The value of a header, in which no value ends a quoted string or begins another part.
    fn fill_header(&self, template: &str) -> String {
        self.fill_with(template, |text, value| {
            let is_quoted = in_quotes(text);
            for character in value.chars() {
                match character {
                    '"' | '\\' if is_quoted => text.extend(['\\', character]),
                    '"' | '\\' | ',' | ';' if !is_quoted => text.push('?'),
                    ' '..='~' => text.push(character),
                    _ => text.push('?'),
                }
            }
        })
    }

    fn fill_member(&self, value: &Value) -> Value {
        match value {
            Value::String(template) => Value::String(self.fill(template).into()),
            other => other.clone(),
        }
    }

    fn fill_with(&self, template: &str, add: impl Fn(&mut String, &str)) -> String {
        let mut text = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let filled = after.split_once('}').and_then(|(name, after)| Some((self.value(name)?, after)));
            rest = if let Some((value, after)) = filled {
                add(&mut text, &value);
                after
            } else {
                text.push('{');
                after
            };
        }
        text + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Some((_, detail)) = self.details.iter().find(|(placeholder, _)| *placeholder == name) {
            return Some(match detail {
                Detail::Text(text) => text.clone(),
                Detail::Names(names) => quoted(names.iter().map(String::as_str)),
            });
        }
        if let Some(path) = name.strip_prefix(CONTEXT) {
            return Some(self.asked.and_then(|asked| asked.context.at(path)).map(context_text).unwrap_or_default());
        }
        let resource = || self.asked.map(|asked| &asked.request.resource_type);
        match name {
            "subjects" => Some(quoted(self.reason.subjects.iter().map(|name| &**name))),
            "hints" if self.reason.hints.is_empty() => Some(String::new()),
            "hints" => Some(format!(" Hint: {}", self.reason.hints.join(" "))),
            "problem" | "message" => Some(self.reason.message.to_string()),
            "existing" => {
                self.asked.map(|asked| if asked.phase == Phase::Existing { "existing ".into() } else { String::new() })
            }
            "phase" => self.asked.map(|asked| asked.phase.name().to_owned()),
            "action" => self.asked.map(|asked| asked.request.action.to_string()),
            "resource" => resource().map(|resource| resource.name.to_string()),
            "strategy" => self.strategies.first().map(ToString::to_string),
            "action_name" => self.asked.map(|asked| with_first(&asked.request.action, char::to_lowercase)),
            "resource_name" => resource().map(|resource| resource.member_name()),
            "lineage" => resource().map(|resource| quoted(self.lineage(resource).iter().map(|claim| &**claim))),
            "claim" => resource().map(|resource| resource.claim.as_deref().unwrap_or_default().to_owned()),
            "claim_set" => self.asked.map(|asked| asked.principal.claim_set.as_deref().unwrap_or_default().to_owned()),
            list => {
                let (_, list) = self.realm.file.denial_lists.iter().find(|(name, _)| **name == *list)?;
                self.asked.map(|asked| listed(asked.principal, list))
            }
        }
    }
}

impl Filler<'_> {
    /// The resource's claim and those above it; of one that the grants don't know its own alone.
    fn lineage(&self, resource: &ResourceType) -> Arc<[Arc<str>]> {
        let lineage = self.realm.grants.as_ref().map(|grants| grants.lineage(&resource.name)).unwrap_or_default();
        if lineage.is_empty() { resource.claim.iter().cloned().collect() } else { lineage }
    }
}

/// A member of the context as a text: of an entity the id, of a list the texts with blanks between them.
fn context_text(value: &Value) -> String {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Value::Long(number) => text.push_str(&number.to_string()),
            Value::String(own) | Value::Entity(EntityId { id: own, .. }) => text.push_str(own),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { " " } else { "" });
                    write(item, text);
                }
            }
            Value::Record(_) | Value::Null => {}
        }
    }
    let mut text = String::new();
    write(value, &mut text);
    text.chars().take(CONTEXT_CHARACTERS_MAX).collect()
}

/// The name, with another first letter.
fn with_first<I: Iterator<Item = char>>(name: &str, change: impl Fn(char) -> I) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| change(first).chain(letters).collect()).unwrap_or_default()
}

/// Numbers ascend as numbers, before texts; each once; at most `max`, then `...`.
fn listed(principal: &Principal, list: &DenialList) -> String {
    let mut ids: Vec<&Arc<str>> = principal.entities(&list.attribute).map(|entity| &entity.id).collect();
    ids.sort_by_key(|id| (id.parse::<i64>().unwrap_or(i64::MAX), Arc::clone(id)));
    ids.dedup();
    let shown = ids.iter().take(list.max).map(|id| &***id);
    let shown = if list.is_quoted { quoted(shown) } else { shown.collect::<Vec<_>>().join(", ") };
    match ids.len() {
        0 => list.none.to_string(),
        1 => list.one.replace("{}", &shown),
        count if count > list.max => list.many.replace("{}", &format!("{shown}, ...")),
        _ => list.many.replace("{}", &shown),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
