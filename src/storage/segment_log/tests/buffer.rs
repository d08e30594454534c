//! What waits to be written: how much of it there may be, and who waits for room.

use super::*;

#[tokio::test]
async fn a_full_buffer_refuses_after_its_wait_and_loses_nothing_it_took() {
    let folder = folder();
    let options = Options { buffer_records_max: 100, ..Options::default() };
    let (log, faults) = open_faulty(folder.path(), options);
    let gate = faults.gate.lock().await;
    let mut taken = Vec::new();
    let refused = loop {
        let number = taken.len() as u64 + 1;
        let started = Instant::now();
        match log.append(vec![record(number)]).await {
            Ok(()) => taken.push(number),
            Err(error) => break (error, started.elapsed()),
        }
    };
    assert_eq!(taken.len(), 100);
    assert!(matches!(refused.0, LogError::Unavailable(_)));
    assert!((Duration::from_millis(50)..Duration::from_secs(2)).contains(&refused.1), "{:?}", refused.1);
    drop(gate);
    log.append(vec![record(101)]).await.unwrap();
    taken.push(101);
    assert_eq!(numbers(&log).await, (taken, true));
}

#[tokio::test]
async fn an_append_waits_for_room_and_gets_it() {
    let folder = folder();
    let options = Options { buffer_records_max: 10, full_wait: Duration::from_secs(20), ..Options::default() };
    let log = open(folder.path(), options);
    for start in (1..=200).step_by(25) {
        log.append(records(start..start + 25)).await.unwrap();
    }
    assert_eq!(numbers(&log).await, ((1..=200).collect(), true), "an append larger than the buffer goes in parts");
}

#[tokio::test]
async fn the_buffer_is_bounded_in_bytes_too() {
    let folder = folder();
    let options = Options { buffer_bytes_max: 1000, full_wait: Duration::from_millis(1), ..Options::default() };
    let (log, faults) = open_faulty(folder.path(), options);
    let gate = faults.gate.lock().await;
    let mut large = record(1);
    large.request_id = "x".repeat(5000).into();
    log.append(vec![large]).await.unwrap();
    assert!(log.append(vec![record(2)]).await.is_err());
    drop(gate);
    assert!(log.flush().await);
    log.append(vec![record(2)]).await.unwrap();
    assert_eq!(numbers(&log).await, (vec![1, 2], true));
}

#[tokio::test]
async fn a_record_too_long_for_a_frame_is_refused() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    let mut large = record(1);
    large.request_id = "x".repeat(RECORD_BYTES_MAX).into();
    assert!(matches!(log.append(vec![large]).await, Err(LogError::Unavailable(_))));
}
