//! A realm: all that one source system needs, compiled from the files of its folder.

mod answers;
mod authzen;
mod changed;
mod claims;
mod cross_check;
mod moot;
#[cfg(test)]
mod tests;
mod trusted;

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::Context;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::{
    access_request::Phase,
    cedar::{CedarEntity, CedarTypes, action_entities},
    derived::{self, Derived, Parts},
    fault::{Code, Fault, in_order, with_places},
    grants::{Grants, ResolvedGrant},
    id::{EntityId, PolicyVersion},
    issuer::Issuer,
    items,
    policy_set::{PolicySet, SourceFile},
    principal::Principal,
    profile::Profiles,
    proof::invariant,
    realm_file::{RealmFile, settings_for},
    record_mapping::Relations,
    resource_type::{self, ResourceTypes},
    route::{self, Routes},
    schema::{AttributeType, RealmSchema},
    value::Value,
    variant,
};
use claims::{AliasFiles, check_principal, read_aliases, unknown_groups};
use cross_check::cross_check;
use moot::moot_strategies;

/// A compiled realm. Immutable but for caches of what follows from it.
#[derive(Debug)]
pub struct Realm {
    /// realm.toml.
    pub file: RealmFile,
    /// relations.toml.
    pub relations: Relations,
    /// The schema.
    pub schema: RealmSchema,
    /// The policies.
    pub policies: PolicySet,
    /// The resource types.
    pub resource_types: ResourceTypes,
    /// The grants, where the realm has them.
    pub grants: Option<Grants>,
    /// The profiles, where the realm has them.
    pub profiles: Option<Profiles>,
    /// The routes of the API that gateways ask about, where the realm has them.
    pub routes: Option<Arc<Routes>>,
    /// The digest of the files and the name of the variant.
    pub version: PolicyVersion,
    /// The variant of the files that this is; `None` for the files as they stand.
    pub variant: Option<Arc<str>>,
    /// Names that stand for others in what claims say.
    pub(super) aliases: AliasFiles,
    /// The settings as the context of each action wants them.
    pub(super) settings: BTreeMap<Arc<str>, Value>,
    pub(super) cedar_types: CedarTypes,
    pub(super) action_entities: BTreeMap<Arc<str>, CedarEntity>,
    /// The members of the context that `[context.*]` says.
    pub(super) derived: Arc<Derived>,
    pub(super) contexts: Contexts,
}

/// Ready-made contexts of requests that add nothing of their own.
#[derive(Debug)]
pub(super) struct Contexts(Cache<(Arc<str>, Phase, u32), Context>);

impl Default for Contexts {
    fn default() -> Self {
        Self(Cache::new(4_096))
    }
}

impl Contexts {
    pub(super) fn get_or_make(
        &self,
        key: (Arc<str>, Phase, u32),
        make: impl FnOnce() -> Option<Context>,
    ) -> Option<Context> {
        if let Some(context) = self.0.get(&key) {
            return Some(context);
        }
        let context = make()?;
        self.0.insert(key, context.clone());
        Some(context)
    }
}

/// The files that a realm's folder must have.
const REALM_FILE: &str = "realm.toml";
const RELATIONS_FILE: &str = "relations.toml";
const SCHEMA_FILE: &str = "schema.cedarschema";

impl Realm {
    /// Compiles the files of a realm's folder, as they stand or as one of its variants.
    ///
    /// # Errors
    /// Every fault that can be found, with file, line and column where it has a place. A file that a variant changes has no
    /// places of its own: there a fault names both files.
    pub fn compile(files: &[SourceFile], variant: Option<&str>) -> Result<Self, Vec<Fault>> {
        let Some(name) = variant else { return Self::compile_files(files) };
        let changed = variant::apply(files, name)?;
        let mut realm = Self::compile_files(&changed).map_err(|faults| variant::without_places(faults, files, name))?;
        realm.version = version_of(files, variant);
        realm.variant = Some(name.into());
        Ok(realm)
    }

