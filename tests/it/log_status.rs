//! How the decision log is doing, as it is told to people, programs and Prometheus.

use hallpass::proto::v1 as pb;

use crate::support::{Home, REALM, reading_student};

#[tokio::test]
async fn status_and_metrics_tell_what_the_log_holds_and_nothing_about_anybody() {
    let mut home = Home::new();
    home.copy_rules();
    home.keys.push_str("http_address = \"127.0.0.1:0\"");
    home.tables.push_str("segment_seconds_max = 60\nfull_wait_ms = 20\n");
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    for _ in 0..3 {
        service.authorization().authorize(reading_student(&token, "canary-604822")).await.unwrap();
    }
    let request = pb::GetLogStatusRequest { realm: REALM.to_owned() };
    let status = service.decisions().get_log_status(request).await.unwrap().into_inner();
    assert!(status.writable && status.undamaged);
    assert_eq!((status.mode.as_str(), status.dropped, status.waiting), ("strict", 0, 0));
    assert!(status.entries >= 4 && status.first_sequence == 1 && status.flushed_at.is_some(), "{status:?}");

    let url = format!("{}/metrics", service.http.clone().unwrap());
    let answer = reqwest::get(url).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    for line in [
        format!("authz_audit_queue_depth{{realm=\"{REALM}\"}} 0"),
        format!("authz_audit_writable{{realm=\"{REALM}\"}} 1"),
        format!("authz_audit_undamaged{{realm=\"{REALM}\"}} 1"),
        format!("authz_audit_dropped_total{{realm=\"{REALM}\"}} 0"),
        format!("authz_audit_gaps_total{{realm=\"{REALM}\"}} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for name in ["authz_audit_entries_total", "authz_audit_last_flush_timestamp_seconds"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name}{{realm="))), "{name} is not in\n{text}");
    }
    assert!(!text.contains("604822") && text.ends_with("# EOF\n"));
}
