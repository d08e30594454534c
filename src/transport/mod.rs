//! The ways in: each turns what came over a wire into the words of the domain, and the answer back.

pub mod envoy;
pub mod grpc;
pub mod http;
pub mod layer;
pub mod listener;
