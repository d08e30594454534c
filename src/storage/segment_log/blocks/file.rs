//! The `.idx` file of a block: written once, read by pages, each of which has a checksum.
//!
//! ```text
//! magic [8] | length of the header u32 | crc32 of the header u32 | header | pages
//! header:  version u8, first sequence, count, the number of the segment, base offset of the block in it,
//!          the earliest and latest time of each 1,024 entries, the checksums of the pages of offsets, the columns
//! column:  attribute u8 | form u8 | SORTED: of each page its first hash, its count and its checksum
//!                                 | POSTINGS: of each value its hash and the checksum of its posting in the catalogue
//! pages:   offsets: 1,024 of u32 each; then, column by column, 512 of (hash u64, place u16) each, sorted
//! ```
//! Numbers of the header are those of [`crate::domain::codec`], hashes and what the pages hold is little-endian. An
//! attribute with few values in the block is kept as postings, one with many as sorted pairs.

use std::{fs::File, io, path::Path};

use std::os::unix::fs::FileExt as _;

use super::{
    open::{Column, MISSING, OpenBlock},
    positions::Positions,
    terms::{Attribute, Term},
};
use crate::domain::codec::{CodecError, Reader, Writer};

const MAGIC: [u8; 8] = *b"HPIDX\0\x01\n";
const VERSION: u8 = 1;
const PRELUDE_BYTES: usize = 16;
/// The longest header; guards readers against a damaged length.
const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Entries of a page of offsets, and of a run of times.
pub(in crate::storage::segment_log) const RUN: usize = 1024;
const OFFSETS_PAGE_BYTES: usize = RUN * 4;
/// Pairs of a page.
const PAIRS: usize = 512;
const PAIR_BYTES: usize = 10;
/// An attribute with more values in a block than this is kept as sorted pairs.
const VALUES_MAX: usize = 1024;
const SORTED: u8 = 1;
const POSTINGS: u8 = 2;

/// The postings of one value of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage::segment_log) struct Posting {
    /// The value.
    pub term: Term,
    /// Its places, as [`Positions::encode`] writes them.
    pub bytes: Vec<u8>,
}

/// The stored form of a block.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct Encoded {
    /// The file.
    pub file: Vec<u8>,
    /// The checksum of its header, which holds those of everything else.
    pub checksum: u32,
    /// What goes into the catalogue.
    pub postings: Vec<Posting>,
}

