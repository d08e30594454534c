//! Custom views: a strategy of the realm, and the items that are members of its view.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use hallpass::proto::v1 as pb;
use serde_json::Value as Json;

use crate::cases::{Catalogue, ItemKey, Resource, View};
use crate::realms;

/// A member of a view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    /// The entity type of the basis, for example `Student`.
    basis: &'static str,
    relation: &'static str,
    id: String,
    view: String,
}

/// Writes the policy that asks the view, and makes the strategy known to the realm.
pub(crate) fn write(folder: &Path, view: &View, basis: &Resource) -> anyhow::Result<()> {
    let View { strategy, .. } = view;
    let (attribute, ..) = basis_of(basis)?;
    let hint = hint(strategy, &basis.name)?;
    let policy = format!(
        r#"@id("{strategy}")
@title("a client reaches only items of the view {strategy}")
@reason("CUSTOM_VIEW_NO_ROW")
@missing("CUSTOM_VIEW_VALUE")
@message("The item is none of those that the view shows.")
@hint("{hint}")
@precedence("10")
forbid (principal is Client, action, resource is Resource)
when {{ context.strategies.contains("{strategy}") }}
unless {{ resource has {attribute} && resource.{attribute}.views in View::"{strategy}" }};
"#
    );
    fs::write(folder.join(format!("{strategy}.cedar")), policy)?;
    realms::change_strategies(folder, |strategies| {
        strategies.insert(strategy.clone(), toml::Value::from(vec![attribute]));
        Ok(())
    })
}

/// The stored items that are members of views.
pub(crate) fn members(
    views: &[View],
    stored: &BTreeMap<ItemKey, Json>,
    catalogue: &Catalogue,
) -> anyhow::Result<BTreeSet<Member>> {
    let mut members = BTreeSet::new();
    for view in views {
        let resource = catalogue.resource(&view.basis_resource)?;
        let (_, basis, relation) = basis_of(resource)?;
        let [path] = resource.identity_paths.as_slice() else {
            anyhow::bail!("the identity of `{}` is not one value", view.basis_resource);
        };
        let wanted: BTreeSet<String> = view.basis_members.iter().filter_map(text).collect();
        let items = stored.iter().filter(|((resource, _), _)| *resource == view.basis_resource);
        let ids = items.filter_map(|(_, document)| text(document.pointer(&path.replace("$.", "/").replace('.', "/"))?));
        let shown = ids.filter(|id| wanted.contains(id));
        members.extend(shown.map(|id| Member { basis, relation, id, view: view.strategy.clone() }));
    }
    Ok(members)
}

impl Member {
    /// As the service keeps it.
    pub(crate) fn relationship(&self) -> pb::Relationship {
        let reference = |r#type: String, id: &str| Some(pb::EntityReference { r#type, id: id.to_owned() });
        pb::Relationship {
            subject: reference(format!("{}Views", self.basis), &self.id),
            relation: self.relation.to_owned(),
            object: reference("View".to_owned(), &self.view),
        }
    }
}

/// The attribute that names an item of the basis, its entity type, and the relation that makes it a member.
fn basis_of(basis: &Resource) -> anyhow::Result<(&'static str, &'static str, &'static str)> {
    let kind = basis.securable_elements.first().map(|element| element.kind.as_str());
    Ok(match kind {
        Some("Student") => ("student", "Student", "student_view_member"),
        Some("Staff") => ("staff", "Staff", "staff_view_member"),
        Some("Contact") => ("contact", "Contact", "contact_view_member"),
        Some("EducationOrganization") => ("educationOrganization", "EducationOrganization", "organization_view_member"),
        _ => anyhow::bail!("`{}` cannot be the basis of a view", basis.name),
    })
}

/// `You may need a Student with CTE Course Enrollments.` from `StudentWithCTECourseEnrollments`.
fn hint(strategy: &str, basis: &str) -> anyhow::Result<String> {
    let description = strategy.strip_prefix(basis).and_then(|rest| rest.strip_prefix("With"));
    let description = description.with_context(|| format!("`{strategy}` is no view of `{basis}`"))?;
    let article = if basis.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    Ok(format!("You may need {article} {} with {}.", words(basis), words(description)))
}

/// The words of a name in Pascal case; a run of capitals is one word.
fn words(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| letters.get(place));
        let after = letters.get(place + 1);
        let starts = before.is_some_and(|before| {
            letter.is_uppercase() && (before.is_lowercase() || after.is_some_and(|after| after.is_lowercase()))
        });
        if starts {
            text.push(' ');
        }
        text.push(*letter);
    }
    text
}

fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
