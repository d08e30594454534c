//! Where the service may listen.

use std::net::SocketAddr;

/// Takes addresses of this machine only.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("`{text}` is no IP address with a port, expected for example `127.0.0.1:50051`"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "`{text}` is not a loopback address, expected 127.0.0.1 or [::1]: callers cannot be authenticated yet, so \
         whoever reaches the port could ask and write everything; let other machines in through a proxy that \
         authenticates them"
    ))
}
