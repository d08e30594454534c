//! Cases of the realm `edfi`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Context;
use hallpass::proto::v1::{self as pb, value::Kind};
use serde_json::{Map, Value as Json, json};

use super::{Facts, Issuer, Question, System, items, members, plain_question, values};
use crate::cases::{Case, CaseFile};

/// The system.
#[derive(Debug)]
pub(super) struct EdFi;

impl System for EdFi {
    fn realm(&self) -> &'static str {
        "edfi"
    }

    fn issuers(&self, file: &CaseFile) -> anyhow::Result<Vec<Issuer>> {
        let signing = "audiences = [\"account\"]\nalgorithms = [\"RS256\"]\napplications = true\n";
        let opaque = "audiences = []\nalgorithms = [\"RS256\"]\napplications = true\n";
        let opaque = Issuer::signing("https://ods.example", opaque);
        let mut issuers = vec![Issuer::signing(&file.main_issuer()?, signing)];
        if file.cases.iter().any(|case| case.token.introspection.is_some()) {
            issuers.push(Issuer { introspects: true, ..opaque });
        }
        Ok(issuers)
    }

    fn tables(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, String>> {
        let grants = json!({ "source": "cases", "claims": claims(facts)? }).to_string();
        let profiles = members(facts, "profiles_cover").map(|(name, resources)| {
            let resources = resources.as_array().into_iter().flatten().filter_map(Json::as_str).map(|resource| {
                let content = r#"ContentType memberSelection="IncludeAll" />"#;
                format!("<Resource name=\"{}\"><Read{content}<Write{content}</Resource>", capitalized(resource))
            });
            format!("<Profile name=\"{}\">{}</Profile>\n", profile_name(name), resources.collect::<String>())
        });
        let profiles = format!("<Profiles>\n{}</Profiles>\n", profiles.collect::<String>());
        // The cases' conventions advise prefixes that end where a host or a part of the path does; the products', and so the
        // realm's own, end anywhere.
        let relations = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi/relations.toml"))?;
        let relations = relations.replace("prefix_boundary = \"plain\"", "prefix_boundary = \"segment\"");
        Ok(BTreeMap::from([
            ("grants.json".to_owned(), grants),
            ("profiles/cases.xml".to_owned(), profiles),
            ("relations.toml".to_owned(), relations),
        ]))
    }

    fn records(&self, facts: &Facts) -> anyhow::Result<BTreeMap<String, Vec<Json>>> {
        let mut records: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        let mut add = |resource: &str, record| records.entry(resource.to_owned()).or_default().push(record);
        let kinds: HashMap<i64, &str> = items(facts, "education_organizations")
            .filter_map(|organization| Some((organization.get("id")?.as_i64()?, organization.get("type")?.as_str()?)))
            .collect();
        for organization in items(facts, "education_organizations") {
            let id = organization.get("id").and_then(Json::as_i64).context("an organization without an id")?;
            let kind = *kinds.get(&id).context("an organization without a type")?;
            let mut record = Map::from_iter([
                (id_of(kind), json!(id)),
                ("nameOfInstitution".to_owned(), json!(format!("{kind} {id}"))),
            ]);
            for parent in organization.get("parents").and_then(Json::as_array).into_iter().flatten() {
                let parent_kind = parent.as_i64().and_then(|parent| kinds.get(&parent)).context("an unknown parent")?;
                record
                    .insert(format!("{}Reference", uncapitalized(parent_kind)), json!({ id_of(parent_kind): parent }));
            }
            add(&plural(&uncapitalized(kind)), Json::Object(record));
        }
        for association in items(facts, "student_school_associations") {
            let (student, school) = (association.get("student"), association.get("school"));
            let record = json!({
                "entryDate": "2026-08-01",
                "schoolReference": { "schoolId": school },
                "studentReference": { "studentUniqueId": student },
            });
            add("studentSchoolAssociations", record);
        }
        for association in items(facts, "student_responsibility_associations") {
            let record = json!({
                "beginDate": "2026-08-01",
                "responsibilityDescriptor": "uri://ed-fi.org/ResponsibilityDescriptor#Accountability",
                "educationOrganizationReference": {
                    "educationOrganizationId": association.get("education_organization"),
                },
                "studentReference": { "studentUniqueId": association.get("student") },
            });
            add("studentEducationOrganizationResponsibilityAssociations", record);
        }
        Ok(records)
    }

    fn applications(&self, facts: &Facts) -> anyhow::Result<Vec<pb::Application>> {
        let application = |(id, client): (&String, &Json)| {
            let list = |name: &str, read: fn(&str) -> String| {
                let listed = client.get(name).and_then(Json::as_array).into_iter().flatten();
                let values = listed.map(|item| item.as_str().map_or_else(|| item.to_string(), read));
                let values = values.map(|item| pb::Value { kind: Some(Kind::StringValue(item)) }).collect();
                pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values })) }
            };
            let mut attributes = HashMap::from([
                ("ownershipTokens".to_owned(), list("ownership_token_ids", str::to_owned)),
                ("profiles".to_owned(), list("profiles", profile_name)),
            ]);
            if let Some(creator) = client.get("creator_ownership_token_id").and_then(Json::as_i64) {
                let creator = Kind::StringValue(creator.to_string());
                attributes.insert("creatorOwnershipToken".to_owned(), pb::Value { kind: Some(creator) });
            }
            pb::Application { id: id.clone(), attributes, ..pb::Application::default() }
        };
        Ok(members(facts, "clients").map(application).collect())
    }

    /// Every client of the products has a claim set, whether a case names it or not.
    fn introspection(&self, answer: &Json) -> Json {
        let mut answer = answer.clone();
        if let Some(members) = answer.as_object_mut() {
            members.entry("claim_set").or_insert_with(|| json!({ "name": "none of the cases" }));
        }
        answer
    }

    fn question(&self, case: &Case, _facts: &Facts) -> anyhow::Result<Question> {
        let resource = &case.request.resource;
        if case.request.action == "token_info" {
            let body = resource.properties.get("token").and_then(Json::as_str).unwrap_or_default();
            return Ok(Question::TokenInfo { body: body.to_owned() });
        }
        let (kind, paths) = resource_type(&resource.kind)?;
        let plain = plain_question(case);
        if resource.id.is_empty() && resource.properties.is_empty() {
            let search = pb::SearchResourcesRequest {
                action: plain.action,
                resource_type: kind,
                filter_only: true,
                supported_obligations: plain.supported_obligations,
                ..pb::SearchResourcesRequest::default()
            };
            return Ok(Question::List(search));
        }
        let phase = |name: &str| match resource.properties.get(name) {
            Some(Json::Object(given)) => (values(&nested(given, &paths)), true),
            _ => (HashMap::new(), false),
        };
        let ((attributes, has_attributes), (proposed, has_proposed)) = (phase("stored"), phase("proposed"));
        let id = resource.id.clone();
        let header = if case.request.http.method == "GET" { "accept" } else { "content-type" };
        let media_type = case
            .request
            .http
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(header))
            .and_then(|(_, value)| value.as_str());
        Ok(Question::One(pb::AuthorizeRequest {
            resource: Some(pb::Resource { r#type: kind, id, attributes, proposed, has_proposed, has_attributes }),
            media_type: with_profile_name(media_type.unwrap_or_default()),
            ..plain
        }))
    }
}

