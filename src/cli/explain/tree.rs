//! An explanation as a tree of lines: the verdict first, then why, then what would change it.

use crate::{
    cli::{json, render::Tone},
    domain::policy_text::on_one_line,
    proto::v1::{
        AuthorizeResponse, Decision, EntityReference, ExplainedCondition, ExplainedPhase, ExplainedPolicy, Explanation,
        MissingClaim, MissingContext, MissingGrant, MissingMediaType, MissingProperty, MissingRelationship,
        PolicyPlace, PropertyPart, RelationshipChain, RelationshipHop, Remedy, RuledOut, SeenValue, Value,
        remedy::Fact, value::Kind,
    },
};

/// More permits that are out of the question than this are only named.
const RULED_OUT_TOLD_MAX: usize = 2;

/// A line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// How deep it stands.
    pub(super) depth: usize,
    /// What it means, if it means something.
    pub(super) tone: Option<Tone>,
    /// What it begins with.
    pub(super) mark: &'static str,
    /// Its text.
    pub(super) text: String,
}

struct Tree(Vec<Line>);

impl Tree {
    fn add(&mut self, depth: usize, tone: Option<Tone>, mark: &'static str, text: impl Into<String>) {
        self.0.push(Line { depth, tone, mark, text: text.into() });
    }

    fn plain(&mut self, depth: usize, text: impl Into<String>) {
        self.add(depth, None, "", text);
    }

    fn faint(&mut self, depth: usize, text: impl Into<String>) {
        self.add(depth, Some(Tone::Faint), "", text);
    }

    fn gap(&mut self) {
        self.plain(0, "");
    }
}

/// The lines of an answer with its explanation.
pub(super) fn tree(answer: &AuthorizeResponse) -> Vec<Line> {
    let mut tree = Tree(Vec::new());
    let is_allowed = answer.decision() == Decision::Allow;
    let tone = if is_allowed { Tone::Good } else { Tone::Bad };
    tree.add(0, Some(tone), "", format!("{} ({})", json::effect(answer.decision), json::outcome(answer.outcome)));
    for reason in &answer.reasons {
        let of = if reason.policy_id.is_empty() { String::new() } else { format!(" [{}]", reason.policy_id) };
        tree.plain(1, format!("{}: {}{of}", reason.code, reason.message));
        reason.hints.iter().for_each(|hint| tree.faint(2, hint.as_str()));
    }
    for obligation in &answer.obligations {
        tree.plain(1, format!("obligation {}: {}", obligation.id, json::values(&obligation.parameters)));
    }
    if let Some(explanation) = &answer.explanation {
        why(&mut tree, explanation, is_allowed);
        if !is_allowed {
            remedies(&mut tree, explanation);
        }
        if explanation.hides_people {
            tree.gap();
            tree.faint(
                0,
                "people whom neither the question nor the token names are shown as `…`: a role that may see \
                           them takes a stated --purpose",
            );
        }
    }
    tree.gap();
    let version: String = answer.policy_version.chars().take(12).collect();
    let kept = if answer.decision_id.is_empty() {
        format!("policies {version}…")
    } else {
        format!("decision {}, policies {version}…, relationships at {}", answer.decision_id, answer.data_revision)
    };
    tree.faint(0, kept);
    tree.0
}

fn why(tree: &mut Tree, explanation: &Explanation, is_allowed: bool) {
    let Explanation { fault_code, phases, permits, forbids, near_misses, left_out, .. } = explanation;
    if !fault_code.is_empty() && phases.is_empty() {
        tree.gap();
        tree.plain(0, "no policy was asked");
    }
    for phase in phases {
        tree.gap();
        let values =
            if phase.phase == "existing" { "by the stored values" } else { "by the values of the request's body" };
        tree.plain(0, format!("why, {values}"));
        grant(tree, phase);
        let of_phase = |policy: &&ExplainedPolicy| policy.phase == phase.phase;
        for policy in forbids.iter().filter(of_phase) {
            let what = if policy.state == "HELD" { "forbids it" } else { "cannot be evaluated, so nothing is allowed" };
            self::policy(tree, policy, "forbid", what, Tone::Bad);
        }
        for policy in permits.iter().filter(of_phase) {
            if phase.outcome == "ALLOWED" {
                self::policy(tree, policy, "permit", "holds", Tone::Good);
            } else {
                tree.add(1, Some(Tone::Good), "", format!("permit {} holds, which does not help", policy.policy_id));
            }
        }
        for policy in near_misses.iter().filter(of_phase) {
            let what = if policy.state == "FAILED" { "cannot be evaluated" } else { "does not hold" };
            self::policy(tree, policy, "permit", what, Tone::Bad);
        }
        if !is_allowed {
            ruled_out(tree, phase);
        }
        if phase.out_of_scope > 0 {
            tree.faint(1, format!("{} for other actions, principals or resources", policies(phase.out_of_scope)));
        }
    }
    if *left_out > 0 {
        tree.faint(1, format!("{} left out here", policies(*left_out)));
    }
}

