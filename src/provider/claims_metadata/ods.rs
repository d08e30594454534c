//! The security database of the Ed-Fi ODS/API: its tables exported as SQL, or its metadata in the XML of its own tools.
//!
//! The scripts that come with the product change what earlier ones did, so only a database that they were run on holds
//! the result: `pg_dump --data-only` of it (`COPY`, or `INSERT` with column names), the same from SQL Server, or the XML
//! that the product's export function makes. Further XML files are changes, applied in the order of their paths.

mod sql;
mod xml;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use self::sql::{Row, Tables};
use super::{Imported, tangled};
use crate::domain::{
    fault::Fault,
    grants::table::{Claim, ClaimTable, Granted},
    policy_set::SourceFile,
};

/// Reads exported tables and then XML.
///
/// # Errors
/// Every fault, each with its line.
pub fn read(files: &[SourceFile]) -> Result<Imported, Vec<Fault>> {
    let is_xml = |file: &&SourceFile| file.content.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    let (mut documents, exports): (Vec<_>, Vec<_>) = files.iter().partition(is_xml);
    documents.sort_by(|a, b| a.path.cmp(&b.path));
    let mut faults = Vec::new();
    let mut notes = Vec::new();
    let mut table = ClaimTable::default();
    if let Some(first) = exports.first() {
        let mut tables = Tables::default();
        for file in &exports {
            faults.extend(tables.read(file));
        }
        if faults.is_empty() {
            match (Builder { tables: &tables, file: &first.path, faults: Vec::new() }).build() {
                Ok(built) => table = built,
                Err(found) => faults.extend(found),
            }
        }
    }
    for file in &documents {
        let (found, changed) = xml::apply(file, &mut table);
        faults.extend(found);
        notes.extend(changed);
    }
    if faults.is_empty() {
        let file = files.first().map_or(".", |file| &file.path);
        faults.extend(tangled(&table, file, str::to_owned));
        if table.claims.is_empty() {
            faults.push(Fault::in_file(file, "there is no resource claim in it"));
        }
    }
    if faults.is_empty() { Ok(Imported { table, notes }) } else { Err(faults) }
}

/// Puts the tables together.
struct Builder<'a> {
    tables: &'a Tables,
    /// Where a table that is missing is said to be missing from.
    file: &'a str,
    faults: Vec<Fault>,
}

/// Names by the ids of their rows.
type Names = HashMap<Arc<str>, Arc<str>>;

impl<'a> Builder<'a> {
    fn build(mut self) -> Result<ClaimTable, Vec<Fault>> {
        let actions = self.names("Actions", "ActionId", "ActionName");
        let strategies = self.names("AuthorizationStrategies", "AuthorizationStrategyId", "AuthorizationStrategyName");
        let claim_sets = self.names("ClaimSets", "ClaimSetId", "ClaimSetName");
        let claim_names = self.names("ResourceClaims", "ResourceClaimId", "ClaimName");
        let mut claims: HashMap<Arc<str>, Claim> = HashMap::new();
        let mut order = Vec::new();
        for row in self.rows("ResourceClaims", "ResourceClaimId") {
            let Some(name) = self.value(row, "ClaimName") else { continue };
            let parent =
                row.value("ParentResourceClaimId").map(|id| self.named(row, "ParentResourceClaimId", id, &claim_names));
            order.push(Arc::clone(&name));
            claims.insert(Arc::clone(&name), Claim { name, parent: parent.flatten(), ..Claim::default() });
        }
        self.defaults(&mut claims, &claim_names, &actions, &strategies);
        self.grants(&mut claims, &claim_names, &claim_sets, &actions, &strategies);
        let claim_sets = self.rows("ClaimSets", "ClaimSetId");
        let claim_sets = claim_sets.into_iter().filter_map(|row| row.value("ClaimSetName").cloned()).collect();
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let claims = order.iter().filter_map(|name| claims.remove(name)).collect();
        Ok(ClaimTable { source: String::new(), claim_sets, claims })
    }

