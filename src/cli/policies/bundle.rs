//! `hallpass policies bundle` and `keys`: a realm's files in one signed archive.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    app::{policies::faults_of, ports::Clock as _},
    cli::{
        Outcome, check,
        render::{Screen, note},
    },
    domain::{
        bundle::Statement,
        id::RealmName,
        signed_note::{self, VerifierKey},
    },
    provider::{
        bundle::{self, note_of},
        clock::SystemClock,
        signer::LocalKey,
    },
};

/// What keys are called when nothing is said.
const SIGNER: &str = "policies";

const NOTES: &str = "\
The files are checked and their tests run first. The bundle is a tar archive, the same bytes for the same files; beside it,
with .sig behind the name, stands a signed note (C2SP signed-note) with the name, the number, the SHA-256 of the archive and
the digest of the files. A service with `bundle` and `bundle_keys` under [realms.NAME] takes it when one of its keys signed.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(in crate::cli) struct Arguments {
    /// The realm's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The key that signs, as `hallpass policies keys` makes it [default: nobody signs]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the key is called
    #[arg(long, value_name = "NAME", default_value = SIGNER)]
    signer: String,
    /// The realm that it is for [default: the name of the folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The number of the bundle, higher than that of the one before [default: seconds since 1970]
    #[arg(long, value_name = "NUMBER")]
    number: Option<u64>,
    /// The bundle to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Keys {
    /// The file of the key, which only its owner may read
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the key is called
    #[arg(long, value_name = "NAME", default_value = SIGNER)]
    signer: String,
}

/// Writes a bundle and its note.
pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { folder, key, signer, name, number, out } = arguments;
    let files = check::read(folder)?;
    let faults = faults_of(&files, None);
    if !faults.is_empty() {
        check::show(folder, faults, screen)?;
        return Ok(Outcome::Findings);
    }
    let bytes = bundle::pack(&files).with_context(|| format!("`{}` cannot be bundled", folder.display()))?;
    let name = match name {
        Some(name) => name.clone(),
        None => name_of(folder)?,
    };
    name.parse::<RealmName>().map_err(|error| anyhow!("{error}; name the realm with --name"))?;
    let number = number.unwrap_or_else(|| u64::try_from(SystemClock.now_seconds()).unwrap_or_default());
    let statement = Statement::of(&name, number, &bytes, &files);
    let note_file = note_of(out);
    match key {
        Some(key) => {
            let key = LocalKey::load(key)?;
            let verifier = verifier(&key, signer)?;
            let text = statement.text();
            let signed = signed_note::note(&text, &[(&verifier, key.sign_bytes(text.as_bytes())?)]);
            put(&note_file, signed.as_bytes())?;
        }
        // A note of another bundle would only be in the way.
        None if note_file.exists() => {
            bail!("`{}` is of a bundle that was signed; remove it, or sign with --key", note_file.display())
        }
        None => note("nobody signed it: a service that knows keys refuses it"),
    }
    put(out, &bytes)?;
    let digest: String = statement.version.0.chars().take(12).collect();
    let (out, count) = (out.display(), files.len());
    screen.line(format_args!(
        "{out}: {count} files, {} bytes, for `{name}`, number {number}, digest {digest}…",
        bytes.len()
    ))?;
    Ok(Outcome::Fine)
}

/// Shows what verifies a key's signatures.
pub(super) fn keys(Keys { key, signer }: &Keys, screen: &mut Screen) -> Result<Outcome> {
    let pair = if key.exists() {
        LocalKey::load(key)?
    } else {
        let pair = LocalKey::generate()?;
        pair.save(key)?;
        note(&format!("made the key `{}`; who has it can sign policies", key.display()));
        pair
    };
    note("for `bundle_keys` under [realms.NAME] in hallpass.toml:");
    screen.line(verifier(&pair, signer)?)?;
    Ok(Outcome::Fine)
}

fn verifier(key: &LocalKey, signer: &str) -> Result<VerifierKey> {
    VerifierKey::new(signer, key.public_bytes()?)
        .with_context(|| format!("`{signer}` cannot be a key's name; expected one without blanks and `+`"))
}

/// The name of a folder, also where it is named by `.`.
fn name_of(folder: &Path) -> Result<String> {
    let absolute = fs::canonicalize(folder).with_context(|| format!("cannot find `{}`", folder.display()))?;
    let name = absolute.file_name().context("the folder has no name; name the realm with --name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// Writes a file whole or not at all, in the place of one that is there.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.display();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, bytes).with_context(|| format!("cannot write `{shown}`"))?;
    fs::rename(&temporary, path).with_context(|| format!("cannot write `{shown}`"))
}