/// Puts a block into its stored form.
pub(in crate::storage::segment_log) fn encode(block: &OpenBlock) -> Encoded {
    let mut header = Writer::with_capacity(32 * 1024);
    let (mut pages, mut postings) = (Vec::new(), Vec::new());
    header.byte(VERSION);
    header.u64(block.first);
    header.count(block.offsets.len());
    header.u64(block.segment);
    header.u64(block.base);
    for (times, offsets) in block.times.chunks(RUN).zip(block.offsets.chunks(RUN)) {
        let (min, max) = times_of(times, offsets);
        header.i64(min);
        header.i64(max);
    }
    for offsets in block.offsets.chunks(RUN) {
        let page: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        header.u64(u64::from(crc32fast::hash(&page)));
        pages.extend_from_slice(&page);
    }
    header.count(block.columns().count());
    for (attribute, column) in block.columns() {
        header.byte(attribute.number());
        encode_column(attribute, column, &mut header, &mut pages, &mut postings);
    }
    let header = header.into_bytes();
    let checksum = crc32fast::hash(&header);
    let mut file = Vec::with_capacity(PRELUDE_BYTES + header.len() + pages.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
    file.extend_from_slice(&checksum.to_le_bytes());
    file.extend_from_slice(&header);
    file.extend_from_slice(&pages);
    Encoded { file, checksum, postings }
}

fn times_of(times: &[i64], offsets: &[u32]) -> (i64, i64) {
    let read = || times.iter().zip(offsets).filter(|(_, offset)| **offset != MISSING).map(|(time, _)| *time);
    (read().min().unwrap_or(i64::MAX), read().max().unwrap_or(i64::MIN))
}

fn encode_column(
    attribute: Attribute,
    column: &Column,
    header: &mut Writer,
    pages: &mut Vec<u8>,
    postings: &mut Vec<Posting>,
) {
    let mut pairs: Vec<(u64, u16)> = column.hashes.iter().copied().zip(column.places.iter().copied()).collect();
    // Of equal hashes, places rise already; a stable sort finds long runs.
    pairs.sort_unstable();
    pairs.dedup();
    let values = || pairs.chunk_by(|a, b| a.0 == b.0);
    if values().nth(VALUES_MAX).is_some() {
        header.byte(SORTED);
        header.count(pairs.len().div_ceil(PAIRS));
        for pairs in pairs.chunks(PAIRS) {
            let start = pages.len();
            for (hash, place) in pairs {
                pages.extend_from_slice(&hash.to_le_bytes());
                pages.extend_from_slice(&place.to_le_bytes());
            }
            header.raw(&pairs.first().map_or(0, |pair| pair.0).to_le_bytes());
            header.count(pairs.len());
            header.u64(u64::from(crc32fast::hash(pages.get(start..).unwrap_or_default())));
        }
        return;
    }
    header.byte(POSTINGS);
    header.count(values().count());
    for value in values() {
        let Some((hash, _)) = value.first() else { continue };
        let places: Vec<u16> = value.iter().map(|(_, place)| *place).collect();
        let bytes = Positions::encode(&places);
        header.raw(&hash.to_le_bytes());
        header.u64(u64::from(crc32fast::hash(&bytes)));
        postings.push(Posting { term: Term { attribute, hash: *hash }, bytes });
    }
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::storage::segment_log) enum IndexError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl From<CodecError> for IndexError {
    fn from(_: CodecError) -> Self {
        Self::Damaged("a header that does not read")
    }
}

/// A page of sorted pairs.
#[derive(Clone, Copy, Debug)]
struct Page {
    first_hash: u64,
    count: usize,
    checksum: u32,
    offset: u64,
}

#[derive(Debug)]
enum Form {
    Sorted(Vec<Page>),
    /// Of each value, in the order of the hashes: hash and checksum of the posting.
    Postings(Vec<(u64, u32)>),
}

/// An `.idx` file, its header read.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct IndexFile {
    file: File,
    /// How many entries it has.
    pub count: u32,
    base: u64,
    times: Vec<(i64, i64)>,
    offset_pages: Vec<u32>,
    pages_start: u64,
    columns: Vec<(Attribute, Form)>,
}

