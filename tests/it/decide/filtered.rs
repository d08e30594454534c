//! Generated policies: the row filter passes what `decide` allows, or says that it can't be said.

use hallpass::domain::{
    decide::decide,
    decision::Outcome,
    id::EntityId,
    row_filter::{Answer, Filter, holds, row_filter},
};
use serde_json::Value as Json;

use super::{
    draw::{Chance, Drawn, Rule, Scope, claims, entity, relationships, values},
    realm::{Asked, compiled, graph, person},
};

const ITEMS: usize = 20;

#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    settled: usize,
    conditional: usize,
    inexpressible: usize,
    passed: usize,
    failed: usize,
}

impl Seen {
    /// Asks for the filter that policies come to, and holds it against the decisions about some documents.
    fn check(&mut self, chance: &mut Chance, text: &str) {
        let realm = compiled(&[text]);
        let related = relationships(chance);
        let spelled = |entity: &EntityId| format!("{}::{}", entity.entity_type, entity.id);
        let spelled: Vec<_> =
            related.iter().map(|(subject, relation, object)| (spelled(subject), *relation, spelled(object))).collect();
        let spelled: Vec<(&str, &str, &str)> =
            spelled.iter().map(|(subject, relation, object)| (&**subject, *relation, &**object)).collect();
        let graph = graph(&spelled);
        let drawn = Drawn::draw(chance);
        let (claims, context) = (claims(chance).to_string(), drawn.context.to_string());
        let (claims, context) = (&*claims, &*context);
        let asked = Asked { claims, context, action: drawn.action, resource: ("Document", ""), ..Asked::ANY };
        let principal = person(&realm, &drawn.principal.id, claims);
        let answer = row_filter(&realm, &principal, &asked.check(&realm).unwrap(), &graph);
        let Some(filter) = self.count(&answer) else { return };
        for _ in 0..ITEMS {
            let resource = entity(chance, "Document");
            let values = values(chance, &resource, &drawn.principal, &Json::Null).to_string();
            let item = Asked { resource: ("Document", &resource.id), values: &values, ..asked };
            let request = item.check(&realm).unwrap();
            let allowed = decide(&realm, &principal, &request, &graph).outcome == Outcome::Allowed;
            let passes = holds(filter, &realm, &principal, &request.phases[0].values, &graph);
            assert_eq!(passes, allowed, "{answer:?}\nof {item:?}\n{related:?}\n{text}");
            *if passes { &mut self.passed } else { &mut self.failed } += 1;
        }
    }

    /// What passes, as far as that was said.
    fn count<'a>(&mut self, answer: &'a Answer) -> Option<&'a Filter> {
        let (count, filter) = match answer {
            Answer::Inexpressible => (&mut self.inexpressible, None),
            Answer::Refused(refusal) => {
                assert_ne!(refusal.outcome, Outcome::Allowed);
                (&mut self.refused, Some(&Filter::None))
            }
            Answer::Filtered(filter @ (Filter::All | Filter::None)) => (&mut self.settled, Some(filter)),
            Answer::Filtered(filter) => (&mut self.conditional, Some(filter)),
        };
        *count += 1;
        filter
    }

    fn assert_at_least(&self, least: &Self) {
        let counts = |seen: &Self| [seen.refused, seen.settled, seen.conditional, seen.passed, seen.failed];
        let is_enough = counts(self).iter().zip(counts(least)).all(|(count, least)| *count >= least);
        assert!(is_enough && self.inexpressible <= least.inexpressible, "{self:?}, expected at least {least:?}");
    }
}

