//! `[profiles]`: where a realm's data policies stand, and how requests name them.

use std::sync::Arc;

use crate::domain::document::Table;

/// How profiles are looked up and what requests call them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileSettings {
    /// The folder of the definitions, within the realm's folder.
    pub folder: Arc<str>,
    /// The principal attribute that lists the names of the assigned profiles.
    pub attribute: Arc<str>,
    /// The beginning of a profile's media type, before `.{resource}.{profile}.{usage}+json`.
    pub media_type: Arc<str>,
    /// The actions that read through a profile, each with the HTTP method that texts name.
    pub readable: Vec<(Arc<str>, Arc<str>)>,
    /// The actions that write through a profile, each with the HTTP method that texts name.
    pub writable: Vec<(Arc<str>, Arc<str>)>,
    /// What becomes of an invalid profile.
    pub invalid: InvalidProfiles,
    /// What an assigned name means that no profile has.
    pub missing: MissingProfiles,
    /// How strictly, and in which order, a header is judged.
    pub header: HeaderForm,
    /// What naming an object, collection or extension under `ExcludeOnly` means.
    pub excluded_children: ExcludedChildren,
    /// The member that holds the extensions of a resource, each under its name.
    pub extensions: Option<Arc<str>>,
}

/// What becomes of an invalid profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidProfiles {
    /// It is as if it did not exist.
    Drop,
    /// It exists, and whatever would use it is refused.
    Keep,
}

/// What an assigned name means that no profile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingProfiles {
    /// Nothing.
    Ignore,
    /// Requests that a profile could narrow are refused.
    Refuse,
}

/// How strictly, and in which order, a header is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderForm {
    /// The whole media type has to fit; then the profile, its assignment, the resource and the usage are judged.
    Pattern,
    /// Three facets are enough; the usage is judged by itself, before the profile.
    Facets,
}

/// What naming an object, collection or extension under `ExcludeOnly` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcludedChildren {
    /// It stays, narrowed by the selection of its own.
    Narrow,
    /// It is left out.
    Exclude,
}

pub(super) fn read_profiles(table: &Table<'_>) -> Option<ProfileSettings> {
    let folder = table.required_text("folder");
    let attribute = table.required_text("attribute");
    let media_type = table.required_text("media_type");
    let [readable, writable] = ["readable", "writable"].map(|key| read_methods(table, key));
    for (action, _) in readable.iter().filter(|(action, _)| writable.iter().any(|(other, _)| other == action)) {
        table.fault(Some("writable"), format!("`{action}` cannot read and write at once"));
    }
    let invalid = choice(table, "invalid", [("drop", InvalidProfiles::Drop), ("keep", InvalidProfiles::Keep)]);
    let missing = choice(table, "missing", [("ignore", MissingProfiles::Ignore), ("refuse", MissingProfiles::Refuse)]);
    let header = choice(table, "header", [("pattern", HeaderForm::Pattern), ("facets", HeaderForm::Facets)]);
    let excluded_children = choice(
        table,
        "excluded_children",
        [("narrow", ExcludedChildren::Narrow), ("exclude", ExcludedChildren::Exclude)],
    );
    let extensions = table.text("extensions");
    Some(ProfileSettings {
        folder: folder?,
        attribute: attribute?,
        media_type: media_type?.to_ascii_lowercase().into(),
        readable,
        writable,
        invalid,
        missing,
        header,
        excluded_children,
        extensions,
    })
}

/// Actions with the name of one HTTP method each.
fn read_methods(table: &Table<'_>, key: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let listed = table.text_lists(key).into_iter();
    let methods = listed.filter_map(|(action, names)| {
        let method = <[Arc<str>; 1]>::try_from(names).ok();
        if method.is_none() {
            table.fault(Some(key), format!("`{key}.{action}` needs the name of one HTTP method"));
        }
        method.map(|[method]| (action, method))
    });
    methods.collect()
}

/// One of two words; the first when there is none.
fn choice<T: Copy>(table: &Table<'_>, key: &str, words: [(&str, T); 2]) -> T {
    let [(first, default), (second, other)] = words;
    match table.text(key).as_deref() {
        None => default,
        Some(word) if word == first => default,
        Some(word) if word == second => other,
        Some(_) => {
            table.fault(Some(key), format!("`{key}` is another word, expected `{first}` or `{second}`"));
            default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::read_document;

    const SMALL: &str = "folder = \"profiles\"\nattribute = \"profiles\"\nmedia_type = \"application/vnd.X\"\n";

    fn read(more: &str) -> Result<ProfileSettings, Vec<String>> {
        let read = read_document("realm.toml", &format!("{SMALL}{more}"), read_profiles);
        read.map(Option::unwrap).map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_first_words() {
        let settings = read("readable = { Read = \"GET\" }").unwrap();
        assert_eq!(&*settings.media_type, "application/vnd.x");
        assert_eq!(settings.readable, [("Read".into(), "GET".into())]);
        assert_eq!(settings.invalid, InvalidProfiles::Drop);
        assert_eq!(settings.missing, MissingProfiles::Ignore);
        assert_eq!(settings.header, HeaderForm::Pattern);
        assert_eq!(settings.excluded_children, ExcludedChildren::Narrow);
    }

    #[test]
    fn what_is_not_meant_is_a_fault() {
        for (more, expected) in [
            ("invalid = \"hide\"", "`invalid` is another word, expected `drop` or `keep`"),
            ("writable = { Create = [] }", "`writable.Create` needs the name of one HTTP method"),
            ("readable = { A = \"GET\" }\nwritable = { A = \"PUT\" }", "`A` cannot read and write at once"),
        ] {
            assert_eq!(read(more).unwrap_err(), [expected], "{more}");
        }
    }
}
