//! Files of source records: NDJSON, plain or compressed, one resource a file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use crate::app::relationships::{RECORD_BYTES_MAX, RECORDS_MAX};

/// A batch is full when it holds this many bytes, or as many records as a message may.
const BATCH_BYTES: usize = 1024 * 1024;

/// A file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFile {
    pub(super) path: PathBuf,
    pub(super) resource: Arc<str>,
    pub(super) bytes: u64,
}

/// Records of one resource, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) resource: Arc<str>,
    pub(super) records: Vec<String>,
}

/// What was read, and where each record stands.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Records that were handed on.
    pub(super) sent: u64,
    /// Lines that cannot be records: path, line, reason.
    pub(super) refused: Vec<(PathBuf, u64, String)>,
    files: Vec<FileReport>,
    sent_of: BTreeMap<Arc<str>, u64>,
}

/// The records of one file among those of its resource.
#[derive(Debug)]
struct FileReport {
    path: PathBuf,
    resource: Arc<str>,
    first: u64,
    count: u64,
    /// The lines, from 1, that were not handed on.
    left_out: Vec<u64>,
}

/// The resource of a file by its name: `studentSchoolAssociations-0001.ndjson.gz` holds `studentSchoolAssociations`.
pub(super) fn resource_of(file_name: &str) -> Option<&str> {
    let name = file_name.strip_suffix(".gz").unwrap_or(file_name);
    let name = name.strip_suffix(".ndjson").or_else(|| name.strip_suffix(".jsonl"))?;
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.rsplit_once('-').filter(|(_, part)| is_part(part)).map_or(name, |(name, _)| name);
    (!name.is_empty() && !name.starts_with('.')).then_some(name)
}

/// The record files among these paths: a folder stands for those directly in it, by name.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<RecordFile>> {
    let mut files = Vec::new();
    for path in paths {
        let cannot_read = || format!("cannot read `{}`", path.display());
        if path.is_dir() {
            let entries: Result<Vec<_>, _> = fs::read_dir(path).with_context(cannot_read)?.collect();
            let mut found: Vec<PathBuf> = entries.with_context(cannot_read)?.iter().map(fs::DirEntry::path).collect();
            found.sort();
            let before = files.len();
            for path in found.into_iter().filter(|path| path.is_file()) {
                files.extend(record_file(path)?);
            }
            if files.len() == before {
                bail!(
                    "`{}` holds no records; expected files such as students.ndjson or students-0001.ndjson.gz",
                    path.display()
                );
            }
        } else {
            let Some(file) = record_file(path.clone())? else {
                bail!("`{}` is no file of records by its name; expected for example students.ndjson", path.display());
            };
            files.push(file);
        }
    }
    Ok(files)
}

fn record_file(path: PathBuf) -> Result<Option<RecordFile>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(resource) = resource_of(&name).map(Arc::from) else { return Ok(None) };
    let bytes = fs::metadata(&path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
    Ok(Some(RecordFile { path, resource, bytes }))
}

impl Report {
    /// Reads a file and hands its records on in batches, until `take` wants no more. Reading from the file moves the bar.
    pub(super) fn read(
        &mut self,
        file: &RecordFile,
        bar: &ProgressBar,
        take: &mut dyn FnMut(Batch) -> bool,
    ) -> Result<()> {
        let cannot_read = || format!("cannot read `{}`", file.path.display());
        let raw = bar.wrap_read(File::open(&file.path).with_context(cannot_read)?);
        let is_compressed = file.path.extension().is_some_and(|ending| ending == "gz");
        let plain: Box<dyn Read> = if is_compressed { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let first = self.sent_of.get(&file.resource).copied().unwrap_or(0);
        let (path, resource) = (file.path.clone(), Arc::clone(&file.resource));
        let mut lines = Lines { reader: BufReader::with_capacity(256 * 1024, plain), number: 0, buffer: Vec::new() };
        let mut report = FileReport { path, resource, first, count: 0, left_out: Vec::new() };
        let outcome = self.batches(&mut lines, &mut report, take).with_context(cannot_read);
        self.sent += report.count;
        self.sent_of.insert(Arc::clone(&file.resource), first + report.count);
        self.files.push(report);
        outcome
    }

    fn batches(
        &mut self,
        lines: &mut Lines<impl BufRead>,
        report: &mut FileReport,
        take: &mut dyn FnMut(Batch) -> bool,
    ) -> io::Result<()> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            let line = lines.next()?;
            let is_end = matches!(line, Line::End);
            match line {
                Line::Record(record) => {
                    bytes += record.len();
                    records.push(record);
                }
                Line::Blank => report.left_out.push(lines.number),
                Line::Refused(reason) => {
                    report.left_out.push(lines.number);
                    self.refused.push((report.path.clone(), lines.number, reason));
                }
                Line::End => {}
            }
            if records.len() >= RECORDS_MAX || bytes >= BATCH_BYTES || is_end && !records.is_empty() {
                report.count += records.len() as u64;
                bytes = 0;
                let batch = Batch { resource: Arc::clone(&report.resource), records: std::mem::take(&mut records) };
                if !take(batch) {
                    return Ok(());
                }
            }
            if is_end {
                return Ok(());
            }
        }
    }

    /// The file and line of a resource's record, by its place among all of that resource that were handed on.
    pub(super) fn place(&self, resource: &str, index: u64) -> Option<(&Path, u64)> {
        let holds =
            |file: &&FileReport| *file.resource == *resource && (file.first..file.first + file.count).contains(&index);
        let file = self.files.iter().find(holds)?;
        let mut line = index - file.first + 1;
        for left_out in &file.left_out {
            if *left_out <= line {
                line += 1;
            }
        }
        Some((&file.path, line))
    }
}