/// The claims of the facts as the realm's grants are written.
fn claims(facts: &Facts) -> anyhow::Result<Map<String, Json>> {
    let mut claims = Map::new();
    for (resource, metadata) in members(facts, "claim_metadata") {
        let lineage = metadata.get("lineage").and_then(Json::as_array).context("a resource without a lineage")?;
        let mut parent = Json::Null;
        for (number, claim) in lineage.iter().enumerate() {
            let name = claim.as_str().context("a claim that is no text")?;
            let none = json!({});
            let part = |name: &str| metadata.get(name).filter(|_| number + 1 == lineage.len()).unwrap_or(&none).clone();
            let node = json!({ "parent": parent, "defaults": part("default"), "claim_sets": part("grants") });
            let known = claims.insert(name.to_owned(), node);
            anyhow::ensure!(known.is_none() || number + 1 < lineage.len(), "two resources claim `{name}` ({resource})");
            parent = claim.clone();
        }
    }
    Ok(claims)
}

/// The realm's name of a resource type, and the paths of its values by their last name.
fn resource_type(kind: &str) -> anyhow::Result<(String, HashMap<String, String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi/resources.json");
    let table: Json = fs::read_to_string(path)?.parse()?;
    let claim = format!("/{}", kind.replace(':', "/"));
    let resources = table.get("resources").and_then(Json::as_object).context("the realm lists no resources")?;
    let claims =
        |resource: &Json| resource.get("claim").and_then(Json::as_str).is_some_and(|own| own.ends_with(&claim));
    let (name, resource) = resources.iter().find(|(_, resource)| claims(resource)).context("an unknown resource")?;
    let subjects = resource.get("subjects").and_then(Json::as_array).into_iter().flatten();
    let paths = subjects.filter_map(|subject| subject.get("path").and_then(Json::as_str));
    let paths = paths.map(|path| (path.rsplit('.').next().unwrap_or(path).to_owned(), path.to_owned()));
    Ok((name.clone(), paths.collect()))
}

/// Properties that are given by their last name, where the resource type has them.
fn nested(given: &Map<String, Json>, paths: &HashMap<String, String>) -> Map<String, Json> {
    let mut document = Map::new();
    for (name, value) in given {
        let path = paths.get(name).map_or(name.as_str(), String::as_str);
        insert(&mut document, path, value.clone());
    }
    document
}

fn insert(document: &mut Map<String, Json>, path: &str, value: Json) {
    let Some((first, rest)) = path.split_once('.') else {
        document.insert(path.to_owned(), value);
        return;
    };
    let below = document.entry(first).or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(below) = below {
        insert(below, rest, value);
    }
}

/// The products can't address a profile whose name has a dot: media types have three parts after their prefix. The cases
/// name profiles `resource.profile`.
fn profile_name(name: &str) -> String {
    name.replace('.', "-")
}

/// The media type with its profile as [`profile_name`] has it.
fn with_profile_name(media_type: &str) -> String {
    let parts = media_type.strip_prefix("application/vnd.ed-fi.").and_then(|rest| {
        let (resource, rest) = rest.split_once('.')?;
        let (profile, usage) = rest.rsplit_once('.')?;
        Some((resource, profile, usage))
    });
    parts.map_or_else(
        || media_type.to_owned(),
        |(resource, profile, usage)| format!("application/vnd.ed-fi.{resource}.{}.{usage}", profile_name(profile)),
    )
}

fn id_of(kind: &str) -> String {
    format!("{}Id", uncapitalized(kind))
}

fn plural(name: &str) -> String {
    name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"))
}

fn capitalized(name: &str) -> String {
    with_first(name, |first| first.to_uppercase().collect())
}

fn uncapitalized(name: &str) -> String {
    with_first(name, |first| first.to_lowercase().collect())
}

fn with_first(name: &str, change: fn(char) -> String) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| change(first) + letters.as_str()).unwrap_or_default()
}
