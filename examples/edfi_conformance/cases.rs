//! The cases, the resources and the claim sets as they stand in their files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Claim set, resource, action, strategies.
pub(crate) type ClaimSets = BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<String>>>>;

/// A resource and the id of one of its items.
pub(crate) type ItemKey = (String, String);

/// The scenarios that came from one source file.
#[derive(Debug, Deserialize)]
pub(crate) struct Suite {
    pub(crate) suite: String,
    pub(crate) scenarios: Vec<Scenario>,
}

/// Steps that start with an empty store and run in order.
#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Defines or replaces a token.
    Token(Token),
    /// Replaces all claim sets.
    ClaimSets { claim_sets: ClaimSets, replace_all: bool },
    /// Defines what a custom view shows.
    CustomView(View),
    /// A create or an update.
    Write(Request),
    /// A delete.
    Delete(Request),
    /// The reading of one item.
    Authorize(Request),
    /// The reading of many items.
    Query(Request),
    /// The reading of deletes or key changes.
    QueryChanges(Request),
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) claim_set: String,
    pub(crate) education_organization_ids: Vec<i64>,
    pub(crate) namespace_prefixes: Vec<String>,
    /// What the items that it creates are stamped with.
    #[serde(rename = "creator_ownership_token")]
    pub(crate) stamp: Option<String>,
    #[serde(default)]
    pub(crate) ownership_tokens: Vec<String>,
}

/// The items of a resource that a custom view shows.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct View {
    /// The strategy that asks it.
    pub(crate) strategy: String,
    pub(crate) basis_resource: String,
    /// The identities of the items.
    pub(crate) basis_members: Vec<Json>,
}

/// A question and the answer that is expected.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) action: String,
    /// The token; none for data that is there without anybody's asking.
    #[serde(rename = "as")]
    pub(crate) token: Option<String>,
    pub(crate) resource: String,
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) securable: Securable,
    pub(crate) document: Option<Json>,
    /// The references of the document that point to nothing stored.
    #[serde(default)]
    pub(crate) unresolved_references: Vec<String>,
    #[serde(default)]
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) visible: Option<Vec<String>>,
    pub(crate) expect_total: Option<usize>,
    pub(crate) expect: Expectation,
    pub(crate) expect_problem: Option<Problem>,
    pub(crate) expect_problem_type_prefix: Option<String>,
    #[serde(default = "yes")]
    pub(crate) asserted: bool,
    pub(crate) line: Option<u64>,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expectation {
    Allow,
    Deny,
    /// The security configuration is unusable.
    Error,
}

/// The values of the securable elements, by request key; each list in the order of the resource's elements of
/// that key.
pub(crate) type Values = BTreeMap<String, Vec<Json>>;

/// The values as they are stored and as the request wants them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Securable {
    pub(crate) existing: Option<Values>,
    pub(crate) proposed: Option<Values>,
}

/// An item, or a change of one, that may come out of a query.
#[derive(Debug, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    /// The handle of the change.
    pub(crate) change: Option<String>,
    pub(crate) securable: Securable,
}

/// Problem details, those members that are asserted.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) status: Option<u32>,
    pub(crate) detail: Option<String>,
    pub(crate) errors: Option<Vec<String>>,
}

/// A resource of the API.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(rename = "resource_name")]
    pub(crate) name: String,
    project_endpoint: String,
    pub(crate) claim: String,
    #[serde(default)]
    pub(crate) identity_paths: Vec<String>,
    pub(crate) securable_elements: Vec<Element>,
}

/// A value that decides who may see an item.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Element {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) request_key: String,
}

/// All resources and the claim sets that every scenario starts with.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) claim_sets: ClaimSets,
}

