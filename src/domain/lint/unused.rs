//! What a realm's files declare and nothing uses.

use std::{ops::Range, sync::Arc};

use super::containers;
use crate::domain::{
    fault::{Code, Fault, nearest, occurrences},
    policy_set::SourceFile,
    realm::Realm,
};

const REALM_FILE: &str = "realm.toml";
const RELATIONS_FILE: &str = "relations.toml";
const SCHEMA_FILE: &str = "schema.cedarschema";

pub(super) fn check(realm: &Realm, files: &[SourceFile]) -> Vec<Fault> {
    let unused = Unused { realm, files };
    let mut found = unused.entity_types();
    found.extend(unused.files());
    // A realm without policies is told about already; nothing of it is in use yet.
    if !realm.policies.is_empty() {
        found.extend(unused.relations());
        found.extend(unused.claims());
        found.extend(unused.context());
        found.extend(unused.settings());
        found.extend(unused.denials());
        found.extend(unused.aliases());
    }
    found
}

struct Unused<'a> {
    realm: &'a Realm,
    files: &'a [SourceFile],
}

impl Unused<'_> {
    fn content(&self, path: &str) -> &str {
        self.files.iter().find(|file| file.path == path).map_or("", |file| &file.content)
    }

    fn at(&self, path: &str, place: Option<Range<usize>>, code: Code, message: String) -> Fault {
        Fault::at(path, self.content(path), place, message).coded(code).helped(code.fix())
    }

    /// The files that say something about the realm: not its tests, nor what a demonstration plays.
    fn saying(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| !file.is_aside())
    }

    /// A TOML or JSON file says the name elsewhere than in a heading of this beginning or as the name of a claim.
    fn is_told(&self, name: &str, heading: &str) -> bool {
        let files = self.saying().filter(|file| file.has_ending(&["toml", "json"]));
        let own = format!("[{heading}.{name}]");
        let mut told = files.flat_map(|file| occurrences(file, name).map(move |at| (file, at)));
        told.any(|(file, at)| {
            let before = file.content.get(..at.start).unwrap_or_default();
            let line = file.content.get(before.rfind('\n').map_or(0, |end| end + 1)..).unwrap_or_default();
            let line = line.lines().next().unwrap_or_default().trim_start();
            !line.starts_with(&own) && !line.starts_with("claim ") && !line.starts_with("claim=")
        })
    }

    /// Relations between whose ends no policy asks for a way.
    fn relations(&self) -> Vec<Fault> {
        let Some(mut asked) = containers::asked_for(self.realm) else { return Vec::new() };
        let Realm { schema, file, relations, .. } = self.realm;
        // Organizations are listed with what is above and below them.
        let listed = file.token_info.is_some();
        asked.extend(schema.entities.keys().filter(|_| listed).cloned());
        let known = |object: &Arc<str>| {
            asked.iter().any(|asked| asked == object || schema.may_contain(asked, object) == Some(true))
        };
        let of_items = |name: &Arc<str>| {
            relations.items().values().any(|item| item.values.values().any(|relation| relation == name))
        };
        let unused = relations.relation_rules().filter(|(name, rule)| !known(&rule.object) && !of_items(name));
        let fault = |name: &Arc<str>, subject: &str, object: &str| {
            let message = format!(
                "the relation `{name}` puts a `{subject}` in a `{object}`, and no policy asks what is in a `{object}` or above it"
            );
            let content = self.content(RELATIONS_FILE);
            let heading = format!("[relations.{name}]");
            let place = content.find(&heading).map(|start| start..start + heading.len());
            self.at(RELATIONS_FILE, place, Code::UnusedRelation, message)
        };
        unused.map(|(name, rule)| fault(name, &rule.subject, &rule.object)).collect()
    }

    /// Entity types that are declared, and mentioned nowhere else.
    fn entity_types(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for name in self.realm.schema.entities.keys() {
            let short = name.rsplit("::").next().unwrap_or(name);
            let own: Vec<Range<usize>> = self
                .files
                .iter()
                .filter(|file| file.path == SCHEMA_FILE)
                .flat_map(|file| occurrences(file, short))
                .collect();
            let mut others = self.saying().filter(|file| file.path != SCHEMA_FILE);
            if own.len() == 1 && !others.any(|file| occurrences(file, short).next().is_some()) {
                let message = format!("nothing mentions the entity type `{name}`");
                faults.push(self.at(SCHEMA_FILE, own.into_iter().next(), Code::UnusedEntityType, message));
            }
        }
        faults
    }

    /// Attributes of the principal that no policy reads and no file mentions.
    fn claims(&self) -> Vec<Fault> {
        let principal = &self.realm.file.principal;
        let is_read =
            |name: &str| self.realm.policies.iter().any(|policy| policy.clauses.looks.principal.member(name).is_some());
        let unread = principal.attributes.iter().filter(|mapping| {
            !is_read(&mapping.attribute) && !self.is_told(&mapping.attribute, "principal.attributes")
        });
        let fault = |name: &str, place| {
            let message = format!("`{}.{name}` is filled from a claim, and nothing reads it", principal.entity);
            self.at(REALM_FILE, place, Code::UnusedClaim, message)
        };
        unread.map(|mapping| fault(&mapping.attribute, mapping.place(""))).collect()
    }

    /// Members of the context that no policy reads and no file mentions.
    fn context(&self) -> Vec<Fault> {
        let is_read =
            |name: &str| self.realm.policies.iter().any(|policy| policy.clauses.looks.context.member(name).is_some());
        let members = self.realm.file.context.iter();
        let unread = members.filter(|(name, _)| !is_read(name) && !self.is_told(name, "context"));
        let fault = |name: &str, place: &Range<usize>| {
            let message = format!("`context.{name}` is made for every question, and nothing reads it");
            self.at(REALM_FILE, Some(place.clone()), Code::UnusedContext, message)
        };
        unread.map(|(name, rule)| fault(name, &rule.place)).collect()
    }

    /// Settings that no policy reads.
    fn settings(&self) -> Vec<Fault> {
        let is_read = |name: &str| {
            let looks = self.realm.policies.iter().map(|policy| &policy.clauses.looks.context);
            let mut settings = looks.filter_map(|context| context.member("settings"));
            settings.any(|settings| settings.member(name).is_some())
        };
        let unread = self.realm.file.settings.iter().map(|(name, _)| name).filter(|name| !is_read(name));
        let fault = |name: &Arc<str>| {
            let message = format!("no policy reads the setting `{name}`");
            Fault::in_file(REALM_FILE, message).coded(Code::UnusedSetting).helped(Code::UnusedSetting.fix())
        };
        unread.map(fault).collect()
    }

    /// Denials that no policy names, where their name is one of the author's own or nearly that of a code.
    fn denials(&self) -> Vec<Fault> {
        let policies = || self.realm.policies.iter();
        let given =
            |name: &'static str| policies().filter_map(move |policy| policy.annotation(name)).map(|code| &**code);
        let is_code = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let mut faults = Vec::new();
        for (name, template) in &self.realm.file.denials {
            let mut known = given("denial").chain(given("reason"));
            if **name == *"default" || known.any(|known| *known == **name) {
                continue;
            }
            let near = nearest(name, given("denial").chain(given("reason")));
            let is_lack = given("missing").any(|family| name.starts_with(family));
            if is_code(name) && (near.is_none() || is_lack) {
                continue;
            }
            let message = format!("no policy gives or names the denial `{name}`");
            let place = Some(template.place.clone());
            let fault = self.at(REALM_FILE, place, Code::UnusedDenial, message);
            faults.push(fault.near(name, given("denial").chain(given("reason"))));
        }
        faults
    }

    /// Aliases of names that nothing else mentions.
    fn aliases(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (path, aliases) in &self.realm.aliases {
            for meant in aliases.targets() {
                let quoted = format!("\"{meant}\"");
                let others = || self.saying().filter(|file| file.path != **path);
                if others().any(|file| file.content.contains(&quoted)) {
                    continue;
                }
                let content = self.content(path);
                let place = content.find(&quoted).map(|start| start..start + quoted.len());
                let message = format!("an alias stands for `{meant}`, which nothing in the realm mentions");
                let names: Vec<&str> = others().flat_map(|file| file.content.split('"').skip(1).step_by(2)).collect();
                faults.push(self.at(path, place, Code::UnusedAlias, message).near(meant, names));
            }
        }
        faults
    }

    /// Files that nothing reads.
    fn files(&self) -> Vec<Fault> {
        let profiles = self.realm.file.profiles.as_ref().map(|settings| format!("{}/", settings.folder));
        let is_read = |file: &SourceFile| {
            let path = file.path.as_str();
            let is_known = [REALM_FILE, RELATIONS_FILE, SCHEMA_FILE, "demo.yaml"].contains(&path)
                || file.has_ending(&["cedar"])
                || ["tests/", "golden/", "records/"].iter().any(|folder| path.starts_with(folder))
                || path.starts_with("variants/") && file.has_ending(&["toml"])
                || profiles.as_ref().is_some_and(|folder| path.starts_with(folder.as_str()));
            let named =
                |other: &SourceFile| other.has_ending(&["toml"]) && other.content.contains(&format!("\"{path}\""));
            is_known || self.saying().any(named)
        };
        let unread = self.files.iter().filter(|file| !is_read(file));
        let fault = |file: &SourceFile| {
            let help = if file.has_ending(&["yaml", "yml"]) {
                "tests stand in the folder `tests/`".to_owned()
            } else {
                let known = [REALM_FILE, RELATIONS_FILE, SCHEMA_FILE];
                let near = nearest(&file.path, known).map(|name| format!("did you mean `{name}`?"));
                near.unwrap_or_else(|| "name it in realm.toml, or take it out".to_owned())
            };
            Fault::in_file(&file.path, "nothing reads this file").coded(Code::UnreadFile).helped(help)
        };
        unread.map(fault).collect()
    }
}
