//! `[callers.NAME]`: who reads the decision log.

use crate::{
    app::caller::{self, KeyDigest, KnownCaller},
    domain::{document::Table, id::RealmName},
};

/// The callers that the file names, each with a key of its own.
pub(super) fn read(root: &Table<'_>) -> Vec<KnownCaller> {
    let named = root.named("callers", |name, table| {
        // The shape of a realm's name keeps names readable wherever they are shown.
        if name.parse::<RealmName>().is_err() || name == caller::ADMIN {
            table.fault(
                None,
                format!(
                    "`{name}` is no name of a caller, expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or \
                     digit, and not `{}`",
                    caller::ADMIN
                ),
            );
        }
        let roles = table.required_texts("roles");
        let realms = table.texts("realms").unwrap_or_default().into_iter().filter_map(|realm| {
            realm.parse().map_err(|error| table.fault(Some("realms"), format!("{error}"))).ok()
        });
        let realms = realms.collect();
        let key = table.required_text("key_sha256").and_then(|digits| {
            let key = KeyDigest::parse(&digits);
            if key.is_none() {
                table.fault(
                    Some("key_sha256"),
                    "`key_sha256` is not 64 hexadecimal digits, expected the line that `hallpass callers new` printed",
                );
            }
            key
        });
        Some(KnownCaller { name: name.into(), roles: roles?, realms, key: key? })
    });
    let callers: Vec<KnownCaller> = named.into_iter().map(|(_, caller)| caller).collect();
    for (index, caller) in callers.iter().enumerate() {
        if callers.iter().take(index).any(|earlier| earlier.key == caller.key) {
            root.fault(
                Some("callers"),
                format!("caller `{}` has the key of another, expected a key for each", caller.name),
            );
        }
    }
    callers
}
