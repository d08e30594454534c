//! The shape of an explanation.

use std::sync::Arc;

use crate::domain::{
    access_request::Phase,
    decision::{Outcome, Reason},
    id::EntityId,
    relationship::Relationship,
    value::Value,
};

/// The most policies that one list of an explanation shows.
pub const POLICIES_MAX: usize = 20;
/// The most conditions that are shown of a policy.
pub const CONJUNCTS_MAX: usize = 40;
/// The most values that are shown of a condition.
pub const VALUES_MAX: usize = 20;
/// The most members that are shown of a set.
pub const MEMBERS_MAX: usize = 10;
/// The most steps that are shown of a chain of relationships.
pub const HOPS_MAX: usize = 20;
/// The most remedies of each kind.
pub const REMEDIES_MAX: usize = 3;
/// The most facts that are tried for one explanation.
pub const TRIES_MAX: usize = 200;
/// The longest text of a condition or of a value, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 1_000;

/// Whether people are shown whom neither the question nor the token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// By their ids.
    Named,
    /// Only their types: the id is `…`.
    Hidden,
}

/// Why a question is answered as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How the decision came about.
    pub outcome: Outcome,
    /// Why no policy had a say, or why an allow could not be given: a profile, the configuration, an obligation.
    pub fault: Option<Reason>,
    /// What was looked at, in order; the last one decided.
    pub phases: Vec<PhaseSeen>,
    /// The permits that hold, the most important first.
    pub permits: Vec<PolicySeen>,
    /// The forbids that hold or could not be evaluated, the most important first.
    pub forbids: Vec<PolicySeen>,
    /// The permits whose scope takes the question and that do not hold, where none does.
    pub near_misses: Vec<PolicySeen>,
    /// The single facts that would turn a deny into an allow.
    pub remedies: Remedies,
    /// How many policies are left out of these lists because they are too long.
    pub left_out: usize,
    /// Ids of people are left out whom neither the question nor the token names.
    pub hides_people: bool,
}

/// What would turn a deny into an allow, each found out by deciding again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedies {
    /// The facts, each of which would do alone; of each kind the first [`REMEDIES_MAX`]. None for an allow.
    pub found: Vec<Remedy>,
    /// How many facts were tried.
    pub tried: usize,
    /// Some that were thought of were not tried.
    pub is_cut: bool,
}

/// A fact whose presence would turn a deny into an allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The fact.
    pub fact: Fact,
    /// The policy that stands in the way without it.
    pub policy: Arc<str>,
}

/// Something that could be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A relationship that a record could bring.
    Relationship(Relationship),
    /// What the token says at a claim, a dotted path, or the application's record has in its place.
    Claim {
        /// The claim.
        claim: Arc<str>,
        /// The values, as a token says them.
        values: Vec<Value>,
        /// Besides what is said already.
        adds: bool,
    },
    /// What the claim set grants.
    Grant {
        /// The claim set.
        claim_set: Arc<str>,
        /// The resource type.
        resource_type: Arc<str>,
        /// The action.
        action: Arc<str>,
        /// All strategies of the grant.
        strategies: Vec<Arc<str>>,
    },
    /// A value of the resource.
    Property {
        /// Among the stored values, or those of the body.
        phase: Phase,
        /// The property, a dotted path.
        property: Arc<str>,
        /// The value.
        value: Value,
        /// Each property with its text where several make an id together; `property` is the first of them.
        parts: Vec<(Arc<str>, Arc<str>)>,
    },
    /// A member of the request's context.
    Context {
        /// Its name.
        member: Arc<str>,
        /// The value.
        value: Value,
    },
    /// The media type by which the request names a profile; empty for none.
    MediaType(Arc<str>),
}

/// One look at the resource's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSeen {
    /// Which values.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// What the principal's claim set grants, in a realm with grants.
    pub grant: Option<GrantSeen>,
    /// What came of each strategy of the grant, in its order.
    pub strategies: Vec<StrategySeen>,
    /// The permits that the action or the grant rules out before any value is looked at.
    pub ruled_out: Vec<RuledOut>,
    /// How many policies are for other actions, principals or resources.
    pub out_of_scope: usize,
}

