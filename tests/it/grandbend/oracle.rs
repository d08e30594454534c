//! Who is related to whom, worked out from the records alone.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::Records;

const STUDENT: &str = "/studentReference/studentUniqueId";
const ORGANIZATION: &str = "/educationOrganizationReference/educationOrganizationId";

/// Who is related to whom, worked out from the records.
pub(super) struct Oracle<'a> {
    records: &'a Records,
    /// What was on record once.
    removed: Option<&'a Records>,
}

impl<'a> Oracle<'a> {
    pub(super) fn of(records: &'a Records) -> Self {
        Self { records, removed: None }
    }

    /// The same, where what was removed counts as well.
    pub(super) fn including<'b>(&self, removed: &'b Records) -> Oracle<'b>
    where
        'a: 'b,
    {
        Oracle { records: self.records, removed: Some(removed) }
    }

    /// All values at a path of a resource's records beside those at another.
    fn pairs<'b>(
        &'b self,
        resource: &str,
        one: &'b str,
        other: &'b str,
    ) -> impl Iterator<Item = (String, String)> + 'b {
        let now = self.records.get(resource).into_iter();
        let records = now.chain(self.removed.and_then(|removed| removed.get(resource))).flatten();
        let plain = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        records.filter_map(move |record| Some((plain(record.pointer(one)?), plain(record.pointer(other)?))))
    }

    /// The organization and all that stand below it, where it is on record.
    pub(super) fn below(&self, organization: i64) -> BTreeSet<String> {
        self.closure(organization, |child, parent| (child, parent))
    }

    /// The organization and all that stand above it.
    pub(super) fn above(&self, organization: i64) -> BTreeSet<String> {
        self.closure(organization, |child, parent| (parent, child))
    }

    /// The organization and all that are reached from it; `turn` makes (next, from) of (child, parent).
    fn closure(&self, organization: i64, turn: fn(String, String) -> (String, String)) -> BTreeSet<String> {
        let parents: [(&str, &str, &str); 6] = [
            ("schools", "/schoolId", "/localEducationAgencyReference/localEducationAgencyId"),
            (
                "localEducationAgencies",
                "/localEducationAgencyId",
                "/educationServiceCenterReference/educationServiceCenterId",
            ),
            (
                "localEducationAgencies",
                "/localEducationAgencyId",
                "/parentLocalEducationAgencyReference/localEducationAgencyId",
            ),
            (
                "localEducationAgencies",
                "/localEducationAgencyId",
                "/stateEducationAgencyReference/stateEducationAgencyId",
            ),
            (
                "organizationDepartments",
                "/organizationDepartmentId",
                "/parentEducationOrganizationReference/educationOrganizationId",
            ),
            ("communityProviders", "/communityProviderId", "/communityOrganizationReference/communityOrganizationId"),
        ];
        let mut reached = BTreeSet::from([organization.to_string()]);
        loop {
            let pairs = parents.iter().flat_map(|(resource, child, parent)| self.pairs(resource, child, parent));
            let more: Vec<String> = pairs
                .map(|(child, parent)| turn(child, parent))
                .filter(|(next, from)| reached.contains(from) && !reached.contains(next))
                .map(|pair| pair.0)
                .collect();
            if more.is_empty() {
                return reached;
            }
            reached.extend(more);
        }
    }

    fn related(&self, resource: &str, person: &str, to: &str, within: &BTreeSet<String>) -> BTreeSet<String> {
        self.pairs(resource, person, to).filter(|(_, other)| within.contains(other)).map(|pair| pair.0).collect()
    }

    pub(super) fn students(&self, organization: i64) -> BTreeSet<String> {
        let below = self.below(organization);
        self.related("studentSchoolAssociations", STUDENT, "/schoolReference/schoolId", &below)
    }

    pub(super) fn contacts(&self, organization: i64) -> BTreeSet<String> {
        let students = self.students(organization);
        self.related("studentContactAssociations", "/contactReference/contactUniqueId", STUDENT, &students)
    }

    pub(super) fn staff(&self, organization: i64) -> BTreeSet<String> {
        let below = self.below(organization);
        let resources =
            ["staffEducationOrganizationEmploymentAssociations", "staffEducationOrganizationAssignmentAssociations"];
        let of = |resource| self.related(resource, "/staffReference/staffUniqueId", ORGANIZATION, &below);
        resources.into_iter().flat_map(of).collect()
    }

    pub(super) fn students_by_responsibility(&self, organization: i64) -> BTreeSet<String> {
        let below = self.below(organization);
        self.related("studentEducationOrganizationResponsibilityAssociations", STUDENT, ORGANIZATION, &below)
    }
}
