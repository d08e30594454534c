//! The table of grants as its file has it: resource claims, their parents, default strategies, and who may do what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::{Map, Value as Json, json};

use crate::domain::{
    fault::Fault,
    resource_type::syntax_fault,
    strict_json::{self, JsonFault},
};

/// Actions in order, each with its strategies in order.
pub type Defaults = Vec<(Arc<str>, Vec<Arc<str>>)>;
/// Granted actions in order, each with the strategies that override the defaults, if it lists any.
pub type Granted = Vec<(Arc<str>, Option<Vec<Arc<str>>>)>;

/// A resource claim: a resource, or a group of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its name, mostly a URI.
    pub name: Arc<str>,
    /// The group it belongs to.
    pub parent: Option<Arc<str>>,
    /// The strategies where a grant lists none, by action.
    pub defaults: Defaults,
    /// What claim sets grant on it.
    pub claim_sets: Vec<(Arc<str>, Granted)>,
}

/// The whole table, in the order of its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimTable {
    /// Where it comes from, in words.
    pub source: String,
    /// Claim sets that exist even if nothing is granted to them.
    pub claim_sets: Vec<Arc<str>>,
    /// The claims.
    pub claims: Vec<Claim>,
}

impl ClaimTable {
    /// Reads the JSON file of a realm.
    ///
    /// # Errors
    /// Every fault, each naming the claim. Whether claims hang together is not looked at.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        let root = read_object(file, content).map_err(|fault| vec![fault])?;
        let mut reader = Reader { file, faults: Vec::new() };
        reader.known("the file", &root, &["source", "claim_sets", "claims"]);
        let claims = if let Some(Json::Object(claims)) = root.get("claims") {
            claims.iter().map(|(name, body)| reader.claim(name, body)).collect()
        } else {
            reader.fault("`claims` is missing, expected an object of resource claims");
            Vec::new()
        };
        let claim_sets = root.get("claim_sets").map_or_else(Vec::new, |names| {
            texts(names).unwrap_or_else(|| {
                reader.fault("`claim_sets` is no list of names");
                Vec::new()
            })
        });
        let source = root.get("source").and_then(Json::as_str).unwrap_or_default().to_owned();
        if reader.faults.is_empty() { Ok(Self { source, claim_sets, claims }) } else { Err(reader.faults) }
    }

    /// The file's text, one claim a line.
    pub fn text(&self) -> String {
        let Self { source, claim_sets, claims } = self;
        let mut text = format!("{{\n \"source\": {},\n", json!(source));
        if !claim_sets.is_empty() {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, " \"claim_sets\": {},", list(claim_sets));
        }
        text.push_str(" \"claims\": {\n");
        for (index, claim) in claims.iter().enumerate() {
            let comma = if index + 1 < claims.len() { "," } else { "" };
            let _infallible = writeln!(text, "  {}: {}{comma}", json!(*claim.name), claim.text());
        }
        text + " }\n}\n"
    }

    /// The names of all claim sets, declared or granted something, sorted.
    pub fn claim_set_names(&self) -> BTreeSet<Arc<str>> {
        let granted = self.claims.iter().flat_map(|claim| &claim.claim_sets).map(|(name, _)| name);
        granted.chain(&self.claim_sets).cloned().collect()
    }

    /// Keeps these claim sets only; returns the names that are not in the table.
    pub fn keep_claim_sets(&mut self, names: &[Arc<str>]) -> Vec<Arc<str>> {
        let known = self.claim_set_names();
        self.claim_sets.retain(|name| names.contains(name));
        for claim in &mut self.claims {
            claim.claim_sets.retain(|(name, _)| names.contains(name));
        }
        names.iter().filter(|name| !known.contains(*name)).cloned().collect()
    }

    /// How many claims, default entries and grants it has, for summaries.
    pub fn counts(&self) -> (usize, usize, usize) {
        let defaults = self.claims.iter().map(|claim| claim.defaults.len()).sum();
        let grants = self.claims.iter().flat_map(|claim| &claim.claim_sets).map(|(_, actions)| actions.len()).sum();
        (self.claims.len(), defaults, grants)
    }

    /// What keeps the claims from being a forest of distinct names: doubles, unknown parents, cycles. Each with the claim.
    /// `fold` is what names are compared by.
    pub fn tangles(&self, fold: impl Fn(&str) -> String) -> Vec<(Arc<str>, String)> {
        let mut found = Vec::new();
        let mut by_name: BTreeMap<String, &Claim> = BTreeMap::new();
        for claim in &self.claims {
            match by_name.get(&fold(&claim.name)) {
                Some(other) if other.name == claim.name => {
                    found.push((Arc::clone(&claim.name), "stands twice in the table".to_owned()));
                }
                Some(other) => {
                    let message = format!("differs from `{}` only in case, and case doesn't count", other.name);
                    found.push((Arc::clone(&claim.name), message));
                }
                None => drop(by_name.insert(fold(&claim.name), claim)),
            }
        }
        for claim in &self.claims {
            if let Some(parent) = claim.parent.as_ref().filter(|parent| !by_name.contains_key(&fold(parent))) {
                found.push((Arc::clone(&claim.name), format!("its parent `{parent}` is no claim of this table")));
            }
        }
        found.extend(cycles(&by_name, fold));
        found
    }
}

