//! Policy files and schema compiled into one checked set, indexed so that a decision looks at the
//! policies that can apply and no others.

mod changed;
mod impossible;
mod read;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint, Request, ResourceConstraint, ValidationMode,
    Validator,
};
use quick_cache::sync::Cache;
use serde_json::Value as Json;

use read::{Places, Read};

use super::{
    cedar::{Condition, with_situation},
    clause::Clauses,
    conjunct::{Conjunct, conjuncts_of},
    fault::{Code, Fault, in_order},
    grants::ASSUMED,
    lint::read_accepted,
    looks::Looks,
    obligations::named_obligations,
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

/// A policy with what decisions and reasons need of it.
#[derive(Debug)]
pub(super) struct CompiledPolicy {
    pub(super) id: Arc<str>,
    pub(super) effect: Effect,
    pub(super) clauses: Clauses,
    /// Its conditions one by one.
    pub(super) conjuncts: Vec<Conjunct>,
    pub(super) precedence: i64,
    /// The warnings that its author means, by `@accept`.
    pub(super) accepted: Vec<Code>,
    /// The conjunct from which on it can't hold by the types of the schema, where Cedar's validation says that it can't.
    pub(super) impossible_from: Option<usize>,
    /// The obligations that it carries where it permits.
    pub(super) obligations: Vec<Arc<str>>,
    /// When it applies, given that it is one of a question's [`Candidates`].
    pub(super) condition: Condition,
    /// Whether a question that it is a candidate of fits its scope; `None` where it always does.
    pub(super) scope_alone: Option<Condition>,
    /// The bytes of the file that it is written in, annotations and all.
    pub(super) span: Range<usize>,
    annotations: BTreeMap<Arc<str>, Arc<str>>,
    scope: Scope,
    /// Where it stands, and where each of its annotations does: faults without a message.
    places: Places,
}

#[derive(Debug)]
struct Scope {
    principal: Constraint,
    /// The actions or groups of actions that it names; `None` for any action.
    action: Option<Vec<EntityUid>>,
    resource: Constraint,
}

/// What a scope asks of the principal or the resource.
#[derive(Debug, Default)]
struct Constraint {
    entity_type: Option<String>,
    entity: Option<EntityUid>,
    is_in: bool,
}

/// The question that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    pub(super) action: Arc<str>,
    pub(super) principal_type: Arc<str>,
    pub(super) resource_type: Arc<str>,
    /// The number of the grant whose strategies the context holds; 0 without grants.
    pub(super) grant: u32,
}

/// The policies that can apply to a kind of question, and the facts that they look at.
#[derive(Debug)]
pub(super) struct Plan {
    /// The policies that name neither a principal nor a resource.
    always: Arc<Candidates>,
    by_principal: HashMap<EntityUid, Vec<usize>>,
    by_resource: HashMap<EntityUid, Vec<usize>>,
    chosen: Cache<Vec<usize>, Arc<Candidates>>,
    action: Option<EntityUid>,
    /// Some scope asks what contains the principal.
    pub(super) asks_principal_ancestors: bool,
    /// Some scope asks what contains the resource.
    pub(super) asks_resource_ancestors: bool,
}

impl Plan {
    /// Some policies apply to some resources of the type by their names.
    pub(super) fn names_resources(&self) -> bool {
        !self.by_resource.is_empty()
    }
}