#[derive(Deserialize)]
struct ResourcesFile {
    resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
struct ClaimSetsFile {
    claim_sets: BTreeMap<String, ClaimSet>,
}

#[derive(Deserialize)]
struct ClaimSet {
    resources: BTreeMap<String, Granted>,
}

#[derive(Deserialize)]
struct Granted {
    actions: BTreeMap<String, Vec<String>>,
}

fn yes() -> bool {
    true
}

impl Suite {
    /// Reads all suites of a folder, by file name.
    pub(crate) fn read_folder(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        anyhow::ensure!(!paths.is_empty(), "`{}` holds no suites, expected JSON files", folder.display());
        paths.iter().map(|path| read_json(path)).collect()
    }
}

impl Catalogue {
    /// Reads both files. A descriptor of the claim sets that is no resource of the file is secured by its namespace.
    pub(crate) fn read(resources: &Path, claim_sets: &Path) -> anyhow::Result<Self> {
        let ResourcesFile { mut resources } = read_json(resources)?;
        let ClaimSetsFile { claim_sets } = read_json(claim_sets)?;
        let sets = claim_sets.into_iter().map(|(name, set)| {
            (name, set.resources.into_iter().map(|(endpoint, granted)| (endpoint, granted.actions)).collect())
        });
        let claim_sets: ClaimSets = sets.collect();
        for endpoint in claim_sets.values().flat_map(BTreeMap::keys) {
            if !resources.contains_key(endpoint) {
                resources.insert(endpoint.clone(), Resource::descriptor(endpoint)?);
            }
        }
        Ok(Self { resources, claim_sets })
    }

    /// The resource of this name.
    pub(crate) fn resource(&self, endpoint: &str) -> anyhow::Result<&Resource> {
        self.resources.get(endpoint).with_context(|| format!("unknown resource `{endpoint}`"))
    }
}

impl Resource {
    /// The resource type as the realm names it.
    pub(crate) fn type_name(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.project_endpoint)
    }

    fn descriptor(endpoint: &str) -> anyhow::Result<Self> {
        let singular = endpoint.strip_suffix('s').filter(|name| name.ends_with("Descriptor"));
        let name = singular.with_context(|| format!("unknown resource `{endpoint}`, and it is no descriptor"))?;
        let namespace = Element {
            kind: "Namespace".to_owned(),
            name: "Namespace".to_owned(),
            path: "$.namespace".to_owned(),
            request_key: "namespace".to_owned(),
        };
        Ok(Self {
            name: name.to_owned(),
            project_endpoint: "ed-fi".to_owned(),
            claim: format!("http://ed-fi.org/identity/claims/ed-fi/{name}"),
            identity_paths: Vec::new(),
            securable_elements: vec![namespace],
        })
    }
}

impl Element {
    /// The path without `$.`, as the realm writes it.
    pub(crate) fn property_path(&self) -> &str {
        self.path.strip_prefix("$.").unwrap_or(&self.path)
    }
}

impl Step {
    /// The request of a step that is one.
    pub(crate) fn request(&self) -> Option<&Request> {
        match self {
            Self::Token(_) | Self::ClaimSets { .. } | Self::CustomView(_) => None,
            Self::Write(request)
            | Self::Delete(request)
            | Self::Authorize(request)
            | Self::Query(request)
            | Self::QueryChanges(request) => Some(request),
        }
    }
}

impl Request {
    /// Its decision counts.
    pub(crate) fn is_graded(&self) -> bool {
        self.token.is_some() && self.asserted
    }

    /// What it shows counts.
    pub(crate) fn is_graded_by_what_it_shows(&self) -> bool {
        self.is_graded() && self.visible.is_some()
    }

    /// The literal problem details count.
    pub(crate) fn is_graded_by_problem(&self) -> bool {
        self.is_graded() && (self.expect_problem.is_some() || self.expect_problem_type_prefix.is_some())
    }
}

impl Candidate {
    /// What a query calls it.
    pub(crate) fn handle(&self) -> &str {
        self.change.as_deref().unwrap_or(&self.id)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not as expected", path.display()))
}
