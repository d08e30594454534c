//! Connections of every listener: accepted within limits, with TLS where the deployment has it, each with who is at its
//! other end. There is one way in, with TLS and without.

mod acceptor;
mod certificates;
mod connection;
mod handshakes;
mod lists;
mod peer;
mod stalls;
mod standing;
mod subject;
mod tls;

pub use self::{
    acceptor::{Acceptor, Limits, Open, Security},
    certificates::Certificates,
    connection::Connection,
    handshakes::{Failure, Handshakes},
    lists::RevocationList,
    peer::{Peer, certificate},
    tls::{ClientCertificates, Options, Protocol, TlsFault},
};