/// The policies of one decision.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) indexes: Vec<usize>,
    /// What they look into.
    pub(super) looks: Looks,
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

    /// The plan for a kind of question. `settled` and `derived` name the members of the context that are the same for all
    /// of them, and `example` is one of them: what a policy asks of these members alone is found out here, once.
    pub(super) fn plan(
        &self,
        key: &PlanKey,
        settled: &[&str],
        derived: &[Arc<str>],
        example: impl FnOnce() -> Option<Request>,
    ) -> Arc<Plan> {
        // What is only assumed has no number of its own.
        let is_kept = key.grant != ASSUMED + 1;
        if let Some(plan) = self.plans.get(key).filter(|_| is_kept) {
            return plan;
        }
        let settled: Vec<&str> = settled.iter().copied().chain(derived.iter().map(|name| &**name)).collect();
        let passing = example().filter(|_| self.prunes).and_then(|request| {
            with_situation(&request, [], |situation| {
                let passes = |policy: &CompiledPolicy| policy.clauses.may_hold(&settled, situation);
                self.iter().map(passes).collect::<Vec<bool>>()
            })
        });
        let plan = Arc::new(self.make_plan(key, passing.as_deref().unwrap_or_default()));
        if is_kept {
            self.plans.insert(key.clone(), Arc::clone(&plan));
        }
        plan
    }

    /// Policies that pass are `true` at their place; without a place a policy passes.
    fn make_plan(&self, key: &PlanKey, passing: &[bool]) -> Plan {
        let mut plan = Plan {
            always: Arc::default(),
            by_principal: HashMap::new(),
            by_resource: HashMap::new(),
            chosen: Cache::new(65_536),
            action: self.actions.get(&key.action).cloned(),
            asks_principal_ancestors: false,
            asks_resource_ancestors: false,
        };
        let mut always = Vec::new();
        for (index, policy) in self.policies.iter().enumerate() {
            let scope = &policy.scope;
            let fits = scope.fits_action(plan.action.as_ref(), &self.groups)
                && scope.principal.fits_type(&key.principal_type)
                && scope.resource.fits_type(&key.resource_type)
                && passing.get(index).is_none_or(|passes| *passes);
            if !fits {
                continue;
            }
            plan.asks_principal_ancestors |= scope.principal.is_in;
            plan.asks_resource_ancestors |= scope.resource.is_in;
            match (&scope.principal.entity, &scope.resource.entity) {
                (Some(uid), _) => plan.by_principal.entry(uid.clone()).or_default().push(index),
                (None, Some(uid)) => plan.by_resource.entry(uid.clone()).or_default().push(index),
                (None, None) => always.push(index),
            }
        }
        plan.always = Arc::new(self.candidates_of(plan.action.as_ref(), always));
        plan
    }

    fn candidates_of(&self, action: Option<&EntityUid>, indexes: Vec<usize>) -> Candidates {
        let mut looks = Looks::default();
        for policy in indexes.iter().filter_map(|index| self.policies.get(*index)) {
            looks.merge(&policy.clauses.looks);
            let scope = &policy.scope;
            if scope.is_settled() {
                continue;
            }
            looks.principal.asks_ancestors |= scope.principal.is_in;
            looks.resource.asks_ancestors |= scope.resource.is_in;
            let named = action.zip(scope.action.as_ref());
            looks.action.asks_ancestors |= named.is_some_and(|(action, named)| !named.contains(action));
        }
        Candidates { indexes, looks }
    }

    /// The places of the policies whose scopes take a question: by its action and types, and by everything that contains
    /// principal and resource, these themselves first. What policies ask besides doesn't count.
    pub(super) fn in_scope(&self, key: &PlanKey, principals: &[EntityUid], resources: &[EntityUid]) -> Vec<usize> {
        let action = self.actions.get(&key.action);
        let fits = |scope: &Scope| {
            scope.fits_action(action, &self.groups)
                && scope.principal.fits_type(&key.principal_type)
                && scope.principal.fits(principals)
                && scope.resource.fits_type(&key.resource_type)
                && scope.resource.fits(resources)
        };
        let places = self.policies.iter().enumerate().filter(|(_, policy)| fits(&policy.scope));
        places.map(|(place, _)| place).collect()
    }

    /// The policies that can apply to this principal and resource: both with everything that contains them.
    pub(super) fn candidates<'a>(
        &self,
        plan: &Plan,
        principals: impl Iterator<Item = &'a EntityUid>,
        resources: impl Iterator<Item = &'a EntityUid>,
    ) -> Arc<Candidates> {
        if plan.by_principal.is_empty() && plan.by_resource.is_empty() {
            return Arc::clone(&plan.always);
        }
        let by_principal = principals.filter_map(|uid| plan.by_principal.get(uid)).flatten();
        let by_resource = resources.filter_map(|uid| plan.by_resource.get(uid)).flatten();
        let mut named: Vec<usize> = by_principal.chain(by_resource).copied().collect();
        if named.is_empty() {
            return Arc::clone(&plan.always);
        }
        named.sort_unstable();
        named.dedup();
        if let Some(chosen) = plan.chosen.get(&named) {
            return chosen;
        }
        let mut indexes: Vec<usize> = plan.always.indexes.iter().chain(&named).copied().collect();
        indexes.sort_unstable();
        let candidates = Arc::new(self.candidates_of(plan.action.as_ref(), indexes));
        plan.chosen.insert(named, Arc::clone(&candidates));
        candidates
    }
}

