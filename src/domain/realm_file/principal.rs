//! `[principal]`: how the claims of a token become who asks.

use std::{ops::Range, sync::Arc};

use crate::domain::{document::Table, forms::Forms, value::Value};

/// How a claim becomes an attribute of the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMapping {
    /// The attribute of the principal's entity type.
    pub attribute: Arc<str>,
    /// Where a token says it: a claim, and the names of members of objects within it. Of lists on the way each member
    /// counts. Never empty.
    pub path: Vec<Arc<str>>,
    /// Where the answer of an introspection (RFC 7662) says it, if elsewhere. Never empty.
    pub introspection: Option<Vec<Arc<str>>>,
    /// What of its texts counts.
    pub texts: TextRules,
    /// Only a list of texts counts.
    pub is_list: bool,
    /// The value where neither token nor record says anything.
    pub default: Option<Value>,
    /// Of several texts the first one counts.
    pub is_first: bool,
    /// More members mean less access, so that a token cannot lift what the application's record says: both count.
    pub restricts: bool,
    places: Vec<(&'static str, Range<usize>)>,
}

/// What of the texts of a claim counts, in the order in which they go through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRules {
    /// Where a text is split into several.
    pub separator: Option<Arc<str>>,
    /// Only members of none of these forms count.
    pub unlike: Option<Forms>,
    /// Only texts of these forms count, as what they are read as.
    pub forms: Option<Forms>,
    /// Texts count in lower case.
    pub is_lower: bool,
    /// The file of names that stand for others.
    pub aliases: Option<Arc<str>>,
}

impl ClaimMapping {
    /// Where a key of the mapping stands in the file; the mapping itself where it doesn't have that key.
    pub(in crate::domain) fn place(&self, key: &str) -> Option<Range<usize>> {
        let place = self.places.iter().find(|(name, _)| *name == key).or_else(|| self.places.first());
        place.map(|(_, place)| place.clone())
    }

    /// The keys of the mapping that only texts have a use for and that it has.
    pub(in crate::domain) fn keys_for_texts(&self) -> impl Iterator<Item = &'static str> {
        self.places.iter().map(|(name, _)| *name).filter(|name| FOR_TEXTS.contains(name))
    }
}

/// How claims become a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalMapping {
    /// The Cedar entity type.
    pub entity: Arc<str>,
    /// The claims that give the id: the first that is there. Never empty.
    pub id_claims: Vec<Arc<str>>,
    /// The entity type of who acts for the principal (RFC 8693 section 4.1), if it is another than the principal's.
    pub actor: Option<Arc<str>>,
    /// Attributes whose entities contain the principal.
    pub parents: Vec<Arc<str>>,
    /// The attributes.
    pub attributes: Vec<ClaimMapping>,
    places: Vec<(&'static str, Range<usize>)>,
}

impl PrincipalMapping {
    /// The entity type of who acts for the principal.
    pub fn actor_type(&self) -> &Arc<str> {
        self.actor.as_ref().unwrap_or(&self.entity)
    }

    /// How an attribute is filled, if a claim fills it.
    pub fn attribute(&self, name: &str) -> Option<&ClaimMapping> {
        self.attributes.iter().find(|mapping| *mapping.attribute == *name)
    }

    /// It says the same, wherever in the file.
    pub(in crate::domain) fn is_like(&self, other: &Self) -> bool {
        let without_places = |mapping: &Self| {
            let attributes =
                mapping.attributes.iter().map(|attribute| ClaimMapping { places: Vec::new(), ..attribute.clone() });
            Self { attributes: attributes.collect(), places: Vec::new(), ..mapping.clone() }
        };
        without_places(self) == without_places(other)
    }

    /// Where a key of the table stands in the file.
    pub(in crate::domain) fn place(&self, key: &str) -> Option<Range<usize>> {
        self.places.iter().find(|(name, _)| *name == key).map(|(_, place)| place.clone())
    }
}

/// The keys that are remembered with their places. The first stands for the table as a whole.
const PLACES: [&str; 10] =
    ["", "default", "restricts", "first", "list", "separator", "forms", "unlike", "case", "aliases"];
