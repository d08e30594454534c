//! Puts conditions together so that they stay small and always look the same.
//!
//! `not` stands before single tests only, no list holds a list of its own kind, and no part of a list says what the
//! others say already: `a and (not a or b)` is `a and b`, and a value that is within something is known to be there.

use super::{Condition, Filter, Test};

/// A test and what it is known to say.
type Fact<'a> = (&'a Test, bool);

/// The two kinds of lists, each the other's mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Any,
}

impl Kind {
    /// What makes no difference in such a list.
    fn neutral(self) -> Filter {
        if self == Self::All { Filter::All } else { Filter::None }
    }

    /// What settles such a list.
    fn settling(self) -> Filter {
        if self == Self::All { Filter::None } else { Filter::All }
    }

    fn list(self, parts: Vec<Filter>) -> Filter {
        if self == Self::All { Filter::AllOf(parts) } else { Filter::AnyOf(parts) }
    }

    /// The parts of a list of this kind; the filter itself where it is none.
    fn parts(self, filter: Filter) -> Result<Vec<Filter>, Filter> {
        match (self, filter) {
            (Self::All, Filter::AllOf(parts)) | (Self::Any, Filter::AnyOf(parts)) => Ok(parts),
            (_, other) => Err(other),
        }
    }
}

impl Filter {
    /// What passes all of these.
    pub(super) fn all_of(parts: impl IntoIterator<Item = Self>) -> Self {
        combined(parts.into_iter().collect(), Kind::All)
    }

    /// What passes any of these.
    pub(super) fn any_of(parts: impl IntoIterator<Item = Self>) -> Self {
        combined(parts.into_iter().collect(), Kind::Any)
    }

    /// What doesn't pass this.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::All => Self::None,
            Self::None => Self::All,
            Self::Is(_) => Self::Not(Box::new(self)),
            Self::Not(inner) => *inner,
            Self::AllOf(parts) => Self::any_of(parts.into_iter().map(Self::negated)),
            Self::AnyOf(parts) => Self::all_of(parts.into_iter().map(Self::negated)),
        }
    }

    /// How many tests it holds.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::All | Self::None => 0,
            Self::Is(_) => 1,
            Self::Not(inner) => inner.size(),
            Self::AllOf(parts) | Self::AnyOf(parts) => parts.iter().map(Self::size).sum(),
        }
    }

    /// A single test and whether it must hold.
    fn literal(&self) -> Option<Fact<'_>> {
        match self {
            Self::Is(test) => Some((test, true)),
            Self::Not(inner) => match &**inner {
                Self::Is(test) => Some((test, false)),
                _ => None,
            },
            _ => None,
        }
    }
}

fn combined(parts: Vec<Filter>, kind: Kind) -> Filter {
    let mut parts = flat(parts, kind);
    loop {
        parts.sort();
        parts.dedup();
        if parts.contains(&kind.settling()) {
            return kind.settling();
        }
        let Some((place, simpler)) = simplification(&parts, kind) else { break };
        parts.remove(place);
        parts.extend(flat(vec![simpler], kind));
    }
    match parts.len() {
        0 => kind.neutral(),
        1 => parts.pop().unwrap_or_else(|| kind.neutral()),
        _ => kind.list(parts),
    }
}

fn flat(parts: Vec<Filter>, kind: Kind) -> Vec<Filter> {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match kind.parts(part) {
            Ok(inner) => flat.extend(inner),
            Err(part) if part == kind.neutral() => {}
            Err(part) => flat.push(part),
        }
    }
    flat
}

/// The first part that the single tests beside it make simpler, and what it becomes.
///
/// A part of an `all of` matters only where the other parts hold, one of an `any of` only where they don't.
fn simplification(parts: &[Filter], kind: Kind) -> Option<(usize, Filter)> {
    parts.iter().enumerate().find_map(|(place, part)| {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != place);
        let facts: Vec<Fact<'_>> = others
            .filter_map(|(_, other)| other.literal())
            .map(|(test, holds)| (test, holds == (kind == Kind::All)))
            .collect();
        assuming(part, &facts).map(|simpler| (place, simpler))
    })
}

