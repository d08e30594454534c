//! Mistakes as authors make them, each shown at its place with the likely fix: `tests/golden/mistakes`.
//!
//! A folder there holds the files of a small realm that differ from those of `base` (of `base-grants` where its name begins
//! with `grants-`), and what is then shown. After a change
//! of words `HALLPASS_BLESS=1 cargo test --test it mistakes` writes them anew, for a review to read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use hallpass::{
    domain::{
        fault::{Code, Fault},
        lint,
        policy_set::SourceFile,
        policy_test,
    },
    provider::realm_files::read_folder,
};

const EXPECTED: &str = "expected.txt";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mistakes")
}

fn by_path(folder: &Path) -> BTreeMap<String, String> {
    read_folder(folder).unwrap().into_iter().map(|file| (file.path, file.content)).collect()
}

/// The names of all mistakes.
fn mistakes() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| !name.starts_with("base")).collect();
    names.sort();
    names
}

/// The faults of the small realm with the files of a mistake in place of its own.
fn faults(mistake: Option<&str>) -> Vec<Fault> {
    faults_of(&base(mistake.unwrap_or_default()), mistake)
}

/// The folder of the realm that a mistake is made in.
fn base(mistake: &str) -> PathBuf {
    root().join(if mistake.starts_with("grants-") { "base-grants" } else { "base" })
}

fn faults_of(base: &Path, mistake: Option<&str>) -> Vec<Fault> {
    let mut files = by_path(base);
    files.extend(mistake.into_iter().flat_map(|name| by_path(&root().join(name))));
    let files: Vec<SourceFile> = files.into_iter().map(|(path, content)| SourceFile { path, content }).collect();
    let mut faults = lint::check(&files).faults;
    if !faults.iter().any(Fault::is_error) {
        faults.extend(policy_test::run(&files).err().into_iter().flatten());
    }
    faults
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().flat_map(|fault| [fault.to_string(), "\n".to_owned()]).collect()
}

