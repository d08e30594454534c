//! Generated policies and questions, each answered three times: by `decide`, by an evaluation that knows nothing of Cedar,
//! and by Cedar itself over all policies and all entities.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Effect, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression,
};
use hallpass::domain::{decision::Outcome, graph::Graph, id::EntityId, realm::Realm};
use serde_json::{Value as Json, json};

use super::{
    oracle::{Everything, Failed, Place, Root, Seen, Situation, Sum, Test, Way, written},
    realm::{Asked, compiled, decided, graph, person},
};

const REALMS: u64 = 500;
const QUESTIONS: usize = 20;

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// How many entities of a type there are; their ids are `0`, `1` ...
const TYPES: [(&str, usize); 6] =
    [("Area", 2), ("Part", 5), ("Shadow", 3), ("Person", 3), ("Room", 2), ("Document", 3)];

fn entity(chance: &mut Chance, entity_type: &str) -> EntityId {
    let (_, count) = TYPES.iter().find(|(name, _)| *name == entity_type).unwrap();
    EntityId::new(entity_type, chance.below(*count).to_string())
}

/// Relations with the types of their ends. A subject is of a later type than its object, or of a higher id: no cycles.
const RELATIONS: [(&str, &str, &str); 8] = [
    ("Area", "area_of", "Area"),
    ("Part", "in_area", "Area"),
    ("Part", "part_of", "Part"),
    ("Room", "room_of", "Part"),
    ("Person", "member", "Part"),
    ("Shadow", "shadow_in", "Part"),
    ("Document", "filed", "Part"),
    ("Document", "page_of", "Document"),
];

fn relationships(chance: &mut Chance) -> Vec<(EntityId, &'static str, EntityId)> {
    let drawn = (0..chance.below(22)).map(|_| {
        let (subject, relation, object) = *chance.one(&RELATIONS);
        (entity(chance, subject), relation, entity(chance, object))
    });
    drawn.filter(|(subject, _, object)| subject.entity_type != object.entity_type || subject.id > object.id).collect()
}

#[derive(Clone, Debug)]
struct Rule {
    id: String,
    is_forbid: bool,
    principal: Scope,
    action: Actions,
    resource: Scope,
    clauses: Vec<(bool, Test)>,
}

