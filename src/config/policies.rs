//! `[realms.NAME]`: where a realm's policies are, who must have signed them, and how often they are looked at.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    domain::{document::Table, id::RealmName, signed_note::VerifierKey},
    provider::realm_files::{Bundle, Place},
};

/// How often folders are looked at when nothing is said.
pub(super) const WATCH_DEFAULT: Duration = Duration::from_secs(1);

/// The shortest and the longest time between two looks.
const WATCH_MIN: Duration = Duration::from_millis(10);
const WATCH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads how often: a whole number with `ms`, `s`, `m` or `h` behind it, or `off`.
///
/// # Errors
/// What was expected.
pub(super) fn watch(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).and_then(|end| text.split_at_checked(end));
    let time = digits.and_then(|(digits, unit)| {
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
    });
    time.filter(|time| (WATCH_MIN..=WATCH_MAX).contains(time)).map(Some).ok_or_else(|| {
        format!(
            "`{text}` is no time between looks, expected `10ms` to `24h`, for example `500ms`, `5s` or `1m`, or `off`"
        )
    })
}

/// How often the realm's files are looked at: as it says, or else as often as those of all realms.
pub(super) fn watch_of(table: &Table<'_>, all: Option<Duration>) -> Option<Duration> {
    let Some(text) = table.text("watch") else { return all };
    watch(&text).unwrap_or_else(|message| {
        table.fault(Some("watch"), format!("`watch` {message}"));
        all
    })
}

/// Where the realm's files are: `folder`, or `bundle` with what must be signed of it. Relative paths start at `base`.
pub(super) fn place(table: &Table<'_>, base: &Path, realm: Option<&RealmName>) -> Option<Place> {
    let (folder, bundle) = (table.text("folder"), table.text("bundle"));
    let keys = table.texts("bundle_keys");
    let name = table.text("bundle_name").or_else(|| realm.map(|realm| realm.as_str().into()));
    match (folder, bundle) {
        (Some(_), Some(_)) => table.fault(Some("bundle"), "a realm has a `folder` or a `bundle`, not both"),
        (Some(folder), None) => {
            // Whoever names keys wants nothing unsigned, and nobody signs a folder.
            for key in ["bundle_keys", "bundle_name"].into_iter().filter(|key| table.has(key)) {
                let message = format!("`{key}` is said of a folder, which nobody can sign; expected a `bundle`");
                table.fault(Some(key), message);
            }
            return Some(Place::Folder(base.join(&*folder)));
        }
        (None, Some(bundle)) => {
            let keys = match keys {
                // What is no list of keys is a fault, and not a bundle that nobody has to sign.
                None if table.has("bundle_keys") => return None,
                None => Vec::new(),
                Some(texts) => verifier_keys(table, &texts)?,
            };
            return Some(Place::Bundle(Bundle { file: base.join(&*bundle), name: name?, keys }));
        }
        (None, None) if table.has("folder") || table.has("bundle") => {}
        (None, None) => {
            table.fault(None, "has neither `folder` nor `bundle`, expected one that says where its files are");
        }
    }
    None
}

/// The keys of a list; an empty one would say that anybody may sign.
fn verifier_keys(table: &Table<'_>, texts: &[Arc<str>]) -> Option<Vec<VerifierKey>> {
    if texts.is_empty() {
        table.fault(
            Some("bundle_keys"),
            "`bundle_keys` is empty, expected a key at least; left out, nobody has to sign",
        );
        return None;
    }
    let count = texts.len();
    let keys: Vec<VerifierKey> = texts
        .iter()
        .filter_map(|text| {
            let fault = |error| table.fault(Some("bundle_keys"), format!("`{text}` {error}"));
            text.parse().map_err(fault).ok()
        })
        .collect();
    (keys.len() == count).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, config::Flags};

    #[test]
    fn times_between_looks_have_a_unit() {
        let millis = |millis| Ok(Some(Duration::from_millis(millis)));
        for (text, expected) in
            [("off", Ok(None)), ("10ms", millis(10)), ("1s", millis(1_000)), ("2m", millis(120_000))]
        {
            assert_eq!(watch(text), expected, "{text}");
        }
        for bad in ["", "1", "s", "1 s", "0s", "9ms", "25h", "-1s", "1.5s", "99999999999999999999h", "never", "5é"] {
            assert!(watch(bad).unwrap_err().contains("expected `10ms` to `24h`"), "{bad}");
        }
    }

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn read(content: &str) -> Result<Config, Vec<String>> {
        let read = Config::read(
            Path::new("etc/hallpass.toml"),
            content,
            &Flags::default(),
            &super::super::Environment::default(),
        );
        read.map_err(|error| error.0.into_iter().map(|fault| fault.to_string()).collect())
    }

    #[test]
    fn a_realm_is_a_folder_or_a_bundle_with_its_keys() {
        let content = format!(
            "watch = \"off\"\n[realms.a]\nfolder = \"x\"\n[realms.b]\nbundle = \"b.tar\"\nbundle_keys = [\"{KEY}\"]\n\
             watch = \"5s\"\n[realms.c]\nbundle = \"b.tar\"\nbundle_name = \"b\"\n"
        );
        let config = read(&content).unwrap();
        let bundle = |name: &str, keys| Place::Bundle(Bundle { file: "etc/b.tar".into(), name: name.into(), keys });
        let places: Vec<_> = config.realms.iter().map(|realm| (realm.place.clone(), realm.watch)).collect();
        let expected = [
            (Place::Folder("etc/x".into()), None),
            (bundle("b", vec![KEY.parse().unwrap()]), Some(Duration::from_secs(5))),
            (bundle("b", Vec::new()), None),
        ];
        assert_eq!((places, config.watch), (expected.to_vec(), None));
    }

    #[test]
    fn what_would_leave_policies_unsigned_is_a_fault_with_its_line() {
        for (content, expected) in [
            (
                format!("folder = \"x\"\nbundle_keys = [\"{KEY}\"]"),
                ":3:15: error[configuration]: `bundle_keys` is said of a folder",
            ),
            ("bundle = \"x.tar\"\nbundle_keys = []".to_owned(), ":3:15: error[configuration]: `bundle_keys` is empty"),
            (
                format!("bundle = \"x.tar\"\nbundle_keys = [\"{}\"]", KEY.replace("530d", "530e")),
                "its hash does not fit",
            ),
            ("bundle = \"x.tar\"\nbundle_keys = \"\"".to_owned(), ":3"),
            ("bundle = \"x.tar\"\nbundle_key = []".to_owned(), "unknown key `realms.a.bundle_key`"),
            (
                "folder = \"x\"\nbundle = \"x.tar\"".to_owned(),
                ":3:10: error[configuration]: a realm has a `folder` or a `bundle`, not both",
            ),
            ("variant = \"x\"".to_owned(), "has neither `folder` nor `bundle`"),
            ("folder = \"x\"\nwatch = \"often\"".to_owned(), ":3:9: error[configuration]: `watch` `often` is no time"),
        ] {
            let faults = read(&format!("[realms.a]\n{content}\n")).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{content}: {faults:?}");
        }
    }
}
