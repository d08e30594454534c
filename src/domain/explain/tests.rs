//! Explanations of the realms' own cases, and of questions to generated districts.

mod generated;
mod levels;
mod told;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use serde_json::{Map, Value as Json, json};

use super::{Explanation, Fact, State, explain};
use crate::domain::{
    access_request::AccessRequest,
    decide::decide,
    decision::{Effect, Outcome},
    grants::Grants,
    graph::Graph,
    policy_set::SourceFile,
    policy_test::{self, AskedCase},
    principal::Principal,
    realm::Realm,
    value::Value,
};

const REALMS: [&str; 6] = ["auth0", "edfi", "hallpass", "itslanguage", "openedx", "sem"];

fn files(realm: &str) -> Vec<SourceFile> {
    fn add(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                add(&entry.path(), &format!("{path}/"), files);
            } else if let Ok(content) = fs::read_to_string(entry.path()) {
                files.push(SourceFile { path, content });
            }
        }
    }
    let mut files = Vec::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(realm), "", &mut files);
    files
}

fn each_case(mut visit: impl FnMut(&str, AskedCase<'_>)) {
    for realm in REALMS {
        policy_test::each(&files(realm), None, &mut |case| visit(realm, case)).unwrap();
    }
}

/// A token that says what the principal is known by, where one can be put together.
fn claims_of(realm: &Realm, principal: &Principal) -> Option<Map<String, Json>> {
    let mapping = &realm.file.principal;
    let mut claims = Map::new();
    claims.insert(mapping.id_claims[0].to_string(), json!(*principal.entity.id));
    for attribute in &mapping.attributes {
        let [claim] = attribute.path.as_slice() else { continue };
        let said = |value: &Value| match attribute.said_for(value)? {
            Value::String(text) => Some(json!(*text)),
            Value::Long(number) => Some(json!(number)),
            Value::Bool(flag) => Some(json!(flag)),
            _ => None,
        };
        let value = match principal.attributes.get(&attribute.attribute) {
            Some(Value::List(items)) => Json::Array(items.iter().filter_map(said).collect()),
            Some(value) => said(value)?,
            None => continue,
        };
        match (claims.get_mut(&**claim), value) {
            (Some(Json::Array(known)), Json::Array(more)) => known.extend(more),
            (Some(Json::Array(known)), one) => known.insert(0, one),
            (_, value) => drop(claims.insert(claim.to_string(), value)),
        }
    }
    let rebuilt = Principal::from_claims(realm, &claims).ok()?;
    (rebuilt.attributes == principal.attributes && rebuilt.entity == principal.entity).then_some(claims)
}

fn again(realm: &Realm, principal: &Principal) -> Principal {
    Principal::again(realm, principal.entity.clone(), (*principal.attributes).clone()).unwrap()
}

/// What is decided when the fact is brought the way that it would come: by a record, a token, a table of grants, a request.
/// `None` where no token can be put together that says the same of the principal.
fn applied(
    fact: &Fact,
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    graph: &Graph,
) -> Option<Outcome> {
    let mut request = request.clone();
    Some(match fact {
        Fact::Relationship(relationship) => {
            let mut graph = graph.clone();
            graph.insert(&realm.relations.direct(relationship).unwrap());
            decide(realm, &again(realm, principal), &request, &graph).outcome
        }
        Fact::Claim { claim, values, adds } => {
            let mut claims = claims_of(realm, principal)?;
            let said = |value: &Value| match value {
                Value::String(text) => json!(**text),
                Value::Long(number) => json!(number),
                Value::Bool(flag) => json!(flag),
                other => panic!("no token says {other:?}"),
            };
            let said: Vec<Json> = values.iter().map(said).collect();
            match claims.get_mut(&**claim) {
                Some(Json::Array(known)) if *adds => known.extend(said),
                _ if *adds => drop(claims.insert(claim.to_string(), Json::Array(said))),
                _ => drop(claims.insert(claim.to_string(), said[0].clone())),
            }
            let principal = Principal::from_claims(realm, &claims).unwrap();
            decide(realm, &principal, &request, graph).outcome
        }
        Fact::Grant { claim_set, resource_type, action, strategies } => {
            let settings = realm.file.grants.as_ref().unwrap();
            let mut grants = Grants::parse(&table_of_one(&request), settings, &realm.resource_types).unwrap();
            let granted = vec![(Arc::clone(action), strategies.clone())];
            let set = (Arc::clone(claim_set), vec![(Arc::clone(resource_type), granted)]);
            grants.add_flat(vec![set], settings, &realm.resource_types);
            let found = grants.find(claim_set, resource_type, action).grant;
            decide(realm, &again(realm, principal).granted((*found).clone()), &request, graph).outcome
        }
        Fact::Property { phase, property, value, .. } => {
            let place = request.resource_type.subjects.iter().position(|subject| subject.path == *property).unwrap();
            let values = request.phases.iter_mut().find(|values| values.phase == *phase).unwrap();
            values.values[place] = Some(value.clone());
            decide(realm, principal, &request, graph).outcome
        }
        Fact::Context { member, value } => {
            let said = request.context.iter().map(|(name, value)| (Arc::clone(name), value.clone()));
            request.context = said.chain([(Arc::clone(member), value.clone())]).collect();
            decide(realm, principal, &request, graph).outcome
        }
        Fact::MediaType(media_type) => {
            request.media_type = Arc::clone(media_type);
            decide(realm, principal, &request, graph).outcome
        }
    })
}

/// A table of grants that knows the resource type's claim and nothing else.
fn table_of_one(request: &AccessRequest) -> String {
    let claim = request.resource_type.claim.as_deref().unwrap_or("none");
    json!({ "source": "test", "claims": { claim: { "parent": null, "defaults": {}, "claim_sets": {} } } }).to_string()
}

/// How many denials there were, how many of them have remedies, and what came of these.
#[derive(Debug, Default)]
struct Figures {
    denials: usize,
    with_remedy: usize,
    remedies: usize,
    flipped: usize,
    not_applied: usize,
}

impl Figures {
    fn add(&mut self, case: AskedCase<'_>, explanation: &Explanation) {
        let AskedCase { realm, principal, request, graph, .. } = case;
        self.denials += 1;
        self.with_remedy += usize::from(!explanation.remedies.found.is_empty());
        for remedy in &explanation.remedies.found {
            self.remedies += 1;
            match applied(&remedy.fact, realm, principal, request, graph) {
                None => self.not_applied += 1,
                Some(Outcome::Allowed) => self.flipped += 1,
                Some(other) => panic!("{} {}: {other:?} with {remedy:?}", case.file, case.name),
            }
        }
    }
}

#[test]
fn every_remedy_of_the_realms_own_denials_turns_them() {
    let mut figures: BTreeMap<String, Figures> = BTreeMap::new();
    each_case(|name, case| {
        let AskedCase { realm, principal, request, graph, .. } = case;
        let before = decide(realm, principal, request, graph);
        let explanation = explain(realm, principal, request, graph);
        let after = decide(realm, principal, request, graph);
        assert_eq!((&before, explanation.outcome), (&after, before.outcome), "{name} {}", case.name);
        assert_eq!(explanation, explain(realm, principal, request, graph), "{name} {}", case.name);
        is_consistent(&explanation);
        if before.outcome.effect() == Effect::Deny {
            figures.entry(name.to_owned()).or_default().add(case, &explanation);
        } else {
            assert!(explanation.remedies.found.is_empty() && explanation.remedies.tried == 0);
        }
    });
    for (realm, figures) in &figures {
        println!("{realm}: {figures:?}");
    }
    let sum = |count: fn(&Figures) -> usize| figures.values().map(count).sum::<usize>();
    let applied = sum(|figures| figures.remedies) - sum(|figures| figures.not_applied);
    assert!(sum(|figures| figures.denials) > 700, "{figures:?}");
    assert!(sum(|figures| figures.with_remedy) * 2 > sum(|figures| figures.denials), "{figures:?}");
    assert_eq!(sum(|figures| figures.flipped), applied, "{figures:?}");
}

/// What an explanation says of policies agrees with what was decided.
fn is_consistent(explanation: &Explanation) {
    let last = explanation.phases.last().map(|phase| phase.outcome);
    if explanation.fault.is_none() {
        assert_eq!(last, Some(explanation.outcome));
    }
    for policy in explanation.permits.iter().chain(&explanation.forbids) {
        if policy.state == State::Held {
            assert!(policy.conjuncts.iter().all(|conjunct| conjunct.state == State::Held), "{policy:?}");
        }
    }
    for miss in &explanation.near_misses {
        let open = miss.conjuncts.iter().find(|conjunct| conjunct.state != State::Held).unwrap();
        assert_eq!(open.state, miss.state);
        assert!(!open.missing.is_empty(), "{miss:?}");
    }
    if explanation.outcome == Outcome::Forbidden && explanation.fault.is_none() {
        assert!(explanation.forbids.iter().any(|forbid| forbid.state == State::Held));
    }
}
