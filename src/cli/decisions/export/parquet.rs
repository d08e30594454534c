//! Decisions as Apache Parquet: a column for each value, lists for what comes several times, groups of 65,536 rows,
//! Snappy; texts that repeat are written once in a group and pointed to.

use std::{io::Write, sync::Arc};

use anyhow::{Context as _, Result, bail};
use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};

use crate::{
    cli::json,
    proto::v1::{DecisionRecord, EntityReference, Reason, RecordedSubject},
};

/// The rows of a group.
const GROUP_ROWS: usize = 65_536;

/// The columns, in the order of [`Columns::push`].
const SCHEMA: &str = "
message decision {
  required int64 sequence;
  required binary decision_id (STRING);
  required int64 time (TIMESTAMP(MICROS,true));
  required binary kind (STRING);
  required binary decision (STRING);
  required binary outcome (STRING);
  required group reasons (LIST) { repeated group list { required binary element (STRING); } }
  required binary message (STRING);
  required group policies (LIST) { repeated group list { required binary element (STRING); } }
  required binary action (STRING);
  required binary resource_type (STRING);
  required binary resource_id (STRING);
  required group subjects (LIST) { repeated group list { required group element {
    required binary attribute (STRING);
    required binary type (STRING);
    required binary id (STRING);
    required boolean is_pseudonym;
    required boolean is_proposed;
  } } }
  optional group principal { required binary type (STRING); required binary id (STRING); }
  optional group actor { required binary type (STRING); required binary id (STRING); }
  required binary client (STRING);
  required binary issuer (STRING);
  required binary purpose (STRING);
  required binary request_id (STRING);
  required binary attributes (JSON);
  required binary policy_version (STRING);
  required int64 data_revision;
  required group obligations (LIST) { repeated group list { required binary element (STRING); } }
  required int32 duration_us;
  required binary caller (STRING);
  required binary adapter (STRING);
}";

/// The values of a column's group, with the levels that say where a value is missing and where a list begins.
#[derive(Debug)]
enum Column {
    Text(Vec<ByteArray>, Levels),
    Long(Vec<i64>),
    Int(Vec<i32>),
    Flag(Vec<bool>, Levels),
}

#[derive(Debug, Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Levels {
    /// The levels of a list of this length; none of its values are missing.
    fn list(&mut self, length: usize) {
        self.definition.extend(std::iter::repeat_n(i16::from(length > 0), length.max(1)));
        self.repetition.push(0);
        self.repetition.extend(std::iter::repeat_n(1, length.saturating_sub(1)));
    }

    fn optional(&mut self, is_there: bool) {
        self.definition.push(i16::from(is_there));
    }

    fn parts(&self) -> (Option<&[i16]>, Option<&[i16]>) {
        (Some(&*self.definition).filter(|it| !it.is_empty()), Some(&*self.repetition).filter(|it| !it.is_empty()))
    }
}

/// Writes decisions, a group at a time.
pub(super) struct Rows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Columns,
}

impl<W: Write + Send> std::fmt::Debug for Rows<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("rows", &self.columns.rows).finish_non_exhaustive()
    }
}

impl<W: Write + Send> Rows<W> {
    /// Begins a file of a realm's decisions.
    pub(super) fn new(out: W, realm: &str) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA).context("the schema of Parquet files is wrong")?);
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(true)
            .set_created_by(concat!("hallpass ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new("realm".to_owned(), realm.to_owned())]))
            .build();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(failed)?;
        Ok(Self { writer, columns: Columns::default() })
    }

    pub(super) fn write(&mut self, record: &DecisionRecord) -> Result<()> {
        self.columns.push(record);
        if self.columns.rows == GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left and the file's end.
    pub(super) fn finish(mut self) -> Result<W> {
        if self.columns.rows > 0 {
            self.write_group()?;
        }
        self.writer.into_inner().map_err(failed)
    }

    fn write_group(&mut self) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in columns.in_order {
            let Some(mut out) = group.next_column().map_err(failed)? else {
                bail!("the schema of Parquet files has fewer columns than there are");
            };
            write_column(out.untyped(), &column)?;
            out.close().map_err(failed)?;
        }
        if group.next_column().map_err(failed)?.is_some() {
            bail!("the schema of Parquet files has more columns than there are");
        }
        group.close().map_err(failed)?;
        Ok(())
    }
}

