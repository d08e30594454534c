//! What `[principal]` says, held against the schema and the files of names that stand for others.

use std::{collections::BTreeMap, sync::Arc};

use super::{REALM_FILE, Realm, find};
use crate::domain::{
    aliases::Aliases,
    application::recorded,
    fault::{Code, Fault},
    issuer::Issuer,
    policy_set::SourceFile,
    realm_file::{ClaimMapping, RealmFile},
    record_mapping::Relations,
    schema::{AttributeType, Member, RealmSchema},
};

/// The files of names that stand for others, by their path.
pub(in crate::domain) type AliasFiles = BTreeMap<Arc<str>, Aliases>;

/// Reads the files of names that stand for others.
///
/// # Errors
/// Files that are missing or at fault, and groups that an issuer names and no file has.
pub(super) fn read_aliases(files: &[SourceFile], realm: &RealmFile) -> Result<AliasFiles, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut read = AliasFiles::new();
    for mapping in &realm.principal.attributes {
        let Some(path) = mapping.texts.aliases.as_ref().filter(|path| !read.contains_key(*path)) else { continue };
        let Some(file) = find(files, path) else {
            let message = format!("the realm's folder has no file `{path}`");
            let fault = Fault::at(REALM_FILE, content(files), mapping.place("aliases"), message);
            faults.push(fault.coded(Code::MissingFile).near(path, files.iter().map(|file| file.path.as_str())));
            continue;
        };
        let aliases = Aliases::parse(&file.path, &file.content);
        read.insert(Arc::clone(path), aliases.map_err(|found| faults.extend(found)).unwrap_or_default());
    }
    // Where a file could not be read, its groups aren't known.
    if faults.is_empty() {
        for (issuer, place) in realm.issuers.iter().zip(&realm.issuer_places) {
            let unknown = unknown_groups(issuer, &read);
            faults.extend(unknown.map(|message| Fault::at(REALM_FILE, content(files), Some(place.clone()), message)));
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(faults) }
}

impl Realm {
    /// Of any token the other realm makes the same principal as this one, as far as the files say it: by the same mapping,
    /// types and names that stand for others. Whether a token is good is another question.
    pub fn reads_claims_as(&self, other: &Self) -> bool {
        let declared = |realm: &Self| realm.schema.entities.get(&realm.file.principal.entity).cloned();
        // An issuer that only one of them has may be the deployment's, which files don't say.
        let has_groups =
            |issuer: &Issuer| other.issuer(&issuer.issuer).is_none_or(|same| same.aliases == issuer.aliases);
        self.file.principal.is_like(&other.file.principal)
            && self.aliases == other.aliases
            && declared(self) == declared(other)
            && self.file.issuers.iter().all(has_groups)
    }
}

/// A sentence for each group that an issuer names and no file has.
pub(super) fn unknown_groups<'a>(issuer: &'a Issuer, files: &'a AliasFiles) -> impl Iterator<Item = String> + 'a {
    let known = || files.values().flat_map(Aliases::groups);
    let unknown = issuer.aliases.iter().flatten().filter(move |group| !known().any(|known| known == *group));
    unknown.map(move |group| {
        let mut known: Vec<&str> = known().map(|group| &**group).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() { "none, as no attribute has `aliases`".to_owned() } else { known.join(", ") };
        format!("the issuer `{}` names the aliases `{group}`, expected some of {known}", issuer.issuer)
    })
}

