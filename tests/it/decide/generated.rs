//! Generated policies and questions, each answered three times: by `decide`, by an evaluation that knows nothing of Cedar,
//! and by Cedar itself over all policies and all entities.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Effect, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression,
};
use hallpass::domain::{decision::Outcome, graph::Graph, id::EntityId, realm::Realm};
use serde_json::Value as Json;

use super::{
    draw::{Chance, Drawn, Rule, relationships},
    oracle::{Failed, Seen, Situation, written},
    realm::{Asked, compiled, decided, graph, person},
};

const REALMS: u64 = 500;
const QUESTIONS: usize = 20;

/// What the answers of all policies come to.
fn outcome<'a>(answers: impl Iterator<Item = (&'a str, bool, Result<bool, Failed>)>) -> (Outcome, BTreeSet<&'a str>) {
    let answers: Vec<_> = answers.collect();
    let of = |is_forbid: bool, wanted: Result<bool, Failed>| -> BTreeSet<&str> {
        let such = answers.iter().filter(|(_, forbids, answer)| *forbids == is_forbid && *answer == wanted);
        such.map(|(id, ..)| *id).collect()
    };
    let failed = |is_forbid| of(is_forbid, Err(Failed));
    let (forbidding, permitting) = (of(true, Ok(true)), of(false, Ok(true)));
    if !forbidding.is_empty() {
        (Outcome::Forbidden, forbidding)
    } else if !failed(true).is_empty() {
        (Outcome::Indeterminate, &failed(true) | &failed(false))
    } else if !permitting.is_empty() {
        (Outcome::Allowed, permitting)
    } else if !failed(false).is_empty() {
        (Outcome::Indeterminate, failed(false))
    } else {
        (Outcome::NotPermitted, BTreeSet::new())
    }
}

/// Cedar's own answers, over all policies and all entities.
fn by_cedar<'a>(policies: &'a PolicySet, situation: &Situation<'_>) -> Vec<(&'a str, bool, Result<bool, Failed>)> {
    let uid = |entity: &EntityId| written(entity).parse::<EntityUid>().unwrap();
    let entities = situation.everything.attributes.iter().map(|(entity, attributes)| {
        let attributes: HashMap<_, _> =
            attributes.iter().map(|(name, seen)| ((*name).to_owned(), expression(seen))).collect();
        let parents = situation.everything.parents.iter().filter(|(child, _)| child == entity);
        Entity::new(uid(entity), attributes, parents.map(|(_, parent)| uid(parent)).collect()).unwrap()
    });
    let groups: HashSet<EntityUid> = situation
        .everything
        .parents
        .iter()
        .filter(|(child, _)| *child == situation.action)
        .map(|(_, group)| uid(group))
        .collect();
    let action = Entity::new_no_attrs(uid(&situation.action), groups);
    let entities = Entities::from_entities(entities.chain([action]), None).unwrap();
    let Seen::Record(context) = &situation.context else { panic!("no record") };
    let context =
        Context::from_pairs(context.iter().map(|(name, seen)| ((*name).to_owned(), expression(seen)))).unwrap();
    let request =
        Request::new(uid(&situation.principal), uid(&situation.action), uid(&situation.resource), context, None)
            .unwrap();
    let answer = Authorizer::new().is_authorized(&request, policies, &entities);
    // Cedar names the forbids that hold, or else the permits; each policy is asked alone to know of all.
    let failed: BTreeSet<String> = answer
        .diagnostics()
        .errors()
        .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().to_string())
        .collect();
    let holding: BTreeSet<String> = answer.diagnostics().reason().map(ToString::to_string).collect();
    let answers = policies.policies().map(|policy: &Policy| {
        let id: &str = policy.id().as_ref();
        let held = if failed.contains(id) { Err(Failed) } else { Ok(holding.contains(id)) };
        (id, policy.effect() == Effect::Forbid, held)
    });
    answers.collect()
}

fn expression(seen: &Seen) -> RestrictedExpression {
    let entity = |entity: &EntityId| RestrictedExpression::new_entity_uid(written(entity).parse().unwrap());
    match seen {
        Seen::Flag(flag) => RestrictedExpression::new_bool(*flag),
        Seen::Number(number) => RestrictedExpression::new_long(*number),
        Seen::Entity(named) => entity(named),
        Seen::Set(items) => RestrictedExpression::new_set(items.iter().map(entity)),
        Seen::Record(fields) => {
            let fields = fields.iter().map(|(name, seen)| ((*name).to_owned(), expression(seen)));
            RestrictedExpression::new_record(fields).unwrap()
        }
    }
}

