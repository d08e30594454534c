//! Draws policies and questions by chance.

use std::collections::BTreeMap;

use hallpass::domain::id::EntityId;
use serde_json::{Value as Json, json};

use super::oracle::{Everything, Failed, Place, Root, Seen, Situation, Sum, Test, Way, written};

/// Numbers that look random and are the same in every run (`SplitMix64`).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// How many entities of a type there are; their ids are `0`, `1` ...
pub(super) const TYPES: [(&str, usize); 6] =
    [("Area", 2), ("Part", 5), ("Shadow", 3), ("Person", 3), ("Room", 2), ("Document", 3)];

pub(super) fn entity(chance: &mut Chance, entity_type: &str) -> EntityId {
    let (_, count) = TYPES.iter().find(|(name, _)| *name == entity_type).unwrap();
    EntityId::new(entity_type, chance.below(*count).to_string())
}

/// Relations with the types of their ends. A subject is of a later type than its object, or of a higher id: no cycles.
pub(super) const RELATIONS: [(&str, &str, &str); 8] = [
    ("Area", "area_of", "Area"),
    ("Part", "in_area", "Area"),
    ("Part", "part_of", "Part"),
    ("Room", "room_of", "Part"),
    ("Person", "member", "Part"),
    ("Shadow", "shadow_in", "Part"),
    ("Document", "filed", "Part"),
    ("Document", "page_of", "Document"),
];

pub(super) fn relationships(chance: &mut Chance) -> Vec<(EntityId, &'static str, EntityId)> {
    let drawn = (0..chance.below(22)).map(|_| {
        let (subject, relation, object) = *chance.one(&RELATIONS);
        (entity(chance, subject), relation, entity(chance, object))
    });
    drawn.filter(|(subject, _, object)| subject.entity_type != object.entity_type || subject.id > object.id).collect()
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) is_forbid: bool,
    pub(super) principal: Scope,
    pub(super) action: Actions,
    pub(super) resource: Scope,
    pub(super) clauses: Vec<(bool, Test)>,
}

