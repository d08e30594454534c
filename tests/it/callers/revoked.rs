//! Clients' certificates that their authority has taken back.

use std::fs;
use std::sync::Arc;

use hallpass::server::{self, Running};
use hallpass::transport::listener::Failure;
use rustls::{ClientConfig, HandshakeKind};

use super::pki::{Authority, Good, Pair, channel, connect};
use super::{Secured, ask, caller_with_key, failed};
use crate::support::eventually;

const LISTS: &str = "client_certificates = \"required\"\nclient_crl = \"revoked.pem\"\nwatch = \"off\"";

/// A service whose clients show certificates that are on none of these lists.
fn secured(lists: impl FnOnce(&Secured) -> String) -> Secured {
    let secured = Secured::new(LISTS, &caller_with_key("gateway", "\"enforcer\"", ""));
    secured.put_lists(&lists(&secured));
    secured
}

impl Secured {
    fn put_lists(&self, lists: &str) {
        fs::write(self.home.path("revoked.pem"), lists).unwrap();
    }

    fn pair(&self, name: &str) -> Pair {
        self.clients.client(name, &[], Good::Now)
    }

    async fn is_let_in(&self, running: &Running, config: &Arc<ClientConfig>) -> bool {
        match channel(running.grpc_address().port(), config).await {
            Ok(channel) => ask(channel, self.question(), Some("gateway")).await.is_ok(),
            Err(_) => false,
        }
    }
}

/// Has the files looked at, as SIGHUP does.
async fn look(running: &Running) {
    Arc::clone(running.certificates().unwrap()).look().await;
}