    fn compile_files(files: &[SourceFile]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut keep = |found: Vec<Fault>| faults.extend(found);
        let file = required(files, REALM_FILE).and_then(|file| RealmFile::parse(&file.path, &file.content));
        let schema = required(files, SCHEMA_FILE).and_then(|file| RealmSchema::parse(&file.path, &file.content));
        let relations = match find(files, RELATIONS_FILE) {
            Some(file) => Relations::parse(&file.path, &file.content),
            None => Ok(Relations::default()),
        };
        let file = file.map_err(&mut keep).ok();
        let schema = schema.map_err(&mut keep).ok();
        let relations = relations.map_err(&mut keep).ok();
        let policies = policies(files, schema.as_ref()).map_err(&mut keep).ok();
        let types =
            file.as_ref().zip(schema.as_ref()).zip(relations.as_ref()).and_then(|((file, schema), relations)| {
                resource_types(files, file, schema, relations).map_err(&mut keep).ok()
            });
        let typed = file.as_ref().zip(types.as_ref());
        let grants = typed.and_then(|(file, types)| grants(files, file, types).map_err(&mut keep).ok());
        let profiles = typed.and_then(|(file, types)| profiles(files, file, types).map_err(&mut keep).ok());
        let aliases = file.as_ref().and_then(|file| read_aliases(files, file).map_err(&mut keep).ok());
        let cedar_types = schema.as_ref().map(CedarTypes::of).unwrap_or_default();
        let parts = typed.zip(schema.as_ref().zip(relations.as_ref()));
        let derived = parts.and_then(|((file, resource_types), (schema, relations))| {
            let cedar_types = &cedar_types;
            let parts = Parts { files, path: REALM_FILE, file, schema, relations, resource_types, cedar_types };
            derived::compile(&parts).map_err(&mut keep).ok()
        });
        let routes = typed.zip(schema.as_ref()).and_then(|((file, types), schema)| {
            route::compile(&route::Parts { files, path: REALM_FILE, file, schema, types }).map_err(&mut keep).ok()
        });
        let read = (file.as_ref(), relations.as_ref(), schema.as_ref());
        faults.extend(of_each_other(files, read, policies.as_ref(), types.as_ref()));
        let (Some(profiles), Some(grants), Some(aliases), Some(derived), Some(routes)) =
            (profiles, grants, aliases, derived, routes)
        else {
            return Err(in_order(with_places(faults, files)));
        };
        let (Some(file), Some(relations), Some(schema), Some(policies), Some(resource_types), true) =
            (file, relations, schema, policies, types, faults.is_empty())
        else {
            return Err(in_order(with_places(faults, files)));
        };
        let settings = schema.actions.iter().filter_map(|(action, shape)| {
            Some((Arc::clone(action), settings_for(shape, &file.settings).ok().flatten()?))
        });
        let realm = Self {
            version: version_of(files, None),
            variant: None,
            settings: settings.collect(),
            cedar_types,
            action_entities: action_entities(&schema),
            derived: Arc::new(derived),
            contexts: Contexts::default(),
            aliases,
            file,
            relations,
            schema,
            policies,
            resource_types,
            grants,
            profiles,
            routes: routes.map(Arc::new),
        };
        let moot = moot_strategies(&realm);
        if moot.is_empty() { Ok(realm) } else { Err(in_order(with_places(moot, files))) }
    }

    /// What is worth a look in files that have no fault.
    pub fn warnings(&self) -> &[Fault] {
        self.profiles.as_ref().map_or(&[], |profiles| &profiles.warnings)
    }

    /// The issuer of this exact name, if the realm trusts it.
    pub fn issuer(&self, name: &str) -> Option<&Issuer> {
        self.file.issuers.iter().find(|issuer| *issuer.issuer == *name)
    }

    /// Trusts the issuers of a deployment too. One of a name that the realm itself lists takes its place.
    ///
    /// # Errors
    /// What they say that the realm's files have nothing for.
    pub fn trust(&mut self, issuers: &[Issuer]) -> Result<(), Vec<Fault>> {
        let unknown = issuers.iter().flat_map(|issuer| unknown_groups(issuer, &self.aliases));
        let faults: Vec<Fault> = unknown.map(|message| Fault::in_file("the deployment's issuers", message)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        self.file.issuers.retain(|issuer| !issuers.iter().any(|other| other.issuer == issuer.issuer));
        self.file.issuers.extend(issuers.iter().cloned());
        let mut introspecting = self.file.issuers.iter().filter(|issuer| issuer.introspection.is_some());
        if let (Some(first), Some(second)) = (introspecting.next(), introspecting.next()) {
            let message = format!(
                "opaque tokens would go to `{}` and to `{}`; only one issuer of a realm can have `introspection`",
                first.issuer, second.issuer
            );
            return Err(vec![Fault::in_file("the deployment's issuers", message)]);
        }
        Ok(())
    }

    /// The issuer's clients are the realm's applications. Unless the realm says so, those of its only issuer are; where
    /// several are trusted, one could otherwise take over the record of another's client by naming its own alike.
    pub fn vouches_for_applications(&self, issuer: &Issuer) -> bool {
        issuer.applications.unwrap_or(self.file.issuers.len() == 1)
    }

    /// What the principal's claim set grants; `Ok(None)` in a realm without grants.
    ///
    /// # Errors
    /// The fault of the configuration that makes the grant unusable.
    pub(super) fn grant(
        &self,
        principal: &Principal,
        resource_type: &str,
        action: &str,
    ) -> Result<Option<ResolvedGrant>, Arc<str>> {
        let Some(grants) = &self.grants else { return Ok(None) };
        if let Some(assumed) = &principal.assumed {
            return Ok(Some(assumed.clone()));
        }
        let grant = grants.find(principal.claim_set.as_deref().unwrap_or_default(), resource_type, action);
        match &grant.grant.fault {
            Some(fault) => Err(Arc::clone(fault)),
            None => Ok(Some(grant)),
        }
    }

    /// The attributes of an entity that name one of the same id and another type.
    pub(super) fn links(&self, entity: &EntityId) -> impl Iterator<Item = (&str, Value)> {
        let rules = self.relations.entity(&entity.entity_type).into_iter();
        rules.flat_map(|rules| &rules.links).map(|(name, linked)| {
            let linked = EntityId { entity_type: Arc::clone(linked), id: Arc::clone(&entity.id) };
            (&**name, Value::Entity(linked))
        })
    }

    /// The Cedar entity of an action, if the entity is one.
    pub(super) fn action_entity(&self, entity: &EntityId) -> Option<&CedarEntity> {
        let is_action = entity.entity_type.rsplit("::").next() == Some("Action");
        self.action_entities.get(&entity.id).filter(|_| is_action)
    }

    /// A resource of this type is about people: some of its values name a person.
    pub fn is_about_people(&self, resource_type: &resource_type::ResourceType) -> bool {
        let names_person = |value_type: &AttributeType| match value_type {
            AttributeType::Entity(name) => self.relations.is_person(name),
            AttributeType::Set(element) => {
                matches!(&**element, AttributeType::Entity(name) if self.relations.is_person(name))
            }
            _ => false,
        };
        self.relations.is_person(&resource_type.entity)
            || resource_type.subjects.iter().any(|subject| names_person(&subject.value_type))
    }
}

fn find<'a>(files: &'a [SourceFile], path: &str) -> Option<&'a SourceFile> {
    files.iter().find(|file| file.path == path)
}

