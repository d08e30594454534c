//! The messages and services generated from `proto/`.
#![expect(
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated; the comments are in the proto files"
)]

pub mod codec;

/// `hallpass.v1`.
pub mod v1 {
    tonic::include_proto!("hallpass.v1");
}

/// What Envoy asks of an authorization service, as far as it counts here: packages are modules, because generated code names
/// its neighbours by them.
#[expect(missing_docs, reason = "Envoy's own words are in its documentation")]
pub mod envoy {
    /// `envoy.service`.
    pub mod service {
        /// `envoy.service.auth`.
        pub mod auth {
            /// `envoy.service.auth.v3`.
            pub mod v3 {
                tonic::include_proto!("envoy.service.auth.v3");
            }
        }
    }
}

/// What is Google's within it.
#[expect(missing_docs, reason = "Google's own words are in its documentation")]
pub mod google {
    /// `google.rpc`.
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// The descriptors of Envoy's service, for reflection.
pub const ENVOY_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy_descriptor.bin"));

/// The descriptors of `hallpass.v1`, for reflection and for JSON; with the comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hallpass_descriptor.bin"));