#[tokio::test]
async fn a_certificate_that_was_taken_back_is_refused_and_others_are_not() {
    let mut gone = None;
    let secured = secured(|secured| {
        let pair = gone.insert(secured.pair("gone"));
        secured.clients.revoking(&[&*pair], Good::Now)
    });
    let running = secured.start().await;
    let (gone, stays) = (secured.showing(&gone.unwrap()), secured.showing(&secured.pair("stays")));
    for count in 1..3 {
        assert!(!secured.is_let_in(&running, &gone).await);
        eventually("the failure is counted", async || failed(&running, Failure::Revoked) >= count).await;
        assert!(secured.is_let_in(&running, &stays).await);
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_revocation_that_comes_while_serving_ends_its_connections_and_no_others() {
    let secured = secured(|secured| secured.clients.revoking(&[], Good::Now));
    let running = secured.start().await;
    let port = running.grpc_address().port();
    let (pair, other) = (secured.pair("gone"), secured.pair("other"));
    let (gone, stays) = (secured.showing(&pair), secured.showing(&other));
    let open = [channel(port, &gone).await.unwrap(), channel(port, &stays).await.unwrap()];
    for channel in &open {
        ask(channel.clone(), secured.question(), Some("gateway")).await.unwrap();
    }
    for _ in 0..2 {
        let stream = connect(port, &gone).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "where there are lists, each connection is looked up");
    }
    secured.put_lists(&secured.clients.revoking(&[&pair], Good::Now));
    assert!(secured.is_let_in(&running, &gone).await, "nobody has looked yet");
    look(&running).await;
    assert!(!secured.is_let_in(&running, &gone).await);
    eventually("the failure is counted", async || failed(&running, Failure::Revoked) >= 1).await;
    assert!(secured.is_let_in(&running, &stays).await);
    let [open, others] = open;
    let told = ask(open, secured.question(), Some("gateway")).await.unwrap_err();
    assert!(told.details().is_empty(), "the connection ends, nothing is answered: {told:?}");
    ask(others, secured.question(), Some("gateway")).await.unwrap();

    // What cannot be used changes nothing, and is told of once.
    let certificates = running.certificates().unwrap();
    let twice = format!("{0}{0}", secured.clients.revoking(&[], Good::Now));
    for (count, unusable) in [(1, ""), (2, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), (3, &*twice)] {
        secured.put_lists(unusable);
        for _ in 0..2 {
            look(&running).await;
            assert_eq!(certificates.reload_failures(), count, "{unusable}");
        }
        assert!(!secured.is_let_in(&running, &gone).await, "{unusable}");
        assert!(secured.is_let_in(&running, &stays).await, "{unusable}");
    }
    secured.put_lists(&secured.clients.revoking(&[], Good::Now));
    look(&running).await;
    assert!(secured.is_let_in(&running, &gone).await, "the newest list counts, and no other");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn who_may_have_been_taken_back_without_anybody_knowing_is_refused() {
    let secured = secured(|secured| secured.clients.revoking(&[], Good::Now));
    let (others, between) = (Authority::new("others"), secured.clients.beneath("between"));
    let authorities = [secured.clients.pem(), others.pem()].concat();
    fs::write(secured.home.path("callers.pem"), authorities).unwrap();
    let running = secured.start().await;
    let good = secured.showing(&secured.pair("one"));
    let of_others = secured.showing(&others.client("one", &[], Good::Now));
    let mut chain = between.client("one", &[], Good::Now);
    chain.certificate.push_str(&between.pem());
    let through = secured.showing(&chain);
    // Of another key under the same name: nobody but the authority makes its list.
    let forged = Authority::new("clients").revoking(&[], Good::Now);
    let (of_clients, old) =
        (secured.clients.revoking(&[], Good::Now), secured.clients.revoking(&[&secured.pair("x")], Good::NoMore));
    let all = [of_clients.clone(), others.revoking(&[], Good::Now), between.revoking(&[], Good::Now)].concat();
    for (lists, expected) in [
        (&of_clients, [true, false, false]),
        (&all, [true, true, true]),
        (&forged, [false, false, false]),
        (&old, [false, false, false]),
        (&all, [true, true, true]),
    ] {
        secured.put_lists(lists);
        look(&running).await;
        for (config, expected) in [&good, &of_others, &through].into_iter().zip(expected) {
            let before = failed(&running, Failure::RevocationUnknown);
            assert_eq!(secured.is_let_in(&running, config).await, expected, "{lists}");
            let counted = async || expected || failed(&running, Failure::RevocationUnknown) > before;
            eventually("the failure is counted", counted).await;
        }
    }
    let taken_back = [of_clients, between.revoking(&[&chain], Good::Now)].concat();
    secured.put_lists(&taken_back);
    look(&running).await;
    assert!(!secured.is_let_in(&running, &through).await, "whoever is on the list of an authority between is refused");
    eventually("the failure is counted", async || failed(&running, Failure::Revoked) >= 1).await;
    let before = failed(&running, Failure::Revoked);
    secured.put_lists(
        &[secured.clients.revoking(&[&between.pair()], Good::Now), between.revoking(&[], Good::Now)].concat(),
    );
    look(&running).await;
    assert!(!secured.is_let_in(&running, &through).await, "an authority may be taken back itself");
    eventually("the failure is counted", async || failed(&running, Failure::Revoked) > before).await;
    assert_eq!(running.certificates().unwrap().reload_failures(), 0);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn lists_that_cannot_be_used_are_told_with_their_line() {
    let secured = secured(|_| "no list".to_owned());
    let whole = secured.clients.revoking(&[], Good::Now);
    let twice = format!("{whole}{}", secured.clients.revoking(&[&secured.pair("gone")], Good::Now));
    for (lists, expected) in [
        ("no list", "revoked.pem` holds no list of revoked certificates that can be read"),
        (&*secured.clients.pem(), "revoked.pem` holds no list of revoked certificates that can be read"),
        (&twice, "revoked.pem` holds two lists of `CN=clients,O=North`, of which only one would count"),
    ] {
        secured.put_lists(lists);
        let error = format!("{:#}", server::start(secured.home.config()).await.unwrap_err());
        let line = error.lines().find(|line| line.contains(expected)).unwrap_or_else(|| panic!("{expected}: {error}"));
        assert!(line.contains("hallpass.toml:") && line.contains("`tls.client_crl`"), "{line}");
        assert!(!secured.home.data.exists(), "nothing was touched");
    }
    fs::remove_file(secured.home.path("revoked.pem")).unwrap();
    let error = format!("{:#}", server::start(secured.home.config()).await.unwrap_err());
    assert!(error.contains("revoked.pem` cannot be read"), "{error}");
}
