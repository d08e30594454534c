//! Reloads: files that change by themselves, signals, faults of every kind; and what a service says of them meanwhile.

mod bundles;
mod callers;
mod load;
mod realm;
mod rollback;
mod shadow;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hallpass::proto::v1 as pb;
use pb::PolicyState::{Current, RefusedReload};

use self::realm::{decides, files, home, reaches, shown, write};
use crate::support::eventually;

/// Something that goes wrong with a realm's files.
struct Mishap {
    name: &'static str,
    /// Makes it.
    happens: fn(&Path),
    /// What the fault says, and which file it names.
    expected: &'static [&'static str],
}

fn edit(folder: &Path, path: &str, change: impl FnOnce(String) -> String) {
    let path = folder.join(path);
    let content = fs::read_to_string(&path).unwrap();
    fs::write(path, change(content)).unwrap();
}

const MISHAPS: [Mishap; 10] = [
    Mishap {
        name: "a half-written file",
        happens: |folder| edit(folder, "policies.cedar", |content| content[..content.len() / 2].to_owned()),
        expected: &["policies.cedar"],
    },
    Mishap {
        name: "a bad schema",
        happens: |folder| edit(folder, "schema.cedarschema", |content| content.replace("kind: String", "kind: Strong")),
        expected: &["schema.cedarschema", "Strong"],
    },
    Mishap {
        name: "a failing test",
        happens: |folder| edit(folder, "policies.cedar", |content| content.replace("\"open\"", "\"wide open\"")),
        expected: &["tests/shelves.yaml", "test `an open shelf` fails"],
    },
    Mishap {
        name: "an unknown key",
        happens: |folder| edit(folder, "realm.toml", |content| format!("titel = \"\"\n{content}")),
        expected: &["realm.toml", "unknown key `titel`"],
    },
    Mishap {
        name: "a file that is no text",
        happens: |folder| fs::write(folder.join("more.cedar"), b"// \xff\n").unwrap(),
        expected: &["more.cedar", "line 1 is not UTF-8"],
    },
    Mishap {
        name: "a link that leads nowhere",
        happens: |folder| symlink("nowhere.cedar", folder.join("more.cedar")).unwrap(),
        expected: &["more.cedar", "No such file"],
    },
    Mishap {
        name: "a file that is too large",
        happens: |folder| fs::File::create(folder.join("more.json")).unwrap().set_len(65 << 20).unwrap(),
        expected: &["more.json", "holds more than 67108864 bytes"],
    },
    Mishap {
        name: "a file that is gone",
        happens: |folder| fs::remove_file(folder.join("schema.cedarschema")).unwrap(),
        expected: &["schema.cedarschema", "is missing"],
    },
    Mishap {
        name: "a folder that is gone",
        happens: |folder| fs::rename(folder, folder.with_extension("away")).unwrap(),
        expected: &["rules", "is no folder"],
    },
    Mishap {
        name: "a folder that leads into itself",
        happens: |folder| symlink("..", folder.join("tests/loop")).unwrap(),
        expected: &["loop", "deep"],
    },
];

#[tokio::test]
async fn whatever_happens_to_the_files_the_last_good_ones_decide_and_everybody_is_told() {
    let (home, folder) = home();
    let service = home.start().await;
    let good = reaches(&service, "at the start", "A", Current).await.policy_version;
    for Mishap { name, happens, expected } in MISHAPS {
        happens(&folder);
        let realm = reaches(&service, name, "A", RefusedReload).await;
        let faults: Vec<String> =
            realm.last_faults.iter().map(|fault| format!("{} {}", fault.file, fault.message)).collect();
        for part in expected {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{name}: {part} is not in {faults:?}");
        }
        assert_eq!(realm.policy_version, good, "{name}");
        assert_ne!(realm.files_version, good, "{name}");
        assert!(realm.attempted_at.is_some(), "{name}");
        decides(&home, &service, "A").await;
        fs::remove_dir_all(&folder).ok();
        write(&folder, &files("A"));
        let realm = reaches(&service, name, "A", Current).await;
        assert_eq!((&realm.policy_version, &realm.files_version), (&good, &good), "{name}");
        assert!(realm.last_faults.is_empty(), "{name}");
    }
    // Each fault is told once, however often the files are looked at.
    let log = service.stderr();
    for part in ["unknown key `titel`", "line 1 is not UTF-8", "is no folder"] {
        assert_eq!(log.matches(part).count(), 1, "{part} in\n{log}");
    }
}

