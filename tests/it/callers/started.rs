//! What a service starts with, and how the command line comes to it.

use std::fs;
use std::process::Stdio;

use hallpass::server;

use super::pki::{self, Good};
use super::{Secured, caller_with_key};

#[tokio::test]
async fn certificates_that_cannot_be_used_are_told_with_their_line() {
    let secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    let path = |name: &str| secured.home.path(name);
    let good = secured.own.service(1);
    let past = secured.own.service_until(2, Good::NoMore);
    let unlike = pki::Pair { certificate: good.certificate.clone(), key: past.key.clone() };
    let unreadable = pki::Pair { certificate: "no certificate".to_owned(), key: "no key".to_owned() };
    for (pair, expected) in [
        (&past, &["is past its time"][..]),
        (&unlike, &["is not the key of the first certificate"]),
        (&unreadable, &["holds no certificate that can be read", "holds no private key"]),
    ] {
        pki::put(path("").as_path(), pair);
        let error = format!("{:#}", server::start(secured.home.config()).await.unwrap_err());
        for expected in expected {
            let line =
                error.lines().find(|line| line.contains(expected)).unwrap_or_else(|| panic!("{expected}: {error}"));
            assert!(line.contains("hallpass.toml:"), "{line}");
        }
        let secrets = pair.key.lines().filter(|line| line.len() > 30);
        secrets.for_each(|line| assert!(!error.contains(line), "{error}"));
        assert!(!secured.home.data.exists(), "nothing was touched");
    }
    pki::put(path("").as_path(), &good);
    fs::write(path("callers.pem"), "").unwrap();
    let error = format!("{:#}", server::start(secured.home.config()).await.unwrap_err());
    assert!(error.contains("callers.pem` holds no certificate"), "{error}");
    fs::remove_file(path("server.key")).unwrap();
    let error = format!("{:#}", server::start(secured.home.config()).await.unwrap_err());
    assert!(error.contains("server.key` cannot be read"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_comes_with_a_certificate_or_a_key() {
    let caller = "[callers.omar]\nroles = [\"operator\", \"provisioner\"]\nsubject = \"CN=omar,O=North\"\n";
    let secured = Secured::new("", &format!("{caller}{}", caller_with_key("mona", "\"monitor\"", "")));
    let client = secured.clients.client("omar", &[], Good::Now);
    fs::write(secured.home.path("omar.pem"), &client.certificate).unwrap();
    fs::write(secured.home.path("omar.key"), &client.key).unwrap();
    fs::write(secured.home.path("mona.key"), "mona\n").unwrap();
    let running = secured.start().await;
    let address = format!("https://localhost:{}", running.grpc_address().port());
    let with_certificate = ["--ca", "own.pem", "--cert", "omar.pem", "--key", "omar.key"];
    for (verb, arguments, is_good, told) in [
        ("health", &["--ca", "own.pem"][..], true, "serving"),
        ("health", &[], false, "--ca"),
        ("health", &["--ca", "callers.pem"], false, "no service answers on"),
        ("reload", &with_certificate, true, "reloaded"),
        ("reload", &["--ca", "own.pem"], false, "CALLER_KEY_MISSING"),
        ("reload", &["--ca", "own.pem", "--token-file", "mona.key"], false, "CALLER_NOT_PERMITTED"),
        ("reload", &["--ca", "own.pem", "--cert", "omar.pem"], false, "name that with --key"),
    ] {
        let mut command = secured.home.command(verb);
        command.args(["--address", &address]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.success(), is_good, "{verb} {arguments:?}: {said}");
        assert!(said.contains(told), "{verb} {arguments:?}: {said}");
    }
    running.stop().await.unwrap();
}
