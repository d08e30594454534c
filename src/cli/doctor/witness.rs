//! Where checkpoints are handed to: it is there.

use std::{path::Path, sync::Arc};

use tokio::{net::UnixDatagram, task::JoinSet};

use super::{ANSWER_WITHIN, finding::Finding};
use crate::{
    config::Config,
    domain::issuer::Servers,
    provider::{outbound::Outbound, witness::Place},
};

const WITNESS: &str = "witness";

pub(super) async fn check(config: Arc<Config>) -> Vec<Finding> {
    let options = &config.witness;
    if options.places.is_empty() {
        return vec![Finding::fine(
            WITNESS,
            "none is configured: who can write the data folder could make the log anew",
        )];
    }
    let mut asking = JoinSet::new();
    for place in options.places.clone() {
        asking.spawn(look(place, options.private_addresses));
    }
    asking.join_all().await
}

async fn look(place: Place, private_addresses: bool) -> Finding {
    let shown = match &place {
        Place::File(path) => format!("the file `{}`", path.display()),
        Place::Syslog(path) => format!("the syslog at `{}`", path.display()),
        Place::SyslogServer(server) => format!("the syslog server `{server}`"),
        Place::Url(_) => "the witness's URL".to_owned(),
    };
    let seen = tokio::time::timeout(ANSWER_WITHIN, reach(&place, private_addresses)).await;
    match seen.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))) {
        Ok(()) => Finding::fine(WITNESS, format!("{shown} is there")),
        Err(fault) => {
            let what = format!("{shown} cannot be reached: {fault}");
            let advice = "decisions go on, but who changes the log meanwhile would not be noticed by it; mend \
                          [decision_log.witness] or the way there";
            Finding::warning(WITNESS, what, advice)
        }
    }
}

async fn reach(place: &Place, private_addresses: bool) -> Result<(), String> {
    match place {
        Place::File(path) => writable(path),
        Place::Syslog(path) => {
            let connect = || UnixDatagram::unbound().and_then(|socket| socket.connect(path));
            connect().map_err(|error| error.to_string())
        }
        // Nothing answers a line of syslog over UDP: a name that leads somewhere is all that can be seen.
        Place::SyslogServer(server) => {
            tokio::net::lookup_host(server).await.map(drop).map_err(|error| error.to_string())
        }
        Place::Url(url) => {
            let servers = Servers { private_addresses, ..Servers::default() };
            Outbound::new(&servers, ANSWER_WITHIN).reach(url, "the witness").await.map(drop)
        }
    }
}

/// The file can be appended to, or made; neither is done.
fn writable(path: &Path) -> Result<(), String> {
    use rustix::fs::{Access, access};
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let asked = if path.exists() { path } else { folder };
    access(asked, Access::WRITE_OK).map_err(|error| std::io::Error::from(error).to_string())
}