#[derive(Clone, Debug)]
pub(super) enum Scope {
    Any,
    Is(&'static str),
    Same(EntityId),
    In(EntityId),
    IsIn(&'static str, EntityId),
}

#[derive(Clone, Debug)]
pub(super) enum Actions {
    Any,
    Same(&'static str),
    In(Vec<&'static str>),
}

/// An action and the groups it is in.
pub(super) const ACTIONS: [(&str, &[&str]); 3] =
    [("Read", &["any"]), ("Update", &["change", "any"]), ("Delete", &["change", "any"])];

impl Scope {
    pub(super) fn draw(chance: &mut Chance, types: &[&'static str]) -> Self {
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

    pub(super) fn fits(&self, entity: &EntityId, situation: &Situation<'_>, root: &Root) -> bool {
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

    pub(super) fn text(&self, variable: &str) -> String {
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
    pub(super) fn text(&self) -> String {
        match self {
            Self::Any => "action".to_owned(),
            Self::Same(action) => format!("action == Action::\"{action}\""),
            Self::In(actions) => {
                let actions: Vec<String> = actions.iter().map(|action| format!("Action::\"{action}\"")).collect();
                format!("action in [{}]", actions.join(", "))
            }
        }
    }

    pub(super) fn fits(&self, action: &str) -> bool {
        let (_, groups) = ACTIONS.iter().find(|(name, _)| *name == action).unwrap();
        match self {
            Self::Any => true,
            Self::Same(other) => *other == action,
            Self::In(list) => list.iter().any(|name| *name == action || groups.contains(name)),
        }
    }
}

impl Rule {
    pub(super) fn draw(chance: &mut Chance, number: usize) -> Self {
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

    pub(super) fn text(&self) -> String {
        let Self { id, is_forbid, principal, action, resource, clauses } = self;
        let effect = if *is_forbid { "forbid" } else { "permit" };
        let scope = [principal.text("principal"), action.text(), resource.text("resource")].join(", ");
        let clauses = clauses.iter().fold(String::new(), |text, (when, test)| {
            format!("{text} {} {{ {test} }}", if *when { "when" } else { "unless" })
        });
        format!("@id(\"{id}\") {effect} ({scope}){clauses};\n")
    }

    /// The clauses are asked in order, and what comes after one that is false is not asked.
    pub(super) fn applies(&self, situation: &Situation<'_>) -> Result<bool, Failed> {
        let fits = self.principal.fits(&situation.principal, situation, &Root::Principal)
            && self.action.fits(&situation.action.id)
            && self.resource.fits(&situation.resource, situation, &Root::Resource);
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

/// Attributes one of the other, and which of them may be missing.
pub(super) type Attributes = &'static [(&'static str, bool)];

/// Places of an entity with its type; of the attributes, which may be missing.
pub(super) fn place(chance: &mut Chance) -> (Place, &'static str) {
    const DOCUMENT: Root = Root::ResourceOf("Document");
    const PERSON: Root = Root::ResourceOf("Person");
    let places: &[(Root, Attributes, &str)] = &[
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

pub(super) fn number(chance: &mut Chance) -> Place {
    let places: &[(Root, Attributes)] = &[
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

pub(super) fn test(chance: &mut Chance, depth: usize) -> Test {
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
pub(super) struct Drawn {
    pub(super) principal: EntityId,
    pub(super) claims: Json,
    pub(super) action: &'static str,
    pub(super) resource: EntityId,
    /// The stored values, and those of the request body if there is one.
    pub(super) values: Vec<Json>,
    pub(super) context: Json,
}

pub(super) fn id(chance: &mut Chance, entity_type: &str) -> Json {
    json!(entity(chance, entity_type).id.to_string())
}

pub(super) fn parts(chance: &mut Chance) -> Json {
    (0..chance.below(3)).map(|_| id(chance, "Part")).collect()
}

pub(super) fn maybe(chance: &mut Chance, object: &mut Json, name: &str, draw: impl Fn(&mut Chance) -> Json) {
    if !chance.once_in(3) {
        object[name] = draw(chance);
    }
}

pub(super) fn level(chance: &mut Chance) -> Json {
    json!(*chance.one(&[-3, 0, 1, 2, 5]))
}

pub(super) fn claims(chance: &mut Chance) -> Json {
    let mut claims = json!({ "level": level(chance), "parts": parts(chance) });
    maybe(chance, &mut claims, "home", |chance| id(chance, "Part"));
    maybe(chance, &mut claims, "rank", level);
    claims
}

pub(super) fn values(chance: &mut Chance, resource: &EntityId, principal: &EntityId, of_principal: &Json) -> Json {
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
    pub(super) fn draw(chance: &mut Chance) -> Self {
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

    pub(super) fn situation<'a>(&self, everything: &'a Everything) -> Situation<'a> {
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
    pub(super) fn everything(&self, related: &[(EntityId, &str, EntityId)], values: &Json) -> Option<Everything> {
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
pub(super) const ATTRIBUTES: [(&str, Option<&str>); 11] = [
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

pub(super) fn attributes(json: &Json) -> BTreeMap<&'static str, Seen> {
    let known = ATTRIBUTES.iter().filter_map(|(name, named)| Some((*name, seen(json.get(name)?, *named))));
    known.collect()
}

pub(super) fn seen(json: &Json, named: Option<&str>) -> Seen {
    let entity = |id: &Json| EntityId::new(named.unwrap(), id.as_str().unwrap());
    match json {
        Json::Bool(flag) => Seen::Flag(*flag),
        Json::Number(number) => Seen::Number(number.as_i64().unwrap()),
        Json::String(_) => Seen::Entity(entity(json)),
        Json::Array(items) => Seen::Set(items.iter().map(entity).collect()),
        _ => Seen::Record(attributes(json)),
    }
}
