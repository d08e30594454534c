//! A table of claim sets written in the forms that the products keep theirs in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

/// An edition of a product's metadata: `claimSets[].name`, `resourceClaims[]` with `name`, `parent`, `defaults`, `grants`.
pub(super) struct Edition<'a>(pub(super) &'a Json);

/// The tables of the security database, each with its columns and rows.
type Tables = Vec<(&'static str, &'static [&'static str], Vec<Vec<Option<String>>>)>;

const COLUMNS: [(&str, &[&str]); 8] = [
    ("Actions", &["ActionId", "ActionName", "ActionUri"]),
    ("AuthorizationStrategies", &["AuthorizationStrategyId", "DisplayName", "AuthorizationStrategyName"]),
    ("ClaimSets", &["ClaimSetId", "ClaimSetName", "IsEdFiPreset"]),
    ("ResourceClaims", &["ResourceClaimId", "ResourceName", "ClaimName", "ParentResourceClaimId"]),
    ("ResourceClaimActions", &["ResourceClaimActionId", "ActionId", "ResourceClaimId", "ValidationRuleSetName"]),
    (
        "ResourceClaimActionAuthorizationStrategies",
        &["ResourceClaimActionAuthorizationStrategyId", "ResourceClaimActionId", "AuthorizationStrategyId"],
    ),
    (
        "ClaimSetResourceClaimActions",
        &[
            "ClaimSetResourceClaimActionId",
            "ActionId",
            "ClaimSetId",
            "ResourceClaimId",
            "ValidationRuleSetNameOverride",
        ],
    ),
    (
        "ClaimSetResourceClaimActionAuthorizationStrategyOverrides",
        &[
            "ClaimSetResourceClaimActionAuthorizationStrategyOverrideId",
            "ClaimSetResourceClaimActionId",
            "AuthorizationStrategyId",
        ],
    ),
];

const ACTIONS: [&str; 5] = ["Create", "Read", "Update", "Delete", "ReadChanges"];

impl<'a> Edition<'a> {
    pub(super) fn claim_sets(&self) -> impl Iterator<Item = &'a str> {
        self.0["claimSets"].as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap())
    }

    pub(super) fn claims(&self) -> &'a [Json] {
        self.0["resourceClaims"].as_array().unwrap()
    }

    fn children(&self, parent: Option<&str>) -> impl Iterator<Item = &'a Json> {
        self.claims().iter().filter(move |claim| claim["parent"].as_str() == parent)
    }

    /// A claims document.
    pub(super) fn document(&self) -> String {
        let claim_sets: Vec<_> =
            self.claim_sets().map(|name| json!({ "claimSetName": name, "isSystemReserved": true })).collect();
        json!({ "claimSets": claim_sets, "claimsHierarchy": self.nodes(None) }).to_string()
    }

    fn nodes(&self, parent: Option<&str>) -> Vec<Json> {
        let actions = |actions: &Json, key: &str| -> Vec<Json> {
            let named = actions.as_object().unwrap().iter().map(|(action, strategies)| {
                let mut entry = json!({ "name": action });
                if let Some(strategies) = strategies.as_array() {
                    entry[key] = strategies.iter().map(|name| json!({ "name": name })).collect();
                }
                entry
            });
            named.collect()
        };
        let node = |claim: &'a Json| {
            let mut node = json!({ "name": claim["name"] });
            let defaults = actions(&claim["defaults"], "authorizationStrategies");
            if !defaults.is_empty() {
                node["defaultAuthorization"] = json!({ "actions": defaults });
            }
            let granted = claim["grants"].as_object().unwrap().iter().map(|(claim_set, granted)| {
                json!({ "name": claim_set, "actions": actions(granted, "authorizationStrategyOverrides") })
            });
            node["claimSets"] = granted.collect();
            node["claims"] = self.nodes(claim["name"].as_str()).into();
            node
        };
        self.children(parent).map(node).collect()
    }

    /// The product's XML.
    pub(super) fn xml(&self) -> String {
        format!("<SecurityMetadata>{}</SecurityMetadata>", self.elements(None))
    }

    fn elements(&self, parent: Option<&str>) -> String {
        let actions = |actions: &Map<String, Json>, list: &str| {
            let mut text = String::new();
            for (action, strategies) in actions {
                let names = strategies.as_array().into_iter().flatten();
                let names: Vec<_> = names.map(|name| format!("<AuthorizationStrategy name={name} />")).collect();
                let names = names.concat();
                write!(text, "<Action name=\"{action}\"><{list}>{names}</{list}></Action>").unwrap();
            }
            text
        };
        let mut text = String::from("<Claims>\n");
        for claim in self.children(parent) {
            write!(text, "<Claim name={}>", claim["name"]).unwrap();
            let defaults = claim["defaults"].as_object().unwrap();
            if !defaults.is_empty() {
                let defaults = actions(defaults, "AuthorizationStrategies");
                write!(text, "<DefaultAuthorization>{defaults}</DefaultAuthorization>").unwrap();
            }
            text.push_str("<ClaimSets>");
            for (name, granted) in claim["grants"].as_object().unwrap() {
                let granted = actions(granted.as_object().unwrap(), "AuthorizationStrategyOverrides");
                write!(text, "<ClaimSet name=\"{name}\"><Actions>{granted}</Actions></ClaimSet>").unwrap();
            }
            writeln!(text, "</ClaimSets>{}</Claim>", self.elements(claim["name"].as_str())).unwrap();
        }
        text + "</Claims>"
    }

    /// The tables of the security database.
    fn tables(&self) -> Tables {
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        let text = |text: &str| Some(text.to_owned());
        let number = |number: usize| Some(number.to_string());
        let mut strategies: Vec<String> = Vec::new();
        let (mut defaults, mut default_lists) = (Vec::new(), Vec::new());
        let (mut grants, mut grant_lists) = (Vec::new(), Vec::new());
        for (place, claim) in self.claims().iter().enumerate() {
            ids.insert(claim["name"].as_str().unwrap(), place + 1);
        }
        let sets: Vec<&str> = self.claim_sets().collect();
        let action_id = |action: &str| number(ACTIONS.iter().position(|name| *name == action).unwrap() + 1);
        let mut listed = |list: &Json, owner: usize, lists: &mut Vec<Vec<Option<String>>>| {
            for name in list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
                let known = strategies.iter().position(|other| *other == name);
                let id = known.unwrap_or(strategies.len()) + 1;
                if known.is_none() {
                    strategies.push(name.to_owned());
                }
                lists.push(vec![number(lists.len() + 1), number(owner), number(id)]);
            }
        };
        for claim in self.claims() {
            let claim_id = ids[claim["name"].as_str().unwrap()];
            for (action, list) in claim["defaults"].as_object().unwrap() {
                let id = defaults.len() + 1;
                defaults.push(vec![number(id), action_id(action), number(claim_id), None]);
                listed(list, id, &mut default_lists);
            }
            for (set, actions) in claim["grants"].as_object().unwrap() {
                let set_id = number(sets.iter().position(|name| name == set).unwrap() + 1);
                for (action, list) in actions.as_object().unwrap() {
                    let id = grants.len() + 1;
                    grants.push(vec![number(id), action_id(action), set_id.clone(), number(claim_id), None]);
                    listed(list, id, &mut grant_lists);
                }
            }
        }
        let action_rows =
            ACTIONS.iter().enumerate().map(|(place, name)| vec![number(place + 1), text(name), text("uri")]);
        let strategy_rows =
            strategies.iter().enumerate().map(|(place, name)| vec![number(place + 1), text("it's"), text(name)]);
        let set_rows = sets.iter().enumerate().map(|(place, name)| vec![number(place + 1), text(name), text("t")]);
        let claim_rows = self.claims().iter().map(|claim| {
            let name = claim["name"].as_str().unwrap();
            let parent = claim["parent"].as_str().and_then(|parent| number(ids[parent]));
            vec![number(ids[name]), text("name"), text(name), parent]
        });
        let rows = [
            action_rows.collect(),
            strategy_rows.collect(),
            set_rows.collect(),
            claim_rows.collect(),
            defaults,
            default_lists,
            grants,
            grant_lists,
        ];
        COLUMNS.into_iter().zip(rows).map(|((table, columns), rows)| (table, columns, rows)).collect()
    }

    /// What `pg_dump --data-only` writes.
    pub(super) fn copies(&self) -> String {
        let mut text = String::from("--\n-- PostgreSQL database dump\n--\n\nSET standard_conforming_strings = on;\n");
        for (table, columns, rows) in self.tables() {
            let head = format!("\nCOPY dbo.{table} ({}) FROM stdin;\n", columns.join(", "));
            text.push_str(&head.to_lowercase().replace("copy", "COPY").replace("from", "FROM"));
            for row in rows {
                let values: Vec<_> = row.into_iter().map(|value| value.unwrap_or_else(|| "\\N".to_owned())).collect();
                writeln!(text, "{}", values.join("\t")).unwrap();
            }
            text.push_str("\\.\n\n");
        }
        text
    }

    /// What an export with `INSERT` statements writes.
    pub(super) fn inserts(&self) -> String {
        let mut text = String::new();
        for (table, columns, rows) in self.tables() {
            let columns: Vec<_> = columns.iter().map(|column| format!("[{column}]")).collect();
            for row in rows {
                let literal = |value: Option<String>| match value {
                    None => "NULL".to_owned(),
                    Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number,
                    Some(text) => format!("N'{}'", text.replace('\'', "''")),
                };
                let values: Vec<_> = row.into_iter().map(literal).collect();
                writeln!(text, "INSERT [dbo].[{table}] ({}) VALUES ({})\nGO", columns.join(", "), values.join(", "))
                    .unwrap();
            }
        }
        text
    }
}
