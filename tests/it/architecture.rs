//! The floors of the house, checked: a folder names only the folders and crates that its floor allows.
//!
//! Code for tests keeps to the floors too, but may use any crate, clocks, files and threads.

mod source;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path as FilePath, PathBuf},
};

use source::{ELSEWHERE, Path, Source};

/// The folder of one floor and what its files may name.
struct Floor {
    folder: &'static str,
    /// Beginnings of paths after `crate::`.
    ours: &'static [&'static str],
    crates: Crates,
    /// Same input, same output: no clock, no file, no socket, no thread, no environment, nothing that waits.
    is_pure: bool,
}

/// The dependencies that a floor may name.
enum Crates {
    /// These and no others: a new dependency is refused until it is let in here.
    Only(&'static [&'static str]),
    /// All but these and those whose name goes on with `_` after one of these.
    AllBut(&'static [&'static str]),
}

const FLOORS: [Floor; 5] = [
    Floor {
        folder: "domain",
        ours: &["domain"],
        crates: Crates::Only(&[
            "arc_swap",
            "aws_lc_rs", // verifies ES512, which jsonwebtoken, built on it, does not: bytes in, yes or no out
            "base64",
            "cedar_policy",
            "cedar_policy_core",
            "cedar_policy_symcc", // turns claims about policies into formulas: policies in, formulas out; only app waits for a solver
            "foldhash",
            "hashbrown",
            "hmac",
            "imbl",
            "jsonwebtoken",
            "miette",
            "quick_cache",
            "ref_cast",
            "roxmltree", // reads XML of claim sets and profiles: text in, tree out
            "serde",     // reads the places in YAML of tests, as serde_saphyr offers them: text in, tree out
            "serde_json",
            "serde_saphyr",
            "sha2",
            "smol_str",
            "thiserror",
            "toml",
            "uuid",
        ]),
        is_pure: true,
    },
    Floor {
        folder: "app",
        ours: &["domain", "app"],
        crates: Crates::AllBut(&["tonic", "prost", "axum", "sled", "tokio_postgres", "reqwest", "rustix", "clap"]),
        is_pure: false,
    },
    Floor {
        folder: "transport",
        ours: &["domain", "app", "transport", "proto"],
        crates: Crates::AllBut(&["sled", "tokio_postgres", "reqwest", "rustix", "clap"]),
        is_pure: false,
    },
    Floor {
        folder: "storage",
        ours: &["domain", "app::ports", "app::error", "storage"],
        crates: Crates::AllBut(&["tonic", "prost", "axum", "reqwest", "clap"]),
        is_pure: false,
    },
    Floor {
        folder: "provider",
        ours: &["domain", "app::ports", "app::error", "provider"],
        crates: Crates::AllBut(&["tonic", "prost", "axum", "sled", "tokio_postgres", "clap"]),
        is_pure: false,
    },
];

/// The top floor puts the house together and may name everything.
const TOP: [&str; 13] = [
    "cli",
    "config",
    "config.rs",
    "lib.rs",
    "main.rs",
    "metrics",
    "metrics.rs",
    "proto",
    "proto.rs",
    "server",
    "server.rs",
    "telemetry",
    "telemetry.rs",
];

/// Modules of the standard library that reach outside.
const REACHING_OUTSIDE: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];
/// Names that stand for a clock or a source of chance, wherever they come from.
const CLOCKS: [&str; 7] = ["Instant", "SystemTime", "get_current_timestamp", "now", "now_utc", "now_v7", "new_v4"];
/// Words that only code that waits needs.
const WAITING: [&str; 2] = ["async", "await"];

/// Files that are longer without their tests are reported.
const LINES_MAX: usize = 450;

