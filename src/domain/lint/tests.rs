use super::*;

const REALM: &str =
    "title = \"T\"\n[principal]\nentity = \"User\"\nid = \"sub\"\n[trusted]\nDoc = [\"owner\", \"size\"]\n";
const SCHEMA: &str = "entity Team;\nentity User in [Team];\nentity Doc { owner?: User, size?: Long };\n\
    action read, write appliesTo { principal: [User], resource: [Doc], context: {} };\n";
const OTHERS: &str = "@id(\"others\")\npermit (principal in Team::\"all\", action, resource);\n";

fn file(path: &str, content: impl Into<String>) -> SourceFile {
    SourceFile { path: path.into(), content: content.into() }
}

/// The codes and lines of what is found in a policy file beside one that permits everything to a team.
fn found(policies: &str) -> Vec<String> {
    let files = [
        file("realm.toml", REALM),
        file("schema.cedarschema", SCHEMA),
        file("others.cedar", OTHERS),
        file("a.cedar", policies),
    ];
    let faults = check(&files).faults;
    faults.iter().map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.code.as_str())).collect()
}

fn policy(effect: &str, scope: &str, rest: &str) -> String {
    format!("@id(\"a\")\n{effect} ({scope}) {rest};\n")
}

#[test]
fn a_policy_that_can_never_apply_is_told_at_the_condition() {
    let scope = "principal, action, resource is Doc";
    for (rest, is_found) in [
        ("when { false }", true),
        ("when { resource has size && resource.size > 3 && resource.size < 3 }", true),
        ("when { resource has size && resource.size > 3 && resource.size < 5 }", false),
        ("when { resource has size } unless { resource has size }", true),
        ("when { resource has size } unless { resource has owner }", false),
        ("when { principal is Team }", true),
        ("when { principal is User }", false),
    ] {
        let found = found(&policy("forbid", scope, rest));
        assert_eq!(found == ["a.cedar:2 never-applies"], is_found, "{rest}: {found:?}");
        assert_eq!(found.is_empty(), !is_found, "{rest}: {found:?}");
    }
}

#[test]
fn a_scope_that_no_action_applies_to_is_an_error() {
    let found = found(&policy("forbid", "principal is Team, action, resource", ""));
    assert_eq!(found, ["a.cedar:2 not-applicable"]);
}

#[test]
fn a_permit_without_a_condition_is_told_unless_its_scope_is_narrow_or_it_is_accepted() {
    for (scope, rest, is_found) in [
        ("principal, action, resource", "", true),
        ("principal is User, action == Action::\"read\", resource is Doc", "when { true }", true),
        ("principal == User::\"ada\", action, resource", "", false),
        ("principal, action, resource == Doc::\"1\"", "", false),
        ("principal, action, resource", "when { resource has owner && resource.owner == principal }", false),
    ] {
        let found = found(&policy("permit", scope, rest));
        assert_eq!(found.iter().any(|found| found.ends_with("unconditional-permit")), is_found, "{scope}: {found:?}");
    }
    let accepted = "@accept(\"unconditional-permit: it is public\")\n";
    let public = policy("permit", "principal is User, action == Action::\"read\", resource is Doc", "");
    assert_eq!(found(&format!("{accepted}{public}")), [""; 0]);
}

#[test]
fn what_is_accepted_and_not_found_is_told() {
    let policy = policy("permit", "principal == User::\"ada\", action, resource", "");
    assert_eq!(found(&format!("@accept(\"unconditional-permit: why not\")\n{policy}")), ["a.cedar:1 needless-accept"]);
    assert_eq!(found(&format!("@accept(\"unknown-key: why not\")\n{policy}")), ["a.cedar:1 bad-annotation"]);
}

#[test]
fn a_permit_that_another_covers_is_told_and_one_that_says_more_is_not() {
    for (scope, rest, expected) in [
        ("principal in Team::\"all\", action, resource is Doc", "when { resource has owner }", Some("shadowed-policy")),
        ("principal in Team::\"all\", action, resource", "", Some("duplicate-policy")),
        ("principal in Team::\"some\", action, resource", "", None),
    ] {
        // Of two that say the same the later is told: `a.cedar` is read behind `others.cedar`.
        let found = found(&policy("permit", scope, rest));
        assert_eq!(found.len(), usize::from(expected.is_some()), "{scope}: {found:?}");
        assert!(expected.is_none_or(|code| found[0].ends_with(code)), "{scope}: {found:?}");
    }
}

#[test]
fn a_permit_that_is_always_forbidden_is_told() {
    let permit = policy("permit", "principal, action, resource is Doc", "when { resource has owner }");
    let forbid = |scope: &str, rest: &str| format!("{permit}@id(\"b\")\nforbid ({scope}) {rest};\n");
    let always = found(&forbid("principal, action, resource is Doc", ""));
    assert!(always.contains(&"a.cedar:2 always-forbidden".to_owned()), "{always:?}");
    assert_eq!(found(&forbid("principal, action == Action::\"read\", resource is Doc", "")), [""; 0]);
    assert_eq!(found(&forbid("principal, action, resource is Doc", "when { resource has size }")), [""; 0]);
}

#[test]
fn an_action_that_no_permit_takes_is_told() {
    let files = |policies: &str| {
        let files = [file("realm.toml", REALM), file("schema.cedarschema", SCHEMA), file("a.cedar", policies)];
        check(&files).faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>()
    };
    let read = policy("permit", "principal in Team::\"all\", action == Action::\"read\", resource", "");
    assert_eq!(files(&read), ["no permit takes the action `write`: it is always denied"]);
    assert_eq!(files("// nothing yet\n"), ["the realm has no policy: every request is denied"]);
}

#[test]
fn what_one_file_has_wrong_hides_nothing_of_the_others() {
    let files = [
        file("realm.toml", format!("{REALM}[actions.raed]\n")),
        file("relations.toml", "[relations.in]\nsubject = \"User\"\nobject = \"Taem\"\n"),
        file("schema.cedarschema", SCHEMA),
        file("a.cedar", "permit (principal, action, resource"),
        file("b.cedar", "permit (principal, action, resource is Doc) when { resource.size > 3 };"),
        file("variants/x.toml", "a = "),
    ];
    let found = check(&files).faults;
    let found: Vec<String> = found.iter().map(|fault| format!("{} {}", fault.file, fault.code.as_str())).collect();
    assert_eq!(
        found,
        [
            "a.cedar syntax",
            "b.cedar missing-id",
            "b.cedar optional-attribute",
            "realm.toml unknown-action",
            "relations.toml unknown-entity-type",
            "variants/x.toml variant",
        ]
    );
}

#[test]
fn policies_are_read_though_the_schema_cannot_be() {
    let files = [file("realm.toml", REALM), file("schema.cedarschema", "entity"), file("a.cedar", "permit (")];
    let found: Vec<String> = check(&files).faults.into_iter().map(|fault| fault.file).collect();
    assert_eq!(found, ["a.cedar", "schema.cedarschema"]);
}

#[test]
fn a_secret_is_an_error_and_no_line_shows_it() {
    let secret = "s3cr3tS3cr3tS3cr3t";
    let files = [
        file("realm.toml", format!("{REALM}[settings]\nclient_secret = \"{secret}\"\n")),
        file("schema.cedarschema", SCHEMA),
        file("a.cedar", OTHERS),
    ];
    let checked = check(&files);
    assert!(checked.faults.iter().any(|fault| fault.code == Code::Secret && fault.is_error()), "{:?}", checked.faults);
    assert!(!format!("{:?}", checked.faults).contains(secret), "{:?}", checked.faults);
}
