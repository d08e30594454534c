//! Commands on the pages: every `hallpass …` that they show names verbs and flags that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use super::page::{Page, pages};

/// What `--help` of a verb shows: the verbs below it, and its flags.
#[derive(Clone)]
struct Help {
    verbs: BTreeSet<String>,
    flags: BTreeSet<String>,
}

/// Each verb's help, asked for once.
struct Program {
    known: BTreeMap<Vec<String>, Help>,
}

impl Program {
    fn help(&mut self, verbs: &[String]) -> &Help {
        self.known.entry(verbs.to_vec()).or_insert_with(|| {
            let output = Command::new(env!("CARGO_BIN_EXE_hallpass")).args(verbs).arg("--help").output().unwrap();
            assert!(output.status.success(), "{verbs:?}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            let listed = text.split("Commands:\n").nth(1).map_or("", |rest| rest.split("\n\n").next().unwrap());
            let first = |line: &str| line.trim_start().split(' ').next().map(str::to_owned);
            let is_flag = |line: &&str| line.trim_start().starts_with('-');
            Help {
                verbs: listed.lines().filter_map(first).collect(),
                flags: text.lines().filter(is_flag).flat_map(flags).collect(),
            }
        })
    }
}

/// The long flags that a line names.
fn flags(line: &str) -> Vec<String> {
    let words = line.split(|c: char| c.is_whitespace() || ",=[]()`'\"|;".contains(c));
    let long = words.filter(|word| word.starts_with("--") && word.len() > 2);
    long.map(|word| word.trim_end_matches(['.', ':']).to_owned()).collect()
}

/// The calls of the program in a text of commands: what stands behind its name, up to the next command.
fn calls(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.split(" # ").next().unwrap();
        for command in line.split(['|', ';', '`']).flat_map(|part| part.split("&&")).flat_map(|part| part.split("$(")) {
            let mut words = command.split_whitespace().skip_while(|word| {
                let name = word.trim_matches(['"', '\'', '{', '(']);
                !(name == "hallpass" || name == "$hallpass" || name.ends_with("/hallpass"))
            });
            // What follows the program's name is a verb; else it is a path, a package or a sentence.
            if words.next() == Some("hallpass") && words.clone().next() == Some("hallpass") {
                words.next(); // `sudo -u hallpass hallpass …`
            }
            if words.clone().next().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
                found.push(words.collect::<Vec<_>>().join(" "));
            }
        }
    }
    found
}

/// Texts of a page that are commands: blocks of shell and of what a terminal shows, and code within a sentence.
fn commands(page: &Page) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for (in_code, line) in &page.lines {
        if *in_code {
            if line.trim_start().starts_with("```") {
                blocks.push(String::new());
            } else if let Some(block) = blocks.last_mut() {
                block.push_str(line.trim_start().trim_start_matches("$ "));
                block.push('\n');
            }
        } else {
            let indented = line.strip_prefix("    ").map(str::to_owned);
            let spans =
                line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("hallpass ")).map(str::to_owned);
            blocks.extend(indented.into_iter().chain(spans));
        }
    }
    blocks.iter().flat_map(|block| calls(block)).collect()
}

/// What is wrong with a call, if anything; `None` also for what turns out to be a sentence.
fn fault(program: &mut Program, call: &str) -> Option<String> {
    let mut verbs = Vec::new();
    for word in call.split(' ') {
        if !program.help(&verbs).verbs.contains(word) {
            break;
        }
        verbs.push(word.to_owned());
    }
    let help = program.help(&verbs).clone();
    let word = call.split(' ').nth(verbs.len()).unwrap_or_default();
    // A sentence may begin with the program's name; a verb without its flags may stand for what it does.
    let is_sentence = verbs.is_empty() && !call.contains("--");
    if !is_sentence && !help.verbs.is_empty() && word.starts_with(char::is_alphabetic) {
        return Some(format!("there is no verb `{word}`"));
    }
    let unknown: Vec<_> = flags(call).into_iter().filter(|flag| !help.flags.contains(flag)).collect();
    (!unknown.is_empty()).then(|| format!("there is no flag {unknown:?}"))
}

#[test]
fn every_command_that_is_shown_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut program = Program { known: BTreeMap::new() };
    let (mut looked_at, mut faults) = (0, Vec::new());
    for page in pages(root).iter().filter(|page| page.path != Path::new("CHANGELOG.md")) {
        for call in commands(page) {
            looked_at += 1;
            if let Some(fault) = fault(&mut program, &call) {
                faults.push(format!("{}: hallpass {call}: {fault}", page.path.display()));
            }
        }
    }
    assert!(looked_at > 200, "only {looked_at} commands are shown");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let mut program = Program { known: BTreeMap::new() };
    let mut faults = |call: &str| fault(&mut program, call);
    assert_eq!(faults("decisions query --person Student:ada --limit 3"), None);
    assert_eq!(faults("decisions query --persons Student:ada"), Some("there is no flag [\"--persons\"]".to_owned()));
    assert_eq!(faults("decisions find --person Student:ada"), Some("there is no verb `find`".to_owned()));
    assert_eq!(faults("serv --config hallpass.toml"), Some("there is no verb `serv`".to_owned()));
    assert_eq!(calls("cd x && \"$hallpass\" check a | sort; hallpass test b"), ["check a", "test b"]);
}