impl IndexFile {
    /// Opens the file whose header has this checksum.
    pub(in crate::storage::segment_log) fn open(path: &Path, checksum: u32) -> Result<Self, IndexError> {
        let file = File::open(path)?;
        let mut prelude = [0; PRELUDE_BYTES];
        file.read_exact_at(&mut prelude, 0)?;
        let length = prelude.get(8..12).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_le_bytes);
        let stored = prelude.get(12..16).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_le_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !prelude.starts_with(&MAGIC) || length > HEADER_BYTES_MAX {
            return Err(IndexError::Damaged("no index file"));
        }
        let mut header = vec![0; length];
        file.read_exact_at(&mut header, PRELUDE_BYTES as u64)?;
        if stored != checksum || crc32fast::hash(&header) != checksum {
            return Err(IndexError::Damaged("another header than was written"));
        }
        Self::read(file, &header)
    }

    fn read(file: File, header: &[u8]) -> Result<Self, IndexError> {
        let mut input = Reader::new(header);
        if input.byte()? != VERSION {
            return Err(IndexError::Damaged("an unknown version"));
        }
        let _first = input.u64()?;
        let count = input.u32()?;
        let (_segment, base) = (input.u64()?, input.u64()?);
        let runs = usize::try_from(count).unwrap_or(usize::MAX).div_ceil(RUN);
        if runs > input.rest().len() {
            return Err(CodecError::Truncated.into());
        }
        let times = (0..runs).map(|_| Ok((input.i64()?, input.i64()?))).collect::<Result<_, CodecError>>()?;
        let offset_pages = (0..runs).map(|_| input.u32()).collect::<Result<_, CodecError>>()?;
        let pages_start = PRELUDE_BYTES as u64 + header.len() as u64;
        let mut offset = pages_start + u64::from(count) * 4;
        let columns = input.count()?;
        let mut found = Vec::with_capacity(columns.min(Attribute::ALL.len()));
        for _ in 0..columns {
            let attribute = Attribute::of(input.byte()?).ok_or(IndexError::Damaged("an unknown attribute"))?;
            found.push((attribute, read_form(&mut input, &mut offset)?));
        }
        input.finish()?;
        Ok(Self { file, count, base, times, offset_pages, pages_start, columns: found })
    }

    /// The places of entries that have at least one term of each list and whose times may lie in this range.
    ///
    /// `posting` gives the bytes of a value's posting from the catalogue.
    pub(in crate::storage::segment_log) fn find(
        &self,
        conditions: &[Vec<Term>],
        mut posting: impl FnMut(Term) -> Result<Option<Vec<u8>>, IndexError>,
    ) -> Result<Positions, IndexError> {
        let mut found = Positions::first(self.count);
        // What is not in the header at all rules the block out without a further look.
        if conditions.iter().any(|terms| !terms.iter().any(|term| self.may_hold(*term))) {
            return Ok(Positions::none());
        }
        for terms in conditions {
            let mut any = Positions::none();
            for term in terms {
                self.add(*term, &mut any, &mut posting)?;
            }
            found.keep(&any);
            if found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn form(&self, attribute: Attribute) -> Option<&Form> {
        self.columns.iter().find(|(other, _)| *other == attribute).map(|(_, form)| form)
    }

    fn may_hold(&self, Term { attribute, hash }: Term) -> bool {
        match self.form(attribute) {
            None => false,
            Some(Form::Sorted(pages)) => pages.first().is_some_and(|page| page.first_hash <= hash),
            Some(Form::Postings(values)) => values.binary_search_by_key(&hash, |(hash, _)| *hash).is_ok(),
        }
    }

    fn add(
        &self,
        term: Term,
        any: &mut Positions,
        posting: &mut impl FnMut(Term) -> Result<Option<Vec<u8>>, IndexError>,
    ) -> Result<(), IndexError> {
        match self.form(term.attribute) {
            None => Ok(()),
            Some(Form::Sorted(pages)) => self.add_sorted(pages, term.hash, any),
            Some(Form::Postings(values)) => {
                let Ok(at) = values.binary_search_by_key(&term.hash, |(hash, _)| *hash) else { return Ok(()) };
                let wanted = values.get(at).map(|(_, checksum)| *checksum);
                let bytes = posting(term)?.ok_or(IndexError::Damaged("a posting is missing"))?;
                if wanted != Some(crc32fast::hash(&bytes)) {
                    return Err(IndexError::Damaged("another posting than was written"));
                }
                any.add_encoded(&bytes).ok_or(IndexError::Damaged("a posting that does not read"))
            }
        }
    }

    fn add_sorted(&self, pages: &[Page], hash: u64, any: &mut Positions) -> Result<(), IndexError> {
        // The hash may start at the end of the page before the first one that begins with it.
        let from = pages.partition_point(|page| page.first_hash < hash).saturating_sub(1);
        for page in pages.iter().skip(from).take_while(|page| page.first_hash <= hash) {
            let bytes = self.page(page.offset, page.count * PAIR_BYTES, page.checksum)?;
            for pair in bytes.as_chunks::<PAIR_BYTES>().0 {
                let (start, place) = pair.split_at(8);
                if start == hash.to_le_bytes() {
                    any.insert(place.first_chunk().copied().map_or(0, u16::from_le_bytes));
                }
            }
        }
        Ok(())
    }

    /// The entries whose times may lie in this range.
    pub(in crate::storage::segment_log) fn within(&self, from_us: Option<i64>, until_us: Option<i64>) -> Positions {
        let mut found = Positions::none();
        for (run, (min, max)) in self.times.iter().enumerate() {
            if from_us.is_none_or(|from| *max >= from) && until_us.is_none_or(|until| *min < until) {
                let places = run * RUN..(run + 1) * RUN;
                places.filter_map(|place| u16::try_from(place).ok()).for_each(|place| found.insert(place));
            }
        }
        found
    }

    /// Where the entries of a run start in the segment; `None` for what could not be read.
    pub(in crate::storage::segment_log) fn offsets(&self, run: usize) -> Result<Vec<Option<u64>>, IndexError> {
        let checksum = self.offset_pages.get(run).ok_or(IndexError::Damaged("a place outside of the block"))?;
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).saturating_sub(run * RUN).min(RUN);
        let start = self.pages_start + (run * OFFSETS_PAGE_BYTES) as u64;
        let bytes = self.page(start, count * 4, *checksum)?;
        let offsets = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        Ok(offsets.map(|offset| (offset != MISSING).then(|| self.base + u64::from(offset))).collect())
    }

    fn page(&self, offset: u64, length: usize, checksum: u32) -> Result<Vec<u8>, IndexError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        if crc32fast::hash(&bytes) == checksum { Ok(bytes) } else { Err(IndexError::Damaged("a page was changed")) }
    }

    /// The values whose postings are in the catalogue.
    pub(in crate::storage::segment_log) fn posted(&self) -> impl Iterator<Item = Term> {
        self.columns.iter().flat_map(|(attribute, form)| {
            let values = match form {
                Form::Sorted(_) => &[][..],
                Form::Postings(values) => values,
            };
            values.iter().map(|(hash, _)| Term { attribute: *attribute, hash: *hash })
        })
    }
}