#[test]
fn each_floor_names_only_the_floors_below_it() {
    let dependencies = dependencies(&fs::read_to_string("Cargo.toml").unwrap());
    let mut faults = Vec::new();
    let mut files = 0;
    for floor in &FLOORS {
        let sources = sources(floor.folder);
        files += sources.len();
        faults.extend(faults_of(floor, &sources, &dependencies));
    }
    faults.extend(without_floor(&names_in("src")));
    assert!(files > 10, "only {files} files were found: is this the package's folder?");
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What the adapters of `transport` share. Beside that, none of them names another.
const SHARED_BY_ADAPTERS: [&[&str]; 3] = [&["listener"], &["layer"], &["http", "problem"]];

/// Adapters that name other adapters.
fn neighbours(sources: &[(PathBuf, Source)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, source) in sources {
        let own = module_of(file).get(1).cloned().unwrap_or_default();
        for named in &source.paths {
            let Path::Ours(path) = &named.path else { continue };
            let Some((_, inside)) = path.split_first().filter(|(floor, _)| *floor == "transport") else { continue };
            let is_shared = SHARED_BY_ADAPTERS.iter().any(|shared| shared.iter().eq(inside.iter().take(shared.len())));
            if !is_shared && inside.first().is_some_and(|adapter| *adapter != own) {
                faults.push(format!("{}:{}: names its neighbour `{}`", file.display(), named.line, path.join("::")));
            }
        }
    }
    faults
}

#[test]
fn adapters_know_nothing_of_each_other_but_what_they_share() {
    let faults = neighbours(&sources("transport"));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    let planted = "use crate::transport::{grpc::convert, http::problem, http::body, layer::caller, listener};";
    let file = "src/transport/envoy/a.rs";
    let found = neighbours(&[(file.into(), source::read(&module_of(FilePath::new(file)), planted))]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("transport::grpc::convert") && found[1].contains("transport::http::body"), "{found:?}");
}

#[test]
fn long_files_are_reported() {
    let floors = FLOORS.iter().map(|floor| floor.folder);
    for (file, source) in floors.chain(["cli"]).flat_map(sources) {
        if source.lines_without_tests > LINES_MAX {
            let lines = source.lines_without_tests;
            // Not by println, which nobody sees of a test that passes.
            writeln!(std::io::stderr(), "{}: {lines} lines without tests, better {LINES_MAX}", file.display()).unwrap();
        }
    }
}

/// The dependencies of the package as code names them, those of tests left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).unwrap();
    dependencies.keys().map(|name| name.replace('-', "_")).collect()
}

/// The files of a folder of `src/`, read; no files when there is no such folder yet.
fn sources(folder: &str) -> Vec<(PathBuf, Source)> {
    let files = rust_files(&FilePath::new("src").join(folder));
    files
        .into_iter()
        .map(|file| (file.clone(), source::read(&module_of(&file), &fs::read_to_string(file).unwrap())))
        .collect()
}

fn rust_files(folder: &FilePath) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn names_in(folder: &str) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The module that a file under `src/` is.
fn module_of(file: &FilePath) -> Vec<String> {
    let stem = file.with_extension("");
    let segments = stem.iter().skip(1).map(|segment| segment.to_string_lossy().into_owned());
    segments.filter(|segment| segment != "mod").collect()
}

/// Whatever stands in `src/` is on a floor.
fn without_floor(names: &[String]) -> Vec<String> {
    let is_placed = |name: &str| TOP.contains(&name) || FLOORS.iter().any(|floor| floor.folder == name);
    let mut lost: Vec<_> = names.iter().filter(|name| !is_placed(name)).collect();
    lost.sort();
    lost.into_iter()
        .map(|name| format!("src/{name}: is on no floor; give it one in tests/it/architecture.rs"))
        .collect()
}

fn faults_of(floor: &Floor, sources: &[(PathBuf, Source)], dependencies: &BTreeSet<String>) -> Vec<String> {
    let for_tests: Vec<_> = sources.iter().flat_map(|(_, source)| &source.test_modules).collect();
    let mut faults = Vec::new();
    for (file, source) in sources {
        let is_test_file = for_tests.iter().any(|module| module_of(file).starts_with(module));
        let mut found = BTreeSet::new();
        for named in &source.paths {
            let is_test = is_test_file || named.is_test;
            let fault = match &named.path {
                Path::Ours(path) => floor.refuses_ours(path),
                Path::Other(path) if is_test && path.first().is_none_or(|name| name != ELSEWHERE) => None,
                Path::Other(path) => floor.refuses_other(path, dependencies),
            };
            found.extend(fault.map(|fault| (named.line, fault)));
        }
        if floor.is_pure && !is_test_file {
            let waiting = source.words.iter().filter(|(_, word)| WAITING.contains(&word.as_str()));
            found.extend(waiting.map(|(line, word)| (*line, format!("is not pure: `{word}`"))));
        }
        faults.extend(found.into_iter().map(|(line, fault)| format!("{}:{line}: {fault}", file.display())));
    }
    faults
}