/// Each cycle once, at the first of its claims.
fn cycles(by_name: &BTreeMap<String, &Claim>, fold: impl Fn(&str) -> String) -> Vec<(Arc<str>, String)> {
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut found = Vec::new();
    for start in by_name.keys() {
        let mut way: Vec<String> = Vec::new();
        let mut next = Some(start.clone());
        while let Some(name) = next.take() {
            if let Some(from) = way.iter().position(|seen| *seen == name) {
                let names = way.iter().skip(from).chain([&name]).filter_map(|name| by_name.get(name));
                let names: Vec<_> = names.map(|claim| format!("`{}`", claim.name)).collect();
                let claim = by_name.get(&name).map(|claim| Arc::clone(&claim.name)).unwrap_or_default();
                found.push((claim, format!("its lineage comes back to itself: {}", names.join(" in "))));
                break;
            }
            if done.contains(&name) {
                break;
            }
            next = by_name.get(&name).and_then(|claim| claim.parent.as_deref()).map(&fold);
            way.push(name);
        }
        done.extend(way);
    }
    found
}

impl Claim {
    fn text(&self) -> String {
        let Self { name: _, parent, defaults, claim_sets } = self;
        let entry = |(action, strategies): (&Arc<str>, String)| format!("{}: {strategies}", json!(**action));
        let defaults: Vec<_> = defaults.iter().map(|(action, strategies)| entry((action, list(strategies)))).collect();
        let claim_sets = claim_sets.iter().map(|(claim_set, actions)| {
            let actions = actions.iter().map(|(action, strategies)| {
                entry((action, strategies.as_ref().map_or_else(|| "null".to_owned(), |strategies| list(strategies))))
            });
            entry((claim_set, format!("{{{}}}", actions.collect::<Vec<_>>().join(", "))))
        });
        let claim_sets: Vec<_> = claim_sets.collect();
        format!(
            "{{\"parent\": {}, \"defaults\": {{{}}}, \"claim_sets\": {{{}}}}}",
            json!(parent.as_deref()),
            defaults.join(", "),
            claim_sets.join(", ")
        )
    }
}

fn list(names: &[Arc<str>]) -> String {
    format!("[{}]", names.iter().map(|name| json!(**name).to_string()).collect::<Vec<_>>().join(", "))
}

fn read_object(file: &str, content: &str) -> Result<Map<String, Json>, Fault> {
    strict_json::read_object(content.as_bytes()).map_err(|fault| match (fault, serde_json::from_str::<Json>(content)) {
        (JsonFault::NotJson, Err(error)) => syntax_fault(file, content, &error),
        (JsonFault::DuplicateName, Ok(json)) => twice(file, content, &json),
        (fault, _) => Fault::in_file(file, fault.reason()),
    })
}

/// Names the claim that stands twice; where it is another name, says that there is one.
fn twice(file: &str, content: &str, json: &Json) -> Fault {
    let claims = json.get("claims").and_then(Json::as_object);
    let is_double = |name: &&String| {
        let written = json!(name).to_string();
        let keys = content.split(&written).skip(1).filter(|rest| rest.trim_start().starts_with(':'));
        keys.count() > 1
    };
    match claims.and_then(|claims| claims.keys().find(is_double)) {
        Some(claim) => {
            let written = json!(claim).to_string();
            let place = content.rfind(&format!("{written}:")).map(|start| start..start + written.len());
            let message = format!("claim `{claim}` stands twice in the table");
            Fault::at(file, content, place, message).helped("join both into one")
        }
        None => Fault::in_file(file, JsonFault::DuplicateName.reason()),
    }
}

struct Reader<'a> {
    file: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, message: impl Into<String>) {
        self.faults.push(Fault::in_file(self.file, message));
    }

    fn known(&mut self, what: &str, object: &Map<String, Json>, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.fault(format!("{what}: unknown key `{key}`, expected one of {}", known.join(", ")));
        }
    }

    fn claim(&mut self, name: &str, body: &Json) -> Claim {
        let what = format!("claim `{name}`");
        let mut claim = Claim { name: name.into(), ..Claim::default() };
        let Some(body) = body.as_object() else {
            self.fault(format!("{what}: is no object"));
            return claim;
        };
        self.known(&what, body, &["parent", "defaults", "claim_sets"]);
        match body.get("parent") {
            None | Some(Json::Null) => {}
            Some(Json::String(parent)) => claim.parent = Some(parent.as_str().into()),
            Some(_) => self.fault(format!("{what}: `parent` is no name of a claim")),
        }
        for (action, strategies) in self.members(&what, "defaults", body.get("defaults")) {
            match texts(strategies) {
                Some(strategies) => claim.defaults.push((action.as_str().into(), strategies)),
                None => self.fault(format!("{what}: `defaults.{action}` is no list of strategies")),
            }
        }
        for (set, actions) in self.members(&what, "claim_sets", body.get("claim_sets")) {
            let mut granted = Granted::new();
            for (action, strategies) in self.members(&what, &format!("claim_sets.{set}"), Some(actions)) {
                match (strategies, texts(strategies)) {
                    (Json::Null, _) => granted.push((action.as_str().into(), None)),
                    (_, Some(strategies)) => granted.push((action.as_str().into(), Some(strategies))),
                    _ => self
                        .fault(format!("{what}: `claim_sets.{set}.{action}` is neither null nor a list of strategies")),
                }
            }
            claim.claim_sets.push((set.as_str().into(), granted));
        }
        claim
    }

    fn members<'j>(&mut self, what: &str, key: &str, value: Option<&'j Json>) -> Vec<(&'j String, &'j Json)> {
        match value {
            None => Vec::new(),
            Some(Json::Object(object)) => object.iter().collect(),
            Some(_) => {
                self.fault(format!("{what}: `{key}` is no object"));
                Vec::new()
            }
        }
    }
}

