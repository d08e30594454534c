//! By which way a question came in.

/// The way by which a question came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Adapter {
    /// `hallpass.v1` over gRPC.
    #[default]
    Grpc,
    /// `AuthZEN` over HTTP.
    Authzen,
    /// `hallpass.v1` as JSON over HTTP.
    Json,
    /// Envoy's external authorization.
    Envoy,
    /// A program that hallpass is a library of.
    Embedded,
}

impl Adapter {
    /// Every way, in the order of [`Adapter::byte`].
    pub const ALL: [Self; 5] = [Self::Grpc, Self::Authzen, Self::Json, Self::Envoy, Self::Embedded];

    /// Its name: `grpc`, `authzen`, `json`, `envoy` or `embedded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Authzen => "authzen",
            Self::Json => "json",
            Self::Envoy => "envoy",
            Self::Embedded => "embedded",
        }
    }

    /// The byte by which stored records name it, from 1; none may change.
    pub fn byte(self) -> u8 {
        match self {
            Self::Grpc => 1,
            Self::Authzen => 2,
            Self::Json => 3,
            Self::Envoy => 4,
            Self::Embedded => 5,
        }
    }

    /// The way that a stored record names.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|adapter| adapter.byte() == byte)
    }
}
