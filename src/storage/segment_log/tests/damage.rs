//! Files that lost bytes, or have other ones than were written.

use super::*;

/// The bytes of a segment of these groups, behind the entries of a tree, which takes theirs in.
fn segment_behind(tree: &mut Frontier, groups: &[&[u64]]) -> Vec<u8> {
    let mut bytes = header(tree);
    for group in groups {
        for number in *group {
            assert_eq!(*number, tree.size() + 1);
            let start = bytes.len();
            let DecisionRecord { id, time_us, .. } = record(*number);
            let mut rest = [&id.0.to_be_bytes()[..], &time_us.to_le_bytes(), &record(*number).encode()].concat();
            key().seal_decision(id, time_us, &mut rest, 24).unwrap();
            push_decision(&mut bytes, *number, &rest);
            tree.append(leaf_hash(&bytes[start + PREFIX_BYTES..]));
        }
        let count = u32::try_from(group.len()).unwrap();
        let (tree_size, root) = (tree.size(), tree.root());
        push_group(&mut bytes, &GroupEnd { first: group[0], last: tree_size, count, tree_size, root });
    }
    bytes
}

/// The bytes of a log's first segment of these groups.
fn segment(groups: &[&[u64]]) -> Vec<u8> {
    segment_behind(&mut Frontier::new(), groups)
}

/// The tree of a log whose first segment has these groups.
fn tree_of(groups: &[&[u64]]) -> Frontier {
    let mut tree = Frontier::new();
    segment_behind(&mut tree, groups);
    tree
}

fn folder_with(segments: &[&[u8]]) -> TempDir {
    let folder = folder();
    for (at, bytes) in segments.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{:08}.seg", at + 1)), bytes).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_log_cut_at_any_byte_of_the_last_groups_keeps_exactly_the_complete_groups() {
    let groups: [&[u64]; 4] = [&[1, 2], &[3], &[4, 5], &[6]];
    let whole = segment(&groups);
    let ends: Vec<_> = (0..=4).map(|count| segment(&groups[..count]).len()).collect();
    for length in ends[1]..=whole.len() {
        let complete = ends.iter().filter(|end| **end <= length).count() - 1;
        let mut expected: Vec<_> = groups[..complete].concat();
        let folder = folder_with(&[&whole[..length]]);
        let log = open(folder.path(), strict());
        assert_eq!(numbers(&log).await, (expected.clone(), true), "cut at {length}");
        let torn = folder.path().join("00000001.seg.torn");
        let cut = if torn.exists() { std::fs::read(torn).unwrap() } else { Vec::new() };
        assert_eq!(cut, whole[ends[complete]..length], "what was cut is kept");
        let next = expected.len() as u64 + 1;
        log.append(vec![record(next)]).await.unwrap();
        expected.push(next);
        assert_eq!(numbers(&log).await, (expected, true));
    }
}

#[tokio::test]
async fn a_tail_of_zeros_is_cut() {
    let mut bytes = segment(&[&[1, 2], &[3]]);
    bytes.extend_from_slice(&[0; 5000]);
    let folder = folder_with(&[&bytes]);
    let log = open(folder.path(), strict());
    assert_eq!(numbers(&log).await, (vec![1, 2, 3], true));
}

#[tokio::test]
async fn a_flipped_byte_in_the_middle_is_reported_and_costs_one_record() {
    let groups: [&[u64]; 3] = [&[1, 2], &[3, 4, 5], &[6, 7]];
    let whole = segment(&groups);
    let following = segment_behind(&mut tree_of(&groups), &[&[8]]);
    let middle = segment(&groups[..1]).len()..segment(&groups[..2]).len();
    for at in middle.step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        for segments in [&[&damaged[..]][..], &[&damaged, &following]] {
            let folder = folder_with(segments);
            let log = open(folder.path(), strict());
            let last = if segments.len() == 1 { 7 } else { 8 };
            for round in 0..2 {
                let (found, is_complete) = numbers(&log).await;
                let missing: Vec<_> = (1..=last + round).filter(|number| !found.contains(number)).collect();
                assert!(missing.len() <= 1 && found.iter().all(|number| *number <= last + round), "{at}: {found:?}");
                assert_eq!(is_complete, missing.is_empty(), "{at}: {missing:?}");
                log.append(vec![record(last + round + 1)]).await.unwrap();
            }
            let newest = log.get(record(last + 1).id).await.unwrap().unwrap();
            assert!(newest.sequence > last, "new records are numbered on behind the damage");
            assert_eq!(std::fs::read(folder.path().join("00000001.seg")).unwrap(), damaged, "kept as it is");
        }
    }
}