fn read_form(input: &mut Reader<'_>, offset: &mut u64) -> Result<Form, IndexError> {
    let form = input.byte()?;
    let count = input.count()?;
    let hash = |input: &mut Reader<'_>| -> Result<u64, CodecError> {
        let bytes = input.raw(8)?;
        bytes.first_chunk().copied().map(u64::from_le_bytes).ok_or(CodecError::Truncated)
    };
    let mut pages = Vec::new();
    let mut values = Vec::new();
    for _ in 0..count {
        let hash = hash(input)?;
        match form {
            SORTED => {
                let count = usize::try_from(input.u32()?).unwrap_or(usize::MAX).min(PAIRS);
                pages.push(Page { first_hash: hash, count, checksum: input.u32()?, offset: *offset });
                *offset += (count * PAIR_BYTES) as u64;
            }
            POSTINGS => values.push((hash, input.u32()?)),
            _ => return Err(IndexError::Damaged("an unknown form of a column")),
        }
    }
    Ok(if form == SORTED { Form::Sorted(pages) } else { Form::Postings(values) })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::{
        super::open::tests::{entry, term},
        *,
    };

    const COUNT: u64 = 5_000;

    /// A block with an attribute of each form, and an entry that is lost.
    fn block() -> OpenBlock {
        let mut block = OpenBlock::new(3, 11, entry(11).offset, 65_536);
        for sequence in (11..11 + COUNT).filter(|sequence| *sequence != 2000) {
            let place = block.push(entry(sequence));
            block.add(place, term(Attribute::Client, sequence % 7));
            block.add(place, term(Attribute::Entity, sequence * 7 % 1601));
            block.add(place, term(Attribute::Decision, u64::MAX - sequence));
        }
        block
    }

    struct Stored {
        _folder: tempfile::TempDir,
        path: std::path::PathBuf,
        checksum: u32,
        postings: BTreeMap<Term, Vec<u8>>,
    }

    fn stored(block: &OpenBlock) -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.idx");
        let Encoded { file, checksum, postings } = encode(block);
        fs::write(&path, file).unwrap();
        let postings = postings.into_iter().map(|posting| (posting.term, posting.bytes)).collect();
        Stored { _folder: folder, path, checksum, postings }
    }

    impl Stored {
        fn find(&self, conditions: &[Vec<Term>]) -> Result<Vec<u16>, IndexError> {
            let file = IndexFile::open(&self.path, self.checksum)?;
            let found = file.find(conditions, |term| Ok(self.postings.get(&term).cloned()))?;
            for run in 0..usize::try_from(COUNT).unwrap().div_ceil(RUN) {
                file.offsets(run)?;
            }
            Ok(found.ascending().collect())
        }
    }

    fn questions() -> Vec<Vec<Vec<Term>>> {
        let client = term(Attribute::Client, 3);
        let entity = term(Attribute::Entity, 4);
        vec![
            vec![],
            vec![vec![client]],
            vec![vec![entity]],
            vec![vec![entity], vec![client, term(Attribute::Client, 4)]],
            vec![vec![term(Attribute::Decision, u64::MAX - 77)]],
            vec![vec![term(Attribute::Decision, 77)]],
            vec![vec![term(Attribute::Actor, 1)]],
            vec![vec![client], vec![term(Attribute::Client, 99)]],
        ]
    }

    #[test]
    fn a_stored_block_finds_what_the_open_one_found() {
        let block = block();
        let stored = stored(&block);
        for conditions in questions() {
            let expected: Vec<_> = block.find(&conditions).ascending().collect();
            assert_eq!(stored.find(&conditions).unwrap(), expected, "{conditions:?}");
        }
        assert!(stored.postings.keys().all(|term| term.attribute == Attribute::Client));
        let file = IndexFile::open(&stored.path, stored.checksum).unwrap();
        assert_eq!((u64::from(file.count), file.posted().count()), (COUNT, 7));
        for (place, offset) in block.offsets.iter().enumerate() {
            let expected = (*offset != MISSING).then(|| block.base + u64::from(*offset));
            assert_eq!(file.offsets(place / RUN).unwrap()[place % RUN], expected, "{place}");
        }
    }

    #[test]
    fn times_rule_out_runs_of_entries() {
        let stored = stored(&block());
        let file = IndexFile::open(&stored.path, stored.checksum).unwrap();
        let within = |from, until| file.within(from, until).ascending().count();
        assert_eq!(within(Some(0), Some(i64::MAX)), 5 * RUN);
        assert_eq!(within(None, Some(110)), 0);
        assert_eq!(within(None, Some(111)), RUN);
        assert_eq!(within(Some(20_000), Some(20_010)), RUN);
        assert_eq!(within(Some(10_000_000), None), 0);
    }

    #[test]
    fn no_flipped_bit_changes_an_answer() {
        let stored = stored(&block());
        let whole = fs::read(&stored.path).unwrap();
        let questions = questions();
        let expected: Vec<_> = questions.iter().map(|conditions| stored.find(conditions).unwrap()).collect();
        for at in (0..whole.len()).filter(|at| *at < 600 || at % 97 == 0) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&stored.path, &changed).unwrap();
            for (conditions, expected) in questions.iter().zip(&expected) {
                if let Ok(found) = stored.find(conditions) {
                    assert_eq!(&found, expected, "{at}");
                }
            }
        }
    }

    #[test]
    fn a_posting_that_is_missing_or_another_one_is_noticed() {
        let mut stored = stored(&block());
        let conditions = [vec![term(Attribute::Client, 3)]];
        let other = stored.postings.get(&term(Attribute::Client, 4)).unwrap().clone();
        stored.postings.insert(term(Attribute::Client, 3), other);
        assert!(stored.find(&conditions).is_err());
        stored.postings.clear();
        assert!(stored.find(&conditions).is_err());
        assert!(stored.find(&[]).is_ok());
    }

    #[test]
    fn a_file_cut_anywhere_is_noticed() {
        let stored = stored(&block());
        let whole = fs::read(&stored.path).unwrap();
        for length in (0..whole.len()).step_by(211) {
            fs::write(&stored.path, &whole[..length]).unwrap();
            let all = questions().iter().all(|conditions| stored.find(conditions).is_ok());
            assert!(!all, "{length}");
        }
    }
}
