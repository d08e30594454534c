//! The pure floor: values in, values out.
//!
//! A token's claims become a [`principal`], as the [`realm`] says. A [`access_request`] names an
//! action and a resource with the values that policies look at. The [`graph`] knows the
//! relationships; [`entities`] takes from it the few facts around principal and resource. The
//! [`policy_set`] picks the policies that can apply, [`decide`] asks Cedar, and turns whatever
//! failed into a deny. [`explanation`] says why, [`denial`] in the realm's own words. What an
//! auditor needs of it is a [`decision_record`]. Nothing here reads a clock, a file or a socket.

pub mod id;
pub mod value;

pub mod fault;
mod document;
pub mod schema;
pub mod issuer;
pub mod realm_file;
pub mod resource_type;
pub mod grants;
pub mod clause;
pub mod policy_set;
pub mod realm;

pub mod jws;
pub mod key_set;
mod rsa_modulus;
mod strict_json;
pub mod token;
pub mod token_error;
pub mod principal;

pub mod relationship;
pub mod record_mapping;
mod breadth_first;
pub mod graph;
mod interner;

pub mod access_request;
mod cedar;
mod entities;
pub mod decide;
mod explanation;
mod denial;
pub mod decision;

pub mod decision_record;
pub mod record_filter;