#[tokio::test]
async fn damage_is_reported_by_queries_that_span_it_only() {
    let groups: Vec<Vec<u64>> = (0..20).map(|group| (group * 100 + 1..=group * 100 + 100).collect()).collect();
    let groups: Vec<&[u64]> = groups.iter().map(Vec::as_slice).collect();
    let mut bytes = segment(&groups);
    let at = segment(&groups[..10]).len() + 100;
    bytes[at] ^= 1;
    let folder = folder_with(&[&bytes]);
    let log = open(folder.path(), Options::default());
    let at = |number: i64| Some(START_US + number * 1_000_000);
    for (from_us, until_us, expected) in
        [(None, None, false), (at(1000), at(1003), false), (at(1), at(200), true), (at(1800), None, true)]
    {
        let filter = RecordFilter { from_us, until_us, ..RecordFilter::default() };
        let page = log.query(filter, ALL).await.unwrap();
        assert_eq!(is_whole(&page), expected, "{from_us:?} {until_us:?}");
    }
    assert!(log.get(record(2001).id).await.is_err(), "it may have been the damaged one");
    assert!(log.get(record(1500).id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_byte_that_flips_while_the_log_is_open_is_reported() {
    let folder = folder();
    let log = open(folder.path(), strict());
    log.append(records(1..=10)).await.unwrap();
    let path = &segment_files(folder.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let (found, is_complete) = numbers(&log).await;
    assert_eq!((found.len(), is_complete), (9, false));
}

#[tokio::test]
async fn a_damaged_header_hides_no_record() {
    let first = segment(&[&[1, 2], &[3]]);
    for at in (0..101).chain([4095]) {
        let mut damaged = first.clone();
        damaged[at] ^= 1;
        let folder = folder_with(&[&damaged]);
        let log = open(folder.path(), strict());
        log.append(records(4..=4)).await.unwrap();
        assert_eq!(numbers(&log).await, (vec![1, 2, 3, 4], true), "{at}");
        assert_eq!(std::fs::read(folder.path().join("00000001.seg")).unwrap(), damaged, "kept as it is");
    }
}

#[tokio::test]
async fn a_segment_that_was_never_begun_is_put_aside() {
    let first = segment(&[&[1, 2]]);
    for length in [0, 10, 4095] {
        let header = header(&tree_of(&[&[1, 2]]));
        let folder = folder_with(&[&first, &header[..length]]);
        let log = open(folder.path(), strict());
        log.append(records(3..=3)).await.unwrap();
        assert_eq!(numbers(&log).await, (vec![1, 2, 3], true), "{length}");
    }
}

#[tokio::test]
async fn a_lost_segment_is_reported_wherever_it_was() {
    let second = segment_behind(&mut tree_of(&[&[1, 2]]), &[&[3]]);
    let (first, lost) = (segment(&[&[1, 2]]), vec![0; 5000]);
    for (segments, expected) in
        [([&first, &lost], vec![1, 2, 9]), ([&lost, &second], vec![3, 9]), ([&lost, &lost], vec![9])]
    {
        let folder = folder_with(&[segments[0], segments[1]]);
        for _ in 0..2 {
            let log = open(folder.path(), strict());
            assert!(!log.query(RecordFilter::default(), ALL).await.unwrap().is_complete);
        }
        let log = open(folder.path(), strict());
        log.append(vec![record(9)]).await.unwrap();
        drop(log);
        let log = open(folder.path(), strict());
        assert_eq!(numbers(&log).await, (expected, false));
    }
}

#[tokio::test]
async fn a_missing_segment_is_reported() {
    let folder = folder();
    let log = open(folder.path(), Options { segment_bytes_max: 4500, ..strict() });
    for number in 1..=6 {
        log.append(vec![record(number)]).await.unwrap();
    }
    drop(log);
    let files = segment_files(folder.path());
    assert!(files.len() > 3);
    std::fs::remove_file(&files[1]).unwrap();
    let (found, is_complete) = numbers(&open(folder.path(), strict())).await;
    assert!(found.len() < 6 && found.contains(&6) && !is_complete);
}

#[tokio::test]
async fn frames_of_a_kind_from_a_later_release_are_skipped() {
    let mut bytes = segment(&[&[1, 2]]);
    let body = [99, 1, 2, 3];
    bytes.extend_from_slice(&4_u32.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&segment_behind(&mut tree_of(&[&[1, 2]]), &[&[3]])[4096..]);
    let folder = folder_with(&[&bytes]);
    let log = open(folder.path(), strict());
    assert_eq!(numbers(&log).await, (vec![1, 2, 3], true));
}

/// The last segment's bytes, what an earlier run of a log in this mode left.
fn as_in_mode(mode: Mode, groups: &[&[u64]]) -> Vec<u8> {
    let mut bytes = segment(groups);
    bytes[10..12].copy_from_slice(&mode.number().to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..4092]).to_le_bytes();
    bytes[4092..4096].copy_from_slice(&checksum);
    bytes
}

#[tokio::test]
async fn a_flipped_byte_in_the_last_group_is_never_lost_silently_not_even_by_a_strict_log() {
    let groups: [&[u64]; 2] = [&[1, 2], &[3, 4]];
    let whole = as_in_mode(Mode::Strict, &groups);
    let start = segment(&groups[..1]).len();
    for at in start..whole.len() {
        for bit in [0, 3, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let folder = folder_with(&[&damaged]);
            let log = open(folder.path(), strict());
            log.append(records(5..=5)).await.unwrap();
            let (found, is_complete) = numbers(&log).await;
            let kept: Vec<_> = segment_files(folder.path()).iter().map(|path| std::fs::read(path).unwrap()).collect();
            let aside = std::fs::read(folder.path().join("00000001.seg.torn")).unwrap_or_default();
            assert!(found.starts_with(&[1, 2]) && found.ends_with(&[5]), "{at} {bit}: {found:?}");
            assert!(kept[0].starts_with(&damaged) || damaged[start..] == aside, "{at} {bit}: the bytes are kept");
            let has_gap = incidents_in_any_order(folder.path()).iter().any(|kind| matches!(kind, EventKind::Gap(_)));
            assert!(has_gap, "{at} {bit}: {found:?} {is_complete}");
        }
    }
}

#[tokio::test]
async fn a_write_that_was_cut_short_leaves_a_strict_log_without_a_gap_and_others_with_one() {
    let groups: [&[u64]; 3] = [&[1, 2], &[3], &[4, 5]];
    for (mode, gaps) in [(Mode::Strict, 0), (Mode::Bounded, 1), (Mode::Available, 1)] {
        let whole = as_in_mode(mode, &groups);
        for length in segment(&groups[..1]).len()..whole.len() {
            let folder = folder_with(&[&whole[..length]]);
            let log = open(folder.path(), strict());
            log.append(records(9..=9)).await.unwrap();
            let found = incidents(folder.path()).into_iter().filter(|kind| matches!(kind, EventKind::Gap(_))).count();
            assert_eq!(found, gaps, "{mode:?} cut at {length}");
        }
    }
}

/// The events of all segments but damaged ones.
fn incidents_in_any_order(folder: &Path) -> Vec<EventKind> {
    let mut found = Vec::new();
    for path in segment_files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        let mut frames = FrameReader::new(&bytes[4096..], HEADER_BYTES);
        loop {
            match frames.step().unwrap() {
                Step::Frame { body: Body::Event { event, .. }, .. } => {
                    found.extend(LogEvent::decode(event).map(|event| event.kind));
                }
                Step::Frame { .. } => {}
                Step::Bad { .. } => {
                    if !frames.resync(&(1..1000)).unwrap() {
                        break;
                    }
                }
                Step::End => break,
            }
        }
    }
    found
}

#[tokio::test]
async fn a_group_whose_entries_are_not_those_that_were_hashed_is_damage() {
    let groups: [&[u64]; 3] = [&[1, 2], &[3], &[4]];
    let mut forged = segment(&groups[..2]);
    let start = forged.len();
    forged.extend_from_slice(&segment_behind(&mut tree_of(&[&[1, 2], &[3]]), &groups[2..])[4096..]);
    // Another root, with a good checksum.
    let end = forged.len();
    forged[end - 1] ^= 1;
    let body = end - 61;
    let checksum = crc32fast::hash(&forged[body..]).to_le_bytes();
    forged[body - 4..body].copy_from_slice(&checksum);
    let folder = folder_with(&[&forged]);
    let log = open(folder.path(), strict());
    log.append(records(9..=9)).await.unwrap();
    assert!(!log.status().is_undamaged);
    assert_eq!(std::fs::read(folder.path().join("00000001.seg")).unwrap(), forged, "kept as it is");
    assert!(start < body && segment_files(folder.path()).len() == 2);
}

#[tokio::test]
async fn the_tree_goes_on_over_a_damaged_header() {
    let groups: [&[u64]; 2] = [&[1, 2], &[3]];
    let mut tree = Frontier::new();
    let first = segment_behind(&mut tree, &groups);
    let mut second = segment_behind(&mut tree, &[&[4, 5], &[6]]);
    second[30] ^= 1;
    let folder = folder_with(&[&first, &second]);
    let log = open(folder.path(), strict());
    log.append(records(9..=9)).await.unwrap();
    drop(log);
    let third = Header::read(&mut File::open(folder.path().join("00000003.seg")).unwrap()).unwrap().unwrap();
    assert_eq!(third.before, tree);
}

#[tokio::test]
async fn a_log_of_the_first_format_is_refused_with_what_to_do() {
    let folder = folder_with(&[b"HPLOG\0\x01\n and more"]);
    let error = SegmentLog::open(folder.path(), strict(), outside()).unwrap_err().to_string();
    assert!(error.contains("an earlier pre-release") && error.contains("move the folder aside"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_keep_a_log_from_opening(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        place in 0..3_u8,
        at in any::<prop::sample::Index>(),
    ) {
        let whole = segment(&[&[1, 2], &[3], &[4, 5]]);
        let bytes = match place {
            0 => garbage,
            1 => [&whole[..at.index(whole.len())], &garbage].concat(),
            _ => {
                let mut bytes = whole.clone();
                let at = at.index(whole.len());
                for (byte, garbage) in bytes[at..].iter_mut().zip(garbage) {
                    *byte = garbage;
                }
                bytes
            }
        };
        let folder = folder_with(&[&bytes]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let log = open(folder.path(), strict());
            log.append(vec![record(77)]).await.unwrap();
            let (found, _) = numbers(&log).await;
            assert!(found.ends_with(&[77]) && found.iter().all(|number| *number <= 5 || *number == 77), "{found:?}");
        });
    }
}
