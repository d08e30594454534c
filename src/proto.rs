//! The messages and services generated from `proto/`.
#![expect(
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated; the comments are in the proto files"
)]

/// `hallpass.v1`.
pub mod v1 {
    tonic::include_proto!("hallpass.v1");
}

/// The descriptors of everything above, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hallpass_descriptor.bin"));
