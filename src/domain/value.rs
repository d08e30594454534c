//! The values of attributes and of the context.

use std::sync::Arc;

use super::id::EntityId;

/// One value. Lists keep their order; records are sorted by name and have each name once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number of 64 bits.
    Long(i64),
    /// A text.
    String(Arc<str>),
    /// A reference to an entity.
    Entity(EntityId),
    /// A list of values.
    List(Vec<Value>),
    /// Named values.
    Record(Attributes),
    /// Declared, but without a value (JSON `null`).
    Null,
}

impl Value {
    /// What the value is, in the words that error messages use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Long(_) => "a whole number",
            Self::String(_) => "a string",
            Self::Entity(_) => "an entity reference",
            Self::List(_) => "a list",
            Self::Record(_) => "a record",
            Self::Null => "no value",
        }
    }
}

/// Named values, sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes(Vec<(Arc<str>, Value)>);

impl Attributes {
    /// The value at a dotted path: `schoolReference.schoolId` finds the name with the dots as it
    /// stands, else the record `schoolReference` and in it `schoolId`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.get(path) {
            return Some(value);
        }
        path.match_indices('.').find_map(|(dot, _)| match (path.get(..dot), path.get(dot + 1..)) {
            (Some(head), Some(rest)) => match self.get(head) {
                Some(Value::Record(fields)) => fields.at(rest),
                _ => None,
            },
            _ => None,
        })
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let index = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// Nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Of a name that comes twice, the last value stays.
impl FromIterator<(Arc<str>, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.reverse();
        pairs.dedup_by(|(a, _), (b, _)| a == b);
        pairs.reverse();
        Self(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, Value)]) -> Attributes {
        pairs.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect()
    }

    #[test]
    fn a_path_finds_dotted_names_and_nested_records() {
        let nested = attributes(&[("schoolReference", Value::Record(attributes(&[("schoolId", Value::Long(1))])))]);
        let dotted = attributes(&[("schoolReference.schoolId", Value::Long(1))]);
        for given in [nested, dotted] {
            assert_eq!(given.at("schoolReference.schoolId"), Some(&Value::Long(1)));
            assert_eq!(given.at("schoolReference.other"), None);
            assert_eq!(given.at("schoolId"), None);
        }
    }

    #[test]
    fn the_last_value_of_a_name_stays() {
        let given = attributes(&[("a", Value::Long(1)), ("b", Value::Null), ("a", Value::Long(2))]);
        assert_eq!((given.len(), given.get("a")), (2, Some(&Value::Long(2))));
    }
}
