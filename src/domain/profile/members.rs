//! Which members of a resource a profile lets through, as a tree.

use std::sync::Arc;

use crate::domain::value::{Attributes, Value};

/// Which of the members count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of them; those that are named are narrowed by selections of their own.
    #[default]
    IncludeAll,
    /// Those that are named, and what identifies the resource.
    IncludeOnly,
    /// All but those that are named; what identifies the resource always stays.
    ExcludeOnly,
    /// None. Profiles cannot say it themselves; it is what naming a child under `ExcludeOnly` may come to.
    ExcludeAll,
}

impl Selection {
    /// The word that profiles and obligations use.
    pub fn name(self) -> &'static str {
        match self {
            Self::IncludeAll => "IncludeAll",
            Self::IncludeOnly => "IncludeOnly",
            Self::ExcludeOnly => "ExcludeOnly",
            Self::ExcludeAll => "ExcludeAll",
        }
    }
}

/// The members of a resource, of an object or of a collection's items. Names are those of the profile; they compare
/// without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// What being named means.
    pub selection: Selection,
    /// Properties and references.
    pub properties: Vec<Arc<str>>,
    /// Objects within.
    pub objects: Vec<Child>,
    /// Collections within.
    pub collections: Vec<Child>,
    /// Extensions, by the schema that extends.
    pub extensions: Vec<Child>,
}

/// An object, a collection or an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: Arc<str>,
    /// The schema it comes from, where the profile says.
    pub logical_schema: Option<Arc<str>>,
    /// Its members.
    pub members: Members,
    /// What an item of a collection has to pass, all of it.
    pub filters: Vec<Filter>,
}

/// A condition on the items of a collection. Values compare letter by letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The property.
    pub property: Arc<str>,
    /// An item passes when its value is one of these, else when it is none of them.
    pub is_inclusive: bool,
    /// The values; never empty.
    pub values: Vec<Arc<str>>,
}

impl Members {
    /// The profile hides what stands at this dotted path of the document. `extensions` is the member that holds the
    /// extensions.
    pub(super) fn hides(&self, path: &str, extensions: Option<&str>) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        if extensions == Some(first) {
            let (name, rest) = rest.unwrap_or_default().split_once('.').unwrap_or((rest.unwrap_or_default(), ""));
            return self.hides_within(find(&self.extensions, name), Some(rest), extensions);
        }
        if self.properties.iter().any(|name| name.eq_ignore_ascii_case(first)) {
            return matches!(self.selection, Selection::ExcludeOnly | Selection::ExcludeAll);
        }
        self.hides_within(find(&self.objects, first).or_else(|| find(&self.collections, first)), rest, extensions)
    }

    fn hides_within(&self, child: Option<&Child>, rest: Option<&str>, extensions: Option<&str>) -> bool {
        match (self.selection, child) {
            (Selection::ExcludeAll, _) | (Selection::IncludeOnly, None) => true,
            (_, None) => false,
            (_, Some(child)) => match rest.filter(|rest| !rest.is_empty()) {
                Some(rest) => child.members.hides(rest, extensions),
                None => child.members.selection == Selection::ExcludeAll,
            },
        }
    }

    /// The profile hides the member of this name. Profiles may write it with the resource's name before it, as
    /// `SchoolGradeLevels` for `gradeLevels` of a `School`.
    pub(super) fn hides_member(&self, name: &str, resource: &str) -> bool {
        let long = format!("{resource}{name}");
        let is_named = |name: &str| {
            let children = self.objects.iter().chain(&self.collections).map(|child| &child.name);
            self.properties.iter().chain(children).any(|other| other.eq_ignore_ascii_case(name))
        };
        let name = if is_named(&long) { &long } else { name };
        self.hides(name, None)
    }

    /// The members as obligations carry them: `selection`; `include` or `exclude` where properties are named; `objects`,
    /// `collections` and `extensions` where there are any, each with `name`, its own members, and `filters`.
    pub(super) fn parameters(&self) -> Attributes {
        self.fields().into_iter().collect()
    }

    fn fields(&self) -> Vec<(Arc<str>, Value)> {
        let mut fields = vec![("selection".into(), text(self.selection.name()))];
        let named = match self.selection {
            Selection::IncludeOnly => Some("include"),
            Selection::ExcludeOnly => Some("exclude"),
            Selection::IncludeAll | Selection::ExcludeAll => None,
        };
        fields.extend(named.map(|key| (key.into(), texts(&self.properties))));
        for (key, children) in
            [("objects", &self.objects), ("collections", &self.collections), ("extensions", &self.extensions)]
        {
            if !children.is_empty() {
                fields.push((key.into(), Value::List(children.iter().map(child).collect())));
            }
        }
        fields
    }
}

