//! What was found out about a realm's claims, for people and for programs.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use anyhow::Result;
use serde_json::{Map, Value as Json, json};

use super::{
    super::render::{Screen, Tone, counted, plain},
    Found,
};
use crate::{
    app::prove::{Answer, Finding},
    domain::{
        fault::Fault,
        id::EntityId,
        proof::{
            Verdict,
            claim::Claim,
            counterexample::{Counterexample, Facts},
            invariant::Promise,
        },
        value::{Attributes, Value},
    },
};

/// The findings about one realm, ready to be shown.
pub(super) struct Shown<'a> {
    pub(super) found: &'a Found,
    pub(super) against: Option<&'a Path>,
}

/// The tone of what holds, or does not.
pub(super) fn tone(is_good: bool) -> Tone {
    if is_good { Tone::Good } else { Tone::Bad }
}

impl Shown<'_> {
    /// A line for each claim; policies that never fail to evaluate share one.
    pub(super) fn text(&self, screen: &mut Screen) -> Result<()> {
        let Found { folder, inquiry, report } = self.found;
        let against = self.against.map(|old| format!(" against {}", old.display())).unwrap_or_default();
        let kinds = counted(inquiry.kinds().len() as u64, "kind of request", "kinds of requests");
        screen.line(format_args!("{}{against}: {kinds}", folder.display()))?;
        let is_proved_policy = |it: &Finding| matches!(it.claim, Claim::NeverFails(_)) && it.answer == Answer::Proved;
        let proved = report.findings.iter().filter(|it| is_proved_policy(it)).count();
        if proved > 0 {
            let (good, policies) = (screen.toned(Tone::Good, "proved "), counted(proved as u64, "policy", "policies"));
            let verb = if proved == 1 { "never fails" } else { "never fail" };
            screen.line(format_args!("  {good}  {policies} {verb} to evaluate"))?;
        }
        for finding in report.findings.iter().filter(|it| !is_proved_policy(it)) {
            self.finding(finding, screen)?;
        }
        Ok(())
    }

    fn finding(&self, finding: &Finding, screen: &mut Screen) -> Result<()> {
        let (word, is_good) = match &finding.answer {
            Answer::Proved => ("proved ", true),
            Answer::False(_) => ("FALSE  ", false),
            Answer::Vacuous => ("EMPTY  ", false),
            Answer::Unknown(_) => ("unknown", false),
        };
        let word = screen.toned(tone(is_good), word);
        screen.line(format_args!("  {word}  {}", plain(&self.claim(finding.claim))))?;
        match &finding.answer {
            Answer::Proved => Ok(()),
            Answer::Vacuous => {
                self.place(finding.claim, screen)?;
                Ok(screen.line("           no request matches it, so it claims nothing")?)
            }
            Answer::False(example) => {
                self.place(finding.claim, screen)?;
                for line in told(finding.claim, &self.claim(finding.claim), example) {
                    screen.line(format_args!("           {}", plain(&line)))?;
                }
                Ok(())
            }
            Answer::Unknown(reasons) => {
                self.place(finding.claim, screen)?;
                let Some((kind, why)) = reasons.first() else { return Ok(()) };
                let others = reasons.len() - 1;
                let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
                Ok(screen.line(format_args!("           {}: {}{more}", plain(kind), plain(why)))?)
            }
        }
    }

    fn place(&self, claim: Claim, screen: &mut Screen) -> Result<()> {
        let Some(Fault { file, line, column, .. }) = self.found.inquiry.place(claim) else { return Ok(()) };
        let path = self.found.folder.join(file);
        Ok(screen.line(format_args!("           {}:{line}:{column}", path.display()))?)
    }

    /// The claim in words.
    fn claim(&self, claim: Claim) -> String {
        let inquiry = &self.found.inquiry;
        let words = inquiry.words(claim);
        match (claim, inquiry.promise(claim)) {
            (Claim::NeverFails(_), _) => format!("`{words}` never fails to evaluate"),
            (_, Some(promise)) => format!("{}: {words}", promise.name()),
            (_, None) => words.to_string(),
        }
    }

    /// Everything, a realm's findings by claim.
    pub(super) fn json(&self) -> Json {
        let Found { folder, inquiry, report } = self.found;
        let claims = report.findings.iter().map(|finding| {
            let place = inquiry.place(finding.claim);
            let (answer, example, unknown) = match &finding.answer {
                Answer::Proved => ("proved", None, &[][..]),
                Answer::False(example) => ("false", Some(self::example(example)), &[][..]),
                Answer::Vacuous => ("empty", None, &[][..]),
                Answer::Unknown(reasons) => ("unknown", None, reasons.as_slice()),
            };
            let unknown = unknown.iter().map(|(kind, why)| json!({ "kind": kind, "why": why }));
            json!({
                "claim": kind_of(finding.claim, inquiry.promise(finding.claim).map(Promise::name)),
                "words": &*inquiry.words(finding.claim),
                "file": place.map(|place| folder.join(&place.file).display().to_string()),
                "line": place.map(|place| place.line),
                "column": place.map(|place| place.column),
                "answer": answer,
                "kinds": finding.kinds,
                "counterexample": example,
                "unknown": unknown.collect::<Vec<_>>(),
            })
        });
        json!({
            "folder": folder.display().to_string(),
            "against": self.against.map(|old| old.display().to_string()),
            "kinds": inquiry.kinds().len(),
            "claims": claims.collect::<Vec<_>>(),
        })
    }
}

