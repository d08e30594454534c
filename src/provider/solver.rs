//! The solver: a cvc5 process that reads SMT-LIB and answers.
//!
//! A process solves many scripts; between two of them it is reset. One that ends, takes longer than it may, or says what
//! nobody understands is killed, and the next script gets a new one.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::app::ports::{FormulaSolver, Solved};

/// The oldest version whose answers are understood.
const VERSION_MIN: [u32; 3] = [1, 3, 1];
/// How long a program may take to say its version.
const VERSION_TIME: Duration = Duration::from_secs(20);
/// What a process gets beyond the time of a script to say that the time is over.
const GRACE: Duration = Duration::from_secs(2);
/// A model, in bytes: a counterexample has a few kilobytes.
const MODEL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A program that solves formulas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolverProgram {
    path: PathBuf,
    /// Its version, as it says itself.
    pub version: String,
}

/// Why there is no solver.
#[derive(Debug, thiserror::Error)]
pub enum NoSolver {
    /// No program of that name.
    #[error(
        "there is no solver: {0}; install cvc5 1.3.1 or later, or run scripts/install-solver, and name it in CVC5 or have it on PATH"
    )]
    Missing(String),
    /// Not a version whose answers are understood.
    #[error("`{path}` is {version}, which is too old; it takes cvc5 1.3.1 or later (see scripts/install-solver)")]
    TooOld {
        /// The program.
        path: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// It does not say which version it is.
    #[error("`{path}` does not answer as cvc5 does: {why}; name another program in CVC5")]
    Strange {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl SolverProgram {
    /// The program that is named, or the first `cvc5` in the folders of a search path.
    ///
    /// # Errors
    /// There is none, or it is not one that can be used.
    pub async fn find(named: Option<&str>, search_path: Option<&OsStr>) -> Result<Self, NoSolver> {
        let path = match named.filter(|name| !name.is_empty()) {
            Some(name) => PathBuf::from(name),
            None => on_path(search_path).ok_or_else(|| NoSolver::Missing("no `cvc5` on PATH".to_owned()))?,
        };
        if !path.is_file() {
            return Err(NoSolver::Missing(format!("`{}` is no program", path.display())));
        }
        let mut command = Command::new(&path);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let strange = |why: String| NoSolver::Strange { path: path.clone(), why };
        let output = timeout(VERSION_TIME, command.output()).await;
        let output = output.map_err(|_| strange("it does not tell its version in time".to_owned()))?;
        let output = output.map_err(|error| strange(format!("it cannot be started: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        let version = version_in(&said).ok_or_else(|| strange(format!("it says no version but {said:?}")))?;
        if version < VERSION_MIN {
            return Err(NoSolver::TooOld { path, version: said });
        }
        Ok(Self { path, version: version.map(|number| number.to_string()).join(".") })
    }

    /// A solver that gives each script at most this time.
    pub fn solver(&self, time: Duration) -> Box<dyn FormulaSolver> {
        Box::new(Cvc5 { path: self.path.clone(), time, process: None })
    }
}

fn on_path(search_path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(search_path?).map(|folder| folder.join("cvc5")).find(|path| path.is_file())
}

/// The first three numbers with points between them.
fn version_in(said: &str) -> Option<[u32; 3]> {
    said.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match [numbers.next()?, numbers.next()?, numbers.next()?] {
            [Ok(major), Ok(minor), Ok(patch)] => Some([major, minor, patch]),
            _ => None,
        }
    })
}

#[derive(Debug)]
struct Cvc5 {
    path: PathBuf,
    time: Duration,
    process: Option<Process>,
}

/// A process is killed when it is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(path: &Path, time: Duration) -> std::io::Result<Self> {
        let mut command = Command::new(path);
        command.args(["--lang", "smt"]).arg(format!("--tlimit-per={}", time.as_millis()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| std::io::Error::other("the solver has no input or output"))?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    async fn solve(&mut self, script: &str) -> std::io::Result<Solved> {
        let whole = format!("(reset)\n{script}(check-sat)\n");
        self.input.write_all(whole.as_bytes()).await?;
        self.input.flush().await?;
        match self.line().await?.trim() {
            "unsat" => Ok(Solved::Refuted),
            "unknown" => Ok(Solved::Unknown("the solver cannot tell, or not in this time".to_owned())),
            "sat" => {
                self.input.write_all(b"(get-model)\n").await?;
                self.input.flush().await?;
                self.model().await
            }
            other => Err(strange(other)),
        }
    }

    /// A model stands between lines of one parenthesis each.
    async fn model(&mut self) -> std::io::Result<Solved> {
        let mut model = self.line().await?;
        if model.trim() != "(" {
            return Err(strange(&model));
        }
        loop {
            let line = self.line().await?;
            model.push_str(&line);
            if line.trim() == ")" {
                return Ok(Solved::Satisfied(model));
            }
            if model.len() > MODEL_BYTES_MAX {
                return Err(std::io::Error::other("its example is too large"));
            }
        }
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line).await? > 0 {
            return Ok(line);
        }
        let status = self.child.wait().await?;
        Err(std::io::Error::other(format!("it ended: {status}")))
    }
}

/// What the solver said that was no answer: mostly an error in its own words.
fn strange(said: &str) -> std::io::Error {
    let shown: String = said.trim().chars().take(500).collect();
    std::io::Error::other(format!("it answers {shown}"))
}

#[async_trait]
impl FormulaSolver for Cvc5 {
    async fn solve(&mut self, script: &str) -> Solved {
        let mut process = match self.process.take().map_or_else(|| Process::start(&self.path, self.time), Ok) {
            Ok(process) => process,
            Err(error) => return Solved::Unknown(format!("the solver cannot be started: {error}")),
        };
        match timeout(self.time + GRACE, process.solve(script)).await {
            Ok(Ok(solved)) => {
                self.process = Some(process);
                solved
            }
            Ok(Err(error)) => Solved::Unknown(format!("the solver failed: {error}")),
            Err(_) => Solved::Unknown(format!("the solver took longer than {} s", self.time.as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A program that does what the shell script says.
    fn program(folder: &tempfile::TempDir, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;

        let path = folder.path().join("cvc5");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn found(script: &str) -> Result<SolverProgram, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = program(&folder, script);
        SolverProgram::find(path.to_str(), None).await.map_err(|error| error.to_string())
    }

    async fn solved(script: &str) -> [Solved; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = program(&folder, script);
        let mut solver = Cvc5 { path, time: Duration::from_secs(20), process: None };
        [solver.solve("(set-logic ALL)\n").await, solver.solve("(set-logic ALL)\n").await]
    }

    #[tokio::test]
    async fn a_program_tells_its_version_and_an_old_one_is_refused() {
        assert_eq!(found("echo This is cvc5 version 1.3.1").await.unwrap().version, "1.3.1");
        assert_eq!(found("echo 'This is cvc5 version 1.4.2-modified [git]'").await.unwrap().version, "1.4.2");
        let old = found("echo This is cvc5 version 1.3.0").await.unwrap_err();
        assert!(old.contains("is This is cvc5 version 1.3.0, which is too old"), "{old}");
        let other = found("echo Z3 version four").await.unwrap_err();
        assert!(other.contains("does not answer as cvc5 does: it says no version but \"Z3 version four\""), "{other}");
    }

    #[tokio::test]
    async fn without_a_program_it_is_said_where_to_get_one() {
        for (named, path) in [(Some("/nowhere/cvc5"), None), (None, None), (None, Some(OsStr::new("/nowhere")))] {
            let error = SolverProgram::find(named, path).await.unwrap_err().to_string();
            assert!(error.starts_with("there is no solver: ") && error.contains("scripts/install-solver"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        program(&folder, "echo cvc5 1.9.0");
        let found = SolverProgram::find(None, Some(folder.path().as_os_str())).await.unwrap();
        assert_eq!(found.path, folder.path().join("cvc5"));
    }

    #[tokio::test]
    async fn one_process_solves_many_scripts() {
        let answers = "while read line; do case $line in '(check-sat)') n=$((n+1)); [ $n = 1 ] && echo unsat || echo sat;; \
                       '(get-model)') printf '(\\n(m)\\n)\\n';; esac; done";
        assert_eq!(solved(answers).await, [Solved::Refuted, Solved::Satisfied("(\n(m)\n)\n".to_owned())]);
    }

    #[tokio::test]
    async fn what_a_solver_cannot_do_is_told_in_its_words() {
        let answers = "while read line; do case $line in '(check-sat)') echo '(error \"no such thing\")';; esac; done";
        let [first, second] = solved(answers).await;
        assert_eq!(first, Solved::Unknown("the solver failed: it answers (error \"no such thing\")".to_owned()));
        assert_eq!(first, second);
        let [ended, _] = solved("read line; exit 3").await;
        assert!(matches!(&ended, Solved::Unknown(why) if why.starts_with("the solver failed: ")), "{ended:?}");
        let [unknown, _] = solved("while read line; do [ \"$line\" = '(check-sat)' ] && echo unknown; done").await;
        assert!(matches!(&unknown, Solved::Unknown(why) if why.contains("cannot tell")), "{unknown:?}");
    }
}