    fn defaults(
        &mut self,
        claims: &mut HashMap<Arc<str>, Claim>,
        claim_names: &Names,
        actions: &Names,
        strategies: &Names,
    ) {
        let mut lists = self.lists("ResourceClaimActionAuthorizationStrategies", "ResourceClaimActionId", strategies);
        for row in self.rows("ResourceClaimActions", "ResourceClaimActionId") {
            let claim = self.reference(row, "ResourceClaimId", claim_names);
            let action = self.reference(row, "ActionId", actions);
            let Some(list) = self.value(row, "ResourceClaimActionId").map(|id| lists.remove(&id).unwrap_or_default())
            else {
                continue;
            };
            let (Some(claim), Some(action)) = (claim.and_then(|name| claims.get_mut(&name)), action) else { continue };
            if claim.defaults.iter().any(|(other, _)| *other == action) {
                let message = format!("`{action}` has a default on `{}` twice", claim.name);
                self.faults.push(row.fault(&message));
            } else {
                claim.defaults.push((action, list));
            }
        }
        self.left_over("ResourceClaimActionAuthorizationStrategies", "ResourceClaimActionId", &lists);
    }

    fn grants(
        &mut self,
        claims: &mut HashMap<Arc<str>, Claim>,
        claim_names: &Names,
        claim_sets: &Names,
        actions: &Names,
        strategies: &Names,
    ) {
        const OVERRIDES: &str = "ClaimSetResourceClaimActionAuthorizationStrategyOverrides";
        let mut lists = self.lists(OVERRIDES, "ClaimSetResourceClaimActionId", strategies);
        for row in self.rows("ClaimSetResourceClaimActions", "ClaimSetResourceClaimActionId") {
            let claim = self.reference(row, "ResourceClaimId", claim_names);
            let claim_set = self.reference(row, "ClaimSetId", claim_sets);
            let action = self.reference(row, "ActionId", actions);
            let id = self.value(row, "ClaimSetResourceClaimActionId");
            let (Some(claim), Some(claim_set), Some(action), Some(id)) =
                (claim.and_then(|name| claims.get_mut(&name)), claim_set, action, id)
            else {
                continue;
            };
            let list = lists.remove(&id);
            let granted = granted(&mut claim.claim_sets, &claim_set);
            if granted.iter().any(|(other, _)| *other == action) {
                let message = format!("`{claim_set}` is granted `{action}` on `{}` twice", claim.name);
                self.faults.push(row.fault(&message));
            } else {
                granted.push((action, list));
            }
        }
        self.left_over(OVERRIDES, "ClaimSetResourceClaimActionId", &lists);
    }

    /// The strategies of each action, in the order of their rows' ids.
    fn lists(&mut self, table: &str, owner: &str, strategies: &Names) -> HashMap<Arc<str>, Vec<Arc<str>>> {
        let mut lists: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        let id =
            table.strip_suffix("ies").map_or_else(|| table.trim_end_matches('s').to_owned(), |stem| format!("{stem}y"));
        for row in self.rows(table, &format!("{id}Id")) {
            let owner = self.value(row, owner);
            if let (Some(owner), Some(name)) = (owner, self.reference(row, "AuthorizationStrategyId", strategies)) {
                lists.entry(owner).or_default().push(name);
            }
        }
        lists
    }

    fn left_over(&mut self, table: &str, owner: &str, lists: &HashMap<Arc<str>, Vec<Arc<str>>>) {
        let mut ids: Vec<_> = lists.keys().collect();
        ids.sort();
        for id in ids {
            self.faults.push(Fault::in_file(
                self.file,
                format!("dbo.{table}: {owner} {id} is in no row of the table it points to"),
            ));
        }
    }