#[derive(Clone, Debug)]
enum Scope {
    Any,
    Is(&'static str),
    Same(EntityId),
    In(EntityId),
    IsIn(&'static str, EntityId),
}

#[derive(Clone, Debug)]
enum Actions {
    Any,
    Same(&'static str),
    In(Vec<&'static str>),
}

/// An action and the groups it is in.
const ACTIONS: [(&str, &[&str]); 3] =
    [("Read", &["any"]), ("Update", &["change", "any"]), ("Delete", &["change", "any"])];

impl Scope {
    fn draw(chance: &mut Chance, types: &[&'static str]) -> Self {
        let own = *chance.one(types);
        let above = *chance.one(&["Part", "Part", "Area"]);
        match chance.below(8) {
            0 => Self::Is(own),
            1 => Self::Same(entity(chance, own)),
            2 | 3 => Self::In(entity(chance, above)),
            4 => Self::IsIn(own, entity(chance, above)),
            5 if own == "Document" => Self::In(entity(chance, own)),
            _ => Self::Any,
        }
    }

    fn fits(&self, entity: &EntityId, situation: &Situation<'_>, root: Root) -> bool {
        let is_in = |above: &EntityId| {
            let place = Place { root: root.clone(), attributes: Vec::new() };
            Test::In(Way::Straight, place, vec![above.clone()]).holds(situation).unwrap()
        };
        match self {
            Self::Any => true,
            Self::Is(entity_type) => *entity.entity_type == **entity_type,
            Self::Same(other) => entity == other,
            Self::In(above) => is_in(above),
            Self::IsIn(entity_type, above) => *entity.entity_type == **entity_type && is_in(above),
        }
    }

    fn text(&self, variable: &str) -> String {
        match self {
            Self::Any => variable.to_owned(),
            Self::Is(entity_type) => format!("{variable} is {entity_type}"),
            Self::Same(entity) => format!("{variable} == {}", written(entity)),
            Self::In(above) => format!("{variable} in {}", written(above)),
            Self::IsIn(entity_type, above) => format!("{variable} is {entity_type} in {}", written(above)),
        }
    }
}

impl Actions {
    fn text(&self) -> String {
        match self {
            Self::Any => "action".to_owned(),
            Self::Same(action) => format!("action == Action::\"{action}\""),
            Self::In(actions) => {
                let actions: Vec<String> = actions.iter().map(|action| format!("Action::\"{action}\"")).collect();
                format!("action in [{}]", actions.join(", "))
            }
        }
    }

    fn fits(&self, action: &str) -> bool {
        let (_, groups) = ACTIONS.iter().find(|(name, _)| *name == action).unwrap();
        match self {
            Self::Any => true,
            Self::Same(other) => *other == action,
            Self::In(list) => list.iter().any(|name| *name == action || groups.contains(name)),
        }
    }
}

impl Rule {
    fn draw(chance: &mut Chance, number: usize) -> Self {
        let clauses = (0..chance.below(4)).map(|_| (!chance.once_in(4), test(chance, 2)));
        let clauses = clauses.collect();
        Self {
            id: format!("{}-{number}", chance.below(90)),
            is_forbid: chance.once_in(3),
            principal: Scope::draw(chance, &["Person"]),
            action: match chance.below(6) {
                0 => Actions::Same(chance.one(&ACTIONS).0),
                1 => Actions::In(vec!["any"]),
                2 => Actions::In(vec![chance.one(&ACTIONS).0, "change"]),
                _ => Actions::Any,
            },
            resource: Scope::draw(chance, &["Document", "Document", "Person", "Room"]),
            clauses,
        }
    }

    fn text(&self) -> String {
        let Self { id, is_forbid, principal, action, resource, clauses } = self;
        let effect = if *is_forbid { "forbid" } else { "permit" };
        let scope = [principal.text("principal"), action.text(), resource.text("resource")].join(", ");
        let clauses: String = clauses
            .iter()
            .map(|(when, test)| format!(" {} {{ {test} }}", if *when { "when" } else { "unless" }))
            .collect();
        format!("@id(\"{id}\") {effect} ({scope}){clauses};\n")
    }

    /// The clauses are asked in order, and what comes after one that is false is not asked.
    fn applies(&self, situation: &Situation<'_>) -> Result<bool, Failed> {
        let fits = self.principal.fits(&situation.principal, situation, Root::Principal)
            && self.action.fits(&situation.action.id)
            && self.resource.fits(&situation.resource, situation, Root::Resource);
        if !fits {
            return Ok(false);
        }
        for (when, test) in &self.clauses {
            if test.holds(situation)? != *when {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Places of an entity with its type; of the attributes, which may be missing.
fn place(chance: &mut Chance) -> (Place, &'static str) {
    const DOCUMENT: Root = Root::ResourceOf("Document");
    const PERSON: Root = Root::ResourceOf("Person");
    let places: &[(Root, &[(&str, bool)], &str)] = &[
        (Root::Principal, &[], "Person"),
        (Root::Resource, &[], "any"),
        (Root::Principal, &[("home", true)], "Part"),
        (Root::Principal, &[("shadow", true)], "Shadow"),
        (Root::Context, &[("place", true)], "Part"),
        (DOCUMENT, &[("part", true)], "Part"),
        (DOCUMENT, &[("owner", true)], "Person"),
        (DOCUMENT, &[("peer", true)], "Person"),
        (DOCUMENT, &[("next", true)], "Document"),
        (DOCUMENT, &[("next", true), ("part", true)], "Part"),
        (DOCUMENT, &[("spot", true), ("part", false)], "Part"),
        (DOCUMENT, &[("spot", true), ("person", true)], "Person"),
        (DOCUMENT, &[("owner", true), ("shadow", true)], "Shadow"),
        (DOCUMENT, &[("peer", true), ("shadow", true)], "Shadow"),
        (DOCUMENT, &[("owner", true), ("home", true)], "Part"),
        (PERSON, &[("home", true)], "Part"),
        (PERSON, &[("shadow", true)], "Shadow"),
    ];
    if chance.once_in(8) {
        let entity_type = *chance.one(&["Part", "Person", "Document", "Shadow"]);
        let root = Root::Named(entity(chance, entity_type));
        return (Place { root, attributes: Vec::new() }, entity_type);
    }
    let (root, attributes, entity_type) = chance.one(places).clone();
    (Place { root, attributes: attributes.to_vec() }, entity_type)
}

fn number(chance: &mut Chance) -> Place {
    let places: &[(Root, &[(&'static str, bool)])] = &[
        (Root::Principal, &[("level", false)]),
        (Root::Principal, &[("rank", true)]),
        (Root::ResourceOf("Document"), &[("level", true)]),
        (Root::ResourceOf("Person"), &[("level", false)]),
        // Known of the principal only: of anybody else, this fails.
        (Root::ResourceOf("Document"), &[("owner", true), ("level", false)]),
        // Known of nothing.
        (Root::ResourceOf("Document"), &[("part", true), ("size", false)]),
    ];
    let (root, attributes) = chance.one(places).clone();
    Place { root, attributes: attributes.to_vec() }
}

fn test(chance: &mut Chance, depth: usize) -> Test {
    let inner = |chance: &mut Chance| Box::new(test(chance, depth - 1));
    match chance.below(if depth > 0 { 12 } else { 8 }) {
        0 => Test::Flag,
        1 | 2 => {
            let sum = match chance.below(4) {
                0 | 1 => Sum::Above(2),
                2 => Sum::Times,
                _ => Sum::Plus,
            };
            Test::Number(number(chance), sum)
        }
        3 => {
            let action = Place { root: Root::Action, attributes: Vec::new() };
            Test::In(Way::Straight, action, vec![EntityId::new("Action", *chance.one(&["change", "any", "Read"]))])
        }
        4 => {
            let (left, entity_type) = place(chance);
            let right = *chance.one(&["parts", "part"]);
            match (right, entity_type) {
                ("parts", _) => {
                    Test::InPlace(left, Place { root: Root::Principal, attributes: vec![("parts", false)] })
                }
                _ => {
                    Test::InPlace(left, Place { root: Root::ResourceOf("Document"), attributes: vec![("part", true)] })
                }
            }
        }
        5 => {
            let ((left, of), (right, other)) = (place(chance), place(chance));
            if of == other && of != "any" { Test::Same(left, right) } else { Test::Flag }
        }
        6 | 7 => {
            let (left, _) = place(chance);
            let above = *chance.one(&["Part", "Part", "Area"]);
            let above = (0..=chance.below(2)).map(|_| entity(chance, above)).collect();
            let way = *chance.one(&[Way::Straight, Way::Straight, Way::Boxed, Way::Picked]);
            Test::In(way, left, above)
        }
        8 => Test::Not(inner(chance)),
        9 => Test::And(inner(chance), inner(chance)),
        10 => Test::Or(inner(chance), inner(chance)),
        _ => Test::If(inner(chance), inner(chance), inner(chance)),
    }
}

/// A question with everything that is known about it, in both forms.
#[derive(Debug)]
struct Drawn {
    principal: EntityId,
    claims: Json,
    action: &'static str,
    resource: EntityId,
    /// The stored values, and those of the request body if there is one.
    values: Vec<Json>,
    context: Json,
}

fn id(chance: &mut Chance, entity_type: &str) -> Json {
    json!(entity(chance, entity_type).id.to_string())
}

fn parts(chance: &mut Chance) -> Json {
    (0..chance.below(3)).map(|_| id(chance, "Part")).collect()
}

fn maybe(chance: &mut Chance, object: &mut Json, name: &str, draw: impl Fn(&mut Chance) -> Json) {
    if !chance.once_in(3) {
        object[name] = draw(chance);
    }
}

fn level(chance: &mut Chance) -> Json {
    json!(*chance.one(&[-3, 0, 1, 2, 5]))
}

fn claims(chance: &mut Chance) -> Json {
    let mut claims = json!({ "level": level(chance), "parts": parts(chance) });
    maybe(chance, &mut claims, "home", |chance| id(chance, "Part"));
    maybe(chance, &mut claims, "rank", level);
    claims
}

fn values(chance: &mut Chance, resource: &EntityId, principal: &EntityId, of_principal: &Json) -> Json {
    match &*resource.entity_type {
        "Person" if resource == principal && !chance.once_in(4) => of_principal.clone(),
        "Person" => claims(chance),
        "Document" => {
            let mut values = json!({});
            for (name, entity_type) in [("part", "Part"), ("owner", "Person"), ("peer", "Person"), ("next", "Document")]
            {
                maybe(chance, &mut values, name, |chance| id(chance, entity_type));
            }
            maybe(chance, &mut values, "level", level);
            maybe(chance, &mut values, "parts", parts);
            maybe(chance, &mut values, "spot", |chance| {
                let mut spot = json!({ "part": id(chance, "Part") });
                maybe(chance, &mut spot, "person", |chance| id(chance, "Person"));
                spot
            });
            values
        }
        _ => json!({}),
    }
}

impl Drawn {
    fn draw(chance: &mut Chance) -> Self {
        let principal = entity(chance, "Person");
        let resource_type = *chance.one(&["Document", "Document", "Document", "Person", "Room"]);
        let resource = entity(chance, resource_type);
        let claims = claims(chance);
        let phases = if chance.once_in(4) { 2 } else { 1 };
        let values = (0..phases).map(|_| values(chance, &resource, &principal, &claims)).collect();
        let mut context = json!({ "flag": chance.once_in(2) });
        maybe(chance, &mut context, "place", |chance| id(chance, "Part"));
        Self { principal, claims, action: chance.one(&ACTIONS).0, resource, values, context }
    }

    fn situation<'a>(&self, everything: &'a Everything) -> Situation<'a> {
        let Seen::Record(mut context) = seen(&self.context, None) else { panic!("no record") };
        if let Some(place) = self.context.get("place") {
            context.insert("place", seen(place, Some("Part")));
        }
        Situation {
            everything,
            principal: self.principal.clone(),
            action: EntityId::new("Action", self.action),
            resource: self.resource.clone(),
            context: Seen::Record(context),
        }
    }

    /// All that there is, with the values of one phase; `None` if token and values contradict each other.
    fn everything(&self, related: &[(EntityId, &str, EntityId)], values: &Json) -> Option<Everything> {
        let mut all = Everything::default();
        for (entity_type, count) in TYPES {
            for number in 0..count {
                let entity = EntityId::new(entity_type, number.to_string());
                let links = (entity_type == "Person")
                    .then(|| ("shadow", Seen::Entity(EntityId::new("Shadow", number.to_string()))));
                all.attributes.insert(entity, links.into_iter().collect());
            }
        }
        for (action, groups) in ACTIONS {
            let groups = groups.iter().map(|group| (EntityId::new("Action", action), EntityId::new("Action", *group)));
            all.parents.extend(groups);
        }
        all.parents.extend(related.iter().map(|(subject, _, object)| (subject.clone(), object.clone())));
        let claims = attributes(&self.claims);
        if let Some(Seen::Set(parts)) = claims.get("parts") {
            all.parents.extend(parts.iter().map(|part| (self.principal.clone(), part.clone())));
        }
        for (entity, known) in [(&self.principal, claims), (&self.resource, attributes(values))] {
            let held = all.attributes.entry(entity.clone()).or_default();
            for (name, value) in known {
                if held.get(name).is_some_and(|other| *other != value) {
                    return None;
                }
                held.insert(name, value);
            }
        }
        Some(all)
    }
}

/// The attributes of persons, documents and spots, and the types of what they name.
const ATTRIBUTES: [(&str, Option<&str>); 11] = [
    ("level", None),
    ("rank", None),
    ("parts", Some("Part")),
    ("part", Some("Part")),
    ("home", Some("Part")),
    ("owner", Some("Person")),
    ("peer", Some("Person")),
    ("person", Some("Person")),
    ("next", Some("Document")),
    ("spot", None),
    ("flag", None),
];

fn attributes(json: &Json) -> BTreeMap<&'static str, Seen> {
    let known = ATTRIBUTES.iter().filter_map(|(name, named)| Some((*name, seen(json.get(name)?, *named))));
    known.collect()
}

fn seen(json: &Json, named: Option<&str>) -> Seen {
    let entity = |id: &Json| EntityId::new(named.unwrap(), id.as_str().unwrap());
    match json {
        Json::Bool(flag) => Seen::Flag(*flag),
        Json::Number(number) => Seen::Number(number.as_i64().unwrap()),
        Json::String(_) => Seen::Entity(entity(json)),
        Json::Array(items) => Seen::Set(items.iter().map(entity).collect()),
        _ => Seen::Record(attributes(json)),
    }
}

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
