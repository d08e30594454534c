//! Pages that a test follows as they are written.

mod page;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

pub(crate) use self::page::{Step, steps};
use self::page::{apply, is_shown};

/// The addresses that pages name. A test takes free ones.
const ADDRESS: &str = "127.0.0.1:50051";
const HTTP_ADDRESS: &str = "127.0.0.1:8080";

/// Follows a page of `docs/` in a folder of its own, beside the repository's realms and examples, and holds what commands show against what the page says.
pub(crate) fn follow(page: &str, steps_min: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut reader = Reader::new();
    let steps = steps(&fs::read_to_string(root.join("docs").join(page)).unwrap());
    assert!(steps.len() >= steps_min, "{}", steps.len());
    for step in &steps {
        let shown = reader.follow(step);
        if let (Step::Run { command, shown: said }, Some(shown)) = (step, shown) {
            assert!(is_shown(said, &shown), "$ {command}\nshows\n{shown}\nwhere the page says\n{said}");
        }
    }
}

/// Who follows the page: a folder, and the service once it was started.
pub(crate) struct Reader {
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    /// Where HTTP is spoken, once it is.
    http_address: String,
    service: Option<Child>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for shared in ["policies", "examples"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(shared);
            std::os::unix::fs::symlink(from, folder.path().join(shared)).unwrap();
        }
        Self { folder, address: "127.0.0.1:0".to_owned(), http_address: "127.0.0.1:0".to_owned(), service: None }
    }

    /// A command line for the shell, which finds the program and is told nothing else by the environment.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_hallpass")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HALLPASS_")) {
            command.env_remove(name);
        }
        command.arg("-c").arg(line).current_dir(self.folder.path()).stdin(Stdio::null());
        let paths = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).unwrap());
        command.env("HALLPASS_GRPC_ADDRESS", &self.address);
        command
    }

    /// Does one step; what a command shows, as the page would have it.
    pub(crate) fn follow(&mut self, step: &Step) -> Option<String> {
        apply(step, self.folder.path());
        let Step::Run { command, .. } = step else { return None };
        let command = &command.replace(HTTP_ADDRESS, &self.http_address);
        if let Some(service) = command.strip_suffix(" &") {
            return Some(self.start(service));
        }
        let output = self.shell(&format!("( {command}\n) 2>&1")).output().unwrap();
        Some(String::from_utf8(output.stdout).unwrap())
    }

    /// Starts a service and takes what it shows first: where it listens.
    pub(crate) fn start(&mut self, command: &str) -> String {
        let log = fs::File::create(self.folder.path().join("service.log")).unwrap();
        let mut service = self.shell(&format!("exec {command}")).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (mut line, mut second) = (String::new(), String::new());
        let mut lines = BufReader::new(service.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        if command.contains("--http-address") {
            lines.read_line(&mut second).unwrap();
            if let Some(address) = second.trim().strip_prefix("listening on http://") {
                address.clone_into(&mut self.http_address);
            }
        }
        self.service = Some(service);
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let log = || fs::read_to_string(self.folder.path().join("service.log")).unwrap();
        self.address = address.unwrap_or_else(|| panic!("the service did not start:\n{}", log()));
        line.replace(&self.address, ADDRESS) + &second.replace(&self.http_address, HTTP_ADDRESS)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service
            && service.kill().is_ok()
        {
            service.wait().ok();
        }
    }
}
