//! The pure floor: values in, values out.

pub mod decision;
pub mod decision_record;
pub mod id;
pub mod issuer;
pub mod jws;
pub mod key_set;
pub mod policy_set;
pub mod record_filter;
pub mod relationship;
mod rsa_modulus;
mod strict_json;
#[cfg(test)]
mod test_keys;
pub mod token;
pub mod token_error;
pub mod value;
