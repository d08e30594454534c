//! `[entities.*]`: the form of ids, and which of them name nothing.

use std::sync::Arc;

use super::{EntityRules, Relations};
use crate::domain::{document::Table, id::EntityId};

/// Whether ids are whole numbers, and whether the number 0 names nothing.
pub(super) fn read_ids(table: &Table<'_>) -> (bool, bool) {
    let is_integer = match table.text("id").as_deref() {
        None | Some("string") => false,
        Some("integer") => true,
        Some(_) => {
            table.fault(Some("id"), "`id` is neither `string` nor `integer`");
            false
        }
    };
    let is_zero_none = match table.text("zero").as_deref() {
        None | Some("id") => false,
        Some("none") if is_integer => true,
        Some("none") => {
            table.fault(Some("zero"), "`zero = \"none\"` is for ids that are whole numbers, with `id = \"integer\"`");
            false
        }
        Some(_) => {
            table.fault(Some("zero"), "`zero` is neither `id` nor `none`");
            false
        }
    };
    (is_integer, is_zero_none)
}

/// The entity of this type and id, the id in the canonical form that the rules of its type want.
///
/// # Errors
/// What is wrong with the id, without repeating it.
pub(super) fn entity_id(
    entity_type: &Arc<str>,
    rules: Option<&EntityRules>,
    id: &str,
) -> Result<EntityId, &'static str> {
    if id.len() > EntityId::ID_BYTES_MAX {
        return Err("an id of at most 512 bytes");
    }
    if rules.is_some_and(|rules| rules.is_integer) {
        let number: i64 = id.trim().parse().map_err(|_| "a whole number")?;
        return Ok(EntityId { entity_type: Arc::clone(entity_type), id: number.to_string().into() });
    }
    if id.is_empty() {
        return Err("an id that is not empty");
    }
    Ok(EntityId { entity_type: Arc::clone(entity_type), id: id.into() })
}

impl Relations {
    /// The id is blank, or a 0 that stands for no value: it names no entity of this type.
    pub(in crate::domain) fn names_nothing(&self, entity_type: &str, id: &str) -> bool {
        let is_zero_none = || self.entity(entity_type).is_some_and(|rules| rules.is_zero_none);
        id.trim().is_empty() || (id.trim().parse() == Ok(0_i64) && is_zero_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relations(rules: &str) -> Result<Relations, Vec<String>> {
        let read = Relations::parse("relations.toml", &format!("[entities.School]\n{rules}\n"));
        read.map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn a_zero_names_nothing_where_the_realm_says_so() {
        for (rules, zero_is_nothing) in [
            ("id = \"integer\"\nzero = \"none\"", true),
            ("id = \"integer\"\nzero = \"id\"", false),
            ("id = \"integer\"", false),
            ("", false),
        ] {
            let relations = relations(rules).unwrap();
            for (id, expected) in
                [("0", zero_is_nothing), (" 00 ", zero_is_nothing), ("-0", zero_is_nothing), ("10", false), (" ", true)]
            {
                assert_eq!(relations.names_nothing("School", id), expected, "{rules} {id}");
            }
            assert!(!relations.names_nothing("Other", "0"));
        }
    }

    #[test]
    fn a_zero_that_no_id_can_be_is_a_fault() {
        let expected = "`zero = \"none\"` is for ids that are whole numbers, with `id = \"integer\"`";
        assert_eq!(relations("zero = \"none\"").unwrap_err(), [expected]);
        assert_eq!(relations("id = \"integer\"\nzero = \"null\"").unwrap_err(), ["`zero` is neither `id` nor `none`"]);
    }
}
