//! A realm for each scenario: the product's rules, the cases' resources and grants.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::cases::{Catalogue, ClaimSets, Scenario, Step};

/// The rules that every realm takes over.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/edfi");

/// The rules of views that the product brings along as examples.
const VIEWS: &str = "custom_views.cedar";

/// A realm of the service.
#[derive(Clone, Debug)]
pub(crate) struct Realm {
    /// Its name.
    pub(crate) name: String,
    /// Its folder; the scenario's own when it changes claim sets or defines views.
    pub(crate) folder: PathBuf,
    /// The resources whose records bring something, with the paths of their keys.
    pub(crate) records: Arc<BTreeMap<String, Vec<String>>>,
}

/// Writes the folders of all scenarios' realms.
pub(crate) fn write(
    root: &Path,
    scenarios: &[(String, Scenario)],
    catalogue: &Catalogue,
) -> anyhow::Result<Vec<Realm>> {
    let records = Arc::new(records()?);
    let shared = root.join("shared");
    write_folder(&shared, catalogue)?;
    let realm = |(index, (_, scenario)): (usize, &(String, Scenario))| {
        let name = format!("scenario-{index}");
        let is_changing =
            scenario.steps.iter().any(|step| matches!(step, Step::ClaimSets { .. } | Step::CustomView(_)));
        let folder = if is_changing { root.join(&name) } else { shared.clone() };
        if is_changing {
            write_folder(&folder, catalogue)?;
        }
        Ok(Realm { name, folder, records: Arc::clone(&records) })
    };
    scenarios.iter().enumerate().map(realm).collect()
}

/// Writes claim sets over those of a realm's folder.
pub(crate) fn write_grants(folder: &Path, claim_sets: &ClaimSets, catalogue: &Catalogue) -> anyhow::Result<()> {
    let mut claims: BTreeMap<&str, Json> = BTreeMap::new();
    for (endpoint, resource) in &catalogue.resources {
        let granted = claim_sets.iter().filter_map(|(name, resources)| Some((name, json!(resources.get(endpoint)?))));
        let sets: BTreeMap<_, _> = granted.collect();
        let node = json!({ "parent": null, "defaults": {}, "claim_sets": sets });
        anyhow::ensure!(claims.insert(&resource.claim, node).is_none(), "two resources claim `{}`", resource.claim);
    }
    let grants = json!({ "source": "conformance cases", "claims": claims });
    fs::write(folder.join("grants.json"), grants.to_string())?;
    Ok(())
}

/// Changes the strategies that a realm's policies know.
pub(crate) fn change_strategies(
    folder: &Path,
    change: impl FnOnce(&mut toml::Table) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = folder.join("realm.toml");
    let mut realm: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
    let strategies = realm.get_mut("grants").and_then(|grants| grants.get_mut("strategies"));
    change(strategies.and_then(toml::Value::as_table_mut).context("the realm lists no strategies")?)?;
    fs::write(path, toml::to_string(&realm)?)?;
    Ok(())
}

fn write_folder(folder: &Path, catalogue: &Catalogue) -> anyhow::Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    for entry in fs::read_dir(RULES).with_context(|| format!("cannot read `{RULES}`"))? {
        let path = entry?.path();
        // The rules' own tests know other grants, and no scenario starts with a view.
        let is_wanted = |name: &&OsStr| path.is_file() && *name != VIEWS;
        if let Some(name) = path.file_name().filter(is_wanted) {
            fs::copy(&path, folder.join(name))?;
        }
    }
    let resources = catalogue.resources.iter().map(|(endpoint, resource)| {
        let subjects = resource.securable_elements.iter().map(|element| {
            let attribute = attribute(&element.kind)?;
            Ok(json!({ "attribute": attribute, "path": element.property_path(), "name": element.name }))
        });
        let subjects = subjects.collect::<anyhow::Result<Vec<_>>>()?;
        Ok((resource.type_name(endpoint), json!({ "claim": resource.claim, "subjects": subjects })))
    });
    // Those of the cases count; of the others the rules say which entities they are.
    let path = folder.join("resources.json");
    let mut table: Json = fs::read_to_string(&path)?.parse()?;
    let listed = table.get_mut("resources").and_then(Json::as_object_mut).context("the realm lists no resources")?;
    for resource in resources.collect::<anyhow::Result<Vec<_>>>()? {
        listed.extend([resource]);
    }
    fs::write(path, table.to_string())?;
    change_strategies(folder, |strategies| {
        let views = fs::read_to_string(Path::new(RULES).join(VIEWS))?;
        let names = views.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")"));
        names.for_each(|name| drop(strategies.remove(name)));
        Ok(())
    })?;
    write_grants(folder, &catalogue.claim_sets, catalogue)
}

/// The attribute of the rules' `Resource` that an element fills.
fn attribute(kind: &str) -> anyhow::Result<&'static str> {
    Ok(match kind {
        "EducationOrganization" => "educationOrganization",
        "Student" => "student",
        "Staff" => "staff",
        "Contact" => "contact",
        "Namespace" => "namespace",
        _ => anyhow::bail!("unknown kind of securable element `{kind}`"),
    })
}

#[derive(Deserialize)]
struct RelationsFile {
    records: Vec<RecordEntry>,
}

#[derive(Deserialize)]
struct RecordEntry {
    resource: String,
    key: Vec<String>,
    facts: Option<toml::Value>,
    #[serde(default)]
    relationships: Vec<toml::Value>,
}

/// The resources whose records bring facts or relationships.
fn records() -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let path = Path::new(RULES).join("relations.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let RelationsFile { records } = toml::from_str(&text)?;
    let keeping = records.into_iter().filter(|entry| entry.facts.is_some() || !entry.relationships.is_empty());
    Ok(keeping.map(|entry| (entry.resource, entry.key)).collect())
}
