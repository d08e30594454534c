//! The resource types whose items the service knows as entities, so that a search can find them by itself.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    document::Table,
    fault::Fault,
    record_mapping::RelationRule,
    resource_type::{ResourceType, ResourceTypes, Subject},
    schema::{AttributeType, RealmSchema},
};

/// How the items of a resource type are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The entity type; an item goes by the id of its entity.
    pub entity: Arc<str>,
    /// What records must say of the entity, all of it.
    pub facts: Vec<(Arc<str>, Arc<str>)>,
    /// The attributes whose value isn't the entity itself, each with the relation whose object it is.
    pub values: BTreeMap<Arc<str>, Arc<str>>,
    /// Every item is on record: records say something about each entity of this type.
    pub is_on_record: bool,
}

/// Where a known item has a value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// It is the item's own entity.
    Own,
    /// It is the object of this relation of the item's entity.
    Related(&'a Arc<str>),
    /// The service doesn't know it.
    Unknown,
}

/// The known resource types, by name.
pub type Items = BTreeMap<Arc<str>, Item>;

impl Item {
    /// The store knows the value of this attribute of a resource type of this entity type, so that nobody else need say
    /// it.
    pub fn stores(&self, resource_entity: &str, attribute: &str, value_type: &AttributeType) -> bool {
        let is_own =
            || *self.entity != *resource_entity && *value_type == AttributeType::Entity(Arc::clone(&self.entity));
        self.values.contains_key(attribute) || is_own()
    }

    /// Where the value of a subject comes from.
    pub fn origin(&self, subject: &Subject) -> Origin<'_> {
        match self.values.get(&subject.attribute) {
            // An id of several parts is that of something else.
            _ if !subject.more.is_empty() => Origin::Unknown,
            Some(relation) => Origin::Related(relation),
            None if subject.value_type == AttributeType::Entity(Arc::clone(&self.entity)) => Origin::Own,
            None => Origin::Unknown,
        }
    }
}

/// Reads the tables `items` of a document. `said_of` gives the names of the facts that records bring about an entity
/// type, `None` where they bring none.
pub(super) fn read_items(
    root: &Table<'_>,
    relations: &BTreeMap<Arc<str>, RelationRule>,
    said_of: impl Fn(&str) -> Option<Vec<Arc<str>>>,
) -> Items {
    let items = root.named("items", |_, table| {
        let entity = table.required_text("entity");
        let single = |(name, texts): (Arc<str>, Vec<Arc<str>>)| Some((name, texts.into_iter().next()?));
        let facts: Vec<_> = table.text_lists("facts").into_iter().filter_map(single).collect();
        let values: BTreeMap<_, _> = table.text_lists("values").into_iter().filter_map(single).collect();
        let entity = entity?;
        let said = said_of(&entity);
        for (name, _) in &facts {
            let said = said.as_deref().unwrap_or_default();
            if !said.contains(name) {
                let known = if said.is_empty() { "none".to_owned() } else { said.join(", ") };
                table.fault(Some("facts"), format!("no record says `{name}` of `{entity}`, expected one of {known}"));
            }
        }
        for (attribute, relation) in &values {
            match relations.get(relation) {
                None => {
                    let known: Vec<&str> = relations.keys().map(|name| &**name).collect();
                    let message = format!("unknown relation `{relation}`, expected one of {}", known.join(", "));
                    table.fault(Some("values"), message);
                }
                Some(rule) if rule.subject != entity => {
                    let message = format!(
                        "`{attribute}`: the subject of `{relation}` is of type `{}`, expected `{entity}`",
                        rule.subject
                    );
                    table.fault(Some("values"), message);
                }
                Some(_) => {}
            }
        }
        Some(Item { entity, facts, values, is_on_record: said.is_some() })
    });
    items.into_iter().collect()
}

/// Holds the known items against the schema and the resource types.
pub(super) fn check(
    file: &str,
    items: &Items,
    relations: impl Fn(&str) -> Option<RelationRule>,
    schema: &RealmSchema,
    types: &ResourceTypes,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, item) in items {
        let mut fault = |message: String| faults.push(Fault::in_file(file, format!("items.`{name}`: {message}")));
        let Some(resource_type) = types.get(name) else {
            fault("the realm has no such resource type".to_owned());
            continue;
        };
        if !schema.entities.contains_key(&item.entity) {
            fault(format!("the schema has no entity type `{}`", item.entity));
            continue;
        }
        check_values(item, &relations, resource_type, &mut fault);
    }
    faults
}

fn check_values(
    item: &Item,
    relations: &impl Fn(&str) -> Option<RelationRule>,
    resource_type: &ResourceType,
    fault: &mut impl FnMut(String),
) {
    for (attribute, relation) in &item.values {
        let Some(subject) = resource_type.subjects.iter().find(|subject| subject.attribute == *attribute) else {
            fault(format!("the resource type has no subject `{attribute}`"));
            continue;
        };
        let fits = |rule: &RelationRule| {
            let object = AttributeType::Entity(Arc::clone(&rule.object));
            subject.value_type == object || subject.value_type == AttributeType::Set(Box::new(object))
        };
        if let Some(rule) = relations(relation).filter(|rule| !fits(rule)) {
            let object = &rule.object;
            fault(format!("the object of `{relation}` is of type `{object}`, which is not the type of `{attribute}`"));
        }
    }
    for subject in &resource_type.subjects {
        let must_be_known = subject.is_required && !resource_type.has_lacks;
        if must_be_known && item.origin(subject) == Origin::Unknown {
            fault(format!("the schema requires `{}`, and nothing says what it is", subject.attribute));
        }
    }
}