impl CompiledPolicy {
    /// A policy that `read` has found to be named. The error is a sentence, and the annotation that it is about.
    fn of(policy: &Policy, file: &SourceFile) -> Result<Self, (&'static str, String)> {
        let annotations: BTreeMap<Arc<str>, Arc<str>> =
            policy.annotations().map(|(name, text)| (name.into(), text.into())).collect();
        let precedence =
            match annotations.get("precedence").map(|text| text.parse::<i64>()) {
                None => 100,
                Some(Ok(number)) => number,
                Some(Err(_)) => return Err((
                    "precedence",
                    "`@precedence` is not a whole number, expected one without anything around it, for example `10`"
                        .to_owned(),
                )),
            };
        if let Some(code) = annotations.get("reason").filter(|code| !is_code(code)) {
            return Err((
                "reason",
                format!(
                    "the reason code `{code}` is not of the form `UPPER_SNAKE_CASE`, expected for example `NOT_OWNER`"
                ),
            ));
        }
        let obligations = named_obligations(policy.effect(), annotations.get("obligation"));
        let obligations = obligations.map_err(|message| ("obligation", message))?;
        let accepted = annotations.get("accept").map(|text| read_accepted(text)).transpose();
        let accepted = accepted.map_err(|message| ("accept", message))?.unwrap_or_default();
        let fault = |error: &dyn std::fmt::Display| ("", format!("the policy has no JSON form: {error}"));
        let json = policy.to_json().map_err(|error| fault(&error))?;
        // Read back, it has no places in the file, which the evaluator would copy for every value on its way.
        let placeless = Policy::from_json(None, json.clone()).map_err(|error| fault(&error))?;
        let scope = Scope::of(policy);
        Ok(Self {
            id: Arc::from(AsRef::<str>::as_ref(policy.id())),
            effect: policy.effect(),
            clauses: Clauses::of(&json).map_err(|error| fault(&error))?,
            conjuncts: conjuncts_of(policy, file),
            accepted,
            impossible_from: None,
            precedence,
            obligations,
            annotations,
            scope_alone: if scope.is_settled() { None } else { Some(scope_of(&json).map_err(|error| fault(&error))?) },
            span: policy_span(policy).unwrap_or_default(),
            condition: if scope.is_settled() { Condition::of_clauses(&placeless) } else { Condition::of(&placeless) },
            scope,
            places: Places::of(policy, file),
        })
    }

    /// A fault at the place where it stands.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), ..self.places.policy.clone() }
    }

    /// A fault at one of its annotations; where it stands itself if it has none of this name.
    pub(super) fn annotation_fault(&self, name: &str, message: impl Into<String>) -> Fault {
        let place = self.places.annotations.get(name).unwrap_or(&self.places.policy);
        Fault { message: message.into(), ..place.clone() }
    }

    /// Its scope names an entity for the principal or for the resource.
    pub(super) fn names_an_entity(&self) -> bool {
        self.scope.principal.entity.is_some() || self.scope.resource.entity.is_some()
    }

    /// The entity types of what its scope asks to be above the principal or the resource.
    pub(super) fn scope_containers(&self) -> impl Iterator<Item = String> {
        let asking = [&self.scope.principal, &self.scope.resource].into_iter().filter(|constraint| constraint.is_in);
        asking.filter_map(|constraint| Some(constraint.entity.as_ref()?.type_name().to_string()))
    }

    /// Its scope says nothing more about a question that it is a candidate of: its condition is that of its clauses.
    pub(super) fn is_settled(&self) -> bool {
        self.scope.is_settled()
    }

    /// Where it stands, as a fault without a message.
    pub(super) fn place(&self) -> &Fault {
        &self.places.policy
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&Arc<str>> {
        self.annotations.get(name)
    }
}