fn write_column(out: &mut ColumnWriter<'_>, column: &Column) -> Result<()> {
    let written = match (out, column) {
        (ColumnWriter::ByteArrayColumnWriter(out), Column::Text(values, levels)) => {
            let (definition, repetition) = levels.parts();
            out.write_batch(values, definition, repetition)
        }
        (ColumnWriter::BoolColumnWriter(out), Column::Flag(values, levels)) => {
            let (definition, repetition) = levels.parts();
            out.write_batch(values, definition, repetition)
        }
        (ColumnWriter::Int64ColumnWriter(out), Column::Long(values)) => out.write_batch(values, None, None),
        (ColumnWriter::Int32ColumnWriter(out), Column::Int(values)) => out.write_batch(values, None, None),
        _ => bail!("the schema of Parquet files has a column of another type"),
    };
    written.map(drop).map_err(failed)
}

fn failed(error: ParquetError) -> anyhow::Error {
    match error {
        // So that a full disk is told as one.
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => anyhow::Error::new(*source),
            Err(source) => anyhow::anyhow!("the Parquet file cannot be written: {source}"),
        },
        other => anyhow::anyhow!("the Parquet file cannot be written: {other}"),
    }
}

/// The columns of a group.
#[derive(Debug, Default)]
struct Columns {
    rows: usize,
    in_order: Vec<Column>,
    next: usize,
}