impl Floor {
    fn refuses_ours(&self, path: &[String]) -> Option<String> {
        let may_name = |beginning: &&str| beginning.split("::").eq(path.iter().take(beginning.split("::").count()));
        let is_allowed = self.ours.iter().any(may_name);
        (!is_allowed)
            .then(|| format!("names `crate::{}`; {} may name {}", path.join("::"), self.folder, self.ours.join(", ")))
    }

    fn refuses_other(&self, path: &[String], dependencies: &BTreeSet<String>) -> Option<String> {
        let (name, inside) = path.split_first()?;
        let is_refused = match &self.crates {
            Crates::Only(allowed) => dependencies.contains(name) && !allowed.contains(&name.as_str()),
            Crates::AllBut(refused) => refused.iter().any(|refused| is_of_family(name, refused)),
        };
        if is_refused || name == ELSEWHERE {
            return Some(format!("names `{name}`, which {} may not", self.folder));
        }
        let is_of_std = matches!(name.as_str(), "std" | "core");
        let is_outside = is_of_std && inside.first().is_some_and(|module| REACHING_OUTSIDE.contains(&module.as_str()));
        let is_clock = path.iter().any(|segment| CLOCKS.contains(&segment.as_str()));
        (self.is_pure && (is_outside || is_clock)).then(|| format!("is not pure: `{}`", path.join("::")))
    }
}

/// `tonic_health` is of the family of `tonic`.
fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Files with planted faults, and the beginnings of what has to be said about each: the line and the words.
const PLANTED: &[(&str, &str, &[&str])] = &[
    ("src/domain/a.rs", "use crate::domain::id::Revision;\nuse super::id;\nuse std::{fmt, sync::Arc};\n", &[]),
    ("src/domain/a.rs", "use crate::storage::sled::Store;", &["1: names `crate::storage::sled::Store`"]),
    (
        "src/domain/a.rs",
        "use crate::{\n    domain::id,\n    app::{self, ports::{Clock, StoreError as E}},\n    transport::*,\n};",
        &[
            "3: names `crate::app`",
            "3: names `crate::app::ports::Clock`",
            "3: names `crate::app::ports::StoreError`",
            "4: names `crate::transport::*`",
        ],
    ),
    ("src/domain/a.rs", "fn f() -> super::super::app::App {}", &["1: names `crate::app::App`"]),
    ("src/domain/a/b.rs", "use super::super::{id, super::storage};", &["1: names `crate::storage`"]),
    (
        "src/domain/a/b.rs",
        "use super::super::id;\nfn f(_: super::super::super::proto::X) {}",
        &["2: names `crate::proto::X`"],
    ),
    ("src/domain/mod.rs", "pub use super::app;", &["1: names `crate::app`"]),
    ("src/domain/a.rs", "mod inner {\n  use super::super::id;\n}\nuse super::super::cli;", &["4: names `crate::cli`"]),
    ("src/domain/a.rs", "use crate::*;\nuse crate as all;", &["1: names `crate::*`", "2: names `crate::`"]),
    ("src/domain/a.rs", "macro_rules! m { () => { $crate::server::run() } }", &["1: names `crate::server::run`"]),
    ("src/domain/a.rs", "fn f() { hallpass::cli::run() }", &["1: names `crate::cli::run`"]),
    ("src/domain/a.rs", "#[path = \"../storage/b.rs\"]\nmod b;", &["1: names `#[path]`"]),
    ("src/domain/a.rs", "use tokio::sync::Mutex;\nuse ::tracing as t;", &["1: names `tokio`", "2: names `tracing`"]),
    ("src/domain/a.rs", "extern crate sled;\n#[derive(sled::Tree)] struct A;", &["1: names `sled`", "2: names `sled`"]),
    (
        "src/domain/a.rs",
        "fn f() { ::sled::open(1) }\nfn g() { r#tokio::spawn(2) }",
        &["1: names `sled`", "2: names `tokio`"],
    ),
    (
        "src/domain/a.rs",
        "use std::{fs, time::{Duration, Instant}};\nfn f() { std::env::var(\"A\"); chrono::Utc::now() }",
        &[
            "1: is not pure: `std::fs`",
            "1: is not pure: `std::time::Instant`",
            "2: is not pure: `chrono::Utc::now`",
            "2: is not pure: `std::env::var`",
        ],
    ),
    ("src/domain/a.rs", "async fn f() {\n  g().await\n}", &["1: is not pure: `async`", "2: is not pure: `await`"]),
    (
        "src/domain/a.rs",
        "// crate::app\n/* crate::app /* tokio::a */ std::fs::b */\n/// [`crate::app::X`]\nfn f() {}",
        &[],
    ),
    (
        "src/domain/a.rs",
        "const A: &str = \"crate::app \\\" async\";\nconst B: &str = r##\"use crate::app; \"# await\"##;\nconst C: char = '\"';\n\
         fn f<'a>(x: &'a str) -> [u8; 1] { *b\"'\" }\nuse crate::app;",
        &["5: names `crate::app`"],
    ),
    (
        "src/domain/a.rs",
        "#[cfg(test)]\nmod tests {\n  use std::thread;\n  use tokio::task;\n  use super::*;\n  use crate::storage;\n}\nuse sled::Db;",
        &["6: names `crate::storage`", "8: names `sled`"],
    ),
    (
        "src/domain/a.rs",
        "#[cfg(not(test))]\nuse sled::Db;\n#[cfg(all(test, unix))]\nuse sled::Tree;",
        &["2: names `sled`"],
    ),
    ("src/domain/a.rs", "enum A {\n  #[cfg(test)]\n  B(tokio::B),\n  C(tokio::C),\n}", &["4: names `tokio`"]),
    ("src/app/a.rs", "use crate::domain::id;\nuse tokio::task;\nuse std::time::Instant;\nasync fn f() {}", &[]),
    (
        "src/app/a.rs",
        "use tonic_health::pb;\nuse crate::provider::jwks;",
        &["1: names `tonic_health`", "2: names `crate::provider::jwks`"],
    ),
    ("src/transport/a.rs", "use crate::{proto::v1, app::App, storage::sled};", &["1: names `crate::storage::sled`"]),
    (
        "src/storage/a.rs",
        "use crate::app::ports::Clock;\nuse crate::app::authorize::f;",
        &["2: names `crate::app::authorize::f`"],
    ),
    (
        "src/storage/a.rs",
        "use crate::app;\nuse super::super::provider;",
        &["1: names `crate::app`", "2: names `crate::provider`"],
    ),
    (
        "src/provider/a.rs",
        "use sled::Db;\nuse crate::storage::codec;",
        &["1: names `sled`", "2: names `crate::storage::codec`"],
    ),
];