/// A few with their conditions, many by their names.
fn ruled_out(tree: &mut Tree, phase: &ExplainedPhase) {
    if phase.ruled_out.len() > RULED_OUT_TOLD_MAX {
        let names: Vec<&str> = phase.ruled_out.iter().map(|ruled_out| ruled_out.policy_id.as_str()).collect();
        tree.faint(1, format!("out of the question by action or grant: {}", names.join(", ")));
        return;
    }
    for RuledOut { policy_id, text, is_negated, place } in &phase.ruled_out {
        let sign = if *is_negated { "not " } else { "" };
        let (text, place) = (on_one_line(text), self::place(place.as_ref()));
        tree.faint(1, format!("permit {policy_id} is out of the question: {sign}{text}  {place}"));
    }
}

fn policies(count: u32) -> String {
    if count == 1 { "1 policy is".to_owned() } else { format!("{count} policies are") }
}

fn grant(tree: &mut Tree, phase: &ExplainedPhase) {
    let Some(grant) = &phase.grant else { return };
    let text = match (grant.has_resource, grant.is_granted) {
        (_, true) => format!("claim set `{}` grants the action, on `{}`", grant.claim_set, grant.granted_by),
        (true, false) => format!("claim set `{}` has the resource, and does not grant the action", grant.claim_set),
        (false, false) => format!("claim set `{}` does not have the resource", grant.claim_set),
    };
    tree.plain(1, text);
    for strategy in &phase.strategies {
        let (tone, text) = match strategy.outcome.as_str() {
            "PERMITS" => (Tone::Good, "is met"),
            "PASSED" => (Tone::Good, "has nothing against it"),
            "FORBIDS" => (Tone::Bad, "forbids it"),
            "UNMET" => (Tone::Bad, "is not met"),
            "FAILED" => (Tone::Bad, "cannot be evaluated"),
            _ => (Tone::Faint, "has no policy of its own"),
        };
        tree.add(2, Some(tone), "", format!("strategy {} {text}", strategy.name));
    }
}

fn policy(tree: &mut Tree, policy: &ExplainedPolicy, effect: &str, what: &str, tone: Tone) {
    let ExplainedPolicy { policy_id, title, conditions, place, .. } = policy;
    tree.add(1, Some(tone), "", format!("{effect} {policy_id} {what}"));
    tree.plain(2, title.as_str());
    if conditions.is_empty() {
        tree.faint(2, format!("without a condition  {}", self::place(place.as_ref())));
    }
    let is_miss = effect == "permit" && what != "holds";
    for condition in conditions {
        self::condition(tree, condition, is_miss);
    }
}

fn condition(tree: &mut Tree, condition: &ExplainedCondition, is_miss: bool) {
    let ExplainedCondition { text, is_negated, place, state, values, missing, chains } = condition;
    let (mark, tone) = match state.as_str() {
        "HELD" => ("+", Some(Tone::Good)),
        "NOT_HELD" => ("-", Some(Tone::Bad)),
        "FAILED" => ("!", Some(Tone::Bad)),
        _ => (" ", Some(Tone::Faint)),
    };
    let sign = if *is_negated { "not " } else { "" };
    let rest = if state == "NOT_REACHED" { "  (not reached)" } else { "" };
    tree.add(2, tone, mark, format!("{sign}{}{rest}  {}", on_one_line(text), self::place(place.as_ref())));
    if is_miss && state == "HELD" || state == "NOT_REACHED" {
        return;
    }
    for SeenValue { path, value, members } in values {
        tree.plain(4, format!("{path} = {}", seen(value.as_ref(), *members)));
    }
    for sentence in missing {
        tree.add(4, Some(Tone::Bad), "=>", sentence.as_str());
    }
    for chain in chains {
        tree.add(4, Some(Tone::Good), "=>", self::chain(chain));
    }
}

