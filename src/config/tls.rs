//! `[tls]`: the certificates of the listeners, and when a listener may be open to other machines.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{Layers, callers::Authentication, policies};
use crate::{
    app::caller::KnownCaller,
    domain::{document::Table, fault::Fault},
    transport::listener::{ClientCertificates, Options, TlsFault},
};

/// How often files of certificates are looked at when nothing is said.
const WATCH_DEFAULT: Duration = Duration::from_secs(5);

/// The keys whose files are read when the service starts.
const FILES: [&str; 3] = ["certificate", "key", "client_ca"];

/// The listeners' TLS, and where the configuration says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The files, and what is done with them. Paths are as they are looked up.
    pub options: Options,
    places: Vec<(&'static str, Fault)>,
}

impl Tls {
    /// What is wrong with a file, at the place that names it.
    pub fn fault(&self, fault: &TlsFault) -> Fault {
        let place = self.places.iter().find(|(key, _)| *key == fault.key);
        place.map_or_else(
            || Fault::in_file("[tls]", fault.to_string()),
            |(_, place)| Fault { message: fault.to_string(), ..place.clone() },
        )
    }
}

/// Reads `[tls]`. Relative paths start at `base`.
pub(super) fn read(root: &Table<'_>, base: &Path) -> Option<Tls> {
    root.table("tls", |table| {
        let path = |name: &str| table.text(name).map(|path| base.join(&*path));
        let (certificate, key, client_ca) =
            (table.required_text("certificate"), table.required_text("key"), path("client_ca"));
        let client_certificates = client_certificates(table, client_ca.is_some());
        let watch = table.text("watch").map_or(Ok(Some(WATCH_DEFAULT)), |text| policies::watch(&text));
        let watch = watch.unwrap_or_else(|message| {
            table.fault(Some("watch"), format!("`tls.watch` {message}"));
            None
        });
        let places = FILES.into_iter().map(|key| (key, table.unnoted_fault(key, ""))).collect();
        let (certificate, key) = (base.join(&*certificate?), base.join(&*key?));
        Some(Tls { options: Options { certificate, key, client_ca, client_certificates, watch }, places })
    })
    .flatten()
}

fn client_certificates(table: &Table<'_>, has_ca: bool) -> ClientCertificates {
    let default = if has_ca { ClientCertificates::Asked } else { ClientCertificates::Off };
    let Some(text) = table.text("client_certificates") else { return default };
    let said = match &*text {
        "off" => ClientCertificates::Off,
        "asked" => ClientCertificates::Asked,
        "required" => ClientCertificates::Required,
        _ => {
            let message = format!("`tls.client_certificates` `{text}` is unknown, expected `off`, `asked` or `required`");
            table.fault(Some("client_certificates"), message);
            return default;
        }
    };
    if said != ClientCertificates::Off && !has_ca && !table.has("client_ca") {
        let message = format!("`tls.client_certificates` is `{text}`, and nobody vouches for clients; expected a `client_ca`");
        table.fault(Some("client_certificates"), message);
    }
    said
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no IP address with a port, expected for example `127.0.0.1:50051`"))
}

/// It is reached from this machine alone.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl Layers<'_> {
    /// Whether every call must show who makes it: as soon as other machines reach a listener, or because the file says so.
    /// Notes listeners that other machines would reach unprotected, and callers that could never show themselves.
    pub(super) fn check_open(
        &self,
        root: &Table<'_>,
        addresses: &[(&str, Option<SocketAddr>)],
        authentication: &Authentication,
        callers: &[KnownCaller],
        tls: Option<&Tls>,
    ) -> bool {
        let open = addresses.iter().filter_map(|(key, address)| Some((*key, (*address)?)));
        let open: Vec<_> = open.filter(|(_, address)| !is_loopback(*address)).collect();
        for (key, address) in &open {
            let mut missing = Vec::new();
            if !root.has("tls") {
                missing.push("`[tls]` with `certificate` and `key`, without which tokens and answers could be read on the way");
            }
            if !root.has("callers") {
                missing.push(
                    "callers under `[callers]`, without which nobody could be let in (`hallpass callers new NAME` prints the lines)",
                );
            }
            if authentication.required == Some(false) {
                missing.push("`authentication.required` other than `false`, because whoever reached the port could ask and write everything");
            }
            if !missing.is_empty() {
                let message = format!(
                    "`{key}` `{address}` is open to other machines, which takes {}; expected that, or a loopback address such as `127.0.0.1:{}`",
                    missing.join("; and "),
                    address.port()
                );
                self.fault_of_value(root, key, message);
            }
        }
        let shows_certificate = |caller: &&KnownCaller| caller.spiffe.is_some() || caller.subject.is_some();
        let are_asked = tls.is_some_and(|tls| tls.options.client_certificates != ClientCertificates::Off);
        if let Some(caller) = callers.iter().find(shows_certificate).filter(|_| !are_asked) {
            let message = format!(
                "caller `{}` shows a certificate, and no listener asks for one; expected `client_ca` under `[tls]`",
                caller.name
            );
            root.fault(Some("callers"), message);
        }
        authentication.required.unwrap_or(false) || !open.is_empty()
    }

    /// Notes a fault of a value where it was said: in a flag, a variable, or the file.
    fn fault_of_value(&self, root: &Table<'_>, key: &str, message: String) {
        match self.outside(key) {
            Some((origin, _)) => self.faults.borrow_mut().push(Fault::in_file(&origin, message)),
            None => root.fault(Some(key), message),
        }
    }
}