    /// The rows of a table in the order of their ids.
    fn rows(&mut self, table: &str, id: &str) -> Vec<&'a Row> {
        let Some(rows) = self.tables.rows(table) else {
            let fault =
                Fault::in_file(self.file, format!("has no data of dbo.{table}, expected all of the security database"));
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
            return Vec::new();
        };
        let mut rows: Vec<&Row> = rows.iter().collect();
        rows.sort_by_key(|row| row.value(id).and_then(|id| id.parse::<i64>().ok()).unwrap_or(i64::MAX));
        rows
    }

    fn names(&mut self, table: &str, id: &str, name: &str) -> Names {
        let mut names = Names::new();
        let mut seen = HashSet::new();
        for row in self.rows(table, id) {
            let (Some(id), Some(name)) = (self.value(row, id), self.value(row, name)) else { continue };
            if !seen.insert(Arc::clone(&name)) || names.contains_key(&id) {
                self.faults.push(row.fault(&format!("`{name}` (id {id}) stands twice")));
            }
            names.insert(id, name);
        }
        names
    }

    fn reference(&mut self, row: &Row, column: &str, names: &Names) -> Option<Arc<str>> {
        let id = self.value(row, column)?;
        self.named(row, column, &id, names)
    }

    fn named(&mut self, row: &Row, column: &str, id: &Arc<str>, names: &Names) -> Option<Arc<str>> {
        let name = names.get(id).cloned();
        if name.is_none() {
            self.faults.push(row.fault(&format!("{column} {id} is in no row of the table it points to")));
        }
        name
    }

    fn value(&mut self, row: &Row, column: &str) -> Option<Arc<str>> {
        let value = row.value(column).cloned();
        if value.is_none() {
            self.faults.push(row.fault(&format!("{column} is missing, expected a value")));
        }
        value
    }
}

/// The claim set's grants in the list, added when it has none.
fn granted<'l>(list: &'l mut Vec<(Arc<str>, Granted)>, claim_set: &Arc<str>) -> &'l mut Granted {
    let place = list.iter().position(|(name, _)| name == claim_set).unwrap_or_else(|| {
        list.push((Arc::clone(claim_set), Granted::new()));
        list.len() - 1
    });
    // The place was just found or made.
    #[expect(clippy::indexing_slicing, reason = "the place was found or made above")]
    &mut list[place].1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two claims, one in the other; a default; a claim set with a plain grant and an overriding one.
    const COPY: &str = "--\n-- PostgreSQL database dump; it's one\n--\nSET search_path = '';\n\n\
COPY dbo.actions (actionid, actionname, actionuri) FROM stdin;
1\tCreate\thttp://ed-fi.org/odsapi/actions/create
2\tRead\thttp://ed-fi.org/odsapi/actions/read
\\.

COPY dbo.authorizationstrategies (authorizationstrategyid, displayname, authorizationstrategyname) FROM stdin;
1\tFree\tFree
2\tBy\\tName\tByName
\\.

COPY dbo.claimsets (claimsetid, claimsetname, isedfipreset, forapplicationuseonly) FROM stdin;
1\tSIS Vendor\tt\tf
2\tIdle\tt\tf
\\.

COPY dbo.resourceclaims (resourceclaimid, resourcename, claimname, parentresourceclaimid) FROM stdin;
7\tpupil\turn:x/pupil\t3
3\tpeople\turn:x/domains/people\t\\N
\\.

COPY dbo.resourceclaimactions (resourceclaimactionid, actionid, resourceclaimid, validationrulesetname) FROM stdin;
5\t2\t3\t\\N
\\.

COPY dbo.resourceclaimactionauthorizationstrategies (resourceclaimactionauthorizationstrategyid, resourceclaimactionid, authorizationstrategyid) FROM stdin;
12\t5\t1
11\t5\t2
\\.

COPY dbo.claimsetresourceclaimactions (claimsetresourceclaimactionid, actionid, claimsetid, resourceclaimid, validationrulesetnameoverride) FROM stdin;
21\t2\t1\t3\t\\N
22\t1\t1\t7\t\\N
\\.

COPY dbo.claimsetresourceclaimactionauthorizationstrategyoverrides (claimsetresourceclaimactionauthorizationstrategyoverrideid, claimsetresourceclaimactionid, authorizationstrategyid) FROM stdin;
31\t22\t1
\\.