fn place(place: Option<&PolicyPlace>) -> String {
    place.map(|PolicyPlace { file, line, column }| format!("{file}:{line}:{column}")).unwrap_or_default()
}

fn seen(value: Option<&Value>, members: u32) -> String {
    let Some(value) = value else { return "no value".to_owned() };
    let shown = text(value);
    match &value.kind {
        Some(Kind::ListValue(list)) if list.values.len() < members as usize => {
            format!("{members}, the first of them {shown}")
        }
        _ => shown,
    }
}

fn text(value: &Value) -> String {
    match &value.kind {
        Some(Kind::StringValue(text)) => format!("{text:?}"),
        Some(Kind::EntityValue(reference)) => entity(Some(reference)),
        Some(Kind::ListValue(list)) => format!("[{}]", list.values.iter().map(text).collect::<Vec<_>>().join(", ")),
        Some(Kind::RecordValue(record)) => {
            let mut fields: Vec<_> =
                record.fields.iter().map(|(name, field)| format!("{name}: {}", text(field))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(", "))
        }
        _ => json::value(value).to_string(),
    }
}

fn entity(reference: Option<&EntityReference>) -> String {
    reference.map(|EntityReference { r#type, id }| format!("{type}::{id:?}")).unwrap_or_default()
}

/// `Student::"ada" -enrolled_at-> School::"101"`.
fn chain(chain: &RelationshipChain) -> String {
    let RelationshipChain { from, hops } = chain;
    let mut text = entity(from.as_ref());
    if hops.is_empty() {
        return format!("{text} itself");
    }
    for RelationshipHop { kind, relation, to } in hops {
        let by = match kind.as_str() {
            "RELATION" => relation.clone(),
            "PAST_RELATION" => format!("{relation}, formerly"),
            "TOKEN" => "by the token".to_owned(),
            "PREFIX" => "begins with".to_owned(),
            _ => "by its path".to_owned(),
        };
        text.extend([" -", &by, "-> ", &entity(to.as_ref())]);
    }
    text
}

fn remedies(tree: &mut Tree, explanation: &Explanation) {
    let Explanation { remedies, tried, remedies_cut, .. } = explanation;
    tree.gap();
    let cut = if *remedies_cut { ", and not all that came to mind" } else { "" };
    if remedies.is_empty() {
        let text = match tried {
            0 => "no single fact would change it: there is none to try".to_owned(),
            1 => format!("no single fact would change it: 1 was tried{cut}"),
            tried => format!("no single fact would change it: {tried} were tried{cut}"),
        };
        tree.plain(0, text);
        return;
    }
    tree.plain(0, "what would change it, each of these alone");
    for remedy in remedies {
        tree.add(1, Some(Tone::Good), "*", self::remedy(remedy));
    }
}

fn remedy(remedy: &Remedy) -> String {
    let one = |value: &Option<Value>| value.as_ref().map(text).unwrap_or_default();
    match &remedy.fact {
        Some(Fact::Relationship(MissingRelationship { subject, relation, object })) => {
            format!("relationship: {} -{relation}-> {}", entity(subject.as_ref()), entity(object.as_ref()))
        }
        Some(Fact::Claim(MissingClaim { claim, values, adds })) => {
            let values = values.iter().map(text).collect::<Vec<_>>().join(", ");
            let word = if *adds { "also has" } else { "is" };
            format!("token: the claim `{claim}` {word} {values}")
        }
        Some(Fact::Grant(MissingGrant { claim_set, resource_type, action, strategies })) => {
            format!("grant: claim set `{claim_set}` grants {action} on {resource_type} by {}", strategies.join(", "))
        }
        Some(Fact::Property(MissingProperty { phase, property, value, parts })) => {
            let of = if phase == "existing" { "stored value" } else { "value in the body" };
            let is = |PropertyPart { property, text }: &PropertyPart| format!("the {of} `{property}` is {text:?}");
            if parts.is_empty() {
                return format!("resource: the {of} `{property}` is {}", one(value));
            }
            format!("resource: {}", parts.iter().map(is).collect::<Vec<_>>().join(" and "))
        }
        Some(Fact::Context(MissingContext { member, value })) => {
            format!("request: the context's `{member}` is {}", one(value))
        }
        Some(Fact::MediaType(MissingMediaType { media_type })) if media_type.is_empty() => {
            "request: the media type names no profile".to_owned()
        }
        Some(Fact::MediaType(MissingMediaType { media_type })) => format!("request: the media type is {media_type}"),
        None => String::new(),
    }
}