fn kind_of(claim: Claim, promise: Option<&str>) -> &str {
    match claim {
        Claim::NeverFails(_) => "never_fails",
        Claim::ForbidWins => "forbid_wins",
        Claim::Invariant(_) => promise.unwrap_or_default(),
        Claim::NothingNew => "nothing_new",
        Claim::Same => "same",
    }
}

/// A counterexample in lines. What is false or empty is left out.
fn told(claim: Claim, words: &str, example: &Counterexample) -> Vec<String> {
    let Counterexample { principal, action, resource, context, entities, now, before } = example;
    let verdict = match claim {
        Claim::NeverFails(_) => words.replace(" never fails", " fails"),
        _ => format!("is {}", verdict(now)),
    };
    let mut lines = vec![format!("{principal} {action} {resource} {verdict}")];
    if let Some(before) = before {
        lines.push(format!("before, it was {}", self::verdict(before)));
    }
    if let Some(said) = members(context, &|_| true) {
        lines.push(format!("  context {said}"));
    }
    let telling = telling(example);
    let is_root = |entity: &EntityId| entity == principal || entity == resource;
    for Facts { entity, ancestors, attributes } in entities.iter().filter(|facts| telling.contains(&facts.entity)) {
        let is_worth = |value: &Value| is_root(entity) || !is_mute(value, &telling);
        let mut line = format!("  {entity}");
        if !ancestors.is_empty() {
            // Writing to a String cannot fail.
            let _infallible = write!(line, " in {}", listed(ancestors.iter().map(ToString::to_string)));
        }
        if let Some(said) = members(attributes, &is_worth) {
            let _infallible = write!(line, " {said}");
        }
        lines.push(line);
    }
    lines
}

fn verdict(verdict: &Verdict) -> String {
    let Verdict { is_allowed, permits, forbids, failed } = verdict;
    let named = |ids: &[std::sync::Arc<str>]| ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    if *is_allowed {
        format!("allowed by {}", named(permits))
    } else if !forbids.is_empty() {
        format!("forbidden by {}", named(forbids))
    } else if !failed.is_empty() {
        format!("not decided, because {} cannot be evaluated", named(failed))
    } else {
        "permitted by nothing".to_owned()
    }
}

/// The principal and the resource, and the entities of which there is more to tell than their names.
fn telling(example: &Counterexample) -> BTreeSet<EntityId> {
    let mut found: BTreeSet<EntityId> = [example.principal.clone(), example.resource.clone()].into();
    loop {
        let tells = |facts: &&Facts| {
            let has_more = || facts.attributes.iter().any(|(_, value)| !is_empty(value) && !is_mute(value, &found));
            !found.contains(&facts.entity) && (!facts.ancestors.is_empty() || has_more())
        };
        let more: Vec<EntityId> = example.entities.iter().filter(tells).map(|facts| facts.entity.clone()).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// It names an entity of which there is nothing to tell.
fn is_mute(value: &Value, telling: &BTreeSet<EntityId>) -> bool {
    matches!(value, Value::Entity(entity) if !telling.contains(entity))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Record(members) => members.iter().all(|(_, value)| is_empty(value)),
        Value::Null => true,
        Value::Long(_) | Value::Entity(_) => false,
    }
}

/// `{ name: value }` for the members that are neither empty nor beside the point; `None` where none is left.
fn members(members: &Attributes, is_worth: &dyn Fn(&Value) -> bool) -> Option<String> {
    let left = members.iter().filter(|(_, value)| !is_empty(value) && is_worth(value));
    let said: Vec<String> = left.map(|(name, value)| format!("{name}: {}", cedar(value))).collect();
    (!said.is_empty()).then(|| format!("{{ {} }}", said.join(", ")))
}

/// A value as Cedar writes it.
fn cedar(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Long(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Entity(entity) => entity.to_string(),
        Value::List(items) => listed(items.iter().map(cedar)),
        Value::Record(fields) => members(fields, &|_| true).unwrap_or_else(|| "{}".to_owned()),
        Value::Null => "null".to_owned(),
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn example(example: &Counterexample) -> Json {
    let Counterexample { principal, action, resource, context, entities, now, before } = example;
    let facts = entities.iter().map(|Facts { entity, ancestors, attributes }| {
        let ancestors: Vec<Json> = ancestors.iter().map(named).collect();
        json!({ "uid": named(entity), "ancestors": ancestors, "attrs": attributes_json(attributes) })
    });
    json!({
        "principal": named(principal),
        "action": &**action,
        "resource": named(resource),
        "context": attributes_json(context),
        "entities": facts.collect::<Vec<_>>(),
        "verdict": verdict_json(now),
        "verdict_before": before.as_ref().map(verdict_json),
    })
}

fn verdict_json(verdict: &Verdict) -> Json {
    let Verdict { is_allowed, permits, forbids, failed } = verdict;
    let ids = |ids: &[std::sync::Arc<str>]| ids.iter().map(|id| Json::from(&**id)).collect::<Vec<_>>();
    json!({ "allowed": is_allowed, "permits": ids(permits), "forbids": ids(forbids), "failed": ids(failed) })
}

fn named(entity: &EntityId) -> Json {
    json!({ "type": &*entity.entity_type, "id": &*entity.id })
}

fn attributes_json(attributes: &Attributes) -> Json {
    Json::Object(attributes.iter().map(|(name, value)| (name.to_string(), value_json(value))).collect::<Map<_, _>>())
}

/// Entities as Cedar's JSON writes them.
fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Long(number) => (*number).into(),
        Value::String(text) => (&**text).into(),
        Value::Entity(entity) => json!({ "__entity": named(entity) }),
        Value::List(items) => items.iter().map(value_json).collect(),
        Value::Record(fields) => attributes_json(fields),
        Value::Null => Json::Null,
    }
}