/// What is left of a condition where the facts hold; `None` when they say nothing about it.
fn assuming(filter: &Filter, facts: &[Fact<'_>]) -> Option<Filter> {
    match filter {
        Filter::All | Filter::None => None,
        Filter::Is(test) => known(test, facts).map(|holds| if holds { Filter::All } else { Filter::None }),
        Filter::Not(inner) => assuming(inner, facts).map(Filter::negated),
        Filter::AllOf(parts) => assuming_each(parts, facts).map(Filter::all_of),
        Filter::AnyOf(parts) => assuming_each(parts, facts).map(Filter::any_of),
    }
}

fn assuming_each(parts: &[Filter], facts: &[Fact<'_>]) -> Option<Vec<Filter>> {
    let simpler: Vec<Option<Filter>> = parts.iter().map(|part| assuming(part, facts)).collect();
    if simpler.iter().all(Option::is_none) {
        return None;
    }
    Some(simpler.into_iter().zip(parts).map(|(simpler, part)| simpler.unwrap_or_else(|| part.clone())).collect())
}

/// What the facts say of a test. No test but that for a value holds where there is none.
fn known(test: &Test, facts: &[Fact<'_>]) -> Option<bool> {
    facts.iter().find_map(|(other, holds)| {
        if *other == test {
            Some(*holds)
        } else if other.subject != test.subject {
            None
        } else if test.condition == Condition::HasValue && *holds {
            Some(true)
        } else if other.condition == Condition::HasValue && !*holds {
            Some(false)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::EntityId;

    fn test(subject: usize, place: usize) -> Test {
        let condition = match place {
            0 => Condition::HasValue,
            place => Condition::Within(vec![EntityId::new("Part", place.to_string())]),
        };
        Test { subject, links: Vec::new(), condition }
    }

    fn is(subject: usize, place: usize) -> Filter {
        Filter::Is(test(subject, place))
    }

    /// Where each subject is: 0 is nowhere, else a bit for each place.
    fn holds(filter: &Filter, situation: [u8; 2]) -> bool {
        match filter {
            Filter::All => true,
            Filter::None => false,
            Filter::Is(Test { subject, condition: Condition::HasValue, .. }) => situation[*subject] != 0,
            Filter::Is(Test { subject, condition: Condition::Within(places), .. }) => {
                situation[*subject] & (1 << places[0].id.parse::<u8>().unwrap()) != 0
            }
            Filter::Is(_) => panic!("never drawn"),
            Filter::Not(inner) => !holds(inner, situation),
            Filter::AllOf(parts) => parts.iter().all(|part| holds(part, situation)),
            Filter::AnyOf(parts) => parts.iter().any(|part| holds(part, situation)),
        }
    }

    fn is_normal(filter: &Filter) -> bool {
        let is_inner = |part: &Filter| !matches!(part, Filter::All | Filter::None) && is_normal(part);
        match filter {
            Filter::All | Filter::None | Filter::Is(_) => true,
            Filter::Not(inner) => matches!(**inner, Filter::Is(_)),
            Filter::AllOf(parts) => {
                parts.len() > 1 && parts.iter().all(|part| is_inner(part) && !matches!(part, Filter::AllOf(_)))
            }
            Filter::AnyOf(parts) => {
                parts.len() > 1 && parts.iter().all(|part| is_inner(part) && !matches!(part, Filter::AnyOf(_)))
            }
        }
    }

    /// As it is built, and what it was built from.
    fn formula() -> impl Strategy<Value = (Filter, Filter)> {
        let leaf = (0_usize..2, 0_usize..3).prop_map(|(subject, place)| (is(subject, place), is(subject, place)));
        leaf.prop_recursive(5, 40, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| parts.into_iter().unzip());
            let list = list.prop_map(|(built, plain): (Vec<Filter>, Vec<Filter>)| (built, plain));
            prop_oneof![
                list.clone().prop_map(|(built, plain)| (Filter::all_of(built), Filter::AllOf(plain))),
                list.prop_map(|(built, plain)| (Filter::any_of(built), Filter::AnyOf(plain))),
                inner.prop_map(|(built, plain)| (built.negated(), Filter::Not(Box::new(plain)))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_put_together_says_the_same_as_its_parts((built, plain) in formula()) {
            prop_assert!(is_normal(&built), "{built:?}");
            for one in 0..8_u8 {
                for other in 0..8_u8 {
                    prop_assert_eq!(holds(&built, [one, other]), holds(&plain, [one, other]), "{:?}", built);
                }
            }
        }
    }

    #[test]
    fn what_follows_from_the_rest_is_not_said() {
        let has = || is(0, 0);
        let within = || is(0, 1);
        let other = || is(1, 1);
        for (filter, expected) in [
            (Filter::all_of([has(), within()]), within()),
            (Filter::any_of([has(), within()]), has()),
            (Filter::all_of([within(), has().negated()]), Filter::None),
            (Filter::any_of([within().negated(), has()]), Filter::All),
            (Filter::all_of([has(), Filter::any_of([has().negated(), within()])]), within()),
            (Filter::any_of([other(), Filter::all_of([other(), within()])]), other()),
            (Filter::any_of([has().negated(), Filter::all_of([has(), within().negated()])]), within().negated()),
        ] {
            assert_eq!(filter, expected);
        }
    }
}