/// The lines of a file of a mistake that differ from the small realm's; all of them where that has no such file.
fn changed_lines(mistake: &str, path: &str) -> Option<(usize, usize)> {
    let after = fs::read_to_string(root().join(mistake).join(path)).ok()?;
    let before = fs::read_to_string(base(mistake).join(path)).unwrap_or_default();
    let (after, before): (Vec<&str>, Vec<&str>) = (after.lines().collect(), before.lines().collect());
    let same = after.iter().zip(&before).take_while(|(a, b)| a == b).count();
    let most = after.len().min(before.len()) - same;
    let behind = after.iter().rev().zip(before.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    Some((same + 1, after.len() - behind))
}

#[test]
fn the_small_realms_themselves_have_no_fault() {
    for base in ["base", "base-grants"] {
        assert_eq!(shown(&faults_of(&root().join(base), None)), "");
    }
}

#[test]
fn every_mistake_is_shown_as_it_was() {
    let mut differences = Vec::new();
    for name in mistakes() {
        let (path, found) = (root().join(&name).join(EXPECTED), shown(&faults(Some(&name))));
        assert!(!found.is_empty(), "{name}: nothing is found");
        if std::env::var_os("HALLPASS_BLESS").is_some() {
            fs::write(&path, &found).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != found {
            differences.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(differences.is_empty(), "{}\nHALLPASS_BLESS=1 takes over what is found", differences.join("\n"));
    assert!(mistakes().len() >= 50, "{} mistakes", mistakes().len());
}

/// Mistakes that nobody can place: what was taken out, or what now makes something else wrong. The fault is at what is left.
const ELSEWHERE: &[&str] = &[
    "annotation-id-missing",
    "cedar-missing-semicolon",
    "grants-not-json",
    "lint-permit-always-forbidden",
    "lint-permit-with-when-true",
    "lint-unused-context",
    "lint-unused-setting",
    "realm-attribute-callers-are-not-believed",
    "relations-end-missing",
    "schema-missing-semicolon",
    "schema-type-declared-twice",
];

#[test]
fn every_mistake_is_named_at_the_lines_that_were_changed() {
    for name in mistakes().iter().filter(|name| !ELSEWHERE.contains(&name.as_str())) {
        let found = faults(Some(name));
        let is_there = |fault: &Fault| {
            changed_lines(name, &fault.file)
                .is_some_and(|(first, last)| fault.line == 0 || (first..=last.max(first)).contains(&fault.line))
        };
        assert!(found.iter().any(is_there), "{name}:\n{}", shown(&found));
    }
}

#[test]
fn every_fault_says_how_it_is_mended() {
    for name in mistakes() {
        for fault in faults(Some(&name)) {
            let is_told = fault.help.is_some() || fault.message.contains("expected");
            assert!(is_told, "{name}: {fault}");
        }
    }
}

/// Codes that a realm of these few files can't show; their own tests do.
const NOT_HERE: &[Code] =
    &[Code::FailingTest, Code::Configuration, Code::InvalidProfile, Code::UnmappedOperation, Code::Other];

#[test]
fn every_code_is_shown_by_some_mistake() {
    let found: BTreeSet<Code> = mistakes().iter().flat_map(|name| faults(Some(name))).map(|fault| fault.code).collect();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| !found.contains(code) && !NOT_HERE.contains(code))
        .map(|code| code.as_str())
        .collect();
    assert!(missing.is_empty(), "{}", missing.join(", "));
}

#[test]
fn the_page_of_checks_has_every_code() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md")).unwrap();
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.as_str(), code.meaning(), code.fix());
        assert!(page.contains(&row), "docs/checks.md lacks\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 2).count();
    assert_eq!(rows, Code::ALL.len(), "docs/checks.md has a row for a code that there isn't");
}

/// What `hallpass` prints, and its exit code.
fn hallpass(arguments: &[&str], folder: &Path) -> (String, Option<i32>) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hallpass"));
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// A folder `realm` with the files of a mistake.
fn written(mistake: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut files = by_path(&base(mistake));
    files.extend(by_path(&root().join(mistake)));
    for (path, content) in files {
        let path = folder.path().join("realm").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn findings_come_in_the_forms_that_programs_read() {
    let folder = written("cedar-unknown-attribute");
    let (text, code) = hallpass(&["check", "realm"], folder.path());
    assert!(text.starts_with("realm/update.cedar:12:28: error[unknown-attribute]: "), "{text}");
    assert!(text.ends_with("1 error, 0 warnings in 1 realm\n"), "{text}");
    assert_eq!(code, Some(1));
    let json = |form: &str| -> serde_json::Value {
        let (text, code) = hallpass(&["check", "--output", form, "realm"], folder.path());
        assert_eq!(code, Some(1), "{form}");
        serde_json::from_str(&text).unwrap()
    };
    let found = &json("json")["realms"][0]["faults"][0];
    assert_eq!(
        (&found["code"], &found["line"], &found["column"]),
        (&"unknown-attribute".into(), &12.into(), &28.into())
    );
    assert_eq!(found["help"], "did you mean `age`?");
    let result = &json("sarif")["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "unknown-attribute");
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "realm/update.cedar");
    let (text, code) = hallpass(&["check", "--output", "junit", "realm"], folder.path());
    let read = roxmltree::Document::parse(&text).unwrap();
    let failed = read.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!((failed.attribute("type"), code), (Some("unknown-attribute"), Some(1)));
    assert_eq!(failed.parent().unwrap().attribute("name"), Some("realm/update.cedar"));
}

#[test]
fn a_warning_is_a_finding_only_when_asked_for() {
    let folder = written("lint-when-false");
    assert_eq!(hallpass(&["check", "realm"], folder.path()).1, Some(0));
    assert_eq!(hallpass(&["check", "--strict", "realm"], folder.path()).1, Some(1));
}

#[test]
fn formatting_settles_and_changes_no_answer() {
    let folder = written("lint-shadowed-permit");
    let path = folder.path().join("realm/lend.cedar");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("permit (", "permit(  ")).unwrap();
    let before = lint::check(&read_folder(&folder.path().join("realm")).unwrap());
    let (text, code) = hallpass(&["fmt", "--check", "realm"], folder.path());
    assert_eq!((code, text.contains("would change")), (Some(1), true), "{text}");
    assert_eq!(hallpass(&["fmt", "realm"], folder.path()).1, Some(0));
    let (text, code) = hallpass(&["fmt", "--check", "realm"], folder.path());
    assert_eq!(code, Some(0), "{text}");
    let after = lint::check(&read_folder(&folder.path().join("realm")).unwrap());
    let told = |checked: &lint::Checked| checked.faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>();
    assert_eq!(told(&before), told(&after));
}