COPY public.actions (actionid) FROM stdin;
not ours
\\.
SELECT pg_catalog.setval('dbo.actions_actionid_seq', 2, true);
";

    const TABLE: &str = r#"{
 "source": "",
 "claim_sets": ["SIS Vendor", "Idle"],
 "claims": {
  "urn:x/domains/people": {"parent": null, "defaults": {"Read": ["ByName", "Free"]}, "claim_sets": {"SIS Vendor": {"Read": null}}},
  "urn:x/pupil": {"parent": "urn:x/domains/people", "defaults": {}, "claim_sets": {"SIS Vendor": {"Create": ["Free"]}}}
 }
}
"#;

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
    fn a_dump_of_copies_becomes_the_table() {
        assert_eq!(import(&[("security.sql", COPY)]).unwrap(), (TABLE.to_owned(), Vec::new()));
        let with_windows_lines = COPY.replace('\n', "\r\n");
        assert_eq!(import(&[("security.sql", &with_windows_lines)]).unwrap().0, TABLE);
    }

    #[test]
    fn a_dump_of_inserts_becomes_the_same() {
        let inserts = "/* SQL Server */ USE [EdFi_Security]\nGO\n\
            INSERT [dbo].[Actions] ([ActionId], [ActionName], [ActionUri]) VALUES (1, N'Create', N'it''s; here'), (2, N'Read', N'x')\nGO\n\
            INSERT INTO dbo.AuthorizationStrategies (AuthorizationStrategyId, DisplayName, AuthorizationStrategyName) OVERRIDING SYSTEM VALUE VALUES (1, 'a\nb', 'Free'); \
            INSERT INTO \"dbo\".\"authorizationstrategies\" (\"authorizationstrategyid\", \"displayname\", \"authorizationstrategyname\") VALUES (2, '--', 'ByName');\n\
            INSERT INTO dbo.claimsets (claimsetid, claimsetname, isedfipreset) VALUES (1, 'SIS Vendor', true);\n\
            INSERT INTO dbo.claimsets (claimsetid, claimsetname, isedfipreset) VALUES (2, 'Idle', false);\n\
            INSERT INTO dbo.resourceclaims (resourceclaimid, claimname, parentresourceclaimid) VALUES (7, 'urn:x/pupil', 3);\n\
            INSERT INTO dbo.resourceclaims (resourceclaimid, claimname, parentresourceclaimid) VALUES (3, 'urn:x/domains/people', NULL);\n\
            INSERT INTO dbo.resourceclaimactions (resourceclaimactionid, actionid, resourceclaimid) VALUES (5, 2, 3);\n\
            INSERT INTO dbo.resourceclaimactionauthorizationstrategies (resourceclaimactionauthorizationstrategyid, resourceclaimactionid, authorizationstrategyid) VALUES (12, 5, 1), (11, 5, 2);\n\
            INSERT INTO dbo.claimsetresourceclaimactions (claimsetresourceclaimactionid, actionid, claimsetid, resourceclaimid) VALUES (21, 2, 1, 3), (22, 1, 1, 7);\n\
            INSERT INTO dbo.claimsetresourceclaimactionauthorizationstrategyoverrides (claimsetresourceclaimactionauthorizationstrategyoverrideid, claimsetresourceclaimactionid, authorizationstrategyid) VALUES (31, 22, 1);\n\
            INSERT INTO dbo.other VALUES (now());\n";
        assert_eq!(import(&[("security.sql", inserts)]).unwrap().0, TABLE);
    }

    const XML: &str = r#"<?xml version="1.0"?>
<SecurityMetadata>
  <Claims>
    <Claim claimId="3" name="urn:x/domains/people">
      <DefaultAuthorization><Action name="Read"><AuthorizationStrategies>
        <AuthorizationStrategy name="ByName"/><AuthorizationStrategy name="Free"/>
      </AuthorizationStrategies></Action></DefaultAuthorization>
      <ClaimSets><ClaimSet name="SIS Vendor"><Actions><Action name="Read"/></Actions></ClaimSet><ClaimSet name="Idle"/></ClaimSets>
      <Claims><Claim claimId="7" name="urn:x/pupil"><ClaimSets><!-- one --><ClaimSet name="SIS Vendor"><Actions>
        <Action name="Create"><AuthorizationStrategyOverrides><AuthorizationStrategy name="Free"/></AuthorizationStrategyOverrides></Action>
      </Actions></ClaimSet></ClaimSets></Claim></Claims>
    </Claim>
  </Claims>
