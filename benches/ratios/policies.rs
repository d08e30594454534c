//! What policies that cannot apply cost.
//!
//! Questions about one organization's documents meet the same ten policies each time, among ten or ten thousand: that
//! is the ratio. Questions about everybody's documents meet other policies each time, which the processor then has to
//! fetch from memory; that cost is shown beside it.

use std::{fmt::Write as _, ops::Range, sync::Arc};

use hallpass::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::Outcome,
    graph::Graph,
    id::{EntityId, Revision},
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{Record, RecordKey, Relationship},
    value::{Attributes, Value},
};
use serde_json::json;

use crate::measure::{Goal, Numbers, Report, info, interleaved, median, median_ratio};

const ORGANIZATIONS: usize = 1_000;
const POLICIES_EACH: usize = 10;
/// Documents of the first organization; each other one has [`DOCUMENTS_OF_OTHERS`].
const DOCUMENTS: usize = 10_000;
const DOCUMENTS_OF_OTHERS: usize = 10;
const ROUNDS: usize = 31;
const TIMES: usize = 4_000;

pub(crate) fn run(report: &mut Report) {
    for scope in ["principal", "resource"] {
        let [few, many] = [1, ORGANIZATIONS].map(|organizations| realm(scope, organizations));
        let [few_graph, many_graph] = [1, ORGANIZATIONS].map(graph);
        let [few_us, many_us] = interleaved(
            ROUNDS,
            TIMES,
            [&mut asking(&few, &few_graph, 0..DOCUMENTS), &mut asking(&many, &many_graph, 0..DOCUMENTS)],
        );
        let name = format!("decision_10k_over_10_policies_by_{scope}");
        report.goal(&name, median_ratio(&many_us, &few_us), Goal::AtMost(1.3));
        info(&format!("decision_us_10_policies_by_{scope}"), median(&few_us));
        if scope == "resource" {
            let others = DOCUMENTS..DOCUMENTS + (ORGANIZATIONS - 1) * DOCUMENTS_OF_OTHERS;
            let [others_us] = interleaved(ROUNDS, TIMES, [&mut asking(&many, &many_graph, others)]);
            info("decision_us_10k_policies_others_each_time", median(&others_us));
        }
    }
}

/// Ten policies for each organization, of which only those of one can apply to a question.
fn realm(scope: &str, organizations: usize) -> Realm {
    let schema =
        "entity Organization; entity Person in [Organization] { organizations: Set<Organization>, level: Long };
        entity Document in [Organization] { level: Long };
        action Read appliesTo { principal: [Person], resource: [Document] };";
    let realm = "title = \"Documents\"\n[principal]\nentity = \"Person\"\nid = \"sub\"\nparents = [\"organizations\"]\n
        [principal.attributes.organizations]\nclaim = \"organizations\"\n[principal.attributes.level]\nclaim = \"level\"\n[trusted]\nDocument = [\"level\"]";
    let relations = "[relations.filed]\nsubject = \"Document\"\nobject = \"Organization\"";
    let mut policies = String::new();
    for organization in 0..organizations {
        for number in 0..POLICIES_EACH {
            let one = format!("{scope} in Organization::\"{organization}\"");
            let head = if scope == "principal" {
                format!("{one}, action, resource")
            } else {
                format!("principal, action, {one}")
            };
            writeln!(
                policies,
                "@id(\"{organization}-{number}\") permit ({head}) when {{ principal.level >= resource.level + {number} }};"
            )
            .unwrap();
        }
    }
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    let files = [
        file("realm.toml", realm),
        file("relations.toml", relations),
        file("schema.cedarschema", schema),
        file("policies.cedar", &policies),
    ];
    Realm::compile(&files, None).unwrap()
}

/// Documents, each filed in one of the organizations: first those of the first, then those of the others in turns.
fn graph(organizations: usize) -> Graph {
    let mut graph = Graph::new();
    for document in 0..DOCUMENTS + (organizations - 1) * DOCUMENTS_OF_OTHERS {
        let organization = if document < DOCUMENTS { 0 } else { 1 + (document - DOCUMENTS) % (organizations - 1) };
        let relationship = Relationship {
            subject: EntityId::new("Document", document.to_string()),
            relation: "filed".into(),
            object: EntityId::new("Organization", organization.to_string()),
        };
        let key = RecordKey { resource: RecordKey::DIRECT.into(), key: document.to_string().into() };
        graph.insert(&Record::new(key, vec![relationship], None));
    }
    graph.set_revision(Revision(1));
    graph
}

/// Decides about random documents of these; somebody of the first organization asks.
fn asking<'a>(realm: &'a Realm, graph: &'a Graph, documents: Range<usize>) -> impl FnMut() + 'a {
    let claims = json!({ "sub": "p", "organizations": ["0"], "level": 5 });
    let principal = Principal::from_claims(realm, claims.as_object().unwrap()).unwrap();
    let mut numbers = Numbers(7);
    move || {
        let attributes: Attributes = [(Arc::from("level"), Value::Long(1))].into_iter().collect();
        let question = Question {
            action: "Read".into(),
            resource_type: "Document".into(),
            resource_id: (documents.start + numbers.below(documents.len())).to_string().into(),
            attributes: Some(attributes),
            ..Question::default()
        };
        let request = AccessRequest::check(realm, &question).unwrap();
        assert_eq!(decide(realm, &principal, &request, graph).outcome, Outcome::Allowed);
    }
}