#[test]
fn planted_faults_are_named_with_their_lines_and_nothing_else_is() {
    let dependencies = ["tokio", "tracing", "serde", "sled", "sha2"].map(str::to_owned).into();
    for (file, text, expected) in PLANTED {
        let module = module_of(FilePath::new(file));
        let floor = FLOORS.iter().find(|floor| floor.folder == module[0]).unwrap();
        let found = faults_of(floor, &[(file.into(), source::read(&module, text))], &dependencies);
        let expected: Vec<String> = expected.iter().map(|fault| format!("{file}:{fault}")).collect();
        let is_expected = |fault: &String| expected.iter().any(|beginning| fault.starts_with(beginning));
        let is_found = |beginning: &String| found.iter().any(|fault| fault.starts_with(beginning));
        let is_named = found.len() == expected.len() && found.iter().all(is_expected) && expected.iter().all(is_found);
        assert!(is_named, "in\n{text}\nfound    {found:#?}\nexpected {expected:#?}");
    }
}

#[test]
fn a_module_for_tests_in_a_file_of_its_own_may_use_any_crate() {
    let read = |file: &str, text| (PathBuf::from(file), source::read(&module_of(FilePath::new(file)), text));
    let domain = &FLOORS[0];
    let dependencies = ["tokio".to_owned()].into();
    let support = "use tokio::task;\nuse std::fs;\nasync fn f() {}\nuse crate::app;";
    let sources = |declared| [read("src/domain/mod.rs", declared), read("src/domain/support.rs", support)];
    assert_eq!(faults_of(domain, &sources("#[cfg(test)]\nmod support;"), &dependencies).len(), 1);
    assert_eq!(faults_of(domain, &sources("mod support;"), &dependencies).len(), 4);
}

#[test]
fn a_file_without_a_floor_is_named() {
    let names = ["lib.rs", "domain", "utils.rs", "helpers"].map(str::to_owned);
    let found = without_floor(&names);
    assert!(
        found.len() == 2 && found[0].starts_with("src/helpers: ") && found[1].starts_with("src/utils.rs: "),
        "{found:?}"
    );
}

#[test]
fn lines_of_tests_do_not_count() {
    let text = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n";
    assert_eq!(source::read(&[], text).lines_without_tests, 3);
}
