//! Revocations against the service as a process: what was acknowledged outlives a power cut, and the page tells the truth.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hallpass::proto::v1::{self as pb, revocation_service_client::RevocationServiceClient, revoked_tokens::Tokens};
use serde_json::json;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tonic::transport::Channel;

use crate::support::{Home, ISSUER, REALM, Service, creating, enrolled_at, reading_student};

const SCHOOL: i64 = 255_901_001;

async fn revocations(service: &Service) -> RevocationServiceClient<Channel> {
    RevocationServiceClient::connect(format!("http://{}", service.address)).await.unwrap()
}

fn named(which: Tokens) -> pb::RevokedTokens {
    pb::RevokedTokens { issuer: ISSUER.to_owned(), tokens: Some(which) }
}

fn revoking(which: Tokens) -> pb::RevokeRequest {
    let revocation = Some(pb::Revocation { tokens: Some(named(which)), ..pb::Revocation::default() });
    pb::RevokeRequest { realm: REALM.to_owned(), revocation }
}

/// The first reason of the answer to whether the token's holder may read the student.
async fn asked(service: &Service, token: &str) -> String {
    let answer = service.authorization().authorize(reading_student(token, "1")).await.unwrap().into_inner();
    answer.reasons[0].code.clone()
}

#[tokio::test]
async fn a_revocation_counts_from_the_next_decision_on_and_after_a_power_cut() {
    let mut home = Home::new();
    home.copy_rules();
    let mut service = home.start().await;
    service.relationships().write_relationships(creating(vec![enrolled_at("1", &SCHOOL.to_string())])).await.unwrap();
    let token = home.token_with("SISVendor", &[SCHOOL], &json!({ "jti": "one", "sub": "somebody" }));
    let which = [Tokens::TokenId("one".into()), Tokens::Subject("somebody".into())];
    for which in which {
        assert_eq!(asked(&service, &token).await, "PERMITTED");
        revocations(&service).await.revoke(revoking(which.clone())).await.unwrap();
        assert_eq!(asked(&service, &token).await, "TOKEN_REVOKED");
        service.kill();
        service = home.start().await;
        assert_eq!(asked(&service, &token).await, "TOKEN_REVOKED");
        let request = pb::ReinstateRequest { realm: REALM.to_owned(), tokens: Some(named(which)) };
        assert!(revocations(&service).await.reinstate(request).await.unwrap().into_inner().reinstated);
        assert_eq!(asked(&service, &token).await, "PERMITTED");
        service.kill();
        service = home.start().await;
    }
    assert_eq!(asked(&service, &token).await, "PERMITTED");
    assert!(!service.stderr().contains("somebody"));
}

/// Revokes one token after the other until the service is gone, every third one taken back again.
async fn revoke_on(
    mut client: RevocationServiceClient<Channel>,
    writer: usize,
    acknowledged: Arc<Mutex<[BTreeSet<String>; 2]>>,
    is_over: Arc<AtomicBool>,
    done: UnboundedSender<()>,
) {
    for count in 0_usize.. {
        let id = format!("{writer}-{count}");
        let which = Tokens::TokenId(id.clone());
        if client.revoke(revoking(which.clone())).await.is_err() {
            break;
        }
        if count % 3 > 0 {
            acknowledged.lock().unwrap()[0].insert(id);
            done.send(()).ok();
            continue;
        }
        let request = pb::ReinstateRequest { realm: REALM.to_owned(), tokens: Some(named(which)) };
        if client.reinstate(request).await.is_err() {
            break;
        }
        acknowledged.lock().unwrap()[1].insert(id);
    }
    assert!(is_over.load(Ordering::SeqCst), "a call failed before the kill");
}

async fn listed(service: &Service) -> BTreeSet<String> {
    let mut client = revocations(service).await;
    let mut request = pb::ListRevocationsRequest { realm: REALM.to_owned(), page_size: 7, ..Default::default() };
    let mut found = BTreeSet::new();
    loop {
        let page = client.list_revocations(request.clone()).await.unwrap().into_inner();
        found.extend(page.revocations.into_iter().map(|revocation| match revocation.tokens.unwrap().tokens {
            Some(Tokens::TokenId(id)) => id,
            other => panic!("{other:?}"),
        }));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_revocations_survive_kills() {
    let mut home = Home::new();
    home.copy_rules();
    let acknowledged = Arc::new(Mutex::new([BTreeSet::new(), BTreeSet::new()]));
    let mut service = home.start().await;
    for round in 0..8 {
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, mut receiver) = unbounded_channel();
        let mut tasks = JoinSet::new();
        for writer in 0..3 {
            let client = revocations(&service).await;
            let (acknowledged, is_over) = (Arc::clone(&acknowledged), Arc::clone(&is_over));
            tasks.spawn(revoke_on(client, round * 10 + writer, acknowledged, is_over, sender.clone()));
        }
        for _ in 0..6 {
            receiver.recv().await.unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        service.kill();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        service = home.start().await;
        let found = listed(&service).await;
        let acknowledged = acknowledged.lock().unwrap();
        let lost: Vec<_> = acknowledged[0].difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged, but not there: {lost:?}");
        let back: Vec<_> = acknowledged[1].intersection(&found).collect();
        assert!(back.is_empty(), "round {round}: taken back, but there: {back:?}");
    }
}

/// What a shell prints, both streams, with `hallpass` as a command that speaks to the service.
fn shell(home: &Home, service: &Service, command: &str) -> String {
    let (program, address) = (env!("CARGO_BIN_EXE_hallpass"), &service.address);
    let script = format!("hallpass() {{ '{program}' \"$@\" --address http://{address}; }}\nexec 2>&1\n{command}");
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &script]).env("NO_COLOR", "1").current_dir(home.path("")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The line is as the page shows it, where `…` stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        is_open = part.is_empty();
    }
    is_open || rest.is_empty()
}

/// The commands of a page's console blocks, each with the lines that it is shown to print.
fn commands(page: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push((command.to_owned(), Vec::new())),
                None => found.last_mut().unwrap().1.push(line.to_owned()),
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_commands_print_what_it_shows() {
    let home = Home::new();
    let service = home.start().await;
    let token = home.token_with("SISVendor", &[SCHOOL], &json!({ "sub": "u-1042" }));
    fs::write(home.path("u-1042.token"), token).unwrap();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/revocation.md")).unwrap();
    let commands = commands(&page);
    assert!(commands.len() > 5, "{commands:?}");
    for (command, shown) in commands {
        let printed = shell(&home, &service, &command);
        let (mut lines, mut shown) = (printed.lines(), shown.iter());
        // A line of `…` alone stands for the rest.
        while let Some(shown) = shown.next().filter(|shown| **shown != "…") {
            let line = lines.next().unwrap_or_default();
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(is_as_shown(&squeezed(line), &squeezed(shown)), "`{command}` prints\n{printed}not `{shown}`");
        }
    }
}
