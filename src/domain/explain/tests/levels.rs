//! Whom an explanation names.

use super::files;
use crate::domain::{
    explain::{People, explain_to},
    policy_test,
};

#[test]
fn people_whom_the_question_does_not_name_are_hidden_where_they_may_not_be_seen() {
    let (file, name) = ("tests/relationships.yaml", "a contact is reached through a student");
    let mut seen = 0;
    policy_test::each(&files("edfi"), Some(file), &mut |case| {
        if case.name == name {
            let ends = |people| {
                let explanation = explain_to(people, case.realm, case.principal, case.request, case.graph);
                assert_eq!(explanation.hides_people, people == People::Hidden);
                let conjuncts = explanation.permits.iter().flat_map(|permit| &permit.conjuncts);
                let chains: Vec<_> = conjuncts.flat_map(|conjunct| conjunct.chains.clone()).collect();
                let students =
                    chains.iter().flat_map(|chain| &chain.hops).filter(|hop| *hop.to.entity_type == *"Student");
                (chains[0].from.id.to_string(), students.map(|hop| hop.to.id.to_string()).collect::<Vec<_>>())
            };
            let (named, hidden) = (ends(People::Named), ends(People::Hidden));
            assert_eq!(named.0, hidden.0, "the question names the contact");
            assert!(named.1.iter().all(|id| id != "…") && !named.1.is_empty());
            assert!(hidden.1.iter().all(|id| id == "…") && !hidden.1.is_empty());
            seen += 1;
        }
    })
    .unwrap();
    assert_eq!(seen, 1);
}
