//! What those are told who keep the service running: probes by the command, a service manager by its socket.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::Home;

/// The exit code of `hallpass health` about the service at this address, standard output and standard error.
fn health(address: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["health", "--address", address]).args(more).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_service_is_healthy_while_it_can_be_asked() {
    let home = Home::new();
    let mut service = home.start().await;
    let fine = (Some(0), "serving\n".to_owned(), String::new());
    assert_eq!(health(&service.address, &[]), fine);
    assert_eq!(health(&service.address, &["--live"]), fine);
    assert_eq!(health(&service.address, &["--service", "hallpass.v1.policies/edfi"]), fine);
    let (code, out, error) = health(&service.address, &["--service", "hallpass.v1.policies/edvi"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("the service knows no `hallpass.v1.policies/edvi`"), "{error}");
    service.kill();
    for more in [[].as_slice(), &["--live"]] {
        let (code, out, error) = health(&service.address, more);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{more:?}");
        assert!(error.contains(&format!("no service answers on http://{}", service.address)), "{error}");
    }
}

#[tokio::test]
async fn what_listens_and_says_nothing_is_not_alive() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, out, error) = health(&silent.local_addr().unwrap().to_string(), &["--live"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("no answer within 4 s"), "{error}");
}

#[tokio::test]
async fn an_address_with_a_path_is_asked_over_http() {
    let mut home = Home::new();
    home.keys = "http_address = \"127.0.0.1:0\"\n".to_owned();
    let service = home.start().await;
    let http = service.http.clone().unwrap();
    assert_eq!(health(&format!("{http}/metrics"), &[]), (Some(0), "serving\n".to_owned(), String::new()));
    let nowhere = format!("{http}/edfi/nowhere");
    assert_eq!(health(&nowhere, &[]), (Some(1), "not serving\n".to_owned(), String::new()));
    assert_eq!(health(&nowhere, &["--live"]).0, Some(0));
    let (code, _, error) = health(&format!("http://{}/metrics", service.address), &["--live"]);
    assert_eq!(code, Some(1), "a listener of gRPC: {error}");
}

#[tokio::test]
async fn refused_files_are_seen_beside_a_service_that_decides() {
    let mut home = Home::new();
    home.realm_keys = "watch = \"off\"\n".to_owned();
    let rules = home.copy_rules();
    let service = home.start().await;
    fs::write(rules.join("realm.toml"), "titel = 1\n").unwrap();
    let mut reload = home.command("reload");
    let reload = reload.args(["--address", &service.address]).output().unwrap();
    assert_eq!(reload.status.code(), Some(1), "{}", String::from_utf8_lossy(&reload.stderr));
    let is_refused = || {
        let (code, out, _) = health(&service.address, &["--service", "hallpass.v1.policies/edfi"]);
        (code, out.as_str()) == (Some(1), "not serving\n")
    };
    let seen = (0..200).any(|_| is_refused());
    assert!(seen, "health does not say that files are refused");
    assert_eq!(health(&service.address, &[]).0, Some(0));
}

#[tokio::test]
async fn a_service_manager_is_told_of_the_start_and_of_the_stop() {
    let home = Home::new();
    let socket = home.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let mut process = home
        .command("serve")
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(told(), "READY=1");
    let terminate = format!("kill -TERM {}", process.id());
    assert!(Command::new("sh").args(["-c", &terminate]).status().unwrap().success());
    assert_eq!(told(), "STOPPING=1");
    assert!(process.wait().unwrap().success());
}