fn texts(value: &Json) -> Option<Vec<Arc<str>>> {
    value.as_array()?.iter().map(|text| text.as_str().map(Arc::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(content: &str) -> Vec<String> {
        let faults = ClaimTable::parse("grants.json", content).unwrap_err();
        faults.into_iter().map(|fault| fault.message).collect()
    }

    fn tangles(claims: &[(&str, Option<&str>)]) -> Vec<String> {
        let claims = claims.iter().map(|(name, parent)| Claim {
            name: (*name).into(),
            parent: parent.map(Arc::from),
            ..Claim::default()
        });
        let table = ClaimTable { claims: claims.collect(), ..ClaimTable::default() };
        table.tangles(str::to_ascii_lowercase).into_iter().map(|(claim, text)| format!("{claim}: {text}")).collect()
    }

    #[test]
    fn a_table_is_written_as_it_is_read() {
        let text = "{\n \"source\": \"by \\\"hand\\\"\",\n \"claim_sets\": [\"Idle\"],\n \"claims\": {\n  \
            \"a\": {\"parent\": null, \"defaults\": {\"Read\": [\"Free\"], \"Write\": []}, \"claim_sets\": {}},\n  \
            \"b\": {\"parent\": \"a\", \"defaults\": {}, \"claim_sets\": {\"SIS\": {\"Read\": null, \"Write\": [\"X\", \"Y\"]}}}\n }\n}\n";
        let table = ClaimTable::parse("grants.json", text).unwrap();
        assert_eq!(table.text(), text);
        assert_eq!(table.counts(), (2, 2, 2));
        assert_eq!(table.claim_set_names().into_iter().collect::<Vec<_>>(), ["Idle".into(), "SIS".into()]);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let content = r#"{"claim": 1, "claims": {"a": {"parent": 1, "default": {}, "claim_sets": {"S": {"Read": "X"}, "T": 1}}, "b": 2}}"#;
        assert_eq!(
            messages(content),
            [
                "the file: unknown key `claim`, expected one of source, claim_sets, claims",
                "claim `a`: unknown key `default`, expected one of parent, defaults, claim_sets",
                "claim `a`: `parent` is no name of a claim",
                "claim `a`: `claim_sets.S.Read` is neither null nor a list of strategies",
                "claim `a`: `claim_sets.T` is no object",
                "claim `b`: is no object",
            ]
        );
        assert_eq!(messages("{}"), ["`claims` is missing, expected an object of resource claims"]);
        assert_eq!(messages("{\"claims\": {},}")[0].split(" at line").next(), Some("trailing comma"));
    }

    #[test]
    fn what_stands_twice_is_named() {
        let double = r#"{"claims": {"a": {"parent": "b"}, "b": {}, "a" : {}}}"#;
        assert_eq!(messages(double), ["claim `a` stands twice in the table"]);
        assert_eq!(
            messages(r#"{"claims": {"a": {"parent": "b", "parent": "c"}}}"#),
            ["has a name twice in one object"]
        );
    }

    #[test]
    fn claims_that_are_no_forest_are_named() {
        assert_eq!(tangles(&[("a", None), ("b", Some("A"))]), [""; 0]);
        assert_eq!(
            tangles(&[("a", Some("z")), ("A", None), ("a", None)]),
            [
                "A: differs from `a` only in case, and case doesn't count",
                "a: stands twice in the table",
                "a: its parent `z` is no claim of this table",
            ]
        );
        assert_eq!(
            tangles(&[("a", Some("b")), ("b", Some("c")), ("c", Some("b")), ("d", Some("d"))]),
            [
                "b: its lineage comes back to itself: `b` in `c` in `b`",
                "d: its lineage comes back to itself: `d` in `d`"
            ]
        );
    }

    #[test]
    fn claim_sets_are_selected_by_name() {
        let text =
            r#"{"claim_sets": ["C"], "claims": {"a": {"claim_sets": {"A": {"Read": null}, "B": {"Read": null}}}}}"#;
        let mut table = ClaimTable::parse("grants.json", text).unwrap();
        assert_eq!(table.keep_claim_sets(&["B".into(), "D".into()]), ["D".into()]);
        assert_eq!(table.claim_set_names().into_iter().collect::<Vec<_>>(), ["B".into()]);
    }
}
