//! What explanations say: values, what is missing, and chains.

use super::{each_case, files};
use crate::domain::{
    explain::{By, Explanation, Fact, explain},
    policy_test,
};

fn of_case(realm: &str, file: &str, name: &str) -> Explanation {
    let mut found = None;
    policy_test::each(&files(realm), Some(file), &mut |case| {
        if case.name == name {
            found = Some(explain(case.realm, case.principal, case.request, case.graph));
        }
    })
    .unwrap();
    found.unwrap()
}

#[test]
fn an_allow_shows_the_chain_that_it_rests_on() {
    let explanation = of_case("edfi", "tests/relationships.yaml", "the state reads the students of its districts");
    let chains: Vec<_> =
        explanation.permits.iter().flat_map(|permit| &permit.conjuncts).flat_map(|c| &c.chains).collect();
    let relations: Vec<&str> = chains[0]
        .hops
        .iter()
        .map(|hop| match &hop.by {
            By::Relation(name) => &**name,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(&*chains[0].from.entity_type, "Student");
    assert_eq!(relations, ["enrolled_at", "belongs_to", "belongs_to"]);
    assert!(explanation.near_misses.is_empty() && explanation.remedies.found.is_empty());
}

#[test]
fn a_deny_says_which_condition_is_false_and_what_it_saw() {
    let explanation = of_case("edfi", "tests/relationships.yaml", "and not the student of the school next door");
    let miss = &explanation.near_misses[0];
    let failing = miss.conjuncts.iter().find(|conjunct| !conjunct.missing.is_empty()).unwrap();
    assert_eq!((&*failing.place.file, failing.place.column), ("relationships.cedar", 5));
    let paths: Vec<&str> = failing.values.iter().map(|value| &*value.path).collect();
    assert!(paths.contains(&"resource.student") && paths.contains(&"principal.educationOrganizations"), "{paths:?}");
    assert!(failing.missing[0].starts_with("no relationship leads from Student::"), "{:?}", failing.missing);
    assert!(
        explanation
            .remedies
            .found
            .iter()
            .any(|remedy| matches!(&remedy.fact, Fact::Relationship(found) if *found.relation == *"enrolled_at"))
    );
}

#[test]
fn a_scope_that_is_missing_is_named_as_the_token_says_it() {
    let name = "without the scope nothing is read, and the challenge names it";
    let explanation = of_case("auth0", "tests/timesheets.yaml", name);
    let claims = explanation.remedies.found.iter().filter_map(|remedy| match &remedy.fact {
        Fact::Claim { claim, adds, .. } => Some((&**claim, *adds)),
        _ => None,
    });
    assert_eq!(claims.collect::<Vec<_>>().first(), Some(&("scope", true)));
}

#[test]
fn explanations_are_bounded_in_every_realm() {
    each_case(|_, case| {
        let explanation = explain(case.realm, case.principal, case.request, case.graph);
        let size = format!("{explanation:?}").len();
        assert!(size < 400_000, "{} {}: {size}", case.file, case.name);
        assert!(explanation.remedies.found.len() <= 5 * super::super::REMEDIES_MAX);
    });
}

/// The media types and claims that would turn a deny.
fn profile_remedies(name: &str) -> Vec<String> {
    let explanation = of_case("edfi", "tests/profiles.yaml", name);
    let shown = explanation.remedies.found.iter().filter_map(|remedy| match &remedy.fact {
        Fact::MediaType(media_type) => Some(media_type.to_string()),
        Fact::Claim { claim, values, .. } => Some(format!("{claim}={values:?}")),
        _ => None,
    });
    shown.collect()
}

#[test]
fn a_refusal_for_a_profile_names_the_media_types_that_would_do() {
    let names = "application/vnd.ed-fi.school.school-names.readable+json";
    let maintenance = "application/vnd.ed-fi.school.school-maintenance.readable+json";
    assert_eq!(profile_remedies("of several that fit one has to be named"), [maintenance, names]);
    let assigned = "profiles=[String(\"School-Maintenance\")]";
    assert_eq!(profile_remedies("who has a profile for this cannot use another's"), [names, "", assigned]);
    assert_eq!(profile_remedies("reading takes no profile for writing"), [""]);
}

#[test]
fn a_profile_that_hides_what_is_needed_is_told_with_the_member() {
    let explanation = of_case("edfi", "tests/profiles.yaml", "creating needs what the profile hides");
    let fault = explanation.fault.unwrap();
    assert_eq!(&*fault.code, "PROFILE_DATA_POLICY");
    assert!(fault.message.starts_with("the profile hides the member `"), "{}", fault.message);
}

#[test]
fn an_id_of_several_parts_is_told_by_its_properties() {
    let found = of_case("edfi", "tests/custom_views.yaml", "a key without any part").remedies.found;
    let parts = found.iter().find_map(|remedy| match &remedy.fact {
        Fact::Property { parts, .. } if !parts.is_empty() => Some(parts),
        _ => None,
    });
    let expected =
        [("assessmentReference.assessmentIdentifier", "ACT-1"), ("assessmentReference.namespace", "uri://act.example")];
    assert_eq!(parts.unwrap().as_slice(), expected.map(|(path, text)| (path.into(), text.into())));
}
