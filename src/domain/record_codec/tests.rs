use proptest::prelude::*;

use super::*;

/// A record that uses every field and kind of value.
fn full() -> DecisionRecord {
    let text = |text: &str| Arc::<str>::from(text);
    let nested: Attributes = [(text("a"), Value::Bool(false)), (text("b"), Value::Null)].into_iter().collect();
    let attributes = [
        (text("organizations"), Value::List(vec![Value::Entity(EntityId::new("School", "255901001"))])),
        (text("verified"), Value::Bool(true)),
        (text("level"), Value::Long(-3)),
        (text("claimSet"), Value::String(text("SIS Vendor"))),
        (text("nested"), Value::Record(nested)),
    ];
    DecisionRecord {
        id: DecisionId(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057),
        time_us: 1_688_000_000_123_456,
        outcome: Outcome::NotPermitted,
        reasons: vec![Reason {
            code: text("NO_RELATIONSHIP"),
            message: text("No relationship."),
            policy: Some(text("edfi/read")),
            subjects: vec![text("student")],
            hints: vec![text("Is it enrolled?")],
        }],
        determining_policies: vec![text("p1"), text("p2")],
        action: text("read"),
        resource_type: text("Student"),
        resource_id: text("0f"),
        subjects: vec![RecordedSubject {
            attribute: text("student"),
            entity: EntityId::new("Student", "ab"),
            is_pseudonym: true,
            is_proposed: true,
        }],
        principal: Some(EntityId::new("Client", "c1")),
        issuer: text("https://i"),
        attributes: Arc::new(attributes.into_iter().collect()),
        policy_version: PolicyVersion(text("d00d")),
        data_revision: Revision(300),
        request_id: text("r-1"),
        duration_us: 250,
        obligations: vec![text("apply_profile")],
        actor: Some(EntityId::new("Client", "c2")),
        client: text("sis"),
        purpose: text("roster"),
        kind: RecordKind::Reading,
        facts: [7, 8].into(),
        caller: text("gateway"),
        adapter: Some(Adapter::Envoy),
    }
}

/// Changes only together with the version byte: logs written by every release must stay readable.
const FULL: &str = concat!(
    "0401890a5dac96774bbcceb302099a805780899b86c4ceff0502010f4e4f5f52454c4154494f4e53484950104e6f2072656c",
    "6174696f6e736869702e0109656466692f72656164010773747564656e74010f497320697420656e726f6c6c65643f020270",
    "3102703204726561640753747564656e74023066010773747564656e740753747564656e74026162030106436c69656e7402",
    "63310968747470733a2f2f690508636c61696d536574040a5349532056656e646f72056c6576656c0305066e657374656407",
    "020161010162000d6f7267616e697a6174696f6e73060105065363686f6f6c09323535393031303031087665726966696564",
    "020464303064ac0203722d31fa01010d6170706c795f70726f66696c650106436c69656e740263320373697306726f7374",
    "657202020708",
);

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The bytes of the caller `gateway` and of the adapter.
const CALLED: &str = "076761746577617904";

#[test]
fn the_bytes_of_version_5_stay_as_they_are() {
    assert_eq!(hex(&full().encode()), format!("05{}{CALLED}", FULL.strip_prefix("04").unwrap()));
    assert_eq!(DecisionRecord::decode(&full().encode()), Ok(full()));
}

#[test]
fn records_of_version_4_are_read_without_caller_and_adapter() {
    let digits: Vec<u8> = FULL.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let expected = DecisionRecord { caller: Arc::default(), adapter: None, ..full() };
    assert_eq!(DecisionRecord::decode(&bytes), Ok(expected));
}

#[test]
fn id_and_time_are_read_alone() {
    let record = full();
    assert_eq!(DecisionRecord::decode_id_and_time(&record.encode()), Ok((record.id, record.time_us)));
}

