//! Where the service may listen, and `[tls]`: the certificates of its listeners.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{Layers, policies};
use crate::{
    app::caller::KnownCaller,
    domain::{document::Table, fault::Fault},
    transport::listener::{ClientCertificates, Options, TlsFault},
};

/// How often files of certificates are looked at when nothing is said.
const WATCH_DEFAULT: Duration = Duration::from_secs(5);

/// The keys whose files are read when the service starts.
const FILES: [&str; 4] = ["certificate", "key", "client_ca", "client_crl"];

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
pub(super) fn tls(root: &Table<'_>, base: &Path) -> Option<Tls> {
    root.table("tls", |table| {
        let path = |name: &str| table.text(name).map(|path| base.join(&*path));
        let (certificate, key, client_ca) =
            (table.required_text("certificate"), table.required_text("key"), path("client_ca"));
        let client_certificates = client_certificates(table, client_ca.is_some());
        let client_crl = path("client_crl");
        if client_crl.is_some() && !table.has("client_ca") {
            let message = "`tls.client_crl` takes back what nobody vouches for; expected a `client_ca`";
            table.fault(Some("client_crl"), message);
        }
        let watch = table.text("watch").map_or(Ok(Some(WATCH_DEFAULT)), |text| policies::watch(&text));
        let watch = watch.unwrap_or_else(|message| {
            table.fault(Some("watch"), format!("`tls.watch` {message}"));
            None
        });
        let places = FILES.into_iter().map(|key| (key, table.unnoted_fault(key, ""))).collect();
        let (certificate, key) = (base.join(&*certificate?), base.join(&*key?));
        let options = Options { certificate, key, client_ca, client_crl, client_certificates, watch };
        Some(Tls { options, places })
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
            let message =
                format!("`tls.client_certificates` `{text}` is unknown, expected `off`, `asked` or `required`");
            table.fault(Some("client_certificates"), message);
            return default;
        }
    };
    if said != ClientCertificates::Off && !has_ca && !table.has("client_ca") {
        let message =
            format!("`tls.client_certificates` is `{text}`, and nobody vouches for clients; expected a `client_ca`");
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
        required: Option<bool>,
        callers: &[KnownCaller],
        tls: Option<&Tls>,
    ) -> bool {
        let open = addresses.iter().filter_map(|(key, address)| Some((*key, (*address)?)));
        let open: Vec<_> = open.filter(|(_, address)| !is_loopback(*address)).collect();
        for (key, address) in &open {
            let mut missing = Vec::new();
            if !root.has("tls") {
                missing.push(
                    "`[tls]` with `certificate` and `key`, without which tokens and answers could be read on the way",
                );
            }
            if !root.has("callers") {
                missing.push(
                    "callers under `[callers]`, without which nobody could be let in (`hallpass callers new NAME` prints the lines)",
                );
            }
            if required == Some(false) {
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
        required.unwrap_or(false) || !open.is_empty()
    }

    /// Notes a fault of a value where it was said: in a flag, a variable, or the file.
    fn fault_of_value(&self, root: &Table<'_>, key: &str, message: String) {
        match self.outside(key) {
            Some((origin, _)) => self.faults.borrow_mut().push(Fault::in_file(&origin, message)),
            None => root.fault(Some(key), message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Flags};

    const KEY: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

    fn read(content: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment: Environment = variables.iter().copied().collect();
        let read = Config::read(Path::new("etc/hallpass.toml"), content, &Flags::default(), &environment);
        read.map_err(|error| {
            error.0.iter().map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.message)).collect()
        })
    }

    fn callers() -> String {
        format!("[callers.ada]\nroles = [\"enforcer\"]\nkey_sha256 = \"{KEY}\"\n")
    }

    const TLS: &str = "[tls]\ncertificate = \"s.pem\"\nkey = \"/k.pem\"\n";

    #[test]
    fn on_this_machine_nothing_is_needed() {
        for address in ["127.0.0.1:0", "127.8.8.8:50051", "[::1]:50051", "[::ffff:127.0.0.1]:1"] {
            let config = read(&format!("grpc_address = \"{address}\"\nhttp_address = \"{address}\"\n"), &[]).unwrap();
            assert!(!config.authentication.required, "{address}");
            assert_eq!(config.tls, None);
        }
    }

    #[test]
    fn a_listener_that_is_open_to_others_takes_tls_and_callers() {
        for key in ["grpc_address", "http_address"] {
            for address in ["0.0.0.0:50051", "[::]:50051", "192.0.2.1:50051"] {
                let line = format!("{key} = \"{address}\"\n");
                let found = read(&line, &[]).unwrap_err();
                let [fault] = &found[..] else { panic!("{found:#?}") };
                let expected =
                    format!("etc/hallpass.toml:1 `{key}` `{address}` is open to other machines, which takes `[tls]`");
                assert!(fault.starts_with(&expected) && fault.contains("under `[callers]`"), "{fault}");
                let found = read(&format!("{line}{TLS}"), &[]).unwrap_err();
                assert!(!found[0].contains("`[tls]`") && found[0].contains("under `[callers]`"), "{found:?}");
                let found = read(&format!("{line}{}", callers()), &[]).unwrap_err();
                assert!(found[0].contains("`[tls]`") && !found[0].contains("`[callers]`"), "{found:?}");
                let found = "public_url = \"https://pdp.example\"\n";
                let whole = format!("{line}{found}{TLS}{}", callers());
                assert!(read(&whole, &[]).unwrap().authentication.required);
                let found = read(&format!("{whole}[authentication]\nrequired = false\n"), &[]).unwrap_err();
                assert!(found[0].contains("`authentication.required` other than `false`"), "{found:?}");
            }
        }
        let (nowhere, here) = (format!("{TLS}{}", callers()), [("HALLPASS_HTTP_ADDRESS", "0.0.0.0:1")]);
        let found = read(&nowhere, &here).unwrap_err();
        assert!(
            found.len() == 1 && found[0].starts_with("HALLPASS_HTTP_ADDRESS:0 `http_address` is every"),
            "{found:?}"
        );
        let found = read(&format!("http_address = \"[::]:1\"\n{nowhere}"), &[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains("`public_url`"), "{found:?}");
        read(&format!("http_address = \"192.0.2.1:1\"\n{nowhere}"), &[]).unwrap();
        let found = read("", &here).unwrap_err();
        assert!(found[0].starts_with("HALLPASS_HTTP_ADDRESS:0 `http_address` `0.0.0.0:1` is open"), "{found:?}");
        let found = read("grpc_address = \"localhost:1\"\nhttp_address = \"127.0.0.1\"\n", &[]).unwrap_err();
        assert!(
            found.len() == 2 && found.iter().all(|fault| fault.contains("is no IP address with a port")),
            "{found:?}"
        );
    }

    #[test]
    fn callers_may_be_required_on_this_machine_too() {
        let config = read(&format!("{}[authentication]\nrequired = true\n", callers()), &[]).unwrap();
        assert!(config.authentication.required);
        assert_eq!(config.tls, None);
    }

    #[test]
    fn the_files_of_certificates_start_at_the_configuration() {
        let options =
            read(&format!("{TLS}client_ca = \"ca.pem\"\nwatch = \"off\"\n"), &[]).unwrap().tls.unwrap().options;
        assert_eq!(
            (options.certificate.as_path(), options.key.as_path()),
            (Path::new("etc/s.pem"), Path::new("/k.pem"))
        );
        assert_eq!(options.client_ca.as_deref(), Some(Path::new("etc/ca.pem")));
        assert_eq!((options.client_certificates, options.watch), (ClientCertificates::Asked, None));
        let options = read(TLS, &[]).unwrap().tls.unwrap().options;
        assert_eq!((options.client_certificates, options.watch), (ClientCertificates::Off, Some(WATCH_DEFAULT)));
        assert_eq!(options.client_crl, None);
        let said = format!(
            "{TLS}client_ca = \"ca.pem\"\nclient_crl = \"revoked.pem\"\nclient_certificates = \"required\"\nwatch = \"1m\"\n"
        );
        let options = read(&said, &[]).unwrap().tls.unwrap().options;
        let minute = Some(Duration::from_secs(60));
        assert_eq!((options.client_certificates, options.watch), (ClientCertificates::Required, minute));
        assert_eq!(options.client_crl.as_deref(), Some(Path::new("etc/revoked.pem")));
    }

    #[test]
    fn every_fault_of_tls_is_told_at_its_place() {
        let found =
            read("[tls]\nkey = 1\nclient_certificates = \"some\"\nwatch = \"soon\"\nca = \"x\"\n", &[]).unwrap_err();
        let expected =
            [":2 `tls.key` is of type", ":3 `tls.client_certificates` `some` is unknown", ":4 `tls.watch` `soon`"];
        for expected in expected.into_iter().chain(["`tls.certificate` is missing", "unknown key `tls.ca`"]) {
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:#?}");
        }
        let found = read(&format!("{TLS}client_certificates = \"required\"\n"), &[]).unwrap_err();
        assert!(found[0].contains(":4 ") && found[0].contains("expected a `client_ca`"), "{found:?}");
        let found = read(&format!("{TLS}client_crl = \"revoked.pem\"\n"), &[]).unwrap_err();
        assert!(found[0].contains(":4 ") && found[0].contains("expected a `client_ca`"), "{found:?}");
        let tls = read(TLS, &[]).unwrap().tls.unwrap();
        let fault = tls.fault(&TlsFault { key: "key", message: "`/k.pem` cannot be read".to_owned() });
        assert_eq!((fault.line, fault.file.as_str()), (3, "etc/hallpass.toml"));
        assert_eq!(fault.message, "`tls.key`: `/k.pem` cannot be read");
    }
}
