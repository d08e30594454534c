//! `hallpass grants import`: the claim sets of an Ed-Fi product as a realm's table.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    cli::{
        Outcome,
        render::{Screen, counted, note, plain},
    },
    domain::{fault::Fault, grants::table::ClaimTable, policy_set::SourceFile},
    provider::claims_metadata::{self, Imported, Product},
};

/// What the files may hold together, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most notes that are shown.
const NOTES_MAX: usize = 50;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files, or folders with such files: claims documents and fragments (.json), exports of the security database
    /// (.sql), XML of claims (.xml)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose files they are
    #[arg(long, value_name = "PRODUCT", value_enum, default_value_t)]
    format: Format,
    /// Only these claim sets
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    claim_sets: Vec<String>,
    /// What the table says of its source
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Where to write it; standard output when left out
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// What the content looks like
    #[default]
    Auto,
    /// Ed-Fi Data Management Service
    Dms,
    /// Ed-Fi ODS/API
    Ods,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { files, format, claim_sets, source, output } = arguments;
    let product = match format {
        Format::Auto => None,
        Format::Dms => Some(Product::Dms),
        Format::Ods => Some(Product::Ods),
    };
    let files = read(files)?;
    let Imported { mut table, notes } = match claims_metadata::read(product, &files) {
        Ok(imported) => imported,
        Err(faults) => {
            for fault in &faults {
                note(&plain_fault(fault));
            }
            note(&counted(faults.len() as u64, "fault", "faults"));
            return Ok(Outcome::Findings);
        }
    };
    for found in notes.iter().take(NOTES_MAX) {
        // What was taken over in another way is no fault.
        note(&plain(&format!("{}: {}", found.file, found.message)));
    }
    if let Some(more) = notes.len().checked_sub(NOTES_MAX).filter(|more| *more > 0) {
        note(&format!("and {more} more like these"));
    }
    let selected: Vec<Arc<str>> = claim_sets.iter().map(|name| name.trim().into()).collect();
    if !selected.is_empty() {
        let known = table.claim_set_names();
        let missing = table.keep_claim_sets(&selected);
        if !missing.is_empty() {
            let known: Vec<_> = known.iter().map(|name| &**name).collect();
            bail!("unknown claim set `{}`, expected some of {}", missing.join("`, `"), known.join(", "));
        }
    }
    table.source = source.clone().unwrap_or_else(|| described(&files, product));
    match output {
        Some(path) => fs::write(path, table.text()).with_context(|| format!("cannot write `{}`", path.display()))?,
        None => screen.line(table.text().trim_end_matches('\n'))?,
    }
    note(&summary(&table));
    Ok(Outcome::Fine)
}

fn described(files: &[SourceFile], product: Option<Product>) -> String {
    let product = product.or_else(|| files.first().map(|file| Product::of(&file.content)));
    let name = |file: &SourceFile| Path::new(&file.path).file_name().map(|name| name.to_string_lossy().into_owned());
    let names: Vec<_> = files.iter().filter_map(name).collect();
    format!("{}: {}", product.map_or("", Product::title), names.join(", "))
}

fn summary(table: &ClaimTable) -> String {
    let (claims, defaults, grants) = table.counts();
    let count = |number: usize, one, many| counted(number as u64, one, many);
    format!(
        "{}, {}, {}, {}",
        count(table.claim_set_names().len(), "claim set", "claim sets"),
        count(claims, "claim", "claims"),
        count(defaults, "default", "defaults"),
        count(grants, "grant", "grants"),
    )
}

/// A fault that cannot steer a terminal; the caret keeps its line.
fn plain_fault(fault: &Fault) -> String {
    fault.to_string().split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// The files, those of a folder in the order of their paths.
fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    let mut bytes = 0;
    let mut sources = Vec::new();
    for path in files {
        let cannot = || format!("cannot read `{}`", path.display());
        bytes += fs::metadata(&path).with_context(cannot)?.len();
        if bytes > BYTES_MAX {
            bail!("the files hold more than {BYTES_MAX} bytes; name those with the claim sets only");
        }
        let content = fs::read_to_string(&path).with_context(cannot)?;
        sources.push(SourceFile { path: path.display().to_string(), content });
    }
    if sources.is_empty() {
        bail!("there is no .json, .sql or .xml file in the folder");
    }
    Ok(sources)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|ending| ["json", "sql", "xml"].iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    Ok(())
}