fn required<'a>(files: &'a [SourceFile], path: &str) -> Result<&'a SourceFile, Vec<Fault>> {
    find(files, path)
        .ok_or_else(|| vec![Fault::in_file(path, "is missing, a realm's folder needs it").coded(Code::MissingFile)])
}

/// What the files say of each other, as far as they could be read.
fn of_each_other(
    files: &[SourceFile],
    (file, relations, schema): (Option<&RealmFile>, Option<&Relations>, Option<&RealmSchema>),
    policies: Option<&PolicySet>,
    types: Option<&ResourceTypes>,
) -> Vec<Fault> {
    let mut faults = cross_check(file, relations, schema);
    if let (Some(file), Some(relations), Some(schema)) = (file, relations, schema) {
        faults.extend(answers::check(files, file, relations, schema, policies));
        faults.extend(check_principal(files, file, relations, schema));
        faults.extend(trusted::check(files, file, relations, schema, policies));
    }
    faults.extend(schema.and_then(|schema| invariant::parse(files, schema).err()).into_iter().flatten());
    if let (Some(types), Some(relations), Some(schema)) = (types, relations, schema) {
        let ends = |relation: &str| relations.ends(relation).cloned();
        faults.extend(items::check(RELATIONS_FILE, relations.items(), ends, schema, types));
        faults.extend(file.iter().flat_map(|file| authzen::check(files, file, schema, types)));
    }
    faults
}

/// The policies; without a schema what their files have wrong by themselves.
fn policies(files: &[SourceFile], schema: Option<&RealmSchema>) -> Result<PolicySet, Vec<Fault>> {
    let files: Vec<&SourceFile> = files.iter().filter(|file| file.is_policy_file()).collect();
    match schema {
        Some(schema) => PolicySet::compile(&files, schema),
        None => Err(PolicySet::faults_without_schema(&files)),
    }
}

fn resource_types(
    files: &[SourceFile],
    file: &RealmFile,
    schema: &RealmSchema,
    relations: &Relations,
) -> Result<ResourceTypes, Vec<Fault>> {
    match &file.resources {
        None => Ok(resource_type::from_schema(schema, relations, &file.trusted)),
        Some(settings) => {
            let table = required(files, &settings.file)?;
            resource_type::parse(&table.path, &table.content, settings, schema)
        }
    }
}

fn grants(files: &[SourceFile], file: &RealmFile, types: &ResourceTypes) -> Result<Option<Grants>, Vec<Fault>> {
    let Some(settings) = &file.grants else { return Ok(None) };
    let table = required(files, &settings.file)?;
    Grants::parse(&table.content, settings, types).map(Some)
}

fn profiles(files: &[SourceFile], file: &RealmFile, types: &ResourceTypes) -> Result<Option<Profiles>, Vec<Fault>> {
    let Some(settings) = &file.profiles else { return Ok(None) };
    Profiles::read(files, settings, types).map(Some)
}

/// The version that files compile to: SHA-256 over each one's path and content, length-prefixed, in the order of the paths,
/// and over the variant's name.
pub fn version_of(files: &[SourceFile], variant: Option<&str>) -> PolicyVersion {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    for file in sorted {
        for part in [&file.path, &file.content] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    if let Some(name) = variant {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
    }
    let digits = b"0123456789abcdef";
    let hex = |half: u8| digits.get(usize::from(half)).map_or('?', |digit| char::from(*digit));
    PolicyVersion(hash.finalize().iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect::<String>().into())
}