/// Holds the principal against the schema.
pub(super) fn check_principal(
    files: &[SourceFile],
    file: &RealmFile,
    relations: &Relations,
    schema: &RealmSchema,
) -> Vec<Fault> {
    let principal = &file.principal;
    let mut faults = Vec::new();
    let mut wrong =
        |code, place, message| faults.push(Fault::at(REALM_FILE, content(files), place, message).coded(code));
    let unknown = |name: &Arc<str>| {
        let types = schema.entities.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        format!("the schema has no entity type `{name}`, expected one of {types}")
    };
    if let Some(actor) = principal.actor.as_ref().filter(|actor| !schema.entities.contains_key(*actor)) {
        wrong(Code::UnknownEntityType, principal.place("actor"), unknown(actor));
    }
    let Some(members) = schema.entities.get(&principal.entity) else {
        wrong(Code::UnknownEntityType, principal.place("entity"), unknown(&principal.entity));
        return faults;
    };
    for mapping in &principal.attributes {
        let name = format!("`{}.{}`", principal.entity, mapping.attribute);
        for (key, sentence) in unfit(mapping, members.get(&mapping.attribute), relations) {
            let code = if members.contains_key(&mapping.attribute) { Code::Unmet } else { Code::UnknownAttribute };
            wrong(code, mapping.place(key), format!("the principal's attribute {name} {sentence}"));
        }
    }
    let links = relations.entity(&principal.entity).map(|rules| &rules.links);
    let is_link = |name: &Arc<str>| links.is_some_and(|links| links.contains_key(name));
    let required = members.iter().filter(|(_, member)| member.is_required).map(|(name, _)| name);
    for name in required.filter(|name| principal.attribute(name).is_none() && !is_link(name)) {
        let message = format!("the schema requires `{}.{name}`, but no claim is mapped to it", principal.entity);
        wrong(Code::Unmet, principal.place("entity"), message);
    }
    let known = || members.keys().map(|name| &**name);
    let asked = |fault: Fault| match fault.message.split(['.', '`']).nth(2).map(str::to_owned) {
        Some(name) if fault.code == Code::UnknownAttribute => fault.near(&name, known()),
        _ => fault,
    };
    faults.into_iter().map(asked).collect()
}

/// What a mapping says that the attribute as the schema declares it has no use for: the key, and a sentence without its
/// beginning.
fn unfit(mapping: &ClaimMapping, member: Option<&Member>, relations: &Relations) -> Vec<(&'static str, String)> {
    let Some(member) = member else { return vec![("", "is not declared in the schema".to_owned())] };
    let (element, is_set) = match &member.value_type {
        AttributeType::Set(element) => (&**element, true),
        AttributeType::Record(_) | AttributeType::Other => {
            return vec![("", "is of a type that no claim can fill".to_owned())];
        }
        single => (single, false),
    };
    let takes_several = is_set || mapping.is_first;
    let several = "is no set: say `first` too, so that one of several counts";
    let mut unfit: Vec<(&'static str, String)> = [
        (!is_set && mapping.restricts, "restricts", "is no set, and only sets can say `restricts`"),
        (!is_set && mapping.texts.unlike.is_some(), "unlike", "is no set, and only members of a set can be left out"),
        (is_set && mapping.is_first, "first", "is a set, and of a set all members count"),
        (
            mapping.restricts && (mapping.texts.unlike.is_some() || mapping.texts.forms.is_some()),
            "restricts",
            "leaves members out by `forms` or `unlike`, and what restricts must not get lost",
        ),
        (!takes_several && mapping.is_list, "list", several),
        (!takes_several && mapping.texts.separator.is_some(), "separator", several),
    ]
    .into_iter()
    .filter(|(is_unfit, ..)| *is_unfit)
    .map(|(_, key, sentence)| (key, sentence.to_owned()))
    .collect();
    if *element == AttributeType::Bool {
        let useless = |key| (key, format!("holds no texts, so `{key}` has no use"));
        unfit.extend(mapping.keys_for_texts().map(useless));
    }
    if let Some(default) = &mapping.default
        && let Err(expected) = recorded(default, &member.value_type, relations)
    {
        unfit.push(("default", format!("has a default that is {}, expected {expected}", default.kind())));
    }
    unfit
}

/// The text of realm.toml.
fn content(files: &[SourceFile]) -> &str {
    find(files, REALM_FILE).map_or("", |file| &file.content)
}
