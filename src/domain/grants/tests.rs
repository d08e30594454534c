use super::*;
use crate::domain::{
    realm_file::{Addressable, ClaimCase, Inheritance},
    resource_type::Subject,
    schema::AttributeType,
};

fn settings() -> GrantSettings {
    let strategies = [
        ("Free", vec![]),
        ("ByPlace", vec!["place"]),
        ("ByName", vec!["name"]),
        ("ByBoth", vec!["place", "name"]),
        ("Owned", vec!["owner"]),
    ];
    let strategies = strategies
        .into_iter()
        .map(|(name, attributes)| (name.into(), attributes.into_iter().map(Arc::from).collect()))
        .collect();
    GrantSettings {
        file: "grants.json".into(),
        claim_set: "claimSet".into(),
        strategies,
        usable: vec![("Changes".into(), vec!["Free".into()])],
        last: vec!["Owned".into()],
        unknown_claim_set: Unknown::Error,
        ..GrantSettings::default()
    }
}

fn first_override() -> GrantSettings {
    GrantSettings { inheritance: Inheritance::FirstOverride, ..settings() }
}

/// `pupils` with the claim `urn:new:leaf`, and `groups` with the claim `root`.
fn types() -> ResourceTypes {
    let resource_type = |name: &str, claim: &str| {
        let subject = Subject {
            attribute: "name".into(),
            path: "name".into(),
            name: "Name".into(),
            more: Vec::new(),
            value_type: AttributeType::String,
            is_required: false,
            is_stored: false,
            is_identity: None,
        };
        let resource_type = ResourceType {
            name: name.into(),
            entity: "Resource".into(),
            claim: Some(claim.into()),
            subjects: vec![subject],
            has_lacks: true,
            required_members: Vec::new(),
        };
        (Arc::from(name), Arc::new(resource_type))
    };
    ResourceTypes::from([resource_type("pupils", "urn:new:leaf"), resource_type("groups", "root")])
}

