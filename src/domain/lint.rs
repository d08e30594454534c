//! Looks at a realm as a reviewer would: what its files have wrong, and what of them is surely not meant although it works.
//!
//! A warning is only given where it is true whatever is asked: an author who reads a false one stops reading them.

mod accept;
mod conditions;
mod containers;
mod grants;
mod policies;
mod secrets;
#[cfg(test)]
mod tests;
mod unused;

use std::{collections::BTreeSet, sync::Arc};

pub(super) use accept::read_accepted;

use super::{
    fault::{Code, Fault, in_order, with_places},
    policy_set::SourceFile,
    realm::Realm,
    variant,
};

/// What a check of a realm's files found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Errors and warnings by file and place, each once.
    pub faults: Vec<Fault>,
    /// The realm as it stands, then as each of its variants in the order of their names; those that compile.
    pub realms: Vec<Realm>,
}

/// A fault, and the policy that it is about if it is about one.
type Found = (Option<Arc<str>>, Fault);

/// Checks the files of a realm's folder: compiles them, as they stand and as each variant, and looks at what they say.
/// What is wrong in one file hides nothing of the others.
pub fn check(files: &[SourceFile]) -> Checked {
    let mut faults = secrets::find(files);
    let mut realms = Vec::new();
    let names = variant::names(files);
    match Realm::compile(files, None) {
        Ok(plain) => {
            realms.push(plain);
            for name in names {
                match Realm::compile(files, Some(name)) {
                    Ok(realm) => realms.push(realm),
                    Err(found) => faults.extend(found),
                }
            }
        }
        Err(found) => {
            faults.extend(found);
            // A variant of files that have faults has them too; what is wrong with itself is told.
            faults.extend(names.into_iter().filter_map(|name| variant::apply(files, name).err()).flatten());
        }
    }
    faults.extend(warnings(files, &realms));
    let faults = secrets::masked(faults).into_iter().map(Fault::with_help);
    Checked { faults: in_order(faults.collect()), realms }
}

/// What is worth a look in a realm, and in its variants: what nothing uses is told where none of them uses it.
fn warnings(files: &[SourceFile], realms: &[Realm]) -> Vec<Fault> {
    let Some((plain, variants)) = realms.split_first() else { return Vec::new() };
    let mut found = accept::settle(plain, of_realm(plain, files));
    for realm in variants {
        let own = accept::settle(realm, of_realm(realm, files));
        let key = |fault: &Fault| (fault.code, fault.message.clone());
        let known: BTreeSet<(Code, String)> = own.iter().map(key).collect();
        found.retain(|fault| is_of_one_version(fault.code) || known.contains(&key(fault)));
        let further = own.into_iter().filter(|fault| is_of_one_version(fault.code));
        let told: BTreeSet<(Code, String)> = found.iter().map(key).collect();
        let further = further.filter(|fault| !told.contains(&key(fault)));
        // What is so in the files as they stand is told without a variant's name.
        let name = realm.variant.as_deref().unwrap_or_default();
        found.extend(further.map(|fault| Fault { message: format!("as `{name}`: {}", fault.message), ..fault }));
    }
    let found = with_places(found, files);
    found.into_iter().map(|fault| Fault { severity: fault.code.severity().max(fault.severity), ..fault }).collect()
}

/// It counts for the version of the files in which it is found, whatever is so in the others.
fn is_of_one_version(code: Code) -> bool {
    [Code::UnusableGrant, Code::UnknownClaim, Code::UnclaimedType, Code::UngrantableAction, Code::InvalidProfile]
        .contains(&code)
}

fn of_realm(realm: &Realm, files: &[SourceFile]) -> Vec<Found> {
    let mut found = policies::check(realm);
    found.extend(conditions::check(realm));
    let whole = grants::check(realm).into_iter().chain(unused::check(realm, files));
    let profiles = realm.warnings().iter().map(|fault| fault.clone().coded(Code::InvalidProfile));
    let routes = realm.routes.iter().flat_map(|routes| routes.warnings.iter().cloned());
    found.extend(whole.chain(profiles).chain(routes).map(|fault| (None, fault)));
    found
}
