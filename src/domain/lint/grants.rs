//! Grants that cannot be used, and names in their table that lead nowhere.

use crate::domain::{
    fault::{Code, Fault},
    realm::Realm,
};

pub(super) fn check(realm: &Realm) -> Vec<Fault> {
    let (Some(grants), Some(settings)) = (&realm.grants, &realm.file.grants) else { return Vec::new() };
    let known: Vec<&str> = realm.schema.actions.keys().map(|name| &**name).collect();
    let types = realm.file.resources.as_ref().map_or(&settings.file, |resources| &resources.file);
    let findings = grants.findings(&realm.schema).into_iter().map(|(code, name, message)| {
        let file = if code == Code::UnclaimedType { types } else { &settings.file };
        let fault = Fault::in_file(file, message).coded(code).helped(code.fix());
        match (code, name) {
            (Code::UngrantableAction, Some(name)) => fault.near(&name, known.iter().copied()),
            _ => fault,
        }
    });
    findings.collect()
}