/// What a claim set grants for the action on the resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSeen {
    /// The claim set's name; empty where the principal has none.
    pub claim_set: Arc<str>,
    /// It names the resource type, for whichever action.
    pub has_resource: bool,
    /// It grants the action.
    pub is_granted: bool,
    /// The claim on which the action is granted.
    pub granted_by: Option<Arc<str>>,
}

/// What came of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyOutcome {
    /// A permit of its own holds.
    Permits,
    /// A forbid of its own holds.
    Forbids,
    /// A policy of its own could not be evaluated.
    Failed,
    /// It has permits of its own, and none of them holds.
    Unmet,
    /// It has forbids only, and none of them holds.
    Passed,
    /// No policy is for it alone.
    NoPolicy,
}

/// A strategy of the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategySeen {
    /// Its name.
    pub name: Arc<str>,
    /// What came of it.
    pub outcome: StrategyOutcome,
    /// The policies that are for it alone: those that say so in their first clause.
    pub policies: Vec<Arc<str>>,
}

/// A permit that could not hold whatever the values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOut {
    /// The policy's id.
    pub policy: Arc<str>,
    /// The condition that is not as it should be.
    pub text: Arc<str>,
    /// The condition must not hold.
    pub is_negated: bool,
    /// Where it stands.
    pub place: Place,
}

/// A place in a file of the realm; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, within the realm's folder.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// What came of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is as the policy wants it.
    Held,
    /// It is not as the policy wants it. The conditions after it are asked for the explanation alone.
    NotHeld,
    /// It could not be evaluated.
    Failed,
    /// Nobody evaluates it, because it rests on one before that is not as it should be.
    NotReached,
}

/// A policy whose scope takes the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySeen {
    /// Its id.
    pub policy: Arc<str>,
    /// What it says, in its author's words.
    pub title: Arc<str>,
    /// Which values were looked at.
    pub phase: Phase,
    /// Whether it applies: held, not held or failed.
    pub state: State,
    /// The code of the reason that it gives, where it names one.
    pub reason: Option<Arc<str>>,
    /// Where it stands.
    pub place: Place,
    /// Its conditions, in the order in which they are asked.
    pub conjuncts: Vec<ConjunctSeen>,
}

/// A condition of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConjunctSeen {
    /// As it is written.
    pub text: Arc<str>,
    /// It must not hold: it stands under `unless` or `!`.
    pub is_negated: bool,
    /// Where it stands.
    pub place: Place,
    /// What came of it.
    pub state: State,
    /// The values that it saw, by the paths that it mentions.
    pub values: Vec<ValueSeen>,
    /// Of one that is not as it should be, why: one sentence each, without a full stop.
    pub missing: Vec<Arc<str>>,
    /// The chains of relationships that make its `in` hold.
    pub chains: Vec<Chain>,
}

/// A value that a condition saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSeen {
    /// The path, for example `resource.student`.
    pub path: Arc<str>,
    /// The value, `None` where there is none. Of a set its first [`MEMBERS_MAX`] members.
    pub value: Option<Value>,
    /// How many members a set has; 0 for other values.
    pub members: usize,
}

/// A shortest chain of relationships from an entity to what contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where it starts.
    pub from: EntityId,
    /// Its steps; none where the entity is the very one that was asked for.
    pub hops: Vec<Hop>,
}

/// One step upwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What makes it.
    pub by: By,
    /// Where it leads.
    pub to: EntityId,
}

/// What makes an entity contain another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A relationship of this relation.
    Relation(Arc<str>),
    /// A relationship of this relation that is remembered.
    Past(Arc<str>),
    /// The token says so.
    Token,
    /// The id begins with it.
    Prefix,
    /// The id is a path that lies in it.
    Path,
}