#[test]
fn a_filter_passes_what_policies_of_any_kind_allow() {
    let mut seen = Seen::default();
    for seed in 0..500 {
        let mut chance = Chance(seed);
        let count = 1 + chance.below(3);
        let rules = (0..count).map(|number| {
            let rule = Rule::draw(&mut chance, number);
            let resource = if chance.once_in(9) { rule.resource } else { Scope::Is("Document") };
            Rule { resource, is_forbid: number > 0 && chance.once_in(2), ..rule }.text()
        });
        let text: String = rules.collect();
        seen.check(&mut chance, &text);
    }
    println!("{seen:?}");
    seen.assert_at_least(&Seen {
        refused: 20,
        settled: 200,
        conditional: 8,
        inexpressible: 300,
        passed: 1_000,
        failed: 3_000,
    });
}

/// A test that can be said of single values, each with the check for a value that strict validation wants.
fn test(chance: &mut Chance, depth: usize) -> String {
    let mut one = |of: &[&str]| {
        let number = chance.below(4).to_string();
        chance.one(of).replace("{}", &number)
    };
    let above = one(&[r#"Part::"{}""#, r#"[Part::"{}", Part::"1"]"#, "principal.parts", r#"Area::"{}""#]);
    let part = one(&["resource.part", "resource.owner.shadow", "resource.peer", "resource.next"]);
    let known = one(&[r#"Part::"{}""#, r#"Shadow::"{}""#, "principal", r#"Document::"{}""#]);
    let has = |path: &str| format!("resource has {}", path.trim_start_matches("resource."));
    if depth == 0 || chance.once_in(3) {
        return match chance.below(14) {
            0..=3 => format!("({} && {part} in {above})", has(&part)),
            4 => format!("(if {0} then {part} in {above} else {1})", has(&part), chance.once_in(2)),
            5 => format!("({} && {known} in {part})", has(&part)),
            6 => r#"(resource has part && resource.part == Part::"2")"#.to_owned(),
            7 => r#"(resource has owner && [Person::"0", Person::"1", principal].contains(resource.owner))"#.to_owned(),
            8 => r#"(resource has parts && resource.parts.contains(Part::"1"))"#.to_owned(),
            9 => "(resource has parts && resource.parts.containsAny(principal.parts))".to_owned(),
            10 => "(resource has level && [0, 2].contains(resource.level))".to_owned(),
            // Parts have no size: this fails wherever there is one.
            11 => "(resource has part && resource.part.size > 2)".to_owned(),
            12 => r#"(resource has part && resource has peer && {a: resource.part, b: resource.peer}.b in Part::"1")"#
                .to_owned(),
            _ => {
                r#"(resource has part && (if context.flag then resource.part else Part::"3") in Area::"1")"#.to_owned()
            }
        };
    }
    let mut inner = || test(chance, depth - 1);
    let (first, second, third) = (inner(), inner(), inner());
    match chance.below(4) {
        0 => format!("!({first})"),
        1 => format!("({first} && {second})"),
        2 => format!("({first} || {second})"),
        _ => format!("(if {first} then {second} else {third})"),
    }
}

#[test]
fn a_filter_of_policies_that_test_single_values_is_exact() {
    let mut seen = Seen::default();
    for seed in 0..600 {
        let mut chance = Chance(seed);
        let count = 1 + chance.below(4);
        let rules = (0..count).map(|number| {
            let effect = if number > 0 && chance.once_in(2) { "forbid" } else { "permit" };
            let scope = chance.one(&["principal, action, resource is Document", "principal, action, resource"]);
            let clauses = (0..=chance.below(2)).map(|_| {
                let when = if chance.once_in(4) { "unless" } else { "when" };
                format!("{when} {{ resource is Document && {} }}", test(&mut chance, 2))
            });
            let clauses: Vec<String> = clauses.collect();
            format!("@id(\"{number}\") {effect} ({scope}) {};\n", clauses.join(" "))
        });
        let text: String = rules.collect();
        seen.check(&mut chance, &text);
    }
    println!("{seen:?}");
    seen.assert_at_least(&Seen {
        refused: 1,
        settled: 50,
        conditional: 400,
        inexpressible: 0,
        passed: 1_000,
        failed: 1_000,
    });
}
