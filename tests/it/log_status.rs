//! How the decision log is doing, as it is told to people, programs and Prometheus.

use std::fs;

use hallpass::proto::v1 as pb;

use crate::support::{Home, REALM, eventually, reading_student};

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
    assert_eq!((status.checkpoint_fault.as_str(), status.checkpoint_failures, status.witness_lag), ("", 0, None));
    assert!(status.entries >= 4 && status.first_sequence == 1 && status.flushed_at.is_some(), "{status:?}");

    let url = format!("{}/metrics", service.http.clone().unwrap());
    let request = reqwest::Client::new().get(url).header("accept", "application/openmetrics-text");
    let answer = request.send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    for line in [
        format!("authz_audit_queue_depth{{realm=\"{REALM}\"}} 0"),
        format!("authz_audit_writable{{realm=\"{REALM}\"}} 1"),
        format!("authz_audit_undamaged{{realm=\"{REALM}\"}} 1"),
        format!("authz_audit_dropped_total{{realm=\"{REALM}\"}} 0"),
        format!("authz_audit_gaps_total{{realm=\"{REALM}\"}} 0"),
        format!("authz_audit_signable{{realm=\"{REALM}\"}} 1"),
        format!("authz_audit_checkpoint_failures_total{{realm=\"{REALM}\"}} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("authz_audit_witness"), "nobody is handed checkpoints");
    for name in
        ["authz_audit_unsigned_entries", "authz_audit_entries_total", "authz_audit_last_flush_timestamp_seconds"]
    {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name}{{realm="))), "{name} is not in\n{text}");
    }
    assert!(!text.contains("604822") && text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_log_whose_signed_entries_are_gone_says_so_wherever_one_looks_and_decisions_go_on() {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"");
    // A folder that is not there: nobody can be handed a checkpoint.
    home.tables.push_str("[decision_log.witness]\nfile = \"off/checkpoints\"\ninterval_seconds = 1\n");
    let token = home.token("SISVendor", &[255_901]);
    let log = home.data.join("realms").join(REALM).join("decisions");
    let mut earlier = Vec::new();
    for _ in 0..2 {
        earlier = fs::read(log.join("00000001.seg")).unwrap_or_default();
        let mut service = home.start().await;
        service.authorization().authorize(reading_student(&token, "604822")).await.unwrap();
        service.signal("TERM");
        assert!(service.ended().await.success());
    }
    fs::write(log.join("00000001.seg"), earlier).unwrap();
    for signed in ["checkpoint", "checkpoints"] {
        fs::remove_file(log.join(signed)).unwrap();
    }
    fs::remove_dir_all(log.join("tile")).unwrap();
    fs::remove_dir_all(home.data.join("index")).unwrap();
    let service = home.start().await;
    service.authorization().authorize(reading_student(&token, "604822")).await.unwrap();
    let status = || async {
        let request = pb::GetLogStatusRequest { realm: REALM.to_owned() };
        service.decisions().get_log_status(request).await.unwrap().into_inner()
    };
    eventually("the status tells", || async { !status().await.checkpoint_fault.is_empty() }).await;
    let status = status().await;
    assert!(status.writable && !status.undamaged && status.checkpoint_failures > 0, "{status:?}");
    assert!(status.checkpoint_fault.contains("entries that were signed are gone or changed"), "{status:?}");
    assert_eq!((status.checkpoint.as_str(), status.unsigned), ("", status.entries));
    let answer = reqwest::get(format!("{}/metrics", service.http.clone().unwrap())).await.unwrap();
    let text = answer.text().await.unwrap();
    for line in ["authz_audit_signable", "authz_audit_undamaged"] {
        assert!(text.contains(&format!("{line}{{realm=\"{REALM}\"}} 0\n")), "{line} is not in\n{text}");
    }
    assert!(text.contains(&format!("authz_audit_witness_failures_total{{realm=\"{REALM}\"}} ")), "{text}");
    assert!(service.stderr().contains("no checkpoint of the decision log can be made"));
    assert!(!log.join("checkpoints").exists());
}
