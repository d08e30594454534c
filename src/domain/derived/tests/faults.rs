//! What is wrong with derived members, told with its place.

use super::{ANY, REALM, SCHEMA, files};
use crate::domain::{policy_set::SourceFile, realm::Realm};

/// `line: message` of each fault of realm.toml, the lines counted from the derived part on; `file: message` of others.
fn faults(files: &[SourceFile]) -> Vec<String> {
    let before = REALM.lines().count();
    let faults = Realm::compile(files, None).err().unwrap_or_default().into_iter();
    let told = faults.map(|fault| match fault.line.checked_sub(before) {
        Some(line) if fault.file == "realm.toml" => format!("{line}: {}", fault.message),
        _ => format!("{}: {}", fault.file, fault.message),
    });
    told.collect()
}

#[test]
fn what_cannot_be_derived_is_a_fault_with_its_line() {
    for (derived, expected) in [
        ("[context.other]\nvalue = \"x\"", "2: no action's context in the schema declares `other`"),
        ("[context.phase]\nvalue = \"x\"", "2: `context.phase` is filled in by the service already"),
        (
            "[context.call]\nvalue = \"x\"",
            "2: the schema declares `context.call` as what no text can be, expected a string, a whole number, a boolean or an \
             entity",
        ),
        (
            "[context.org]\nvalue = \"{org}\"",
            "2: `{org}` stands for nothing, expected `action`, `resource.type`, `resource.id`, `resource.ATTRIBUTE`, `principal.id`, `principal.ATTRIBUTE`, `settings.NAME` or `context.NAME`",
        ),
        (
            "[context.org]\nvalue = \"{principal.name}\"",
            "2: `{principal.name}` stands for nothing: no claim can give `Reader` the attribute `name`",
        ),
        (
            "[context.org]\nvalue = \"{resource.name}\"",
            "2: `{resource.name}` stands for nothing: no resource type has `name`",
        ),
        (
            "[context.org]\nvalue = \"{settings.name}\"",
            "2: `{settings.name}` stands for nothing: there is no setting `name`",
        ),
        (
            "[context.org]\nvalue = \"{context.region}\"",
            "2: `{context.region}` stands for nothing: it is neither derived nor is `region` one of `trusted.context`",
        ),
        (
            "[context.org]\nvalue = \"{context.name}\"",
            "2: `{context.name}` stands for nothing: no action's context in the schema declares `name`",
        ),
        (
            "[context.org]\nvalue = \"{principal.cards}\"",
            "2: `{principal.cards}` is not one value: only a string, a whole number, a boolean or an entity fills a \
             placeholder",
        ),
        (
            "[context.org]\nvalue = [\"a\",\n \"{resource.tags}\"]",
            "2: `{resource.tags}` is not one value: only a string, a whole number, a boolean or an entity fills a placeholder",
        ),
        (
            "[context.org]\nvalue = \"{context.call.levels}\"\n[context.call]\ntable = \"calls.json\"\nkey = \"{action}\"",
            "2: `{context.call.levels}` is not one value: only a string, a whole number, a boolean or an entity fills a \
             placeholder",
        ),
    ] {
        assert_eq!(faults(&files(derived, ANY)), [expected], "{derived}");
    }
}

#[test]
fn a_rule_that_cannot_work_is_a_fault_with_its_line() {
    for (derived, expected) in [
        ("[context.call]\ntable = \"none.json\"\nkey = \"{action}\"", "2: the realm's folder has no file `none.json`"),
        (
            "[context.call]\ntable = \"calls.json\"",
            "1: `context.call.key` is missing, expected a string or a list of strings",
        ),
        (
            "[context.org]\nforms = [\"{a}\"]",
            "1: `context.org.value` is missing, expected a string or a list of strings",
        ),
        ("[context.org]\nvalue = []", "2: `value` is empty, so it would never have a value"),
        ("[context.org]\nvalue = \"{a\"", "2: `{a` has a brace that is not closed"),
        (
            "[context.org]\nvalue = \"a\"\ncase = \"upper\"",
            "3: `case` is not `lower`, the only case that texts can be put in",
        ),
        ("[context.org]\nvalue = \"a\"\nforms = []", "3: no form is given, so no text would fit"),
        (
            "[context.call]\ntable = \"calls.json\"\nkey = \"a\"\ncase = \"lower\"",
            "4: unknown key `context.call.case`, expected one of key, table",
        ),
        (
            "[context.org]\nvalue = \"{context.region}\"\n[context.region]\nvalue = \"{context.level}\"\n[context.level]\n\
             value = \"{context.org}\"",
            "6: these need each other, so that none can come first: `level`, `org`, `region`",
        ),
        ("[context.org]\nvalue = \"{context.org}\"", "2: these need each other, so that none can come first: `org`"),
    ] {
        assert_eq!(faults(&files(derived, ANY)), [expected], "{derived}");
    }
}

#[test]
fn a_member_that_the_schema_requires_or_types_twice_is_a_fault() {
    let of = |schema: &str| {
        let mut files = files("[context.region]\nvalue = \"{action}\"", ANY);
        files[1].content = schema.to_owned();
        faults(&files)
    };
    assert_eq!(
        of(&SCHEMA.replace("region?:", "region:")),
        ["2: action `borrow` requires `context.region`, which may have no value: declare it as `region?`"]
    );
    let more = "action count appliesTo { principal: [Reader], resource: [Book], context: { region?: Long } };";
    assert_eq!(
        of(&format!("{SCHEMA}{more}")),
        ["2: actions `borrow` and `count` declare `context.region` with different types"]
    );
}

#[test]
fn rows_that_do_not_fit_are_named_by_file_and_key() {
    let derived = "[context.call]\ntable = \"calls.json\"\nkey = \"{action}\"";
    for (rows, expected) in [
        (r#"{"x": 1}"#, "`x` is no record, as the schema wants it"),
        (r#"{"x": {"isOpen": true}}"#, "`x` has no `name`, which the schema requires"),
        (r#"{"x": {"name": "n", "isOpen": "yes"}}"#, "`x.isOpen` is a string, expected a boolean"),
        (r#"{"x": {"name": "n", "isOpen": true, "levels": [1.5]}}"#, "`x.levels` holds a number that is not whole"),
        (r#"{"x": {"name": "n", "isOpen": true, "levels": ["a"]}}"#, "`x.levels` is a list, expected a whole number"),
        (
            r#"{"x": {"name": "n", "isOpen": true, "desk": ""}}"#,
            "`x.desk` is a string, expected an id that is not empty as the id of `Desk`",
        ),
        (
            r#"{"x": {"name": "n", "isOpen": true, "size": 1}}"#,
            "`x` has `size`, which the schema does not declare, expected one of desk, isOpen, levels, name",
        ),
        (r#"{"x": {}, "x": {}}"#, "has a name twice in one object"),
        ("[]", "is not a JSON object"),
        ("{", "EOF while parsing an object"),
    ] {
        let mut files = files(derived, ANY);
        files[3].content = rows.to_owned();
        assert_eq!(faults(&files), [format!("calls.json: {expected}")], "{rows}");
    }
    let mut files = files(derived, ANY);
    files[3].content = r#"{"x": 1, "y": {"name": "n", "isOpen": true}, "z": 2}"#.to_owned();
    assert_eq!(faults(&files).len(), 2, "each of them");
}
