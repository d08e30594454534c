//! `[reasons]`: which values a reason names, and which reason goes first.

use std::sync::Arc;

use crate::domain::{document::Table, policy_set::is_code, value::Value};

/// How reasons are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonSettings {
    /// Which values a missed permit names.
    pub subjects: NamedSubjects,
    /// How a person who is not given is told.
    pub missing_people: MissingPeople,
    /// Precedences by reason code, in place of those of the policies.
    pub precedence: Vec<(Arc<str>, i64)>,
    /// The codes that reasons have where the stored values passed and the proposed ones don't, by their own codes.
    pub second_phase: Vec<(Arc<str>, Arc<str>)>,
}

/// Which values the reason of a missed permit names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedSubjects {
    /// Those that failed, in the order of the strategies and then of the resource type.
    #[default]
    Failed,
    /// All that were looked at and not the principal's own, sorted by name.
    AllSorted,
}

/// How a resource without a person is told where a policy looks for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPeople {
    /// As a missing value.
    #[default]
    Distinct,
    /// As a person who is not related, so that nobody learns whether there is such a person.
    Unrelated,
}

/// Reads how reasons are put together.
pub(super) fn read_reasons(table: &Table<'_>) -> ReasonSettings {
    let subjects = match table.text("subjects").as_deref() {
        None | Some("failed") => NamedSubjects::Failed,
        Some("all_sorted") => NamedSubjects::AllSorted,
        Some(_) => {
            table.fault(Some("subjects"), "`subjects` is neither `failed` nor `all_sorted`");
            NamedSubjects::Failed
        }
    };
    let missing_people = match table.text("missing_people").as_deref() {
        None | Some("distinct") => MissingPeople::Distinct,
        Some("unrelated") => MissingPeople::Unrelated,
        Some(_) => {
            table.fault(Some("missing_people"), "`missing_people` is neither `distinct` nor `unrelated`");
            MissingPeople::Distinct
        }
    };
    let precedence = table.scalars("precedence").into_iter().filter_map(|(code, value)| {
        if let Value::Long(number) = value {
            return Some((code, number));
        }
        table.fault(Some("precedence"), format!("`{code}` is no whole number"));
        None
    });
    let precedence = precedence.collect();
    let second_phase = table.scalars("second_phase").into_iter().filter_map(|(code, value)| match value {
        Value::String(told) if is_code(&told) => Some((code, told)),
        _ => {
            table.fault(Some("second_phase"), format!("`{code}` is no code of the form `UPPER_SNAKE_CASE`"));
            None
        }
    });
    ReasonSettings { subjects, missing_people, precedence, second_phase: second_phase.collect() }
}