impl Columns {
    fn push(&mut self, record: &DecisionRecord) {
        let whole = json::record(record);
        let of = |name: &str| whole.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let codes: Vec<&str> = record.reasons.iter().map(|reason: &Reason| reason.code.as_str()).collect();
        let time = record.time.as_ref().map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000);
        self.next = 0;
        self.long(i64::try_from(record.sequence).unwrap_or(i64::MAX));
        self.text(&record.decision_id);
        self.long(time);
        self.text(&of("kind"));
        self.text(json::effect(record.decision));
        self.text(json::outcome(record.outcome));
        self.texts(&codes);
        self.text(record.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default());
        self.texts(&record.determining_policies);
        self.text(&record.action);
        self.text(&record.resource_type);
        self.text(&record.resource_id);
        self.subjects(&record.subjects);
        self.entity(record.principal.as_ref());
        self.entity(record.actor.as_ref());
        for text in [&record.client, &record.issuer, &record.purpose, &record.request_id] {
            self.text(text);
        }
        self.text(&whole.get("attributes").map(ToString::to_string).unwrap_or_default());
        self.text(&record.policy_version);
        self.long(i64::try_from(record.data_revision).unwrap_or(i64::MAX));
        self.texts(&record.obligations);
        self.int(i32::try_from(record.duration_us).unwrap_or(i32::MAX));
        self.text(&record.caller);
        self.text(&record.adapter);
        self.rows += 1;
    }

    /// The next column of the row; made by the first row.
    fn column(&mut self, new: impl FnOnce() -> Column) -> Option<&mut Column> {
        if self.next == self.in_order.len() {
            self.in_order.push(new());
        }
        self.next += 1;
        self.in_order.get_mut(self.next - 1)
    }

    fn long(&mut self, value: i64) {
        if let Some(Column::Long(values)) = self.column(|| Column::Long(Vec::new())) {
            values.push(value);
        }
    }

    fn int(&mut self, value: i32) {
        if let Some(Column::Int(values)) = self.column(|| Column::Int(Vec::new())) {
            values.push(value);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(Column::Text(values, _)) = self.column(no_texts) {
            values.push(text.into());
        }
    }

    fn texts(&mut self, texts: &[impl AsRef<str>]) {
        if let Some(Column::Text(values, levels)) = self.column(no_texts) {
            values.extend(texts.iter().map(|text| ByteArray::from(text.as_ref())));
            levels.list(texts.len());
        }
    }

    fn optional(&mut self, text: Option<&str>) {
        if let Some(Column::Text(values, levels)) = self.column(no_texts) {
            values.extend(text.map(ByteArray::from));
            levels.optional(text.is_some());
        }
    }

    fn flags(&mut self, flags: &[bool]) {
        if let Some(Column::Flag(values, levels)) = self.column(|| Column::Flag(Vec::new(), Levels::default())) {
            values.extend(flags);
            levels.list(flags.len());
        }
    }

    fn entity(&mut self, entity: Option<&EntityReference>) {
        self.optional(entity.map(|entity| entity.r#type.as_str()));
        self.optional(entity.map(|entity| entity.id.as_str()));
    }

    fn subjects(&mut self, subjects: &[RecordedSubject]) {
        self.texts(&subjects.iter().map(|subject| subject.attribute.as_str()).collect::<Vec<_>>());
        self.texts(&subjects.iter().map(|subject| subject.r#type.as_str()).collect::<Vec<_>>());
        self.texts(&subjects.iter().map(|subject| subject.id.as_str()).collect::<Vec<_>>());
        self.flags(&subjects.iter().map(|subject| subject.is_pseudonym).collect::<Vec<_>>());
        self.flags(&subjects.iter().map(|subject| subject.is_proposed).collect::<Vec<_>>());
    }
}

fn no_texts() -> Column {
    Column::Text(Vec::new(), Levels::default())
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::{reader::FileReader as _, serialized_reader::SerializedFileReader},
        record::RowAccessor as _,
    };
    use tonic::codegen::Bytes;

    use super::{super::tests::sample, *};

    #[test]
    fn rows_read_back_in_groups_as_they_were() {
        let mut rows = Rows::new(Vec::new(), "edfi").unwrap();
        let count = GROUP_ROWS as u64 + 3;
        let bare = DecisionRecord { sequence: count, ..DecisionRecord::default() };
        for number in 1..count {
            rows.write(&sample(number)).unwrap();
        }
        rows.write(&bare).unwrap();
        let bytes = rows.finish().unwrap();
        assert!(bytes.len() < 4_000_000, "dictionaries keep it small: {}", bytes.len());
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        let groups: Vec<_> =
            reader.metadata().row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect();
        assert_eq!(groups, [i64::try_from(GROUP_ROWS).unwrap(), 3]);
        let mut last = None;
        for (number, row) in (1..).zip(reader.get_row_iter(None).unwrap()) {
            let row = row.unwrap();
            assert_eq!(row.get_long(0).unwrap(), number);
            if number == 7 {
                let text = row.to_string();
                for expected in [
                    "sequence: 7, decision_id: \"00000000-0000-0000-0000-000000000007\", time: 2026-08-04 10:30:00",
                    "kind: \"decision\", decision: \"DENY\", outcome: \"NOT_PERMITTED\"",
                    "reasons: [\"RELATIONSHIP_MISSING\", \"OTHER\"], message: \"The student, is at none of the",
                    "policies: [\"Enrolled\", \"Other\"], action: \"Read\", resource_type: \"File\", resource_id: \"f-7\"",
                    "{attribute: \"student\", type: \"Student\", id: \"p7\", is_pseudonym: true, is_proposed: false}",
                    "{attribute: \"school\", type: \"School\", id: \"1\", is_pseudonym: false, is_proposed: true}",
                    "principal: {type: \"Client\", id: \"=client\"}, actor: {type: \"User\", id: \"u-1\"}, client: \"app\"",
                    "issuer: \"https://idp.example\", purpose: \"complaint\", request_id: \"r-7\"",
                    "policy_version: \"v1\", data_revision: 3, obligations: [\"apply_profile\"], duration_us: 41, caller: \"gateway\", adapter: \"envoy\"",
                ] {
                    assert!(text.contains(expected), "{expected} is not in {text}");
                }
            }
            last = Some(row);
        }
        let last = last.unwrap();
        assert_eq!(last.get_long(0).unwrap(), i64::try_from(count).unwrap());
        let text = last.to_string();
        for expected in ["reasons: []", "subjects: []", "principal: null", "actor: null"] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }

    #[test]
    fn a_file_without_rows_is_a_file() {
        let bytes = Rows::new(Vec::new(), "edfi").unwrap().finish().unwrap();
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
    }
}
