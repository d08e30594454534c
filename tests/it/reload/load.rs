//! Reloads under load: every answer and every record is of one version, and no request fails.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hallpass::proto::v1 as pb;
use tokio::task::JoinSet;

use super::realm::{files, home, question, shown, token, write};
use crate::support::{REALM, Service};

/// Reloads; more of them by hand: `HALLPASS_RELOADS=10000`.
fn reloads() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let reloads = std::env::var("HALLPASS_RELOADS");
    reloads.ok().and_then(|reloads| reloads.parse().ok()).unwrap_or(60)
}

/// Clients that ask without a pause.
const CLIENTS: usize = 2;

/// What a client heard: how many answers of each version, and the digest of each decision by its id.
#[derive(Default)]
struct Heard {
    of: HashMap<String, u64>,
    digests: HashMap<String, String>,
}

/// Asks until it is over. Every answer must be the one that the version gives whose digest it carries.
async fn ask(
    service: Arc<Service>,
    letters: HashMap<String, &'static str>,
    token: String,
    over: Arc<AtomicBool>,
) -> Heard {
    let mut client = service.authorization();
    let mut heard = Heard::default();
    for number in 0_u64.. {
        let shelf = if number.is_multiple_of(3) { "closed" } else { "open" };
        let answer = client.authorize(question(&token, shelf)).await.unwrap().into_inner();
        let letter = letters.get(&answer.policy_version).unwrap_or_else(|| panic!("a version of nobody: {answer:?}"));
        let (decision, rule) = match shelf {
            "open" => (pb::Decision::Allow, format!("Of{letter}")),
            _ => (pb::Decision::Deny, format!("No{letter}")),
        };
        assert_eq!((answer.decision(), &answer.determining_policies[..]), (decision, &[rule][..]), "torn: {answer:?}");
        if shelf == "closed" {
            let reason = (answer.reasons[0].code.as_str(), answer.reasons[0].message.as_str());
            assert_eq!(reason, (&*format!("CLOSED_IN_{letter}"), &*format!("Closed in {letter}.")), "torn: {answer:?}");
        }
        *heard.of.entry((*letter).to_owned()).or_default() += 1;
        heard.digests.insert(answer.decision_id, answer.policy_version);
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decision_is_torn_and_no_request_fails_while_policies_are_exchanged() {
    let (mut home, _) = home();
    // The files are exchanged whole, and looked at meanwhile too.
    home.tables = "[decision_log]\nmode = \"bounded\"\n".to_owned();
    for letter in ["A", "B"] {
        write(&home.path(letter), &files(letter));
    }
    let link = home.path("current");
    symlink("A", &link).unwrap();
    home.rules.clone_from(&link);
    let service = Arc::new(home.start().await);
    let swap_to = |letter: &str| {
        symlink(letter, home.path("next")).unwrap();
        fs::rename(home.path("next"), &link).unwrap();
    };
    let reload = async |service: &Service| {
        let request = pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
        let answer = service.policies().reload_policies(request).await.unwrap().into_inner();
        assert_eq!(answer.faults, []);
        answer.policy_version
    };
    let mut letters = HashMap::from([(shown(&service).await.policy_version, "A")]);
    swap_to("B");
    letters.insert(reload(&service).await, "B");

    let over = Arc::new(AtomicBool::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(ask(Arc::clone(&service), letters.clone(), token(&home), Arc::clone(&over)));
    }
    let (started, count) = (Instant::now(), reloads());
    for number in 0..count {
        let letter = if number % 2 == 0 { "A" } else { "B" };
        swap_to(letter);
        assert_eq!(letters[&reload(&service).await], letter);
    }
    let seconds = started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut heard = Heard::default();
    while let Some(client) = clients.join_next().await {
        let client = client.unwrap();
        client.of.into_iter().for_each(|(letter, answers)| *heard.of.entry(letter).or_default() += answers);
        heard.digests.extend(client.digests);
    }
    println!("{count} reloads in {seconds:.1} s, answers by version: {:?}", heard.of);
    assert!(heard.of.len() == 2, "both versions decided: {:?}", heard.of);
    // The records say the same as the answers.
    let records = service.decisions_after(0).await;
    let kept: HashMap<_, _> = records.into_iter().map(|record| (record.decision_id, record.policy_version)).collect();
    for (id, digest) in &heard.digests {
        assert_eq!(kept.get(id), Some(digest), "{id}");
    }
    assert!(!service.stderr().contains("reload refused"), "{}", service.stderr());
}
