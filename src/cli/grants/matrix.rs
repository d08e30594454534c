//! `hallpass grants matrix`: who may do what, claim set by claim set, in a form that needs no programmer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use anyhow::Result;

use super::{actions_of, claim_set_named, compile, grants_of};
use crate::{
    cli::{
        Outcome,
        render::{Screen, counted, plain},
    },
    domain::{grants::Grants, realm::Realm},
};

/// How wide a line of names may be.
const WIDTH: usize = 110;
/// How wide the column before the marks is.
const LABEL: usize = 44;
/// Exceptions are named instead of members where they are at most this many.
const EXCEPTIONS_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The realm's folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Only this claim set
    #[arg(long, value_name = "NAME")]
    claim_set: Option<String>,
    /// As this variant of the realm
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { folder, claim_set, variant } = arguments;
    let Some(realm) = compile(folder, variant.as_deref(), screen)? else { return Ok(Outcome::Findings) };
    let grants = grants_of(&realm, folder)?;
    let claim_sets = match claim_set {
        Some(name) => vec![claim_set_named(grants, name)?],
        None => grants.claim_sets().iter().map(ToString::to_string).collect(),
    };
    screen.line(Matrix::new(&realm, grants).text(&claim_sets).trim_end_matches('\n'))?;
    Ok(Outcome::Fine)
}

/// The rights on one resource, a cell for each action.
type Rights = Vec<Cell>;

/// What a claim set may do: nothing, or under which strategies, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    No,
    Under(Vec<usize>),
    Unusable(Vec<usize>),
}

