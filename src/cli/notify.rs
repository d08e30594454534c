//! What a service manager is told that waits for it: datagrams to the socket in `NOTIFY_SOCKET`, as `sd_notify(3)` has them.

use std::os::unix::net::UnixDatagram;

use crate::config::Environment;

/// Requests are taken from now on.
pub(super) const READY: &str = "READY=1";

/// The service is on its way down.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if there is one. It can only be told: when it cannot, that is logged and nothing else.
pub(super) fn tell(state: &str, environment: &Environment) {
    let Some(socket) = environment.get("NOTIFY_SOCKET") else { return };
    // An abstract socket, whose name begins with `@`, is no path: that it cannot be told is logged.
    let told = UnixDatagram::unbound().and_then(|sender| sender.send_to(state.as_bytes(), socket));
    if let Err(error) = told {
        tracing::warn!(%error, state, "the service manager cannot be told");
    }
}