#[tokio::test]
async fn files_that_change_are_taken_by_themselves_however_they_are_written() {
    let (home, folder) = home();
    let service = home.start().await;
    let take = async |what: &str, version: &str| {
        let realm = reaches(&service, what, version, Current).await;
        assert_eq!(realm.policy_version, realm.files_version, "{what}");
        decides(&home, &service, version).await;
        realm.policy_version
    };
    let first = take("at the start", "A").await;

    // One after another, as a copy does; what is half there is refused or not seen, and never decides.
    write(&folder, &files("B"));
    let second = take("written over", "B").await;
    // As editors do: a new file beside the old one, renamed over it.
    for (path, content) in files("C") {
        let (new, old) = (folder.join(".new"), folder.join(path));
        fs::write(&new, content).unwrap();
        fs::rename(new, old).unwrap();
    }
    let third = take("renamed over", "C").await;
    assert!(first != second && second != third);

    write(
        &folder,
        &[(
            "extra/more.cedar",
            "@id(\"Never\") forbid (principal, action, resource is File) when { resource.shelf == \"never\" };\n"
                .to_owned(),
        )],
    );
    eventually("a new folder", async || shown(&service).await.policies == 3).await;
    fs::remove_dir_all(folder.join("extra")).unwrap();
    eventually("a removed folder", async || shown(&service).await.policy_version == third).await;

    // The whole folder is exchanged.
    let other = home.path("other");
    write(&other, &files("A"));
    fs::rename(&folder, home.path("old")).unwrap();
    fs::rename(&other, &folder).unwrap();
    assert_eq!(take("another folder", "A").await, first);
}

#[tokio::test]
async fn a_volume_whose_link_is_exchanged_is_taken_whole() {
    let (mut home, _) = home();
    let volume = home.path("volume");
    let swap = |version: &str, serial: u32| {
        let target = format!("..2026_11_{serial}");
        write(&volume.join(&target), &files(version));
        symlink(target, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    swap("A", 1);
    for (path, _) in files("A").into_iter().filter(|(path, _)| !path.contains('/')) {
        symlink(format!("..data/{path}"), volume.join(path)).unwrap();
    }
    symlink("..data/tests", volume.join("tests")).unwrap();
    home.rules.clone_from(&volume);
    let service = home.start().await;
    for (serial, version) in [(2, "B"), (3, "C"), (4, "A")] {
        swap(version, serial);
        fs::remove_dir_all(volume.join(format!("..2026_11_{}", serial - 1))).unwrap();
        reaches(&service, "an exchanged link", version, Current).await;
        decides(&home, &service, version).await;
    }
    let log = service.stderr();
    assert!(!log.contains("reload refused"), "no half of a volume was tried:\n{log}");
}

#[tokio::test]
async fn a_signal_takes_the_files_where_nobody_looks_at_them() {
    let (mut home, folder) = home();
    home.keys = "watch = \"off\"\n".to_owned();
    let mut service = home.start().await;
    write(&folder, &files("B"));
    service.signal("HUP");
    reaches(&service, "a signal", "B", Current).await;
    decides(&home, &service, "B").await;
    write(&folder, &[("realm.toml", "title = 7\n".to_owned())]);
    service.signal("HUP");
    let realm = reaches(&service, "a signal with faults", "B", RefusedReload).await;
    assert!(realm.last_faults.iter().any(|fault| fault.file == "realm.toml" && fault.line == 1), "{realm:?}");
    decides(&home, &service, "B").await;
    let log = service.stderr();
    assert!(log.contains("reload refused") && log.contains("trigger=\"signal\""), "{log}");
    service.signal("TERM");
    assert!(service.ended().await.success(), "{}", service.stderr());
}

#[tokio::test]
async fn metrics_tell_how_policies_stand_to_their_files() {
    let (mut home, folder) = home();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    let service = home.start().await;
    let url = format!("{}/metrics", service.http.clone().unwrap());
    let has =
        async |line: String| reqwest::get(&url).await.unwrap().text().await.unwrap().lines().any(|found| found == line);
    let version = shown(&service).await.policy_version;
    let refused = |value: u8| format!("authz_policy_reload_refused{{realm=\"edfi\"}} {value}");
    assert!(has(refused(0)).await);
    assert!(has(format!("authz_policy_version_info{{realm=\"edfi\",version=\"{version}\"}} 1")).await);
    write(&folder, &files("B"));
    reaches(&service, "a change", "B", Current).await;
    edit(&folder, "realm.toml", |content| format!("x = 1\n{content}"));
    reaches(&service, "a fault", "B", RefusedReload).await;
    assert!(has(refused(1)).await && has(refused(1).replace("edfi", "hallpass").replace('1', "0")).await);
    assert!(has("authz_policy_reloads_total{realm=\"edfi\",result=\"rolled_back\"} 0".to_owned()).await);
    let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
    let counted = |result: &str| {
        let line = format!("authz_policy_reloads_total{{realm=\"edfi\",result=\"{result}\"}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap()
    };
    assert!(counted("taken") >= 1 && counted("refused") >= 1, "{text}");
}
