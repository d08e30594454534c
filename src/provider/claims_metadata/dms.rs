//! Claims documents of Ed-Fi's Data Management Service: `Claims.json`, and the fragments that are merged into it.
//!
//! A document nests claims in claims; a fragment (`NNN-name-claimset.json`) adds a claim set's grants, or a group with
//! new claims. Fragments are merged in the order of their paths, by the rules of the service's own composer: a claim is
//! found by the last two parts of its name without case, a plural stands for its singular, and what is there already
//! stays as it is. Where those rules drop something without a word, here a note says so.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value as Json};

use super::{Imported, tangled};
use crate::domain::{
    fault::Fault,
    grants::table::{Claim, ClaimTable, Defaults, Granted},
    policy_set::SourceFile,
};

/// Reads one claims document and any fragments.
///
/// # Errors
/// Every fault, each with its path in the document.
pub fn read(files: &[SourceFile]) -> Result<Imported, Vec<Fault>> {
    let mut reader = Reader::default();
    let mut fragments: Vec<(&SourceFile, Map<String, Json>)> = Vec::new();
    let mut document: Option<&SourceFile> = None;
    for file in files {
        let root = match parse(file) {
            Ok(root) => root,
            Err(fault) => {
                reader.faults.push(fault);
                continue;
            }
        };
        let inner = member(&root, "claims").and_then(Json::as_object).cloned();
        let root = inner.filter(|inner| member(inner, "claimsHierarchy").is_some()).unwrap_or(root);
        if member(&root, "claimsHierarchy").is_some() {
            if let Some(first) = document.replace(file) {
                let message = format!("is a second claims document beside `{}`, expected fragments", first.path);
                reader.faults.push(Fault::in_file(&file.path, message));
            } else {
                reader.document(file, &root);
            }
        } else if member(&root, "resourceClaims").is_some() {
            fragments.push((file, root));
        } else {
            let message = "is neither a claims document (`claimSets`, `claimsHierarchy`) nor a fragment (`name`, `resourceClaims`)";
            reader.faults.push(Fault::in_file(&file.path, message));
        }
    }
    let Some(document) = document else {
        reader
            .faults
            .push(Fault::in_file(files.first().map_or(".", |file| &file.path), "no file is a claims document"));
        return Err(reader.faults);
    };
    fragments.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    for (file, root) in &fragments {
        reader.fragment(file, root);
    }
    reader.finish(&document.path)
}

fn parse(file: &SourceFile) -> Result<Map<String, Json>, Fault> {
    let content = file.content.trim_start_matches('\u{feff}');
    match serde_json::from_str(content) {
        Ok(Json::Object(root)) => Ok(root),
        Ok(_) => Err(Fault::in_file(&file.path, "is no JSON object")),
        Err(error) => {
            let before: usize = content.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let at = before + error.column().saturating_sub(1);
            Err(Fault::at(&file.path, content, Some(at..at), error.to_string()))
        }
    }
}

/// A member by its name; the service reads names without case.
fn member<'j>(object: &'j Map<String, Json>, name: &str) -> Option<&'j Json> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[derive(Debug, Default)]
struct Reader {
    table: ClaimTable,
    faults: Vec<Fault>,
    notes: Vec<Fault>,
}

impl Reader {
    fn finish(mut self, file: &str) -> Result<Imported, Vec<Fault>> {
        self.faults.extend(tangled(&self.table, file, str::to_ascii_lowercase));
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let declared: BTreeSet<_> = self.table.claim_sets.iter().cloned().collect();
        for name in self.table.claim_set_names().difference(&declared) {
            let message =
                format!("claim set `{name}` is granted something but is not among `claimSets`; it is taken in");
            self.notes.push(Fault::in_file(file, message));
        }
        Ok(Imported { table: self.table, notes: self.notes })
    }

    fn fault(&mut self, file: &SourceFile, place: &str, message: &str) {
        self.faults.push(Fault::in_file(&file.path, format!("{place}: {message}")));
    }

    fn note(&mut self, file: &SourceFile, place: &str, message: &str) {
        self.notes.push(Fault::in_file(&file.path, format!("{place}: {message}")));
    }

    fn document(&mut self, file: &SourceFile, root: &Map<String, Json>) {
        for (place, entry) in self.objects(file, "claimSets", member(root, "claimSets")) {
            if let Some(name) = self.name(file, &place, entry, "claimSetName") {
                if self.table.claim_sets.contains(&name) {
                    self.fault(file, &place, &format!("claim set `{name}` stands twice"));
                }
                self.table.claim_sets.push(name);
            }
        }
        self.claims(file, "claimsHierarchy", member(root, "claimsHierarchy"), None);
    }