/// The text has the form of a reason's code.
pub(super) fn is_code(code: &str) -> bool {
    code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.len() <= 63
        && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

impl Scope {
    fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Constraint::default(),
            PrincipalConstraint::Eq(uid) => Constraint::entity(&uid, false),
            PrincipalConstraint::In(uid) => Constraint::entity(&uid, true),
            PrincipalConstraint::Is(name) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::default() }
            }
            PrincipalConstraint::IsIn(name, uid) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::entity(&uid, true) }
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Constraint::default(),
            ResourceConstraint::Eq(uid) => Constraint::entity(&uid, false),
            ResourceConstraint::In(uid) => Constraint::entity(&uid, true),
            ResourceConstraint::Is(name) => Constraint { entity_type: Some(name.to_string()), ..Constraint::default() },
            ResourceConstraint::IsIn(name, uid) => {
                Constraint { entity_type: Some(name.to_string()), ..Constraint::entity(&uid, true) }
            }
        };
        let action = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(vec![uid]),
            ActionConstraint::In(uids) => Some(uids),
        };
        Self { principal, action, resource }
    }

    /// Every question that the other scope takes is taken by this one.
    fn covers(&self, other: &Self, groups: &HashMap<EntityUid, Vec<EntityUid>>) -> bool {
        let takes_actions = match (&self.action, &other.action) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(named)) => named.iter().all(|action| self.fits_action(Some(action), groups)),
        };
        takes_actions && self.principal.covers(&other.principal) && self.resource.covers(&other.resource)
    }

    fn fits_action(&self, action: Option<&EntityUid>, groups: &HashMap<EntityUid, Vec<EntityUid>>) -> bool {
        let (Some(action), Some(named)) = (action, &self.action) else { return true };
        let above = groups.get(action).into_iter().flatten();
        named.contains(action) || above.into_iter().any(|group| named.contains(group))
    }

    /// It fits every question that it is a candidate of: action and types are those of the plan, and the one entity
    /// that it is `in` is where the candidate was found. One that is `==` is found below that entity too.
    fn is_settled(&self) -> bool {
        let Self { principal, resource, .. } = self;
        let is_same = [principal, resource].iter().any(|constraint| constraint.entity.is_some() && !constraint.is_in);
        !is_same && (principal.entity.is_none() || resource.entity.is_none())
    }
}

impl Constraint {
    fn entity(uid: &EntityUid, is_in: bool) -> Self {
        let entity_type = (!is_in).then(|| uid.type_name().to_string());
        Self { entity_type, entity: Some(uid.clone()), is_in }
    }

    /// It takes the first of these, which all others contain.
    fn fits(&self, lineage: &[EntityUid]) -> bool {
        let Some(entity) = &self.entity else { return true };
        if self.is_in { lineage.contains(entity) } else { lineage.first() == Some(entity) }
    }

    /// Every entity that the other constraint takes is taken by this one.
    fn covers(&self, other: &Self) -> bool {
        let is_type = self.entity_type.is_none() || self.entity_type == other.entity_type;
        let is_entity = match (&self.entity, &other.entity) {
            (None, _) => true,
            (Some(_), None) => false,
            // What is in an entity may be any below it, so `==` covers nothing but itself.
            (Some(own), Some(uid)) => own == uid && (self.is_in || !other.is_in),
        };
        is_type && is_entity
    }

    fn fits_type(&self, entity_type: &str) -> bool {
        self.entity_type.as_deref().is_none_or(|wanted| wanted == entity_type)
    }
}

/// The scope of a policy in its JSON form as a condition of its own.
fn scope_of(json: &Json) -> Result<Condition, String> {
    let mut alone = json.clone();
    if let Some(members) = alone.as_object_mut() {
        members.insert("conditions".to_owned(), Json::Array(Vec::new()));
    }
    Policy::from_json(None, alone).map(|policy| Condition::of(&policy)).map_err(|error| error.to_string())
}

fn policy_span(policy: &Policy) -> Option<Range<usize>> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    inner.loc().map(|place| place.start()..place.end())
}
