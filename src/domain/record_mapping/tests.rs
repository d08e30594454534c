//! What records bring, and what is wrong with them.

use super::*;

const RELATIONS: &str = r#"
[entities.School]
id = "integer"
[entities.Student]
person = true
[relations.enrolled_at]
subject = "Student"
object = "School"
[[records]]
resource = "enrolments"
key = ["school.id", "student", "day"]
[[records.relationships]]
relation = "enrolled_at"
subject = "student"
object = "school.id"
"#;

fn relations() -> Relations {
    Relations::parse("relations.toml", RELATIONS).unwrap()
}

#[test]
fn a_record_brings_its_relationships_under_its_key() {
    let record =
        relations().map("enrolments", r#"{"school":{"id":7},"student":"s1","day":"2026-01-01","more":[1]}"#).unwrap();
    assert_eq!(&*record.key.key, "7\u{1f}s1\u{1f}2026-01-01");
    assert_eq!(record.relationships[0].object, EntityId::new("School", "7"));
}

#[test]
fn a_bad_record_is_refused_with_the_property_and_without_its_value() {
    for (json, message) in [
        ("[]", "not a JSON object: another JSON value"),
        ("{\"student\"", "not a JSON object: a syntax error at column 10"),
        (r#"{"student":"s1","day":"d"}"#, "`school.id` is missing, expected a string or a whole number"),
        (
            r#"{"school":{"id":1.5},"student":"s1","day":"d"}"#,
            "`school.id` is a number with a fraction, expected a string or a whole number",
        ),
        (r#"{"school":{"id":"x"},"student":"s1","day":"d"}"#, "`school.id` is another value, expected a whole number"),
        (
            r#"{"school":{"id":1},"student":"","day":"d"}"#,
            "`student` is another value, expected an id that is not empty",
        ),
    ] {
        assert_eq!(relations().map("enrolments", json).unwrap_err().to_string(), message, "{json}");
    }
}

#[test]
fn a_resource_without_a_rule_is_told_which_there_are() {
    let unknown = relations().map("enrolment", "{}").unwrap_err().to_string();
    assert_eq!(unknown, "unknown resource `enrolment`, expected one of enrolments");
}

#[test]
fn a_direct_relationship_is_checked_against_the_relation() {
    let good = Relationship {
        subject: EntityId::new("Student", "s"),
        relation: "enrolled_at".into(),
        object: EntityId::new("School", "07"),
    };
    assert_eq!(relations().direct(&good).unwrap().relationships[0].object, EntityId::new("School", "7"));
    let turned = Relationship { subject: good.object.clone(), object: good.subject.clone(), ..good.clone() };
    assert!(matches!(relations().direct(&turned), Err(MappingError::WrongEnd { end: "subject", .. })));
    let unknown = Relationship { relation: "teaches".into(), ..good };
    assert_eq!(
        relations().direct(&unknown).unwrap_err().to_string(),
        "unknown relation `teaches`, expected one of enrolled_at"
    );
}

#[test]
fn a_direct_relationship_is_deleted_by_its_parts() {
    let json =
        r#"{"subject":{"type":"Student","id":"s"},"relation":"enrolled_at","object":{"type":"School","id":"07"}}"#;
    let relationship = Relationship {
        subject: EntityId::new("Student", "s"),
        relation: "enrolled_at".into(),
        object: EntityId::new("School", "7"),
    };
    let written = relations().direct(&relationship).unwrap().key;
    assert_eq!(relations().key(RecordKey::DIRECT, json), Ok(written));
    for (json, message) in [
        (r#"{"subject":{"type":"Student"}}"#, "`subject.id` is missing, expected a string or a whole number"),
        (&json.replace("School", "Student"), "the object of `enrolled_at` is of type `Student`, expected `School`"),
    ] {
        assert_eq!(relations().key(RecordKey::DIRECT, json).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_history_is_like_the_type_whose_past_it_shows() {
    let more = r#"
[entities.SchoolEver]
history_of = "School"
[entities.StudentEver]
history_of = "Student"
[relations.moved_to]
subject = "Student"
object = "School"
remembered = true
"#;
    let hinted = RELATIONS.replace("person = true", "person = true\nhint = \"Enrol it.\"");
    let relations = Relations::parse("relations.toml", &format!("{more}{hinted}")).unwrap();
    assert!(relations.is_person("StudentEver") && !relations.is_person("SchoolEver"));
    assert_eq!(relations.entity("StudentEver").unwrap().hint.as_deref(), Some("Enrol it."));
    assert_eq!(&*relations.entity_id(&"SchoolEver".into(), "007").unwrap().id, "7");
    assert_eq!(relations.history("Student").map(|name| &**name), Some("StudentEver"));
    assert_eq!(relations.history_of("StudentEver").map(|name| &**name), Some("Student"));
    assert_eq!((relations.history("StudentEver"), relations.history_of("Student")), (None, None));
    let remembered = ["moved_to", "enrolled_at"].map(|name| relations.remembered().contains(name));
    assert_eq!(remembered, [true, false]);
}

#[test]
fn a_history_that_makes_no_sense_is_a_fault_with_its_line() {
    for (more, line, message) in [
        ("[entities.A]\nhistory_of = \"A\"", 2, "`A` is its own history"),
        (
            "[entities.A]\nhistory_of = \"School\"\n[entities.B]\nhistory_of = \"A\"",
            4,
            "`A` is the history of `School` and has none itself",
        ),
        (
            "[entities.A]\nhistory_of = \"B\"\n[entities.B]\nhistory_of = \"A\"",
            2,
            "`B` is the history of `A` and has none itself",
        ),
        (
            "[entities.A]\nhistory_of = \"School\"\n[entities.B]\nhistory_of = \"School\"",
            4,
            "`School` has the history `A` already",
        ),
        (
            "[entities.A]\nid = \"integer\"\nhistory_of = \"School\"",
            3,
            "the ids of a history are those of `School`, leave out `id` and `person`",
        ),
        (
            "[entities.A]\nhistory_of = \"School\"\n[relations.x]\nsubject = \"Student\"\nobject = \"A\"",
            5,
            "`A` is the history of `School`, and no relation's end; name `School`",
        ),
    ] {
        let faults = Relations::parse("relations.toml", &format!("{more}\n{RELATIONS}")).unwrap_err();
        assert_eq!((faults[0].line, &*faults[0].message), (line, message), "{faults:?}");
    }
}

#[test]
fn an_unknown_relation_in_the_file_is_a_fault_with_its_line() {
    let faults =
        Relations::parse("relations.toml", &RELATIONS.replace("relation = \"enrolled_at\"", "relation = \"x\""))
            .unwrap_err();
    assert_eq!((faults[0].line, &*faults[0].message), (13, "unknown relation `x`, expected one of enrolled_at"));
}

/// Agreements between two parties about a school's interfaces, and who may do what.
const AGREEMENTS: &str = r#"
[entities.Seat]
id = "integer"
[relations.takes]
subject = "Party"
object = "Agreement"
[relations.registered]
subject = "Party"
object = "Register"
[relations.sits]
subject = "Party"
object = "Seat"
[[records]]
resource = "agreements"
key = ["id"]
facts = { entity = "Agreement", id = "{giver}|{school.id}|{api}", fields = { api = "api" } }
[[records.relationships]]
relation = "takes"
subject = "taker"
object = "{giver}|{school.id}|{api}"
when = { "state.giver" = "accepted", "state.taker" = ["accepted", "assumed"], paid = true, round = 1 }
[[records]]
resource = "members"
key = ["party"]
[[records.relationships]]
relation = "takes"
subject = "party"
object = "{party}/{grants.names}"
optional = true
[[records.relationships]]
relation = "sits"
subject = "party"
object = "seats"
optional = true
[[records]]
resource = "parties"
key = ["name"]
[[records.relationships]]
relation = "registered"
subject = "parties"
object_id = "all"
[[records.relationships]]
relation = "sits"
subject_id = "chair"
object_id = "007"
when = { is_chair = true }
"#;

fn spelled(resource: &str, json: &str) -> Result<Vec<String>, String> {
    let relations = Relations::parse("relations.toml", AGREEMENTS).unwrap();
    let record = relations.map(resource, json).map_err(|error| error.to_string())?;
    let spell = |it: &Relationship| format!("{} {} {}", it.subject.id, it.relation, it.object.id);
    Ok(record.relationships.iter().map(spell).collect())
}

const AGREED: &str = r#"{"id":1,"taker":"lms","giver":"sis","school":{"id":7},"api":"marks",
    "state":{"giver":"accepted","taker":"accepted"},"paid":true,"round":1}"#;

#[test]
fn a_template_names_one_entity_for_several_values_and_never_the_same_for_others() {
    assert_eq!(spelled("agreements", AGREED), Ok(vec!["lms takes sis|7|marks".into()]));
    let turned = AGREED.replace("\"sis\"", "\"sis|7\"").replace("\"marks\"", "\"m%\"");
    assert_eq!(spelled("agreements", &turned), Ok(vec!["lms takes sis%7C7|7|m%25".into()]));
    let relations = Relations::parse("relations.toml", AGREEMENTS).unwrap();
    let facts = relations.map("agreements", AGREED).unwrap().facts.unwrap();
    assert_eq!(facts.entity, EntityId::new("Agreement", "sis|7|marks"));
}

#[test]
fn a_record_brings_a_relationship_only_while_it_says_so() {
    for (from, to, is_brought) in [
        ("", "", true),
        ("\"taker\":\"accepted\"", "\"taker\":\"assumed\"", true),
        ("\"taker\":\"accepted\"", "\"taker\":\"revoked\"", false),
        ("\"taker\":\"accepted\"", "\"taker\":\"Accepted\"", false),
        ("\"giver\":\"accepted\"", "\"giver\":\"assumed\"", false),
        ("\"taker\":\"accepted\"", "\"taker\":null", false),
        ("{\"giver\":\"accepted\",\"taker\":\"accepted\"}", "\"accepted\"", false),
        ("\"paid\":true", "\"paid\":\"true\"", false),
        ("\"paid\":true", "\"paid\":false", false),
        ("\"round\":1", "\"round\":\"1\"", false),
        ("\"round\":1", "\"round\":2", false),
        ("\"round\":1", "\"round\":18446744073709551615", false),
        (",\"round\":1", "", false),
    ] {
        let json = AGREED.replacen(from, to, usize::from(!from.is_empty()));
        assert_eq!(spelled("agreements", &json).unwrap().len(), usize::from(is_brought), "{json}");
    }
}

#[test]
fn a_record_that_says_neither_so_nor_otherwise_is_refused() {
    let expected = "expected a string, a whole number or a boolean";
    for (from, to, found) in [
        ("\"paid\":true", "\"paid\":[true]", "`paid` is a list"),
        ("\"paid\":true", "\"paid\":{\"at\":1}", "`paid` is an object"),
        ("\"round\":1", "\"round\":1.0", "`round` is a number with a fraction"),
        ("\"state\":{", "\"state\":[{}],\"other\":{", "`state.giver` is in a list"),
        // Also where another condition settles it.
        ("\"paid\":true,\"round\":1", "\"paid\":false,\"round\":[1]", "`round` is a list"),
    ] {
        let json = AGREED.replacen(from, to, 1);
        assert_eq!(spelled("agreements", &json), Err(format!("{found}, {expected}")), "{json}");
    }
}

#[test]
fn a_list_brings_one_relationship_for_each_member() {
    for (json, expected) in [
        (r#"{"party":"p","grants":{"names":["b","a","b"]}}"#, &["p takes p/a", "p takes p/b"][..]),
        (
            r#"{"party":"p","grants":[{"names":"a"},{"names":["b","c"]}]}"#,
            &["p takes p/a", "p takes p/b", "p takes p/c"],
        ),
        (r#"{"party":"p/q","grants":{"names":["a/b"]}}"#, &["p/q takes p%2Fq/a%2Fb"]),
        (r#"{"party":"p","grants":{"names":[]},"seats":[]}"#, &[]),
        (r#"{"party":"p"}"#, &[]),
        (r#"{"party":"p","grants":[{},{"names":null},{"names":["a",null]}]}"#, &["p takes p/a"]),
        (r#"{"party":"p","seats":[7,"07",8," 8"]}"#, &["p sits 7", "p sits 8"]),
        (r#"{"party":"p","seats":"3"}"#, &["p sits 3"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(spelled("members", json), Ok(expected), "{json}");
    }
    let parties = r#"{"name":"x","parties":["lms","sis"],"is_chair":true}"#;
    let expected = ["lms registered all", "sis registered all", "chair sits 7"];
    assert_eq!(spelled("parties", parties), Ok(expected.map(str::to_owned).to_vec()));
}

#[test]
fn a_list_that_says_nothing_clear_is_refused() {
    let text = "expected a string or a whole number";
    for (resource, json, expected) in [
        (
            "members",
            r#"{"party":["p","q"],"grants":{"names":["a"]}}"#,
            // The key comes first.
            format!("`party` is a list, {text}"),
        ),
        ("members", r#"{"party":"p","seats":[[1]]}"#, format!("`seats` is a list within a list, {text}")),
        ("members", r#"{"party":"p","seats":[true]}"#, format!("`seats` is a boolean, {text}")),
        ("members", r#"{"party":"p","seats":["x"]}"#, "`seats` is another value, expected a whole number".into()),
        (
            "members",
            r#"{"party":"p","grants":{"names":["a",""]}}"#,
            "`grants.names` is empty, expected a string that is not empty, or a whole number".into(),
        ),
        ("parties", r#"{"name":"x","parties":["a",null]}"#, format!("`parties` is missing, {text}")),
        ("parties", r#"{"name":"x"}"#, format!("`parties` is missing, {text}")),
        ("agreements", &AGREED.replace("\"sis\"", "null"), format!("`giver` is missing, {text}")),
        ("agreements", &AGREED.replace("\"sis\"", "[\"sis\"]"), format!("`giver` is a list, {text}")),
        (
            "agreements",
            &AGREED.replace("\"sis\"", "[\"sis\"]").replace("\"lms\"", "[\"lms\"]"),
            "`taker` and `giver` are both lists, expected at most one of them to be a list".into(),
        ),
        (
            "agreements",
            &AGREED.replace("\"sis\"", "[\"sis\"]").replace("\"marks\"", "[\"marks\"]"),
            "`api` and `giver` are both lists, expected at most one of them to be a list".into(),
        ),
    ] {
        assert_eq!(spelled(resource, json), Err(expected), "{json}");
    }
}

#[test]
fn a_record_brings_a_thousand_relationships_and_no_more() {
    let parties = |count: usize| {
        let members: Vec<String> = (0..count).flat_map(|place| [place.to_string(), place.to_string()]).collect();
        serde_json::json!({"name": "x", "parties": members}).to_string()
    };
    assert_eq!(spelled("parties", &parties(1_000)).unwrap().len(), 1_000);
    assert_eq!(spelled("parties", &parties(1_001)), Err("brings more than 1000 relationships".into()));
}

#[test]
fn a_rule_that_could_not_bring_what_it_says_is_a_fault_with_its_line() {
    let object = "object = \"{giver}|{school.id}|{api}\"";
    let seat = "object = \"seats\"";
    let seat_id = "object_id = \"007\"";
    for (from, to, line, message) in [
        (object, "object = \"{giver\"", 20, "`{giver` has a brace that is not closed"),
        (
            object,
            "object = \"{{all}}\"",
            20,
            "`{{all}}` has no placeholder, so that it names the same for every record",
        ),
        (object, "object = \"a\"\nobject_id = \"b\"", 21, "`object_id` stands beside `object`, expected one of them"),
        (object, "", 17, "`records[0].relationships[0].object` is missing, expected a string"),
        (seat, "object = \"{a}-{b}\"", 33, "the ids of `Seat` are whole numbers, and `{a}-{b}` gives none"),
        (seat_id, "object_id = \"seven\"", 45, "`object_id` is no id of `Seat`, expected a whole number"),
        (
            "object_id = \"all\"",
            "object_id = \"all\"\noptional = true",
            42,
            "`optional` is for an object that may be missing, and `object_id` is always there",
        ),
        ("when = { is_chair = true }", "when = {}", 46, "`when` names no property, expected at least one"),
        (
            "when = { is_chair = true }",
            "when = { is_chair = [] }",
            46,
            "`when` lists no value for `is_chair`, expected at least one",
        ),
        (
            "when = { is_chair = true }",
            "when = { is.chair = true }",
            46,
            "`records[2].relationships[1].when.is` is of type table, expected a boolean, a whole number or a string, or a list of such",
        ),
        (
            "relation = \"sits\"",
            "relation = \"sit\"",
            31,
            "unknown relation `sit`, expected one of registered, sits, takes",
        ),
    ] {
        let content = AGREEMENTS.replacen(from, to, 1);
        assert_ne!(content, AGREEMENTS);
        let faults = Relations::parse("relations.toml", &content).unwrap_err();
        assert_eq!((faults[0].line, &*faults[0].message), (line, message), "{faults:?}");
    }
}