struct Matrix<'a> {
    realm: &'a Realm,
    grants: &'a Grants,
    actions: Vec<String>,
    /// All strategies that are granted somewhere, in the order of their numbers, which start at 1.
    strategies: Vec<Arc<str>>,
    /// How many bytes all claims of resources start with in common.
    base: usize,
    /// Resource types by the claim that theirs is in, in the order of the domains' names.
    domains: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl<'a> Matrix<'a> {
    fn new(realm: &'a Realm, grants: &'a Grants) -> Self {
        let lineages: Vec<_> = realm.resource_types.keys().map(|name| (name, grants.lineage(name))).collect();
        let base = common_start(lineages.iter().flat_map(|(_, lineage)| lineage.iter()).map(|claim| &**claim));
        let mut domains: BTreeMap<String, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (name, lineage) in &lineages {
            let domain = match lineage.as_ref() {
                [_, parent, ..] => parent.get(base..).unwrap_or(parent).to_owned(),
                [_] => "resources in no domain".to_owned(),
                [] => "resources without a claim".to_owned(),
            };
            domains.entry(domain).or_default().insert(Arc::clone(name));
        }
        let actions = actions_of(&realm.schema);
        let mut matrix = Self { realm, grants, actions, strategies: Vec::new(), base, domains };
        matrix.strategies = matrix.granted_strategies();
        matrix
    }

    /// Those that the realm knows in its own order, then any others by name.
    fn granted_strategies(&self) -> Vec<Arc<str>> {
        let mut granted = BTreeSet::new();
        for claim_set in self.grants.claim_sets() {
            for (resource_type, actions) in self.grants.granted(&claim_set) {
                for action in actions {
                    granted
                        .extend(self.grants.find(&claim_set, &resource_type, &action).grant.strategies.iter().cloned());
                }
            }
        }
        let known = self.realm.file.grants.iter().flat_map(|settings| &settings.strategies).map(|(name, _)| name);
        let known: Vec<Arc<str>> = known.filter(|name| granted.contains(*name)).cloned().collect();
        let others: Vec<Arc<str>> = granted.iter().filter(|name| !known.contains(name)).cloned().collect();
        known.into_iter().chain(others).collect()
    }

    fn text(&self, claim_sets: &[String]) -> String {
        let mut text = format!("WHO MAY DO WHAT: {}\n\n", plain(&self.realm.file.title));
        text.push_str(&self.legend());
        for claim_set in claim_sets {
            text.push_str(&self.claim_set(claim_set));
        }
        text.push_str("\n\nTHE DOMAINS AND THEIR RESOURCES\n");
        for (domain, members) in &self.domains {
            let names: Vec<_> = members.iter().map(|name| &**name).collect();
            // Writing to a String cannot fail.
            let _infallible = write!(text, "\n{}\n{}", plain(domain), wrapped(&names, 4));
        }
        text
    }

    fn legend(&self) -> String {
        let mut text = String::from(
            "One table for each claim set: a line is a resource, or several of one domain with the same rights; a column\n\
             is an action. The resources of each domain are listed at the end.\n\n\
             \x20   -    not granted\n",
        );
        let words = |name: &Arc<str>| {
            let mut settings = self.realm.file.grants.iter().flat_map(|settings| &settings.words);
            settings.find(|(strategy, _)| strategy == name).map(|(_, words)| plain(words))
        };
        for (index, name) in self.strategies.iter().enumerate() {
            let (number, name_shown) = (index + 1, plain(name));
            let _infallible = match words(name) {
                Some(words) => writeln!(text, "    {number:<4} {words}\n         ({name_shown})"),
                None => writeln!(text, "    {number:<4} {name_shown}"),
            };
        }
        text.push_str("    1+2  several strategies: one of them is enough, unless its words say otherwise\n");
        text.push_str("    ?    granted, but nothing says under which strategy: refused as a configuration error\n");
        text.push_str("    !    beside a number: granted, but it cannot be used: refused as a configuration error\n");
        text
    }

    fn claim_set(&self, claim_set: &str) -> String {
        let mut text = format!("\n\n{}\n\n", plain(claim_set));
        let mut heading = format!("{:LABEL$}", "");
        for action in &self.actions {
            let _infallible = write!(heading, "  {action:>6}");
        }
        text.push_str(&heading);
        text.push('\n');
        let mut has_any = false;
        for (domain, members) in &self.domains {
            let mut by_rights: BTreeMap<Rights, Vec<&str>> = BTreeMap::new();
            for name in members {
                by_rights.entry(self.rights(claim_set, name)).or_default().push(name);
            }
            by_rights.retain(|rights, _| rights.iter().any(|cell| *cell != Cell::No));
            if by_rights.is_empty() {
                continue;
            }
            has_any = true;
            let _infallible = writeln!(text, "  {}", plain(domain));
            let mut groups: Vec<_> = by_rights.into_iter().collect();
            // The largest first, so that what follows reads as exceptions.
            groups.sort_by_key(|(_, names)| (std::cmp::Reverse(names.len()), names.first().copied()));
            for (rights, names) in &groups {
                text.push_str(&self.group(rights, names, members));
            }
        }
        if !has_any {
            text.push_str("  nothing\n");
        }
        text + &self.others(claim_set)
    }

    fn rights(&self, claim_set: &str, resource_type: &str) -> Rights {
        let cell = |action: &String| {
            let grant = self.grants.find(claim_set, resource_type, action).grant;
            let place = |name: &Arc<str>| self.strategies.iter().position(|other| other == name).map(|index| index + 1);
            let numbers = grant.strategies.iter().filter_map(place).collect();
            match (grant.is_granted, &grant.fault) {
                (false, _) => Cell::No,
                (true, None) => Cell::Under(numbers),
                (true, Some(_)) => Cell::Unusable(numbers),
            }
        };
        self.actions.iter().map(cell).collect()
    }

    fn group(&self, rights: &Rights, names: &[&str], members: &BTreeSet<Arc<str>>) -> String {
        let others: Vec<&str> = members.iter().map(|name| &**name).filter(|name| !names.contains(name)).collect();
        let all = counted(members.len() as u64, "resource", "resources");
        let (label, below) = match (names, others.len()) {
            ([one], _) if one.chars().count() <= LABEL - 4 => ((*one).to_owned(), String::new()),
            (_, 0) => (format!("all {all}"), String::new()),
            (_, others_count) if others_count <= EXCEPTIONS_MAX && names.len() > 2 * others_count => {
                (format!("{} of {all}, all but", names.len()), wrapped(&others, 8))
            }
            _ => (format!("{} of {all}", names.len()), wrapped(names, 8)),
        };
        let mut line = format!("    {:1$}", plain(&label), LABEL - 4);
        for (cell, action) in rights.iter().zip(&self.actions) {
            let width = action.chars().count().max(6);
            let _infallible = write!(line, "  {:>width$}", cell.text());
        }
        format!("{}\n{below}", line.trim_end())
    }

    /// Claims that are no resource, for example services, by what may be done with them.
    fn others(&self, claim_set: &str) -> String {
        let mut by_actions: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
        for (claim, actions) in self.grants.claims(claim_set) {
            let actions =
                self.actions.iter().map(String::as_str).filter(|name| actions.iter().any(|action| **action == **name));
            by_actions.entry(actions.collect()).or_default().push(claim.get(self.base..).unwrap_or(&claim).to_owned());
        }
        let mut text = String::new();
        for (actions, claims) in &by_actions {
            if text.is_empty() {
                text.push_str("  claims that are no resource\n");
            }
            let claims: Vec<_> = claims.iter().map(String::as_str).collect();
            let _infallible = write!(text, "    {}\n{}", plain(&actions.join(", ")), wrapped(&claims, 8));
        }
        text
    }
}

impl Cell {
    fn text(&self) -> String {
        let joined = |numbers: &[usize]| {
            let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            if numbers.is_empty() { "?".to_owned() } else { numbers.join("+") }
        };
        match self {
            Self::No => "-".to_owned(),
            Self::Under(numbers) => joined(numbers),
            Self::Unusable(numbers) if numbers.is_empty() => joined(numbers),
            Self::Unusable(numbers) => format!("{}!", joined(numbers)),
        }
    }
}

/// How many bytes all texts start with in common, up to a slash.
fn common_start<'a>(mut texts: impl Iterator<Item = &'a str>) -> usize {
    let Some(mut common) = texts.next() else { return 0 };
    for text in texts {
        let length = common.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        let end = common.get(..length).and_then(|start| start.rfind('/')).map_or(0, |slash| slash + 1);
        common = common.get(..end).unwrap_or_default();
    }
    common.rfind('/').map_or(0, |slash| slash + 1)
}

/// Names in lines of bounded width.
fn wrapped(names: &[&str], indent: usize) -> String {
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    for (index, name) in names.iter().enumerate() {
        let word = format!("{}{}", plain(name), if index + 1 < names.len() { "," } else { "" });
        if line.len() > indent && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
        }
        if line.len() > indent {
            line.push(' ');
        }
        line.push_str(&word);
    }
    text + &line + "\n"
}
