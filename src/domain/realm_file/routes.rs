//! `[routes]`: which action and which resource a request of HTTP asks for.

use std::{ops::Range, sync::Arc};

use crate::domain::document::Table;

/// Where the routes of the realm's API are, and what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// The files that describe the API, within the realm's folder.
    pub openapi: Vec<Arc<str>>,
    /// What stands before every path; `None` for what the files say.
    pub base_path: Option<Words>,
    /// The query parameter that may carry the token; `None`: no token may come that way.
    pub query_token: Option<Arc<str>>,
    /// What no route fits is asked about by its method and path.
    pub is_generic: bool,
    /// What operations mean, by their operationId.
    pub operations: Vec<(Arc<str>, Mapping)>,
    /// Where `openapi` stands in realm.toml, in bytes.
    pub place: Range<usize>,
}

/// A text, and where it stands in its file, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The text.
    pub text: Arc<str>,
    /// The place.
    pub place: Range<usize>,
}

/// What an operation means. Texts with placeholders name `{parameter}` of the path or `{query.parameter}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The action; `None` for the one that is called as the operation.
    pub action: Option<Words>,
    /// The resource type; `None` for the only one that the action applies to.
    pub resource: Option<Words>,
    /// The resource's id; `None` for the last parameter of the path.
    pub id: Option<Words>,
    /// The stored values that the request tells, by property; `None` where it tells nothing of them.
    pub attributes: Option<Vec<(Arc<str>, Words)>>,
    /// The values that the request proposes, likewise.
    pub proposed: Option<Vec<(Arc<str>, Words)>>,
    /// Members of the context.
    pub context: Vec<(Arc<str>, Words)>,
    /// How the API hears of obligations; `None`: it cannot fulfil any.
    pub obligations: Option<Words>,
    /// Where it stands in its file, in bytes.
    pub place: Range<usize>,
}

/// The query parameter that carries a token where none is named (RFC 6750 section 2.3).
pub const QUERY_TOKEN: &str = "access_token";

/// Reads the routes.
pub(super) fn read_routes(table: &Table<'_>) -> RouteSettings {
    let openapi = table.one_or_more("openapi").unwrap_or_default();
    let base_path = words(table, "base_path");
    let query_token = table.text("query_token");
    if query_token.as_deref() == Some("") {
        table.fault(Some("query_token"), "`query_token` is empty, expected the name of a query parameter");
    }
    let is_generic = table.flag("generic");
    let operations = table.named("operations", |_, table| Some(read_mapping(table)));
    if openapi.is_empty() && !is_generic {
        table.fault(Some("openapi"), "there is no route: expected a file in `openapi`, or `generic = true`");
    }
    RouteSettings { openapi, base_path, query_token, is_generic, operations, place: table.place("openapi") }
}

fn read_mapping(table: &Table<'_>) -> Mapping {
    Mapping {
        action: words(table, "action"),
        resource: words(table, "resource"),
        id: words(table, "id"),
        attributes: named_words(table, "attributes"),
        proposed: named_words(table, "proposed"),
        context: named_words(table, "context").unwrap_or_default(),
        obligations: words(table, "obligations"),
        place: table.place(""),
    }
}

fn words(table: &Table<'_>, key: &str) -> Option<Words> {
    Some(Words { text: table.text(key)?, place: table.place(key) })
}

fn named_words(table: &Table<'_>, key: &str) -> Option<Vec<(Arc<str>, Words)>> {
    table.table(key, |inner| {
        inner.keys().into_iter().filter_map(|name| Some((Arc::clone(&name), words(inner, &name)?))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::RealmFile;

    const REALM: &str = "title = \"Small\"\n[principal]\nentity = \"Client\"\nid = \"client_id\"\n[routes]\n";

    fn read(section: &str) -> Result<RealmFile, Vec<String>> {
        RealmFile::parse("realm.toml", &format!("{REALM}{section}"))
            .map_err(|faults| faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect())
    }

    #[test]
    fn a_file_is_enough_and_operations_may_say_more() {
        let routes = read("openapi = \"openapi.yaml\"").unwrap().routes.unwrap();
        assert_eq!((routes.openapi.len(), routes.is_generic, routes.query_token), (1, false, None));
        let told = "openapi = [\"a.yaml\", \"b.json\"]\n[routes.operations.getStudent]\naction = \"Read\"\n\
                    attributes = { studentUniqueId = \"{query.studentUniqueId}\" }\n";
        let routes = read(told).unwrap().routes.unwrap();
        let (name, mapping) = &routes.operations[0];
        assert_eq!((&**name, mapping.action.as_ref().map(|it| &*it.text)), ("getStudent", Some("Read")));
        assert_eq!(mapping.attributes.as_ref().map(Vec::len), Some(1));
        assert_eq!((&mapping.proposed, mapping.context.len()), (&None, 0));
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_line() {
        assert_eq!(
            read("query_token = \"\"\n[routes.operations.x]\nactoin = \"Read\"\nid = 1").unwrap_err(),
            [
                "6: `query_token` is empty, expected the name of a query parameter",
                "9: `routes.operations.x.id` is of type integer, expected a string",
                "8: unknown key `routes.operations.x.actoin`, expected one of action, attributes, context, id, obligations, proposed, resource",
                "5: there is no route: expected a file in `openapi`, or `generic = true`",
            ]
        );
    }
}