fn find<'a>(children: &'a [Child], name: &str) -> Option<&'a Child> {
    children.iter().find(|child| child.name.eq_ignore_ascii_case(name))
}

fn child(child: &Child) -> Value {
    let Child { name, logical_schema, members, filters } = child;
    let mut fields = members.fields();
    fields.push(("name".into(), Value::String(Arc::clone(name))));
    fields.extend(logical_schema.iter().map(|schema| ("logical_schema".into(), Value::String(Arc::clone(schema)))));
    if !filters.is_empty() {
        fields.push(("filters".into(), Value::List(filters.iter().map(filter).collect())));
    }
    Value::Record(fields.into_iter().collect())
}

fn filter(filter: &Filter) -> Value {
    let Filter { property, is_inclusive, values } = filter;
    let mode = if *is_inclusive { Selection::IncludeOnly } else { Selection::ExcludeOnly };
    let fields = [
        ("property".into(), Value::String(Arc::clone(property))),
        ("mode".into(), text(mode.name())),
        ("values".into(), texts(values)),
    ];
    Value::Record(fields.into_iter().collect())
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn texts(names: &[Arc<str>]) -> Value {
    Value::List(names.iter().map(|name| Value::String(Arc::clone(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, members: Members) -> Child {
        Child { name: name.into(), logical_schema: None, members, filters: Vec::new() }
    }

    fn members(selection: Selection, properties: &[&str]) -> Members {
        let properties = properties.iter().map(|name| Arc::from(*name)).collect();
        Members { selection, properties, ..Members::default() }
    }

    #[test]
    fn what_is_hidden_follows_the_selection() {
        let only = |objects| Members { objects, ..members(Selection::IncludeOnly, &["SchoolReference"]) };
        let inner = || named("Place", members(Selection::IncludeOnly, &["City"]));
        let cases: [(Members, &str, bool); 13] = [
            (members(Selection::IncludeAll, &[]), "schoolReference.schoolId", false),
            (members(Selection::IncludeAll, &["Namespace"]), "namespace", false),
            (only(Vec::new()), "schoolReference.schoolId", false),
            (only(Vec::new()), "namespace", true),
            (only(vec![inner()]), "place.city", false),
            (only(vec![inner()]), "place.street", true),
            (only(vec![inner()]), "place", false),
            (members(Selection::ExcludeOnly, &["schoolReference"]), "SchoolReference.schoolId", true),
            (members(Selection::ExcludeOnly, &["schoolReference"]), "namespace", false),
            (members(Selection::ExcludeAll, &[]), "namespace", true),
            (only(Vec::new()), "_ext.tpdm.x", true),
            (members(Selection::ExcludeOnly, &[]), "_ext.tpdm.x", false),
            (
                Members {
                    extensions: vec![named("TPDM", members(Selection::ExcludeAll, &[]))],
                    ..members(Selection::ExcludeOnly, &[])
                },
                "_ext.tpdm.x",
                true,
            ),
        ];
        for (members, path, expected) in cases {
            assert_eq!(members.hides(path, Some("_ext")), expected, "{members:?} {path}");
        }
    }

    #[test]
    fn a_member_may_be_named_with_its_resource() {
        let only = members(Selection::IncludeOnly, &["SchoolGradeLevels"]);
        assert!(!only.hides_member("gradeLevels", "School"));
        assert!(only.hides_member("gradeLevels", "Course"));
        assert!(members(Selection::ExcludeOnly, &["SchoolGradeLevels"]).hides_member("gradeLevels", "School"));
    }

    #[test]
    fn parameters_nest_as_the_profile_does() {
        let filter = Filter { property: "Kind".into(), is_inclusive: false, values: vec!["a".into()] };
        let tree = Members {
            collections: vec![Child {
                filters: vec![filter],
                ..named("Addresses", members(Selection::ExcludeOnly, &["City"]))
            }],
            ..members(Selection::IncludeOnly, &["FirstName"])
        };
        let parameters = tree.parameters();
        assert_eq!(parameters.get("include"), Some(&texts(&["FirstName".into()])));
        let Some(Value::List(collections)) = parameters.get("collections") else { panic!("{parameters:?}") };
        let Some(Value::Record(addresses)) = collections.first() else { panic!("{collections:?}") };
        assert_eq!(addresses.get("name"), Some(&text("Addresses")));
        assert_eq!(addresses.get("exclude"), Some(&texts(&["City".into()])));
        let Some(Value::List(filters)) = addresses.get("filters") else { panic!("{addresses:?}") };
        let Some(Value::Record(filter)) = filters.first() else { panic!("{filters:?}") };
        assert_eq!((filter.get("mode"), filter.get("property")), (Some(&text("ExcludeOnly")), Some(&text("Kind"))));
        assert_eq!(parameters.get("objects"), None);
    }
}