#[test]
fn a_record_of_another_version_is_refused() {
    let mut bytes = full().encode();
    bytes[0] = 6;
    let expected = CodecError::Choice { what: "version of a decision record", byte: 6 };
    assert_eq!(DecisionRecord::decode(&bytes), Err(expected));
}

#[test]
fn values_beyond_the_depth_limit_become_null() {
    let nest = |levels: usize| (0..levels).fold(Value::Long(1), |value, _| Value::List(vec![value]));
    for (levels, is_kept) in [(128, true), (DecisionRecord::VALUE_DEPTH_MAX, true), (161, false), (400, false)] {
        let mut record = full();
        record.attributes = Arc::new([(Arc::from("deep"), nest(levels))].into_iter().collect());
        let read = DecisionRecord::decode(&record.encode()).unwrap();
        assert_eq!(read == record, is_kept, "{levels}");
    }
}

pub(in crate::domain) fn texts() -> impl Strategy<Value = Arc<str>> {
    ".{0,12}".prop_map(Arc::from)
}

pub(in crate::domain) fn entities() -> impl Strategy<Value = EntityId> {
    (texts(), texts()).prop_map(|(entity_type, id)| EntityId { entity_type, id })
}

pub(in crate::domain) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        texts().prop_map(Value::String),
        entities().prop_map(Value::Entity),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((texts(), inner), 0..4).prop_map(|pairs| Value::Record(pairs.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn records()(
        id in any::<u128>(),
        time_us in any::<i64>(),
        outcome in prop::sample::select(&[
            Outcome::Allowed, Outcome::NotPermitted, Outcome::Forbidden, Outcome::Indeterminate, Outcome::Unauthenticated,
        ][..]),
        reasons in prop::collection::vec(
            (texts(), texts(), prop::option::of(texts()), prop::collection::vec(texts(), 0..3)), 0..3),
        names in prop::array::uniform6(texts()),
        subjects in prop::collection::vec((texts(), entities(), any::<bool>(), any::<bool>()), 0..3),
        principal in prop::option::of(entities()),
        attributes in prop::collection::vec((texts(), values()), 0..5),
        revision in any::<u64>(),
        duration_us in any::<u32>(),
        obligations in prop::collection::vec(texts(), 0..3),
        actor in prop::option::of(entities()),
        said in prop::array::uniform2(texts()),
        is_reading in any::<bool>(),
        facts in prop::collection::vec(any::<u8>(), 0..9),
        caller in texts(),
        adapter in prop::option::of(prop::sample::select(&Adapter::ALL[..])),
    ) -> DecisionRecord {
        let [action, resource_type, resource_id, issuer, version, request_id] = names;
        let [client, purpose] = said;
        DecisionRecord {
            id: DecisionId(id),
            time_us,
            outcome,
            determining_policies: reasons.iter().map(|reason| Arc::clone(&reason.0)).collect(),
            reasons: reasons.into_iter().map(|(code, message, policy, texts)| Reason {
                code, message, policy, subjects: texts.clone(), hints: texts,
            }).collect(),
            action, resource_type, resource_id,
            subjects: subjects.into_iter().map(|(attribute, entity, is_pseudonym, is_proposed)| RecordedSubject {
                attribute, entity, is_pseudonym, is_proposed,
            }).collect(),
            principal,
            issuer,
            attributes: Arc::new(attributes.into_iter().collect()),
            policy_version: PolicyVersion(version),
            data_revision: Revision(revision),
            request_id,
            duration_us,
            obligations,
            actor,
            client,
            purpose,
            kind: if is_reading { RecordKind::Reading } else { RecordKind::Decision },
            facts: facts.into(),
            caller,
            adapter,
        }
    }
}

proptest! {
    #[test]
    fn a_record_reads_back(record in records()) {
        prop_assert_eq!(DecisionRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_truncated_record_is_refused(record in records(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        prop_assert!(DecisionRecord::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_changed_byte_never_panics_and_keeps_one_spelling(
        record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = DecisionRecord::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _read_or_not = DecisionRecord::decode(&bytes);
    }
}
