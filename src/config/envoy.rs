//! `[envoy]`: what a deployment says of the requests that Envoy asks about.

use std::sync::Arc;

use crate::{
    domain::{document::Table, id::RealmName},
    transport::envoy::Options,
};

/// Reads the table; `None` where there is none.
pub(super) fn read(root: &Table<'_>) -> Option<Options> {
    root.table("envoy", |table| {
        let default = Options::default();
        let realm = table.text("realm");
        if let Some(Err(error)) = realm.as_ref().map(|realm| realm.parse::<RealmName>()) {
            table.fault(Some("realm"), format!("`envoy.realm`: {error}"));
        }
        // Ours are taken off whatever else is: the API believes them.
        let mut strip_headers = default.strip_headers;
        for prefix in table.texts("strip_headers").unwrap_or_default() {
            if !is_prefix(&prefix) {
                let message =
                    format!("`{prefix}` is no beginning of a header's name, expected small letters, digits and `-`");
                table.fault(Some("strip_headers"), message);
            } else if !strip_headers.contains(&prefix) {
                strip_headers.push(prefix);
            }
        }
        let (removes_authorization, is_dry_run) = (table.flag("remove_authorization"), table.flag("dry_run"));
        Options { realm, strip_headers, removes_authorization, is_dry_run }
    })
}

fn is_prefix(text: &Arc<str>) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_part)
}
