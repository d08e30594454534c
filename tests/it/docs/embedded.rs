//! The example of docs/embedding.md, run.

use std::path::Path;

use hallpass::{domain::decision::Outcome, server::Service};

use crate::support::Home;

#[path = "../../../examples/embedded.rs"]
#[expect(dead_code, reason = "its `main` is for the command line")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_decides_by_itself_and_what_it_decided_is_on_record() {
    let home = Home::new();
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/district");
    let token = home.token("SISVendor", &[101]);
    let service = Service::open(&home.config()).await.unwrap();
    let allowed = example::ask(service.app(), &token, &records, "ada").await.unwrap();
    let denied = example::ask(service.app(), &token, &records, "fay").await.unwrap();
    service.close().await.unwrap();
    assert_eq!(allowed.decision.outcome, Outcome::Allowed, "{:?}", allowed.decision.reasons);
    assert_eq!(denied.decision.outcome, Outcome::NotPermitted, "{:?}", denied.decision.reasons);

    let service = home.start().await;
    let records = service.decisions_after(0).await;
    let of = |id: &str| records.iter().find(|record| record.decision_id == id).map(|record| record.adapter.clone());
    assert_eq!(of(&allowed.decision_id.to_string()).as_deref(), Some("embedded"));
    assert_eq!(of(&denied.decision_id.to_string()).as_deref(), Some("embedded"));
}
