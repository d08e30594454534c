//! Policy files and schema compiled into one checked set, indexed so that a decision looks at the
//! policies that can apply and no others.

mod changed;
mod compiled;
mod impossible;
mod plan;
mod read;
mod scope;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cedar_policy::{EntityUid, ValidationMode, Validator};
use quick_cache::sync::Cache;

use self::read::Read;
pub(super) use self::{
    compiled::{CompiledPolicy, is_code},
    plan::{Candidates, Plan, PlanKey},
};
use super::{
    fault::{Code, Fault, in_order},
    proof::invariant,
    schema::RealmSchema,
};

/// A file of a realm's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path within the folder, with `/`.
    pub path: String,
    /// The content.
    pub content: String,
}

impl SourceFile {
    /// The path ends in one of these endings.
    pub(super) fn has_ending(&self, endings: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
    }

    /// The file holds policies, which decide.
    pub(super) fn is_policy_file(&self) -> bool {
        self.has_ending(&["cedar"]) && !self.path.starts_with(invariant::FOLDER)
    }

    /// The file says nothing about the realm: its tests, what a demonstration plays, a text for people.
    pub(super) fn is_aside(&self) -> bool {
        let is_below = |folder: &&str| self.path.starts_with(*folder);
        ["tests/", "golden/", "records/"].iter().any(is_below)
            || self.path == "demo.yaml"
            || self.has_ending(&["md"])
            || self.is_invariant_file()
    }

    /// The file holds what is claimed of the policies, which decides nothing.
    pub(super) fn is_invariant_file(&self) -> bool {
        self.has_ending(&["cedar"]) && self.path.starts_with(invariant::FOLDER)
    }
}

/// The fault of an unknown name, asking for the one of the schema that is near: of several Cedar asks for any.
fn asked(fault: Fault, schema: &RealmSchema) -> Fault {
    let written = fault.message.split('`').nth(1).unwrap_or_default().to_owned();
    let action = written.trim_end_matches('"').rsplit('"').next().unwrap_or_default().to_owned();
    let fresh = |fault: Fault| Fault { help: None, ..fault };
    match fault.code {
        Code::UnknownAction => fresh(fault).near(&action, schema.actions.keys().map(|name| &**name)),
        Code::UnknownEntityType => fresh(fault).near(&written, schema.entities.keys().map(|name| &**name)),
        _ => fault,
    }
}

/// What a policy file has wrong by itself: it is not written in Cedar's language.
pub fn policy_syntax(file: &SourceFile) -> Vec<Fault> {
    in_order(read::syntax(file).err().unwrap_or_default())
}

/// A compiled set.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<Arc<CompiledPolicy>>,
    /// Policies that a plan can rule out are no candidates.
    prunes: bool,
    plans: Cache<PlanKey, Arc<Plan>>,
    groups: HashMap<EntityUid, Vec<EntityUid>>,
    actions: BTreeMap<Arc<str>, EntityUid>,
    /// What Cedar's validation warns of, each with the policy's name.
    pub(super) warnings: Vec<(Arc<str>, Fault)>,
}

impl PolicySet {
    /// Parses, checks and indexes policy files.
    ///
    /// # Errors
    /// Every fault with file, line and column: syntax, a missing or doubled `@id`, an unknown
    /// annotation, a template, and whatever Cedar's strict validation finds. What one file has wrong hides nothing of another.
    pub fn compile(files: &[&SourceFile], schema: &RealmSchema) -> Result<Self, Vec<Fault>> {
        let Read { mut policies, whole, places, mut faults } = read::read(files);
        let validated = Validator::new((*schema.cedar).clone()).validate(&whole, ValidationMode::Strict);
        for error in validated.validation_errors() {
            match places.get::<str>(error.policy_id().as_ref()) {
                Some(file) => {
                    let found = Fault::of_validation(&file.path, &file.content, error).into_iter();
                    faults.extend(found.map(|fault| asked(fault, schema)));
                }
                None => faults.push(Fault::in_file("policies", error.to_string())),
            }
        }
        if !faults.is_empty() {
            return Err(in_order(faults));
        }
        let warned = validated.validation_warnings().filter_map(|warning| {
            let id: &str = warning.policy_id().as_ref();
            let file = places.get(id)?;
            let found = Fault::of_warning(&file.path, &file.content, warning);
            Some(found.into_iter().map(|fault| (Arc::from(id), fault)).collect::<Vec<_>>())
        });
        let warnings: Vec<(Arc<str>, Fault)> = warned.flatten().collect();
        for policy in &mut policies {
            if warnings.iter().any(|(id, fault)| *id == policy.id && fault.code == Code::NeverApplies) {
                policy.impossible_from = impossible::first(policy, &whole, schema);
            }
        }
        Ok(Self { warnings, ..Self::indexed(policies, schema) })
    }

    /// What is wrong with policy files by themselves, where there is no schema to hold them against.
    pub(super) fn faults_without_schema(files: &[&SourceFile]) -> Vec<Fault> {
        in_order(read::read(files).faults)
    }

    fn indexed(policies: Vec<CompiledPolicy>, schema: &RealmSchema) -> Self {
        let mut groups: HashMap<EntityUid, Vec<EntityUid>> = HashMap::new();
        if let Ok(actions) = schema.cedar.action_entities() {
            for uid in schema.action_uids.values() {
                let above = actions.ancestors(uid).into_iter().flatten().cloned().collect();
                groups.insert(uid.clone(), above);
            }
        }
        let policies = policies.into_iter().map(Arc::new).collect();
        let actions = schema.action_uids.clone();
        Self { policies, prunes: true, plans: Cache::new(4_096), groups, actions, warnings: Vec::new() }
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CompiledPolicy> {
        self.policies.iter().map(|policy| &**policy)
    }

    pub(super) fn get(&self, index: usize) -> Option<&CompiledPolicy> {
        self.policies.get(index).map(|policy| &**policy)
    }

    /// The policy's scope takes this action.
    pub(super) fn takes(&self, policy: &CompiledPolicy, action: &EntityUid) -> bool {
        policy.scope.fits_action(Some(action), &self.groups)
    }

    /// Every question that the other policy's scope takes is taken by the scope of this one.
    pub(super) fn covers(&self, policy: &CompiledPolicy, other: &CompiledPolicy) -> bool {
        policy.scope.covers(&other.scope, &self.groups)
    }

    /// The policy's scope takes resources of this type.
    pub(super) fn takes_type(policy: &CompiledPolicy, resource_type: &str) -> bool {
        policy.scope.resource.fits_type(resource_type)
    }

    pub(super) fn action(&self, action: &str) -> Option<&EntityUid> {
        self.actions.get(action)
    }
}
