//! What auditors ask.

use hallpass::domain::{decision::Effect, id::EntityId, record_filter::RecordFilter};

use crate::records::{START_US, client, pseudonym};

const DAY_US: i64 = 86_400 * 1_000_000;

/// Each with its words, and whether it is worth asking for everything.
pub(crate) fn all(_count: u64) -> Vec<(&'static str, RecordFilter, bool)> {
    let none = RecordFilter::default;
    let student = |number: u64| vec![EntityId::new("Student", pseudonym(number))];
    let day = |number: i64| (Some(START_US + number * DAY_US), Some(START_US + (number + 1) * DAY_US));
    let ((today, tomorrow), (spring, summer)) = (day(364), (day(90).0, day(180).0));
    let school = || EntityId::new("School", "100700");
    vec![
        (
            "who asked about this student this year",
            RecordFilter { entities: student(700_000), from_us: Some(START_US), ..none() },
            true,
        ),
        ("who asked about this student, much asked about", RecordFilter { entities: student(4_242), ..none() }, true),
        (
            "what was denied to this client today",
            RecordFilter {
                client: Some(client(3).into()),
                effect: Some(Effect::Deny),
                from_us: today,
                until_us: tomorrow,
                ..none()
            },
            true,
        ),
        (
            "what did this policy allow",
            RecordFilter { policy: Some("relationships-7".into()), effect: Some(Effect::Allow), ..none() },
            true,
        ),
        (
            "everything about this school in spring",
            RecordFilter { entities: vec![school()], from_us: spring, until_us: summer, ..none() },
            true,
        ),
        ("what this client did", RecordFilter { client: Some(client(150).into()), ..none() }, true),
        (
            "expired tokens of a day in spring",
            RecordFilter { reason: Some("TOKEN_EXPIRED".into()), from_us: day(95).0, until_us: day(95).1, ..none() },
            true,
        ),
        (
            "this student, denied, by this client (rare)",
            RecordFilter {
                entities: student(4_242),
                effect: Some(Effect::Deny),
                client: Some(client(3).into()),
                ..none()
            },
            true,
        ),
        (
            "this school, forbidden, on discipline actions, updates",
            RecordFilter {
                entities: vec![school()],
                reason: Some("FORBIDDEN".into()),
                resource_type: Some("ed-fi/disciplineActions".into()),
                action: Some("Update".into()),
                ..none()
            },
            true,
        ),
        ("a student that nobody asked about", RecordFilter { entities: student(5_000_000), ..none() }, true),
        ("one request by its id", RecordFilter { request_id: Some("nobody's".into()), ..none() }, true),
        ("the first hundred of all", none(), false),
        (
            "the first hundred of a minute half a year ago",
            RecordFilter { from_us: day(180).0, until_us: day(180).0.map(|from| from + 60_000_000), ..none() },
            true,
        ),
    ]
}
