//! The pure floor: values in, values out.
//!
//! A token's claims become a [`principal`], as the [`realm`] says. A [`access_request`] names an
//! action and a resource with the values that policies look at. The [`graph`] knows the
//! relationships; [`entities`] takes from it the few facts around principal and resource. The
//! [`policy_set`] picks the policies that can apply, [`decide`] asks Cedar, and turns whatever
//! failed into a deny, and [`row_filter`] says beforehand for which values it will allow. [`explanation`] says why, [`denial`] in the realm's own words, and [`explain`] to the single condition. What an
//! auditor needs of it is a [`decision_record`]. Nothing here reads a clock, a file or a socket.

pub mod id;
pub mod id_path;
pub mod value;

pub mod adapter;
pub mod aliases;
pub mod clause;
mod conjunct;
pub(crate) mod document;
pub mod fault;
pub mod forms;
pub mod grants;
pub mod issuer;
mod looks;
pub mod policy_set;
pub(crate) mod policy_text;
pub mod profile;
pub mod realm;
pub mod realm_file;
pub mod resource_type;
pub mod route;
pub mod schema;
pub mod template;
pub mod variant;

pub mod application;
pub mod certificate_binding;
pub mod dpop;
pub mod json_value;
pub mod jws;
pub mod key_set;
pub mod principal;
pub mod revocation;
mod rsa_modulus;
pub(crate) mod strict_json;
#[cfg(test)]
pub(crate) mod test_keys;
pub mod token;
pub mod token_error;
pub mod token_facts;
pub mod token_proof;
pub mod traceparent;
mod uri_syntax;
pub mod verifying_key;

mod breadth_first;
pub mod graph;
mod interner;
pub mod introspection;
pub mod items;
pub mod lineages;
pub mod prefix;
pub mod record_mapping;
pub mod relationship;

pub mod access_request;
mod ancestors;
mod cedar;
pub mod decide;
pub mod decision;
mod denial;
mod derived;
mod entities;
pub mod explain;
mod explanation;
mod obligations;
pub mod row_filter;
pub mod search;

pub mod coverage;
pub mod lint;
pub mod matrix;
pub mod mutation;
pub mod policy_test;
pub mod proof;

pub mod bundle;
pub mod checkpoint;
pub mod codec;
pub mod decision_record;
pub mod identity;
pub mod log_event;
pub mod mask;
pub mod merkle;
pub mod pseudonym;
pub mod record_codec;
pub mod record_filter;
pub mod replay;
pub mod sealed_facts;
pub mod signed_note;