</SecurityMetadata>"#;

    #[test]
    fn the_products_xml_becomes_the_same() {
        assert_eq!(import(&[("security.xml", XML)]).unwrap(), (TABLE.to_owned(), Vec::new()));
        assert_eq!(import(&[("security.xml", XML), ("security.sql", COPY)]).unwrap().0, TABLE);
    }

    #[test]
    fn xml_changes_what_it_names_and_nothing_else() {
        let change = r#"<SecurityMetadata><Claims>
            <Claim name="urn:x/pupil">
              <ClaimSets><ClaimSet name="SIS Vendor"><Actions><Action name="Delete"/></Actions></ClaimSet></ClaimSets>
              <Claims><Claim name="urn:x/new"/></Claims></Claim>
            <Claim name="urn:x/domains/people">
              <ClaimSets><ClaimSet name="SIS Vendor"><Actions/></ClaimSet></ClaimSets></Claim>
            </Claims></SecurityMetadata>"#;
        let (text, notes) = import(&[("9-change.xml", change), ("1-all.xml", XML)]).unwrap();
        for line in [
            r#""urn:x/domains/people": {"parent": null, "defaults": {"Read": ["ByName", "Free"]}, "claim_sets": {}}"#,
            r#""urn:x/pupil": {"parent": null, "defaults": {}, "claim_sets": {"SIS Vendor": {"Delete": null}}}"#,
            r#""urn:x/new": {"parent": "urn:x/pupil", "#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(
            notes,
            ["9-change.xml: line 2: claim `urn:x/pupil` is moved from `urn:x/domains/people` to the top"]
        );
    }

    #[test]
    fn what_contradicts_itself_is_told_with_its_line() {
        let wrong = COPY
            .replace("22\t1\t1\t7", "22\t2\t1\t3")
            .replace("\t\\N\n\\.\n\nCOPY dbo.resourceclaimactions", "\t99\n\\.\n\nCOPY dbo.resourceclaimactions")
            .replace("31\t22\t1\n", "31\t23\t1\n32\t22\n")
            .replace("2\tIdle", "2\tSIS Vendor");
        assert_eq!(
            import(&[("security.sql", &wrong)]).unwrap_err(),
            [
                "security.sql: line 42: dbo.ClaimSetResourceClaimActionAuthorizationStrategyOverrides: 2 values for 3 columns"
            ]
        );
        assert_eq!(
            import(&[("security.sql", &wrong.replace("32\t22\n", ""))]).unwrap_err(),
            [
                "security.sql: line 18: dbo.ClaimSets: `SIS Vendor` (id 2) stands twice",
                "security.sql: line 23: dbo.ResourceClaims: ParentResourceClaimId 99 is in no row of the table it points to",
                "security.sql: line 37: dbo.ClaimSetResourceClaimActions: `SIS Vendor` is granted `Read` on `urn:x/domains/people` twice",
                "security.sql: dbo.ClaimSetResourceClaimActionAuthorizationStrategyOverrides: ClaimSetResourceClaimActionId 23 is in no row of the table it points to",
            ]
        );
    }

    #[test]
    fn a_script_is_no_export() {
        let script = "do $$\nbegin\n  INSERT INTO dbo.ClaimSets (ClaimSetName) VALUES (claim_set_name)\n  RETURNING 1;\nend $$;\n\
            INSERT INTO dbo.Actions VALUES (1, 'Read');\n";
        assert_eq!(
            import(&[("0001.sql", script)]).unwrap_err(),
            [
                "0001.sql: line 3: dbo.ClaimSets: `INSERT` of values that are no literals; this is a script to be run, export the database that it was run on",
                "0001.sql: line 6: dbo.Actions: `INSERT` without column names; export with `--column-inserts`",
            ]
        );
        let faults = import(&[("empty.sql", "-- nothing\n")]).unwrap_err();
        assert_eq!(faults.len(), 8);
        assert_eq!(faults[0], "empty.sql: has no data of dbo.Actions, expected all of the security database");
    }

    #[test]
    fn xml_of_another_kind_is_told_with_its_line() {
        for (xml, message) in [
            ("<Profiles/>", "line 1: `Profiles` is the outermost element, expected `SecurityMetadata`"),
            (
                "<SecurityMetadata>\n<Claim/></SecurityMetadata>",
                "line 2: `Claim` inside `SecurityMetadata`, expected Claims",
            ),
            ("<SecurityMetadata><Claims>\n\n<Claim/></Claims></SecurityMetadata>", "line 3: `Claim` without a name"),
            ("<SecurityMetadata>\n<Claims></SecurityMetadata>", "line 2: "),
            ("<!DOCTYPE x><SecurityMetadata/>", "line 1: "),
        ] {
            let faults = import(&[("x.xml", xml)]).unwrap_err();
            assert!(faults[0].starts_with(&format!("x.xml: {message}")), "{xml}: {faults:?}");
        }
    }
}