const FOR_TEXTS: [&str; 5] = ["separator", "forms", "unlike", "case", "aliases"];

pub(super) fn read_principal(table: &Table<'_>) -> Option<PrincipalMapping> {
    let entity = table.required_text("entity");
    let id_claims = table.required_one_or_more("id");
    if id_claims.as_ref().is_some_and(|claims| claims.is_empty() || claims.iter().any(|claim| claim.is_empty())) {
        table.fault(Some("id"), "`principal.id` is empty, expected a claim, or claims of which the first counts");
    }
    let actor = table.text("actor");
    let parents = table.texts("parents").unwrap_or_default();
    let attributes = table.named("attributes", read_claim);
    let attributes: Vec<_> = attributes.into_iter().map(|(_, mapping)| mapping).collect();
    for parent in parents.iter().filter(|parent| !attributes.iter().any(|mapping| mapping.attribute == **parent)) {
        table.fault(Some("parents"), format!("`{parent}` is none of the principal's attributes"));
    }
    let places = ["entity", "actor"].map(|key| (key, table.place(key))).into();
    Some(PrincipalMapping { entity: entity?, id_claims: id_claims?, actor, parents, attributes, places })
}

fn read_claim(name: &str, table: &Table<'_>) -> Option<ClaimMapping> {
    let path = read_path(table);
    let introspection = table.texts("introspection").filter(|path| is_path(table, "introspection", path));
    let texts = read_text_rules(table);
    let is_list = choice(table, "list", "array");
    if is_list && texts.separator.is_some() {
        table.fault(Some("separator"), "`separator` splits texts, and with `list` no text counts");
    }
    let places = PLACES.into_iter().filter(|key| key.is_empty() || table.has(key));
    Some(ClaimMapping {
        attribute: name.into(),
        introspection,
        texts,
        is_list,
        default: table.value("default"),
        is_first: table.flag("first"),
        restricts: table.flag("restricts"),
        places: places.map(|key| (key, table.place(key))).collect(),
        path: path?,
    })
}

fn read_text_rules(table: &Table<'_>) -> TextRules {
    let separator = table.text("separator");
    if separator.as_ref().is_some_and(|separator| separator.is_empty()) {
        table.fault(Some("separator"), "`separator` is empty");
    }
    let unlike = read_forms(table, "unlike");
    if unlike.as_ref().is_some_and(Forms::have_results) {
        table.fault(Some("unlike"), "`unlike` leaves texts out, so its forms cannot have a `=>`");
    }
    let forms = read_forms(table, "forms");
    let is_lower = choice(table, "case", "lower");
    TextRules { separator, unlike, forms, is_lower, aliases: table.text("aliases") }
}

/// `claim` or `path`.
fn read_path(table: &Table<'_>) -> Option<Vec<Arc<str>>> {
    let (claim, path) = (table.text("claim"), table.texts("path"));
    match (table.has("claim"), table.has("path")) {
        (true, false) => claim.map(|claim| vec![claim]).filter(|path| is_path(table, "claim", path)),
        (false, true) => path.filter(|path| is_path(table, "path", path)),
        (false, false) => {
            table.fault(None, "where the value is said is missing, expected one of `claim` and `path`");
            None
        }
        (true, true) => {
            table.fault(Some("path"), "`claim` and `path` both say where the value is, expected one of them");
            None
        }
    }
}

fn is_path(table: &Table<'_>, key: &str, path: &[Arc<str>]) -> bool {
    let is_path = !path.is_empty() && path.iter().all(|name| !name.is_empty());
    if !is_path {
        table.fault(Some(key), format!("`{key}` is empty, expected the name of a claim"));
    }
    is_path
}

fn read_forms(table: &Table<'_>, key: &str) -> Option<Forms> {
    Forms::parse(&table.texts(key)?).map_err(|fault| table.fault(Some(key), format!("`{key}`: {fault}"))).ok()
}

/// A key that has one possible value.
fn choice(table: &Table<'_>, key: &str, word: &str) -> bool {
    let found = table.text(key);
    if found.as_ref().is_some_and(|found| **found != *word) {
        table.fault(Some(key), format!("`{key}` is not `{word}`"));
    }
    found.is_some()
}
