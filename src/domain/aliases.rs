//! Names that stand for others: other and older spellings of what a claim says, in groups of which an issuer may use some.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde_json::{Value as Json, json};

use super::{
    fault::Fault,
    resource_type::syntax_fault,
    strict_json::{self, JsonFault},
};

/// The names of an alias file by group, each with the one that it stands for.
///
/// No name stands for two, and none stands for one that itself stands for another, so it doesn't matter which group is
/// looked into first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>);

impl Aliases {
    /// Reads `{ "group": { "name": "the name that it stands for" } }`.
    ///
    /// # Errors
    /// Every fault, with its place where it has one.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        let root = strict_json::read_object(content.as_bytes()).map_err(|fault| {
            vec![match (fault, serde_json::from_str::<Json>(content)) {
                (JsonFault::NotJson, Err(error)) => syntax_fault(file, content, &error),
                (fault, _) => Fault::in_file(file, fault.reason()),
            }]
        })?;
        let mut faults = Vec::new();
        let mut groups = BTreeMap::new();
        for (group, members) in &root {
            let place = place(content, 0, group);
            let Json::Object(members) = members else {
                let message = format!("the group `{group}` is no object of names, each with the name it stands for");
                faults.push(Fault::at(file, content, place, message));
                continue;
            };
            let mut names = BTreeMap::new();
            for (name, meant) in members {
                let meant = meant.as_str().filter(|meant| !meant.is_empty() && !name.is_empty());
                if let Some(meant) = meant {
                    names.insert(Arc::from(name.as_str()), Arc::from(meant));
                    continue;
                }
                let place = self::place(content, place.as_ref().map_or(0, |place| place.end), name);
                let message =
                    format!("`{name}` in the group `{group}` stands for nothing, expected a text that is not empty");
                faults.push(Fault::at(file, content, place, message));
            }
            groups.insert(Arc::from(group.as_str()), names);
        }
        let aliases = Self(groups);
        faults.extend(aliases.tangles().map(|(group, name, message)| {
            let group = place(content, 0, group).map_or(0, |place| place.end);
            let help = "let every name stand for the one that policies compare with";
            Fault::at(file, content, place(content, group, name), message).helped(help)
        }));
        if faults.is_empty() { Ok(aliases) } else { Err(faults) }
    }

    /// The names of its groups, sorted.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// The names that others stand for, sorted, each once.
    pub(super) fn targets(&self) -> std::collections::BTreeSet<&Arc<str>> {
        self.0.values().flat_map(BTreeMap::values).collect()
    }

    /// The name that a name stands for by one of these groups, or by any where `groups` is `None`; else the name itself.
    pub fn meant<'a>(&'a self, groups: Option<&[Arc<str>]>, name: &'a str) -> &'a str {
        let counts = |group: &Arc<str>| groups.is_none_or(|groups| groups.contains(group));
        let counting = self.0.iter().filter(|(group, _)| counts(group));
        counting.map(|(_, names)| names).find_map(|names| names.get(name)).map_or(name, |meant| meant)
    }

    /// Names that stand for two, or for one that stands for another: each with its group and a sentence.
    fn tangles(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, String)> {
        let all =
            || self.0.iter().flat_map(|(group, names)| names.iter().map(move |(name, meant)| (group, name, meant)));
        all().filter_map(move |(group, name, meant)| {
            let further = all().find(|(_, other, _)| *other == meant);
            let twice = all().find(|(_, other, further)| *other == name && *further != meant);
            let message = match (further, twice) {
                (Some((_, _, further)), _) => {
                    format!("`{name}` stands for `{meant}`, which itself stands for `{further}`")
                }
                (None, Some((other, _, second))) => {
                    format!("`{name}` stands for `{meant}` in the group `{group}` and for `{second}` in `{other}`")
                }
                (None, None) => return None,
            };
            Some((group, name, message))
        })
    }
}

/// Where a name is written, from a place on.
fn place(content: &str, from: usize, name: &str) -> Option<Range<usize>> {
    let written = json!(name).to_string();
    let start = content.get(from..)?.find(&written)? + from;
    Some(start..start + written.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(content: &str) -> Vec<String> {
        let faults = Aliases::parse("aliases.json", content).unwrap_err();
        faults.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect()
    }

    #[test]
    fn a_name_stands_for_another_by_the_groups_that_count() {
        let aliases =
            Aliases::parse("a", r#"{"old": {"a.x": "a", "b.x": "b"}, "typos": {"aa": "a"}, "none": {}}"#).unwrap();
        let (old, both): (Vec<Arc<str>>, Vec<Arc<str>>) = (vec!["old".into()], vec!["typos".into(), "old".into()]);
        for (name, by_all, by_old, by_both) in
            [("a.x", "a", "a", "a"), ("aa", "a", "aa", "a"), ("a", "a", "a", "a"), ("A.X", "A.X", "A.X", "A.X")]
        {
            assert_eq!(aliases.meant(None, name), by_all);
            assert_eq!(aliases.meant(Some(&old), name), by_old);
            assert_eq!(aliases.meant(Some(&both), name), by_both);
            assert_eq!(aliases.meant(Some(&[]), name), name);
        }
        assert_eq!(aliases.groups().map(|group| &**group).collect::<Vec<_>>(), ["none", "old", "typos"]);
    }

    #[test]
    fn what_is_no_object_of_objects_of_texts_is_a_fault_with_its_place() {
        for (content, expected) in [
            ("[]", "0:0 is not a JSON object"),
            ("{\n\"a\": }", "2:6 expected value"),
            (r#"{"a": {}, "a": {}}"#, "0:0 has a name twice in one object"),
            ("{\n \"a\": \"b\"}", "2:2 the group `a` is no object of names, each with the name it stands for"),
            ("{\"a\": {\n\"x\": 1}}", "2:1 `x` in the group `a` stands for nothing, expected a text that is not empty"),
            (
                "{\"a\": {\"x\": \"\"}}",
                "1:8 `x` in the group `a` stands for nothing, expected a text that is not empty",
            ),
            ("{\"a\": {\"\": \"x\"}}", "1:8 `` in the group `a` stands for nothing, expected a text that is not empty"),
            ("{\"a\": {\"x\": \"x\"}}", "1:8 `x` stands for `x`, which itself stands for `x`"),
        ] {
            assert_eq!(faults(content), [expected], "{content}");
        }
    }

    #[test]
    fn every_name_that_stands_for_two_or_for_a_further_one_is_told() {
        let content =
            "{\"a\": {\"x\": \"y\", \"z\": \"v\"},\n \"b\": {\"y\": \"w\"},\n \"c\": {\"z\": \"w\", \"ok\": \"w\"}}";
        assert_eq!(
            faults(content),
            [
                "1:8 `x` stands for `y`, which itself stands for `w`",
                "1:18 `z` stands for `v` in the group `a` and for `w` in `c`",
                "3:8 `z` stands for `w` in the group `c` and for `v` in `a`",
            ]
        );
    }
}