enum Line {
    Record(String),
    Blank,
    Refused(String),
    End,
}

struct Lines<R> {
    reader: R,
    /// The number of the last line that was read, from 1.
    number: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        let bytes_max = RECORD_BYTES_MAX + 2;
        let read = self.reader.by_ref().take(bytes_max as u64).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if read == bytes_max && !self.buffer.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
            return Ok(Line::Refused(format!("is longer than {RECORD_BYTES_MAX} bytes")));
        }
        let text = match std::str::from_utf8(&self.buffer) {
            Ok(text) => text.trim_start_matches('\u{feff}').trim(),
            Err(_) => return Ok(Line::Refused("is not UTF-8".to_owned())),
        };
        Ok(if text.is_empty() { Line::Blank } else { Line::Record(text.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_resource() {
        for (name, resource) in [
            ("students.ndjson", Some("students")),
            ("students.jsonl", Some("students")),
            ("students.ndjson.gz", Some("students")),
            ("studentSchoolAssociations-0001.ndjson.gz", Some("studentSchoolAssociations")),
            ("studentSchoolAssociations-12.ndjson", Some("studentSchoolAssociations")),
            ("grade-levels.ndjson", Some("grade-levels")),
            ("students-.ndjson", Some("students-")),
            ("README.md", None),
            ("students.json", None),
            ("students.gz", None),
            (".ndjson", None),
            ("-0001.ndjson", None),
            (".hidden.ndjson", None),
        ] {
            assert_eq!(resource_of(name), resource, "{name}");
        }
    }

    #[test]
    fn records_are_found_again_by_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("README.md"), "no records").unwrap();
        fs::write(path("a-1.ndjson"), "\u{feff}{\"n\":0}\n\n{\"n\":1}\r\n").unwrap();
        let mut compressed = GzEncoder::new(File::create(path("a-2.ndjson.gz")).unwrap(), Compression::fast());
        compressed.write_all(b"\n\n\xff\n{\"n\":2}\n \n{\"n\":3}").unwrap();
        compressed.finish().unwrap();
        let long = "x".repeat(RECORD_BYTES_MAX + 10);
        fs::write(path("b.ndjson"), format!("{long}\n{}\n", "y".repeat(RECORD_BYTES_MAX))).unwrap();

        let files = list(&[folder.path().to_owned()]).unwrap();
        let (mut report, mut records) = (Report::default(), Vec::new());
        for file in &files {
            let mut take = |batch: Batch| {
                records.extend(batch.records.into_iter().map(|record| (batch.resource.to_string(), record)));
                true
            };
            report.read(file, &ProgressBar::hidden(), &mut take).unwrap();
        }
        let of_a: Vec<_> = records.iter().filter(|(resource, _)| resource == "a").map(|(_, record)| record).collect();
        assert_eq!(of_a, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
        assert_eq!(report.sent, 5);
        let place = |resource, index| {
            report.place(resource, index).map(|(path, line)| (path.file_name().unwrap().to_str().unwrap(), line))
        };
        assert_eq!(place("a", 0), Some(("a-1.ndjson", 1)));
        assert_eq!(place("a", 1), Some(("a-1.ndjson", 3)));
        assert_eq!(place("a", 2), Some(("a-2.ndjson.gz", 4)));
        assert_eq!(place("a", 3), Some(("a-2.ndjson.gz", 6)));
        assert_eq!(place("a", 4), None);
        assert_eq!(place("b", 0), Some(("b.ndjson", 2)));
        let refused: Vec<_> = report.refused.iter().map(|(_, line, reason)| (*line, reason.as_str())).collect();
        assert_eq!(refused, [(3, "is not UTF-8"), (1, "is longer than 262144 bytes")]);
    }

    #[test]
    fn batches_are_bounded_and_end_when_nobody_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.ndjson"), "{}\n".repeat(2_500)).unwrap();
        let files = list(&[folder.path().join("a.ndjson")]).unwrap();
        let mut sizes = Vec::new();
        let mut all = |batch: Batch| {
            sizes.push(batch.records.len());
            true
        };
        Report::default().read(&files[0], &ProgressBar::hidden(), &mut all).unwrap();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        let mut report = Report::default();
        report.read(&files[0], &ProgressBar::hidden(), &mut |_| false).unwrap();
        assert_eq!(report.sent, 1_000);
    }

    #[test]
    fn what_holds_no_records_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = list(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("holds no records; expected files such as"), "{error}");
        fs::write(folder.path().join("a.json"), "{}").unwrap();
        assert!(
            list(&[folder.path().join("a.json")]).unwrap_err().to_string().contains("no file of records by its name")
        );
        assert!(list(&[folder.path().join("a.ndjson")]).unwrap_err().to_string().contains("cannot read"));
    }
}