/// A leaf below a root, what is said of each.
fn table(leaf: &str, root: &str) -> String {
    format!(r#"{{"claims":{{"urn:new:leaf":{{"parent":"root",{leaf}}},"root":{{"parent":null,{root}}}}}}}"#)
}

fn grants(content: &str, settings: &GrantSettings) -> Grants {
    Grants::parse(content, settings, &types()).unwrap()
}

fn found(leaf: &str, root: &str, action: &str, settings: &GrantSettings) -> Grant {
    (*grants(&table(leaf, root), settings).find("sis", "pupils", action).grant).clone()
}

/// Strategies, who grants, who supplies.
fn summary(leaf: &str, root: &str, settings: &GrantSettings) -> String {
    let grant = found(leaf, root, "Read", settings);
    let name = |claim: &Option<Arc<str>>| claim.clone().unwrap_or_else(|| "nobody".into());
    let strategies = if grant.strategies.is_empty() { "nothing".to_owned() } else { grant.strategies.join("+") };
    format!("{strategies} by {} from {}", name(&grant.granted_by), name(&grant.supplied_by))
}

const NOTHING: &str = r#""defaults":{}"#;

#[test]
fn the_nearest_grant_decides_and_its_own_strategies_come_before_any_default() {
    let root = r#""claim_sets":{"SIS":{"Read":["ByName"]}},"defaults":{"Read":["ByName"]}"#;
    let own = r#""claim_sets":{"SIS":{"Read":["Free"]}}"#;
    let plain = r#""claim_sets":{"SIS":{"Read":null}}"#;
    let with_default = r#""claim_sets":{"SIS":{"Read":null}},"defaults":{"Read":["Free"]}"#;
    for (leaf, nearest, first_override_wins) in [
        (own, "Free by urn:new:leaf from urn:new:leaf", "Free by urn:new:leaf from urn:new:leaf"),
        (with_default, "Free by urn:new:leaf from urn:new:leaf", "ByName by urn:new:leaf from root"),
        (plain, "ByName by urn:new:leaf from root", "ByName by urn:new:leaf from root"),
        (NOTHING, "ByName by root from root", "ByName by root from root"),
    ] {
        assert_eq!(summary(leaf, root, &settings()), nearest, "{leaf}");
        assert_eq!(summary(leaf, root, &first_override()), first_override_wins, "{leaf}");
    }
}

#[test]
fn a_grant_above_takes_the_resources_own_default() {
    let root = r#""claim_sets":{"SIS":{"Read":null}},"defaults":{"Read":["ByName"]}"#;
    let leaf = r#""defaults":{"Read":["Free"]}"#;
    for settings in [settings(), first_override()] {
        assert_eq!(summary(leaf, root, &settings), "Free by root from urn:new:leaf");
    }
}

#[test]
fn an_empty_default_ends_the_search_only_where_the_nearest_decides() {
    let root = r#""claim_sets":{"SIS":{"Read":null}},"defaults":{"Read":["Free"]}"#;
    let leaf = r#""defaults":{"Read":[]}"#;
    assert_eq!(summary(leaf, root, &settings()), "nothing by root from urn:new:leaf");
    assert_eq!(summary(leaf, root, &first_override()), "Free by root from root");
}

#[test]
fn an_empty_override_is_none() {
    let root = r#""defaults":{"Read":["Free"]}"#;
    for settings in [settings(), first_override()] {
        let leaf = r#""claim_sets":{"SIS":{"Read":[]}}"#;
        assert_eq!(summary(leaf, root, &settings), "Free by urn:new:leaf from root");
    }
}

#[test]
fn each_strategy_counts_once_and_the_last_ones_come_last() {
    let leaf = r#""claim_sets":{"SIS":{"Read":["Owned","ByName","Free","ByName","Owned"]}}"#;
    assert_eq!(found(leaf, NOTHING, "Read", &settings()).strategies.join(" "), "ByName Free Owned");
}

#[test]
fn a_grant_knows_its_lineage_and_equal_ones_share_a_number() {
    let root = r#""claim_sets":{"SIS":{"Read":["Free"],"Write":["Free"]}}"#;
    let grants = grants(&table(NOTHING, root), &GrantSettings { addressable: Addressable::Any, ..settings() });
    let (pupils, groups) = (grants.find("SIS", "pupils", "Read"), grants.find("SIS", "groups", "Write"));
    assert_eq!(pupils.number, groups.number);
    assert_eq!(pupils.grant.lineage.join(" in "), "urn:new:leaf in root");
    assert_eq!(groups.grant.lineage.join(" in "), "root");
    let denied = grants.find("SIS", "pupils", "Delete").grant;
    assert_eq!((denied.is_granted, denied.has_resource, denied.lineage.len()), (false, true, 2));
}

#[test]
fn what_cannot_decide_is_a_fault_and_no_grant() {
    let root =
        r#""claim_sets":{"SIS":{"Read":null,"Changes":["ByName"],"Write":["Other","Odd"]}},"defaults":{"Read":[]}"#;
    for (action, text) in [
        (
            "Read",
            "No authorization strategies were defined for the requested action 'Read' against resource URIs ['urn:new:leaf'] matched by the caller's claim 'root'.",
        ),
        (
            "Changes",
            "Could not find authorization strategy implementations for the following strategy names: 'ByName'.",
        ),
        (
            "Write",
            "Could not find authorization strategy implementations for the following strategy names: 'Other', 'Odd'.",
        ),
    ] {
        assert_eq!(&*found(NOTHING, root, action, &settings()).fault.unwrap(), text);
    }
}

#[test]
fn a_strategy_that_finds_nothing_to_look_at_says_what_there_is() {
    for (strategy, names) in [("ByPlace", "'Name'"), ("Owned", "''")] {
        let root = format!(r#""claim_sets":{{"SIS":{{"Read":["ByName","{strategy}"]}}}}"#);
        assert_eq!(
            &*found(NOTHING, &root, "Read", &settings()).fault.unwrap(),
            format!(
                "Authorization strategy '{strategy}' processed the authorization context names {names} and produced no authorization subjects, meaning no authorization filtering will be performed. Are you using the correct authorization strategy for this resource?"
            )
        );
    }
}

#[test]
fn faults_are_listed_and_told_as_sentences() {
    let root = r#""claim_sets":{"SIS":{"Read":["Other"],"Write":["Other"]},"A":{"Read":["Other"]}}"#;
    let grants = grants(&table(NOTHING, root), &settings());
    let faults = grants.faults();
    let first = &faults[0];
    assert_eq!((faults.len(), grants.fault_count()), (3, 3));
    assert_eq!((&*first.claim_set, &*first.resource_type, &*first.action), ("A", "pupils", "Read"));
    assert_eq!((&*first.supplied_by, first.message.contains("'Other'")), ("root", true));
}

#[test]
fn a_group_is_no_resource_where_only_leaves_count() {
    let content = table(NOTHING, r#""claim_sets":{"SIS":{"Read":["Free"]}}"#);
    for (addressable, has_resource) in [(Addressable::Leaves, false), (Addressable::Any, true)] {
        let grants = grants(&content, &GrantSettings { addressable, ..settings() });
        let grant = grants.find("SIS", "groups", "Read").grant;
        assert_eq!((grant.has_resource, grant.is_granted, &grant.fault), (has_resource, has_resource, &None));
    }
}

#[test]
fn unknown_names_are_answered_as_the_realm_says() {
    let content = r#"{"claims":{"other":{"claim_sets":{"SIS":{"Read":["Free"]}}}}}"#;
    for (unknown_claim_set, unknown_resource, set_fails, resource_fails) in [
        (Unknown::Error, Unknown::Deny, true, false),
        (Unknown::Deny, Unknown::Error, true, true),
        (Unknown::Deny, Unknown::Deny, false, false),
    ] {
        let grants = grants(content, &GrantSettings { unknown_claim_set, unknown_resource, ..settings() });
        for (claim_set, fails) in [("nobody", set_fails), ("SIS", resource_fails)] {
            let grant = grants.find(claim_set, "pupils", "Read").grant;
            assert_eq!((grant.fault.is_some(), grant.has_resource), (fails, false), "{claim_set}");
        }
        assert_eq!(grants.fault_count(), if resource_fails { 2 } else { 0 });
    }
}

#[test]
fn a_claim_set_without_grants_is_known_when_the_table_declares_it() {
    let content = r#"{"claim_sets":["Idle"],"claims":{"urn:new:leaf":{}}}"#;
    let grants = grants(content, &settings());
    assert_eq!(grants.find("idle", "pupils", "Read").grant.fault, None);
    assert!(grants.find("busy", "pupils", "Read").grant.fault.is_some());
}

#[test]
fn a_claim_is_looked_up_in_its_other_spellings() {
    let settings = GrantSettings {
        claim_prefixes: vec![
            ("urn:".into(), vec!["urn:never:".into()]),
            ("urn:new:".into(), vec!["urn:old:".into(), "urn:oldest:".into()]),
        ],
        unknown_resource: Unknown::Error,
        ..settings()
    };
    let granting = |claims: &[&str]| {
        let claims: Vec<_> =
            claims.iter().map(|claim| format!(r#""{claim}":{{"claim_sets":{{"SIS":{{"Read":[]}}}}}}"#)).collect();
        let content = format!(r#"{{"claims":{{{}}}}}"#, claims.join(","));
        grants(&content, &settings).find("SIS", "pupils", "Read").grant
    };
    let none = "No authorization strategies were defined for the requested action 'Read' against resource URIs";
    let both = "Authorization metadata was found for more than one of the supplied resource claims ('urn:old:leaf, urn:oldest:leaf') resulting in an ambiguous basis for authorization.";
    for (claims, text) in [
        (&["urn:new:leaf"][..], format!("{none} ['urn:new:leaf'] matched by the caller's claim 'urn:new:leaf'.")),
        (
            &["urn:OLD:leaf"],
            format!("{none} ['urn:old:leaf', 'urn:oldest:leaf'] matched by the caller's claim 'urn:OLD:leaf'."),
        ),
        (&["urn:old:leaf", "urn:oldest:leaf"], both.to_owned()),
        (&["urn:never:new:leaf"], "No security metadata has been configured for this resource.".to_owned()),
    ] {
        assert_eq!(granting(claims).fault.as_deref(), Some(&*text), "{claims:?}");
    }
}

#[test]
fn case_counts_in_claims_only_where_the_realm_says_so() {
    let content = r#"{"claims":{"URN:NEW:LEAF":{"claim_sets":{"SIS":{"Read":["Free"]}}}}}"#;
    for (claim_case, is_granted) in [(ClaimCase::Ignore, true), (ClaimCase::Exact, false)] {
        let grants = grants(content, &GrantSettings { claim_case, ..settings() });
        assert_eq!(grants.find("SIS", "pupils", "Read").grant.is_granted, is_granted);
    }
}

#[test]
fn claims_that_are_no_resource_type_are_listed() {
    let content = r#"{"claims":{
        "urn:new:leaf":{"claim_sets":{"SIS":{"Read":["Free"]}}},
        "services":{"claim_sets":{"SIS":{"Read":null}}},
        "services/b":{"parent":"services","claim_sets":{"SIS":{"Write":["Free"]}}},
        "services/a":{"claim_sets":{"Other":{"Write":["Free"]}}},
        "snapshots":{"claim_sets":{"SIS":{"Read":["Free"]}}}}}"#;
    let grants = grants(content, &settings());
    let written = [("b".into(), vec!["Read".into(), "Write".into()])];
    assert_eq!(grants.claims_behind("sis", "services/", &settings()), written);
    assert_eq!(grants.claims("SIS").len(), 2);
    assert_eq!(grants.claims("Other").len(), 1);
    assert_eq!(grants.claims("nobody").len(), 0);
}

#[test]
fn claims_are_found_by_every_spelling_of_a_prefix() {
    let content = r#"{"claims":{
        "urn:new:services/a":{"claim_sets":{"SIS":{"Read":["Free"]}}},
        "urn:old:services/a":{"claim_sets":{"SIS":{"Write":["Free"]}}},
        "URN:old:services/B":{"claim_sets":{"SIS":{"Read":["Free"]}}},
        "urn:older:services/c":{"claim_sets":{"SIS":{"Read":["Free"]}}},
        "urn:old:services/":{"claim_sets":{"SIS":{"Read":["Free"]}}}}}"#;
    let claim_prefixes = vec![("urn:new:".into(), vec!["urn:old:".into()])];
    let a = || ("a".into(), vec!["Read".into(), "Write".into()]);
    for (claim_case, expected) in
        [(ClaimCase::Ignore, vec![("B".into(), vec!["Read".into()]), a()]), (ClaimCase::Exact, vec![a()])]
    {
        let settings = GrantSettings { claim_case, claim_prefixes: claim_prefixes.clone(), ..settings() };
        let grants = grants(content, &settings);
        assert_eq!(grants.claims_behind("SIS", "urn:new:services/", &settings), expected);
    }
}

#[test]
fn claim_sets_that_differ_only_in_case_are_a_fault() {
    let content = r#"{"claims":{"leaf":{"parent":null,"claim_sets":{"SIS":{"Read":null},"sis":{"Read":null}}}}}"#;
    let faults = Grants::parse(content, &settings(), &types()).unwrap_err();
    assert_eq!(&*faults[0].message, "claim set `sis` differs from another only in case, and case doesn't count");
}

#[test]
fn claims_that_hang_together_wrongly_are_faults() {
    let content = r#"{"claims":{"B":{},"a":{"parent":"b"},"b":{"parent":"a"}}}"#;
    let message = |settings| Grants::parse(content, &settings, &types()).unwrap_err()[0].message.clone();
    assert_eq!(message(settings()), "claim `b`: differs from `B` only in case, and case doesn't count");
    let exact = GrantSettings { claim_case: ClaimCase::Exact, ..settings() };
    assert_eq!(message(exact), "claim `a`: its lineage comes back to itself: `a` in `b` in `a`");
}
