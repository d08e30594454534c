//! Cases of the realm `sem`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use hallpass::proto::v1::{self as pb};
use serde_json::{Map, Value as Json, json};

use super::{Facts, Issuer, Question, System, items, members, plain_question, text, values};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct Sem;

/// Stands for every role.
const ANYONE: &str = "*";
const ROLES: [&str; 4] = ["SIS", "MP", "LA", "LMS"];

impl System for Sem {
    fn realm(&self) -> &'static str {
        "sem"
    }

    /// The authorization servers of all suppliers: those that some case names, and those that are called alike.
    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let mut names = BTreeSet::new();
        for case in &file.cases {
            let facts = file.facts_of(case)?;
            let Some((party, issuer)) = server(&facts).and_then(|server| Some((server.party, server.issuer?))) else {
                continue;
            };
            names.extend(parties(&facts).keys().map(|other| issuer.replace(party, other)));
            names.insert(issuer.to_owned());
        }
        let settings = "audiences = []\nalgorithms = [\"RS256\"]\n";
        Ok(names.iter().map(|name| Issuer::signing(name, settings)).collect())
    }

    fn tables(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, String>> {
        let mut tables = BTreeMap::new();
        let mut add =
            |name: &str, rows: Map<String, Json>| tables.insert(name.to_owned(), Json::Object(rows).to_string());
        if facts.contains_key("scope_catalogue") {
            add("scopes.json", members(facts, "scope_catalogue").map(scope).collect());
        }
        if facts.contains_key("scope_aliases") {
            let aliases = members(facts, "scope_aliases").map(|(name, scope)| (name.clone(), scope.clone()));
            add("aliases.json", Map::from_iter([("cases".to_owned(), Json::Object(aliases.collect()))]));
        }
        if facts.contains_key("event_scope") {
            let event = |(name, scope): (&String, &Json)| {
                let row = json!({ "scope": scope, "confirmation": name.ends_with("Confirmation") });
                (name.clone(), row)
            };
            add("events.json", members(facts, "event_scope").map(event).collect());
        }
        if facts.contains_key("seed_apis") {
            add("apis.json", apis(facts)?);
        }
        Ok(tables)
    }

    fn records(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        let school = |id: &Json| json!({ "schoolIdentifier": id });
        Ok(BTreeMap::from([
            ("parties".to_owned(), parties(facts).into_values().collect()),
            ("schools".to_owned(), items(facts, "schools_known").map(school).collect()),
            ("consents".to_owned(), items(facts, "consents").cloned().collect()),
        ]))
    }

    /// A batch of events is asked about one by one.
    fn question(&self, case: &Case, facts: &Facts) -> anyhow::Result<Question> {
        let party = server(facts).context("nobody is asked")?.party;
        let question = |question: pb::AuthorizeRequest| pb::AuthorizeRequest {
            context: [("server".to_owned(), text(party))].into(),
            ..question
        };
        let Some(events) = case.request.resource.properties.get("events").and_then(Json::as_array) else {
            return Ok(Question::One(question(plain_question(case))));
        };
        let event = |event: &Json| {
            let mut one = question(plain_question(case));
            "post-event".clone_into(&mut one.action);
            one.resource = Some(pb::Resource {
                r#type: "Event".to_owned(),
                attributes: event.as_object().map(values).unwrap_or_default(),
                has_attributes: true,
                ..pb::Resource::default()
            });
            one
        };
        Ok(Question::Items(events.iter().map(event).collect()))
    }
}

/// The supplier that is asked.
struct Server<'f> {
    party: &'f str,
    role: Option<&'f Json>,
    issuer: Option<&'f str>,
}

fn server(facts: &Facts) -> Option<Server<'_>> {
    let server = facts.get("resource_server")?;
    let party = server.get("party")?.as_str()?;
    Some(Server { party, role: server.get("role"), issuer: server.get("issuer").and_then(Json::as_str) })
}

/// The records of all suppliers, by name: those with clients, and the one that is asked. Its issuer is its own.
fn parties(facts: &Facts) -> BTreeMap<String, Json> {
    let mut parties: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (client, entry) in members(facts, "parties") {
        let Some(party) = entry.get("party").and_then(Json::as_str) else { continue };
        let (clients, roles) = parties.entry(party.to_owned()).or_default();
        clients.insert(client.clone());
        roles.extend(texts(entry.get("roles")));
    }
    let server = server(facts);
    if let Some(server) = &server {
        parties.entry(server.party.to_owned()).or_default().1.extend(texts(server.role));
    }
    let issuers =
        |party: &str| server.iter().filter(|it| it.party == party).filter_map(|it| it.issuer).collect::<Vec<_>>();
    let record = |(party, (clients, roles)): (String, (BTreeSet<String>, BTreeSet<String>))| {
        let record = json!({ "party": party, "clients": clients, "roles": roles, "issuers": issuers(&party) });
        (party, record)
    };
    parties.into_iter().map(record).collect()
}

/// A line of the catalogue as the realm writes it.
fn scope((name, entry): (&String, &Json)) -> (String, Json) {
    let roles = |member: &str| -> Vec<String> {
        let roles = texts(entry.get(member));
        if roles.iter().any(|role| role == ANYONE) { ROLES.map(str::to_owned).into() } else { roles }
    };
    let row = json!({
        "senders": roles("sender"),
        "receivers": roles("receivers"),
        "consentApi": entry.get("consent_api"),
        "consentFor": roles("consent_for"),
    });
    (name.clone(), row)
}

/// The realm's own table, with seeds of those APIs only that the facts list.
fn apis(facts: &Facts) -> anyhow::Result<Map<String, Json>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/sem/apis.json");
    let mut apis: Map<String, Json> = serde_json::from_str(&fs::read_to_string(path)?)?;
    let listed: BTreeSet<String> = texts(facts.get("seed_apis")).iter().map(|api| format!("seed|{api}")).collect();
    apis.retain(|name, _| !name.starts_with("seed|") || listed.contains(name));
    for name in listed {
        anyhow::ensure!(apis.contains_key(&name), "the realm knows no scope for `{name}`");
    }
    Ok(apis)
}

/// One text or several.
fn texts(value: Option<&Json>) -> Vec<String> {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    match value {
        Some(Json::Array(items)) => items.iter().filter_map(text).collect(),
        value => value.and_then(text).into_iter().collect(),
    }
}
