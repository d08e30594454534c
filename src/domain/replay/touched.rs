//! Which questions a change of policies can touch.
//!
//! A decision follows from the question, from the relationships, from what a realm's files say beside policies, and from
//! the policies whose scope takes the question. Where two versions of the files have the same of all that, they decide
//! the same.

use std::collections::BTreeMap;

use crate::domain::{
    fault::Fault,
    policy_set::{CompiledPolicy, PolicySet, SourceFile},
    realm::Realm,
    variant,
};

/// What differs between two versions of a realm's files, as far as decisions can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// More than policies, or their order: any question.
    Everything,
    /// The policies that only one of them has as they are: by their place in the old version, and in the new one.
    Policies(Vec<usize>, Vec<usize>),
}

/// A version of a realm's files, compiled and as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Compiled.
    pub realm: &'a Realm,
    /// As it is written, without the changes of the realm's variant.
    pub files: &'a [SourceFile],
}

impl Touched {
    /// What differs.
    pub fn between(old: Written<'_>, new: Written<'_>) -> Self {
        Self::found(old, new).unwrap_or(Self::Everything)
    }

    /// `None` where more differs than policies, or where that can't be told.
    fn found(old: Written<'_>, new: Written<'_>) -> Option<Self> {
        let [old_files, new_files] = [old, new].map(Written::as_they_decide);
        let (old_files, new_files) = (old_files.ok()?, new_files.ok()?);
        if old.realm.variant != new.realm.variant || beside_policies(&old_files) != beside_policies(&new_files) {
            return None;
        }
        let (old, new) = (texts(old.realm, &old_files)?, texts(new.realm, &new_files)?);
        let shared = |all: &[&str], others: &[&str]| -> Vec<String> {
            all.iter().filter(|text| others.contains(text)).map(ToString::to_string).collect()
        };
        if shared(&old, &new) != shared(&new, &old) {
            return None;
        }
        let only = |all: &[&str], others: &[&str]| {
            all.iter().enumerate().filter(|(_, text)| !others.contains(text)).map(|(place, _)| place).collect()
        };
        Some(Self::Policies(only(&old, &new), only(&new, &old)))
    }

    /// A question for this action on this type of resource, both as the realm's schema names them, may come out
    /// otherwise.
    pub fn touches(&self, old: &Realm, new: &Realm, action: &str, entity_type: &str) -> bool {
        let takes = |realm: &Realm, places: &[usize]| {
            let Some(action) = realm.policies.action(action) else { return true };
            let mut policies = places.iter().filter_map(|place| realm.policies.get(*place));
            policies.any(|policy| realm.policies.takes(policy, action) && PolicySet::takes_type(policy, entity_type))
        };
        match self {
            Self::Everything => true,
            Self::Policies(of_old, of_new) => takes(old, of_old) || takes(new, of_new),
        }
    }
}

impl Written<'_> {
    fn as_they_decide(self) -> Result<Vec<SourceFile>, Vec<Fault>> {
        match &self.realm.variant {
            Some(name) => variant::apply(self.files, name),
            None => Ok(self.files.to_vec()),
        }
    }
}

/// The files that decide beside policies.
fn beside_policies(files: &[SourceFile]) -> BTreeMap<&str, &str> {
    let deciding = files.iter().filter(|file| !file.is_policy_file() && !file.is_aside());
    deciding.map(|file| (file.path.as_str(), file.content.as_str())).collect()
}

/// The policies as they are written, in their order.
fn texts<'a>(realm: &Realm, files: &'a [SourceFile]) -> Option<Vec<&'a str>> {
    let text = |policy: &CompiledPolicy| {
        let file = files.iter().find(|file| file.path == policy.place().file)?;
        file.content.get(policy.span.clone()).filter(|text| !text.is_empty())
    };
    realm.policies.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "title = \"Books\"\n[principal]\nentity = \"Reader\"\nid = \"sub\"\n";
    const SCHEMA: &str = "entity Reader; entity Book; entity Room; action look, enter, borrow appliesTo { principal: [Reader], resource: [Book, Room] };";
    const LOOK: &str = "@id(\"look\") permit (principal is Reader, action == Action::\"look\", resource);";
    const BORROW: &str = "@id(\"borrow\") permit (principal, action == Action::\"borrow\", resource is Book);";

    fn files(policies: &str, more: &[(&str, &str)]) -> Vec<SourceFile> {
        let all =
            [("realm.toml", REALM), ("schema.cedarschema", SCHEMA), ("relations.toml", ""), ("a.cedar", policies)];
        let kept = all.iter().filter(|(path, _)| !more.iter().any(|(other, _)| other == path));
        let file = |(path, content): &(&str, &str)| SourceFile { path: (*path).into(), content: (*content).into() };
        kept.chain(more).map(file).collect()
    }

    /// What a change touches, as `action type`.
    fn touched(old: &[SourceFile], new: &[SourceFile]) -> Vec<String> {
        let [was, is] =
            [old, new].map(|files| Realm::compile(files, None).unwrap_or_else(|faults| panic!("{faults:?}")));
        let touched = Touched::between(Written { realm: &was, files: old }, Written { realm: &is, files: new });
        let mut found = Vec::new();
        for action in ["borrow", "enter", "look"] {
            for entity_type in ["Book", "Room"] {
                if touched.touches(&was, &is, action, entity_type) {
                    found.push(format!("{action} {entity_type}"));
                }
            }
        }
        found
    }

    #[test]
    fn a_policy_touches_what_its_scope_takes_where_it_is_new_gone_or_other() {
        let both = files(&format!("{LOOK}\n{BORROW}"), &[]);
        let one = files(LOOK, &[]);
        let other = files(&format!("{LOOK}\n{}", BORROW.replace(';', " when { 1 == 1 };")), &[]);
        assert!(touched(&both, &both).is_empty());
        for (old, new) in [(&both, &one), (&one, &both), (&both, &other)] {
            assert_eq!(touched(old, new), ["borrow Book"]);
        }
        let moved = files(&format!("{LOOK}\n{}", BORROW.replace("\"borrow\", resource", "\"enter\", resource")), &[]);
        assert_eq!(touched(&both, &moved), ["borrow Book", "enter Book"]);
    }

    #[test]
    fn places_comments_and_what_lies_aside_touch_nothing() {
        let old = files(&format!("{LOOK}\n{BORROW}"), &[]);
        let new = files(
            &format!("// What readers do.\n\n{LOOK}\n"),
            &[("b.cedar", BORROW), ("README.md", "Books"), ("tests/a.yaml", "cases: []")],
        );
        assert!(touched(&old, &new).is_empty());
    }

    #[test]
    fn another_order_or_another_file_beside_policies_touches_everything() {
        let old = files(&format!("{LOOK}\n{BORROW}"), &[]);
        let swapped = files(&format!("{BORROW}\n{LOOK}"), &[]);
        let titled = files(&format!("{LOOK}\n{BORROW}"), &[("realm.toml", &REALM.replace("Books", "Rooms"))]);
        let schema = files(&format!("{LOOK}\n{BORROW}"), &[("schema.cedarschema", &format!("{SCHEMA} entity Other;"))]);
        for new in [&swapped, &titled, &schema] {
            assert_eq!(touched(&old, new).len(), 6);
        }
    }
}
