//! The service as a process of its own, as it is shipped: for the examples that drive it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// A running service; ends with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The lines that say where it listens, as they were printed: host and port of each listener.
    pub(crate) addresses: Vec<String>,
}

impl Process {
    /// Builds the binary if it is not fresh and starts it with the configuration `hallpass.toml` of a folder; waits until
    /// it has said where its `listeners` listen.
    pub(crate) fn start(folder: &Path, listeners: usize) -> anyhow::Result<Self> {
        let log = folder.join("stderr.txt");
        let mut command = Command::new(binary()?);
        command.args(["serve", "--grpc-address", "127.0.0.1:0", "--config"]).arg(folder.join("hallpass.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().context("cannot start the service")?;
        let mut output = BufReader::new(child.stdout.take().context("the service has no standard output")?);
        let mut addresses = Vec::new();
        while addresses.len() < listeners {
            let mut line = String::new();
            output.read_line(&mut line)?;
            let Some((_, address)) = line.trim().rsplit_once(' ') else {
                let status = child.wait()?;
                anyhow::bail!("the service did not start ({status}):\n{}", fs::read_to_string(&log)?);
            };
            addresses.push(address.to_owned());
        }
        Ok(Self { child, addresses })
    }
}

/// Nothing of it is kept, so it need not end in order.
impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

/// The binary beside this example, built anew if something changed.
fn binary() -> anyhow::Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", "hallpass", "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    anyhow::ensure!(build.status().context("cannot run cargo")?.success(), "the service could not be built");
    let example = std::env::current_exe()?;
    let folder = example.parent().and_then(Path::parent).context("this example is not where cargo puts examples")?;
    Ok(folder.join("hallpass"))
}