    /// Takes in claims and those below them, a group before its members.
    fn claims(&mut self, file: &SourceFile, place: &str, list: Option<&Json>, parent: Option<&Arc<str>>) {
        for (place, node) in self.objects(file, place, list) {
            let Some(name) = self.name(file, &place, node, "name") else { continue };
            let authorization = member(node, "defaultAuthorization").and_then(Json::as_object);
            let actions = authorization.and_then(|authorization| member(authorization, "actions"));
            let at = format!("{place}.defaultAuthorization.actions");
            let defaults = self.actions(file, &at, actions, "name", "authorizationStrategies");
            let claim_sets = self.claim_sets(file, &place, node);
            self.table.claims.push(Claim {
                name: Arc::clone(&name),
                parent: parent.cloned(),
                defaults: defaults.into_iter().map(|(action, list)| (action, list.unwrap_or_default())).collect(),
                claim_sets,
            });
            self.claims(file, &format!("{place}.claims"), member(node, "claims"), Some(&name));
        }
    }

    fn claim_sets(&mut self, file: &SourceFile, place: &str, node: &Map<String, Json>) -> Vec<(Arc<str>, Granted)> {
        let mut found: Vec<(Arc<str>, Granted)> = Vec::new();
        for (place, entry) in self.objects(file, &format!("{place}.claimSets"), member(node, "claimSets")) {
            let Some(name) = self.name(file, &place, entry, "name") else { continue };
            let actions = member(entry, "actions");
            let at = format!("{place}.actions");
            let granted = self.actions(file, &at, actions, "name", "authorizationStrategyOverrides");
            if found.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                self.fault(file, &place, &format!("claim set `{name}` stands twice on this claim"));
            }
            found.push((name, granted));
        }
        found
    }

    /// Actions with their strategies; `None` where none are listed.
    fn actions(&mut self, file: &SourceFile, place: &str, list: Option<&Json>, key: &str, strategies: &str) -> Granted {
        let mut found = Granted::new();
        for (place, entry) in self.objects(file, place, list) {
            let Some(action) = self.name(file, &place, entry, key) else { continue };
            if found.iter().any(|(other, _)| *other == action) {
                self.fault(file, &place, &format!("action `{action}` stands twice"));
            }
            let at = format!("{place}.{strategies}");
            let names = self.objects(file, &at, member(entry, strategies));
            let names: Vec<_> =
                names.into_iter().filter_map(|(place, strategy)| self.name(file, &place, strategy, "name")).collect();
            found.push((action, Some(names).filter(|names| !names.is_empty())));
        }
        found
    }

    fn fragment(&mut self, file: &SourceFile, root: &Map<String, Json>) {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        let claim_set: Arc<str> = member(root, "name").and_then(Json::as_str).unwrap_or(stem).into();
        for (place, node) in self.objects(file, "resourceClaims", member(root, "resourceClaims")) {
            let Some(name) = self.name(file, &place, node, "name") else { continue };
            if member(node, "isParent").and_then(Json::as_bool).unwrap_or_default() {
                self.group(file, &place, &name, node);
            } else {
                self.grant(file, &place, &name, &claim_set, node);
            }
        }
    }

    /// A group with new claims: below the claim of this name, or as a new root.
    fn group(&mut self, file: &SourceFile, place: &str, name: &Arc<str>, node: &Map<String, Json>) {
        let at = format!("{place}._defaultAuthorizationStrategiesForCrud");
        let list = member(node, "_defaultAuthorizationStrategiesForCrud");
        let defaults = self.actions(file, &at, list, "actionName", "authorizationStrategies");
        let defaults: Defaults =
            defaults.into_iter().map(|(action, list)| (action, list.unwrap_or_default())).collect();
        let claim_sets = self.claim_sets(file, place, node);
        let parent = if let Some(index) = self.place_of(name) {
            if !defaults.is_empty() || !claim_sets.is_empty() {
                let message = format!("`{name}` is there already, so only its children are taken in");
                self.note(file, place, &message);
            }
            self.table.claims.get(index).map(|claim| Arc::clone(&claim.name))
        } else {
            self.table.claims.push(Claim { name: Arc::clone(name), parent: None, defaults, claim_sets });
            Some(Arc::clone(name))
        };
        for (place, child) in self.objects(file, &format!("{place}.children"), member(node, "children")) {
            if let Some(name) = self.name(file, &place, child, "name") {
                self.table.claims.push(Claim { name, parent: parent.clone(), ..Claim::default() });
            }
        }
    }

    /// The fragment's claim set is granted actions on a claim that is there.
    fn grant(&mut self, file: &SourceFile, place: &str, name: &str, claim_set: &Arc<str>, node: &Map<String, Json>) {
        let at = format!("{place}.authorizationStrategyOverridesForCRUD");
        let list = member(node, "authorizationStrategyOverridesForCRUD");
        let granted = self.actions(file, &at, list, "actionName", "authorizationStrategies");
        let found = self.place_of(&singular(name)).and_then(|index| self.table.claims.get_mut(index));
        let message = match found {
            None => format!("no claim is named `{name}`, so its grants are left out"),
            Some(_) if granted.is_empty() => format!("`{name}` grants no action, so it is left out"),
            Some(claim) if claim.claim_sets.iter().any(|(other, _)| other.eq_ignore_ascii_case(claim_set)) => {
                format!("claim set `{claim_set}` has grants on `{}` already, so these are left out", claim.name)
            }
            Some(claim) => {
                claim.claim_sets.push((Arc::clone(claim_set), granted));
                return;
            }
        };
        self.note(file, place, &message);
    }

    /// The first claim whose name ends with the last two parts of this one, in the order of the hierarchy.
    fn place_of(&self, name: &str) -> Option<usize> {
        let wanted = last_two(name);
        self.table.claims.iter().position(|claim| last_two(&claim.name).eq_ignore_ascii_case(&wanted))
    }

    fn objects<'j>(
        &mut self,
        file: &SourceFile,
        place: &str,
        list: Option<&'j Json>,
    ) -> Vec<(String, &'j Map<String, Json>)> {
        let items = match list {
            None | Some(Json::Null) => return Vec::new(),
            Some(Json::Array(items)) => items,
            Some(_) => {
                self.fault(file, place, "is no list");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{place}[{index}]");
            match item.as_object() {
                Some(object) => found.push((place, object)),
                None => self.fault(file, &place, "is no object"),
            }
        }
        found
    }

    fn name(&mut self, file: &SourceFile, place: &str, object: &Map<String, Json>, key: &str) -> Option<Arc<str>> {
        let name = member(object, key).and_then(Json::as_str).filter(|name| !name.is_empty());
        if name.is_none() {
            self.fault(file, place, &format!("`{key}` is missing or no text"));
        }
        name.map(Arc::from)
    }
}