/// The same policies in another order and in several files.
fn scattered(chance: &mut Chance, rules: &[Rule]) -> Realm {
    let mut rules: Vec<&Rule> = rules.iter().collect();
    chance.shuffle(&mut rules);
    let mut files = [const { String::new() }; 3];
    for rule in rules {
        files[chance.below(3)] += &rule.text();
    }
    compiled(&files.each_ref().map(String::as_str))
}

/// The outcomes of a question's phases up to the first that does not allow, each with the policies that led to it.
fn expected<'a>(
    drawn: &Drawn,
    related: &[(EntityId, &str, EntityId)],
    answer: impl Fn(&Situation<'_>) -> Vec<(&'a str, bool, Result<bool, Failed>)>,
) -> (Outcome, BTreeSet<&'a str>) {
    let mut permitting = BTreeSet::new();
    for values in &drawn.values {
        let Some(everything) = drawn.everything(related, values) else {
            return (Outcome::Indeterminate, BTreeSet::new());
        };
        match outcome(answer(&drawn.situation(&everything)).into_iter()) {
            (Outcome::Allowed, policies) => permitting.extend(policies),
            other => return other,
        }
    }
    (Outcome::Allowed, permitting)
}

#[test]
fn ten_thousand_generated_questions_are_decided_as_their_policies_say() {
    let mut seen: HashMap<Outcome, usize> = HashMap::new();
    for seed in 0..REALMS {
        let mut chance = Chance(seed);
        let rules: Vec<Rule> = (0..=chance.below(6)).map(|number| Rule::draw(&mut chance, number)).collect();
        let text: String = rules.iter().map(Rule::text).collect();
        let related = relationships(&mut chance);
        let spelled: Vec<_> =
            related.iter().map(|(subject, relation, object)| (spelled(subject), *relation, spelled(object))).collect();
        let spelled: Vec<(&str, &str, &str)> =
            spelled.iter().map(|(subject, relation, object)| (&**subject, *relation, &**object)).collect();
        let graph = graph(&spelled);
        let realms = [compiled(&[&text]), scattered(&mut chance, &rules)];
        let policies = policies(&text);
        for _ in 0..QUESTIONS {
            let drawn = Drawn::draw(&mut chance);
            let case = format!("seed {seed}: {drawn:?}\n{related:?}\n{text}");
            let by_rules = |situation: &Situation<'_>| -> Vec<_> {
                rules.iter().map(|rule| (&*rule.id, rule.is_forbid, rule.applies(situation))).collect()
            };
            let (wanted, determining) = expected(&drawn, &related, by_rules);
            assert_eq!(expected(&drawn, &related, |situation| by_cedar(&policies, situation)).0, wanted, "{case}");
            check(&realms, &graph, &drawn, wanted, &determining, &case);
            *seen.entry(wanted).or_default() += 1;
        }
    }
    println!("{seen:?}");
    for outcome in [Outcome::Allowed, Outcome::NotPermitted, Outcome::Forbidden, Outcome::Indeterminate] {
        assert!(seen.get(&outcome).is_some_and(|count| *count > 500), "{seen:?}");
    }
}

/// All realms decide as it is wanted, and give the same reasons.
fn check(realms: &[Realm], graph: &Graph, drawn: &Drawn, wanted: Outcome, determining: &BTreeSet<&str>, case: &str) {
    let [values, proposed] = [0, 1].map(|phase| drawn.values.get(phase).map(Json::to_string));
    let (values, context) = (values.unwrap(), drawn.context.to_string());
    let asked = Asked {
        claims: &drawn.claims.to_string(),
        action: drawn.action,
        resource: (&drawn.resource.entity_type, &drawn.resource.id),
        values: &values,
        proposed: proposed.as_deref(),
        context: &context,
    };
    let decisions =
        realms.iter().map(|realm| decided(realm, &person(realm, &drawn.principal.id, asked.claims), &asked, graph));
    let decisions: Vec<_> = decisions.collect();
    for decision in &decisions {
        assert_eq!(decision.outcome, wanted, "{case}\n{decision:?}");
        let named: BTreeSet<&str> = decision.determining_policies.iter().map(|id| &**id).collect();
        assert_eq!(named, *determining, "{case}\n{decision:?}");
    }
    assert!(decisions.windows(2).all(|two| two[0].reasons == two[1].reasons), "{case}\n{decisions:?}");
}

fn spelled(entity: &EntityId) -> String {
    format!("{}::{}", entity.entity_type, entity.id)
}

fn policies(text: &str) -> PolicySet {
    let parsed: PolicySet = text.parse().unwrap();
    let named = parsed.policies().map(|policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap())));
    PolicySet::from_policies(named).unwrap()
}
