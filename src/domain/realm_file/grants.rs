//! realm.toml `[grants]`: how a claim set's grants and strategies are looked up.

use std::sync::Arc;

use crate::domain::document::Table;

/// From which claims of a resource's lineage a claim set's strategies come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inheritance {
    /// The nearest claim that grants the action decides alone: its own strategies if it lists any, else those of the
    /// nearest claim with a default entry for the action, an empty entry included.
    #[default]
    Nearest,
    /// The first claim that grants the action and lists strategies of its own supplies them, however far up; where none
    /// does, the first default entry that isn't empty.
    FirstOverride,
}

/// Which claims a resource type can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressable {
    /// Claims without children; a resource type whose claim is a group is unknown.
    #[default]
    Leaves,
    /// Any claim.
    Any,
}

/// How names of claims compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimCase {
    /// Without ASCII case.
    #[default]
    Ignore,
    /// Letter by letter.
    Exact,
}

/// How an unknown name is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// As a fault of the configuration.
    Error,
    /// As a claim set that doesn't have the resource.
    #[default]
    Deny,
}

/// How grants are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantSettings {
    /// The file of the grants.
    pub file: Arc<str>,
    /// The principal attribute that names the claim set.
    pub claim_set: Arc<str>,
    /// The strategies that the policies know, each with the resource attributes it looks at.
    pub strategies: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Actions for which only these strategies can be used.
    pub usable: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Strategies that can be used for these actions only.
    pub only: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Strategies that come after all others, whatever the table's order.
    pub last: Vec<Arc<str>>,
    /// What a strategy asks for, in words for people.
    pub words: Vec<(Arc<str>, Arc<str>)>,
    /// From where strategies come.
    pub inheritance: Inheritance,
    /// Which claims a resource type can have.
    pub addressable: Addressable,
    /// How names of claims compare.
    pub claim_case: ClaimCase,
    /// How a claim set is answered that the table doesn't know.
    pub unknown_claim_set: Unknown,
    /// How a resource type is answered whose claim the table doesn't know.
    pub unknown_resource: Unknown,
    /// Beginnings of resource claims, each with what is tried in its place.
    pub claim_prefixes: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

/// Reads `[grants]`.
pub(super) fn read_grants(table: &Table<'_>) -> Option<GrantSettings> {
    let file = table.required_text("file");
    let claim_set = table.required_text("claim_set");
    let strategies = table.text_lists("strategies");
    let usable = table.text_lists("usable");
    let only = table.text_lists("only");
    let last = table.texts("last").unwrap_or_default();
    let words = table.text_lists("words").into_iter().map(|(name, words)| (name, Arc::from(words.join(" "))));
    let inheritance = choice(
        table,
        "inheritance",
        &[("nearest", Inheritance::Nearest), ("first_override", Inheritance::FirstOverride)],
    );
    let addressable = choice(table, "addressable", &[("leaves", Addressable::Leaves), ("any", Addressable::Any)]);
    let claim_case = choice(table, "claim_case", &[("ignore", ClaimCase::Ignore), ("exact", ClaimCase::Exact)]);
    let unknown = [("error", Unknown::Error), ("deny", Unknown::Deny)];
    let unknown_claim_set = choice(table, "unknown_claim_set", &unknown);
    let unknown_resource = choice(table, "unknown_resource", &unknown);
    let claim_prefixes = table.text_lists("claim_prefixes");
    Some(GrantSettings {
        file: file?,
        claim_set: claim_set?,
        strategies,
        usable,
        only,
        last,
        words: words.collect(),
        inheritance: inheritance.unwrap_or_default(),
        addressable: addressable.unwrap_or_default(),
        claim_case: claim_case.unwrap_or_default(),
        unknown_claim_set: unknown_claim_set.unwrap_or(Unknown::Error),
        unknown_resource: unknown_resource.unwrap_or_default(),
        claim_prefixes,
    })
}

/// One of a few words; `None` when the key is absent, and with a fault when it is another word.
fn choice<T: Copy>(table: &Table<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    let word = table.text(key)?;
    let chosen = choices.iter().find(|(name, _)| **name == *word).map(|(_, value)| *value);
    if chosen.is_none() {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        table.fault(Some(key), format!("`grants.{key}` is `{word}`, expected one of {}", names.join(", ")));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{document::read_document, fault::Fault};

    fn read(content: &str) -> Result<GrantSettings, Vec<Fault>> {
        let content = format!("[grants]\nfile = \"grants.json\"\nclaim_set = \"claimSet\"\n{content}");
        Ok(read_document("realm.toml", &content, |root| root.table("grants", read_grants))?.unwrap().unwrap())
    }

    #[test]
    fn the_defaults_are_those_of_the_nearest_grant() {
        let settings = read("").unwrap();
        assert_eq!((settings.inheritance, settings.addressable), (Inheritance::Nearest, Addressable::Leaves));
        assert_eq!((settings.unknown_claim_set, settings.unknown_resource), (Unknown::Error, Unknown::Deny));
        assert_eq!(settings.claim_case, ClaimCase::Ignore);
    }

    #[test]
    fn every_key_has_its_words() {
        let settings = read(
            "inheritance = \"first_override\"\naddressable = \"any\"\nclaim_case = \"exact\"\nlast = [\"Owned\"]\n\
             unknown_claim_set = \"deny\"\nunknown_resource = \"error\"\n\
             [grants.claim_prefixes]\n\"urn:new:\" = [\"urn:old:\"]\n[grants.words]\nFree = \"every item\"\n",
        )
        .unwrap();
        assert_eq!((settings.inheritance, settings.addressable), (Inheritance::FirstOverride, Addressable::Any));
        assert_eq!((settings.unknown_claim_set, settings.unknown_resource), (Unknown::Deny, Unknown::Error));
        assert_eq!(settings.claim_case, ClaimCase::Exact);
        assert_eq!(settings.claim_prefixes, [("urn:new:".into(), vec!["urn:old:".into()])]);
        assert_eq!((settings.last, settings.words), (vec!["Owned".into()], vec![("Free".into(), "every item".into())]));
    }

    #[test]
    fn another_word_is_a_fault_with_its_line() {
        let faults = read("inheritance = \"farthest\"").unwrap_err();
        let expected = "`grants.inheritance` is `farthest`, expected one of `nearest`, `first_override`";
        assert_eq!((faults[0].line, &*faults[0].message), (4, expected));
    }
}
