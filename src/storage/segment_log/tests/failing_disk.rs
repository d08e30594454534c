//! What the log does when its disk fails, and when it is back.

use super::*;

#[tokio::test]
async fn after_a_failed_write_or_sync_a_new_segment_takes_the_same_records() {
    let two_bad_writes: fn(&Faults) = |faults| faults.appends.store(2, SeqCst);
    for fail in [
        |faults: &Faults| faults.appends.store(1, SeqCst),
        |faults: &Faults| faults.syncs.store(1, SeqCst),
        two_bad_writes,
    ] {
        let folder = folder();
        let (log, faults) = open_faulty(folder.path(), strict());
        log.append(records(1..=5)).await.unwrap();
        fail(&faults);
        log.append(records(6..=8)).await.unwrap();
        log.append(records(9..=9)).await.unwrap();
        assert!(log.is_writable());
        assert!(!faults.was_failed_file_used.load(SeqCst), "a file that failed is left alone");
        assert_eq!(segment_files(folder.path()).len(), 2);
        assert_eq!(numbers(&log).await, ((1..=9).collect(), true));
        drop(log);
        let log = open(folder.path(), strict());
        assert_eq!(numbers(&log).await, ((1..=9).collect(), true), "the failed write's rest is not delivered again");
        log.append(records(10..=10)).await.unwrap();
        assert_eq!(numbers(&log).await, ((1..=10).collect(), true));
    }
}

#[tokio::test]
async fn a_broken_disk_is_reported_and_the_log_goes_on_by_itself_when_it_is_back() {
    let folder = folder();
    let (log, faults) = open_faulty(folder.path(), Options { buffer_records_max: 50, ..Options::default() });
    log.append(records(1..=10)).await.unwrap();
    assert!(log.flush().await);
    faults.is_broken.store(true, SeqCst);
    log.append(records(11..=60)).await.unwrap();
    assert!(!log.flush().await);
    assert!(!log.is_writable());
    assert!(log.append(records(61..=61)).await.is_err(), "full");
    assert_eq!(numbers(&log).await, ((1..=10).collect(), false), "what is on disk can be read, and is not all");
    assert!(log.get(record(3).id).await.unwrap().is_some());
    assert!(log.get(record(20).id).await.is_err(), "it may be among those that wait");
    faults.is_broken.store(false, SeqCst);
    let back = async {
        while !log.is_writable() || log.shared.buffer.written() < 60 {
            log.shared.progress.notified().await;
        }
    };
    timeout(Duration::from_secs(10), back).await.unwrap();
    assert_eq!(numbers(&log).await, ((1..=60).collect(), true));
}

#[tokio::test]
async fn a_strict_append_gives_up_waiting_but_its_records_are_kept() {
    let folder = folder();
    let options = Options { strict_wait: Duration::from_millis(30), ..strict() };
    let (log, faults) = open_faulty(folder.path(), options);
    let gate = faults.gate.lock().await;
    assert!(matches!(log.append(records(1..=2)).await, Err(LogError::Unavailable(_))));
    drop(gate);
    assert_eq!(numbers(&log).await, (vec![1, 2], true));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_acknowledged_and_recovers_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("48m") else { return };
    std::fs::write(disk.path().join("ballast"), vec![1; 47 * 1024 * 1024]).unwrap();
    let folder = disk.path().join("log");
    let options = Options { strict_wait: Duration::from_millis(600), segment_bytes_max: 300_000, ..strict() };
    let log = open(&folder, options);
    let mut acknowledged = BTreeSet::new();
    let mut next = 1;
    while log.append(records(next..next + 100)).await.is_ok() {
        acknowledged.extend(next..next + 100);
        next += 100;
    }
    assert!(!log.is_writable());
    let (found, is_complete) = numbers(&log).await;
    assert!(!is_complete && acknowledged.iter().copied().eq(found), "reads go on");
    drop(log);

    let log = open(&folder, options);
    let (found, _) = numbers(&log).await;
    assert!(acknowledged.iter().all(|number| found.contains(number)), "a full disk can be opened and read");
    assert!(log.append(records(next + 100..next + 1100)).await.is_err());
    assert!(disk.remount("size=64m"));
    let back = async {
        while !log.is_writable() {
            log.shared.progress.notified().await;
        }
    };
    timeout(Duration::from_secs(10), back).await.unwrap();
    log.append(records(9999..=9999)).await.unwrap();
    let (found, is_complete) = numbers(&log).await;
    acknowledged.insert(9999);
    assert!(is_complete && acknowledged.iter().all(|number| found.contains(number)));
    drop(log);
    let (again, is_complete) = numbers(&open(&folder, options)).await;
    assert!(is_complete && again == found);
}