/// `ed-fi/student` of `http://ed-fi.org/identity/claims/ed-fi/student`.
fn last_two(name: &str) -> String {
    let mut parts: Vec<&str> = name.rsplit('/').take(2).collect();
    parts.reverse();
    parts.join("/")
}

/// The service's own way from the name of an endpoint to that of a resource.
fn singular(name: &str) -> String {
    let ends_with = |ending: &str| {
        let start = name.len().checked_sub(ending.len()).filter(|start| *start > 0)?;
        name.get(start..).filter(|end| end.eq_ignore_ascii_case(ending)).and_then(|_| name.get(..start))
    };
    match (ends_with("ies"), ends_with("s")) {
        (Some(start), _) => format!("{start}y"),
        (None, Some(start)) => start.to_owned(),
        (None, None) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{
        "claimSets": [{"claimSetName": "Reader", "isSystemReserved": true}, {"claimSetName": "Idle", "isSystemReserved": false}],
        "claimsHierarchy": [
            {"name": "urn:x/domains/people",
             "defaultAuthorization": {"actions": [
                {"name": "Read", "authorizationStrategies": [{"name": "ByPlace"}, {"name": "ByName"}]},
                {"name": "Update", "authorizationStrategies": []}]},
             "claimSets": [{"name": "Reader", "actions": [
                {"name": "Read"}, {"name": "Update", "authorizationStrategyOverrides": [{"name": "Free"}]}]}],
             "claims": [{"name": "urn:x/school/pupil"}, {"name": "urn:x/school/activity"}]}]}"#;

    fn import(files: &[(&str, &str)]) -> Result<(String, Vec<String>), Vec<String>> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, content)| SourceFile { path: (*path).to_owned(), content: (*content).to_owned() })
            .collect();
        let text = |fault: &Fault| format!("{}: {}", fault.file, fault.message);
        let texts = |faults: Vec<Fault>| faults.iter().map(text).collect::<Vec<_>>();
        read(&files).map(|imported| (imported.table.text(), texts(imported.notes))).map_err(texts)
    }

    #[test]
    fn a_document_becomes_the_table() {
        let (text, notes) = import(&[("Claims.json", DOCUMENT)]).unwrap();
        assert_eq!(
            text,
            r#"{
 "source": "",
 "claim_sets": ["Reader", "Idle"],
 "claims": {
  "urn:x/domains/people": {"parent": null, "defaults": {"Read": ["ByPlace", "ByName"], "Update": []}, "claim_sets": {"Reader": {"Read": null, "Update": ["Free"]}}},
  "urn:x/school/pupil": {"parent": "urn:x/domains/people", "defaults": {}, "claim_sets": {}},
  "urn:x/school/activity": {"parent": "urn:x/domains/people", "defaults": {}, "claim_sets": {}}
 }
}
"#
        );
        assert_eq!(notes, [""; 0]);
        let wrapped = format!(r#"{{"claims": {DOCUMENT}}}"#);
        assert_eq!(import(&[("upload.json", &wrapped)]).unwrap().0, text);
    }

    #[test]
    fn fragments_are_merged_by_path_and_say_what_they_leave_out() {
        let first = r#"{"name": "Vendor", "resourceClaims": [
            {"name": "school/pupils", "authorizationStrategyOverridesForCRUD": [
                {"actionName": "Create", "authorizationStrategies": [{"name": "Free"}]},
                {"actionName": "Read", "authorizationStrategies": []}]},
            {"name": "School/Activities", "authorizationStrategyOverridesForCRUD": [{"actionName": "Read"}]},
            {"name": "school/ghosts", "authorizationStrategyOverridesForCRUD": [{"actionName": "Read"}]}]}"#;
        let second = r#"{"name": "Vendor", "resourceClaims": [
            {"name": "school/pupils", "authorizationStrategyOverridesForCRUD": [{"actionName": "Delete"}]},
            {"isParent": true, "name": "urn:x/domains/more",
             "_defaultAuthorizationStrategiesForCRUD": [{"actionName": "Read", "authorizationStrategies": [{"name": "Free"}]}],
             "claimSets": [{"name": "Reader", "actions": [{"name": "Read"}]}],
             "children": [{"name": "urn:x/more/thing"}]},
            {"isParent": true, "name": "domains/people", "children": [{"name": "urn:x/school/visitor"}],
             "claimSets": [{"name": "Reader", "actions": [{"name": "Delete"}]}]}]}"#;
        let files = [("2-b-claimset.json", second), ("Claims.json", DOCUMENT), ("1-a-claimset.json", first)];
        let (text, notes) = import(&files).unwrap();
        for line in [
            r#""urn:x/school/pupil": {"parent": "urn:x/domains/people", "defaults": {}, "claim_sets": {"Vendor": {"Create": ["Free"], "Read": null}}}"#,
            r#""urn:x/school/activity": {"parent": "urn:x/domains/people", "defaults": {}, "claim_sets": {"Vendor": {"Read": null}}}"#,
            r#""urn:x/domains/more": {"parent": null, "defaults": {"Read": ["Free"]}, "claim_sets": {"Reader": {"Read": null}}}"#,
            r#""urn:x/more/thing": {"parent": "urn:x/domains/more", "#,
            r#""urn:x/school/visitor": {"parent": "urn:x/domains/people", "#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("Delete"), "{text}");
        assert_eq!(
            notes,
            [
                "1-a-claimset.json: resourceClaims[2]: no claim is named `school/ghosts`, so its grants are left out",
                "2-b-claimset.json: resourceClaims[0]: claim set `Vendor` has grants on `urn:x/school/pupil` already, so these are left out",
                "2-b-claimset.json: resourceClaims[2]: `domains/people` is there already, so only its children are taken in",
                "Claims.json: claim set `Vendor` is granted something but is not among `claimSets`; it is taken in",
            ]
        );
    }

    #[test]
    fn every_fault_has_its_place() {
        let wrong = r#"{"claimSets": [{"claimSetName": ""}], "claimsHierarchy": [
            {"name": "a", "defaultAuthorization": {"actions": [{"name": "Read"}, {"name": "Read"}]}, "claimSets": [{"name": "S", "actions": 1}]},
            {"name": "A", "claims": [7]}]}"#;
        assert_eq!(
            import(&[("Claims.json", wrong), ("other.json", "{}"), ("half.json", "{\n  \"claimSets\": [}")])
                .unwrap_err(),
            [
                "Claims.json: claimSets[0]: `claimSetName` is missing or no text",
                "Claims.json: claimsHierarchy[0].defaultAuthorization.actions[1]: action `Read` stands twice",
                "Claims.json: claimsHierarchy[0].claimSets[0].actions: is no list",
                "Claims.json: claimsHierarchy[1].claims[0]: is no object",
                "other.json: is neither a claims document (`claimSets`, `claimsHierarchy`) nor a fragment (`name`, `resourceClaims`)",
                "half.json: expected value",
                "Claims.json: claim `A`: differs from `a` only in case, and case doesn't count",
            ]
        );
        let fragment = r#"{"name": "V", "resourceClaims": []}"#;
        assert_eq!(
            import(&[("1-claimset.json", fragment)]).unwrap_err(),
            ["1-claimset.json: no file is a claims document"]
        );
        assert_eq!(import(&[("a.json", DOCUMENT), ("b.json", DOCUMENT)]).unwrap_err().len(), 1);
    }

    #[test]
    fn plurals_become_singulars_as_the_service_makes_them() {
        for (plural, one) in
            [("a/activities", "a/activity"), ("a/pupils", "a/pupil"), ("a/staff", "a/staff"), ("s", "s")]
        {
            assert_eq!(singular(plural), one);
        }
    }
}
