//! Modes and owners: keys that others could read, data that is somebody else's.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    finding::{Finding, State},
    loaded,
};
use crate::{config::Config, domain::issuer::Issuer, server::ADMIN_TOKEN};

const FILES: &str = "files";

/// Others than owner and group.
const OTHERS: u32 = 0o007;
/// Anybody but the owner.
const NOT_OWNER: u32 = 0o077;
/// Others may write.
const OTHERS_WRITE: u32 = 0o002;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = data_folder(config);
    findings.extend(policies(config));
    findings.extend(secrets(config));
    if findings.iter().all(|finding| finding.state == State::Fine) {
        findings.push(Finding::fine(FILES, "keys and policies belong to whom they should"));
    }
    findings
}

/// The data folder with its keys.
fn data_folder(config: &Config) -> Vec<Finding> {
    let folder = &config.data_dir;
    let shown = folder.display();
    let Ok(metadata) = fs::metadata(folder) else {
        return vec![Finding::fine(FILES, format!("`{shown}` is not there; the first start makes it"))];
    };
    if !metadata.is_dir() {
        let advice = "name a folder with `data_dir`, or move the file away";
        return vec![Finding::fault(FILES, format!("`{shown}`, the data folder, is a file"), advice)];
    }
    let mut findings = Vec::new();
    if metadata.mode() & OTHERS != 0 {
        let what = format!("others on this machine can look into `{shown}`, where relationships of pupils are");
        findings.push(Finding::warning(FILES, what, format!("chmod 0750 {shown}")));
    }
    for (path, metadata) in keys(folder) {
        let shown = path.display();
        if metadata.mode() & NOT_OWNER != 0 {
            let what = format!("others than its owner may use the key `{shown}`, so the service refuses to start");
            findings.push(Finding::fault(
                FILES,
                what,
                format!("chmod 0600 {shown}; was it readable for long, replace it"),
            ));
        }
    }
    findings.extend(owners(folder, &metadata));
    findings
}

/// The secrets that the service keeps itself, as far as they are there.
fn keys(data: &Path) -> Vec<(PathBuf, Metadata)> {
    let in_folder = fs::read_dir(data.join("keys")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = in_folder.filter(|path| path.extension().is_some_and(|end| end == "key")).collect();
    paths.extend(["pseudonym.key", ADMIN_TOKEN].map(|name| data.join(name)));
    paths.sort();
    paths.into_iter().filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?))).collect()
}

/// Everything in the folder and one level below belongs to whom the folder belongs.
fn owners(folder: &Path, metadata: &Metadata) -> Option<Finding> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let entries: Vec<PathBuf> = below(folder)
        .into_iter()
        .flat_map(|path| {
            let mut all = below(&path);
            all.push(path);
            all
        })
        .collect();
    let uid = metadata.uid();
    let is_foreign = |path: &&PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.uid() != uid);
    let foreign: Vec<&PathBuf> = entries.iter().filter(is_foreign).collect();
    let first = foreign.first()?;
    let what = format!(
        "{} in the data folder belong to another user than the folder (uid {uid}), `{}` first: was the service started as \
         another user once?",
        foreign.len(),
        first.display()
    );
    Some(Finding::fault(FILES, what, format!("with the service stopped: chown -R {uid} {}", folder.display())))
}

/// Who can write these decides what is allowed.
fn policies(config: &Config) -> Vec<Finding> {
    let mut paths: Vec<&Path> = vec![&config.policies_dir];
    paths.extend(config.realms.iter().map(|realm| realm.place.shown()));
    paths.into_iter().filter_map(open_to_all).collect()
}

/// The configuration itself.
pub(super) fn of_configuration(file: &Path) -> Option<Finding> {
    open_to_all(file)
}

fn open_to_all(path: &Path) -> Option<Finding> {
    let is_open = fs::metadata(path).is_ok_and(|found| found.mode() & OTHERS_WRITE != 0);
    let shown = path.display();
    is_open.then(|| {
        let what = format!("anybody on this machine can change `{shown}`, and with it what is allowed");
        Finding::fault(FILES, what, format!("chmod -R o-w {shown}"))
    })
}

/// What this service proves itself with, to issuers and to callers.
fn secrets(config: &Config) -> Vec<Finding> {
    let issuers = loaded::issuers(config).into_iter().flat_map(|trusting| trusting.issuers);
    let secret = |issuer: Issuer| Some(issuer.introspection?.authentication.file().clone());
    let mut files: Vec<PathBuf> = issuers.filter_map(secret).collect();
    files.extend(config.tls.as_ref().map(|tls| tls.options.key.clone()));
    files.sort();
    files.dedup();
    let finding = |file: PathBuf| {
        let shown = file.display();
        match fs::metadata(&file) {
            Err(error) => {
                let what = format!("`{shown}`, by which this service proves itself, cannot be read: {error}");
                Some(Finding::fault(FILES, what, "put it there, readable for the service's user"))
            }
            Ok(found) if found.mode() & OTHERS != 0 => {
                let what = format!("others on this machine can read the secret `{shown}`");
                Some(Finding::warning(FILES, what, format!("chmod 0640 {shown}, or 0600")))
            }
            Ok(_) => None,
        }
    };
    files.into_iter().filter_map(finding).collect()
}
