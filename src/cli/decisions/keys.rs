//! `hallpass decisions keys`: the keys that verify checkpoints, and a change of the one that signs.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail};

use super::super::{
    Outcome,
    render::{Screen, note},
    target::{LogTarget, failed},
};
use crate::{
    app::ports::DecisionLog as _,
    config::{Config, Environment, Flags},
    domain::{id::RealmName, signed_note::VerifierKey},
    proto::v1::{GetCheckpointRequest, decision_log_service_client::DecisionLogServiceClient},
    provider::clock::SystemClock,
    server,
    storage::{
        checkpoint_key::{self, CheckpointKey},
        key_file,
        segment_log::{LogKey, Outside, SegmentLog, Signing},
    },
};

#[derive(Debug, clap::Subcommand)]
pub(in super::super) enum Verb {
    /// Shows the keys that verify the checkpoints of a running service's log, newest first
    Show(Show),
    /// Writes the keys of all logs of a data folder, oldest first, to be handed to auditors; needs no service
    Export(Stopped),
    /// Signs with a new key from now on; the service must not run
    Rotate(Rotate),
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Show {
    #[command(flatten)]
    target: LogTarget,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Stopped {
    /// The configuration file [default: hallpass.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder [default: the `data_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Rotate {
    #[command(flatten)]
    stopped: Stopped,
    /// A realm whose log was put back to an older state on purpose: it is signed as it is now, from where it says so with
    /// the new key
    #[arg(long, value_name = "REALM")]
    restored: Vec<RealmName>,
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Show(arguments) => show(arguments, environment, screen).await,
        Verb::Export(arguments) => export(arguments, environment, screen),
        Verb::Rotate(arguments) => rotate(arguments, environment, screen).await,
    }
}

async fn show(arguments: Show, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let channel = arguments.target.connect(environment).await?;
    let realm = arguments.target.realm(&channel).await?;
    let made = DecisionLogServiceClient::new(channel).get_checkpoint(GetCheckpointRequest { realm }).await;
    let made = made.map_err(|status| failed(&status))?.into_inner();
    made.verifier_keys.iter().try_for_each(|key| screen.line(key))?;
    Ok(Outcome::Fine)
}

fn load(arguments: Stopped, environment: &Environment) -> Result<Config> {
    let Stopped { config, data_dir } = arguments;
    Ok(Config::load(&Flags { config, data_dir, ..Flags::default() }, environment)?)
}

fn export(arguments: Stopped, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let config = load(arguments, environment)?;
    let realms = config.data_dir.join("realms");
    let shown = realms.display();
    let mut lines = BTreeSet::new();
    let entries =
        std::fs::read_dir(&realms).with_context(|| format!("`{shown}` cannot be read; is it a data folder?"))?;
    for (number, entry) in entries.enumerate() {
        let keys = entry?.path().join("decisions").join("keys");
        let text = match std::fs::read_to_string(&keys) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("`{}` cannot be read", keys.display()))?,
        };
        for (line, key) in text.lines().enumerate() {
            let key: VerifierKey = key.parse().with_context(|| format!("`{}`", keys.display()))?;
            lines.insert((number, line, key.to_string()));
        }
    }
    lines.iter().try_for_each(|(_, _, key)| screen.line(key))?;
    Ok(Outcome::Fine)
}

/// What was begun and interrupted goes on with the same new key.
async fn rotate(arguments: Rotate, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Rotate { stopped, restored } = arguments;
    let config = load(stopped, environment)?;
    let realms = config.realms()?;
    if let Some(unknown) = restored.iter().find(|name| !realms.iter().any(|realm| realm.name == **name)) {
        bail!("the configuration has no realm `{unknown}`");
    }
    let keys = server::keys_folder(&config.data_dir)?;
    let secret = key_file::load_or_create(&keys.join("log.key"))?;
    // Made first, so that every log finds it among its seeds.
    let next = checkpoint_key::next_seed(&keys)?;
    for realm in realms {
        let signing = server::signing(&config, &keys, &realm.name)?;
        let outside = Outside {
            clock: Arc::new(SystemClock),
            key: LogKey::of_realm(&secret, &realm.name)?,
            before_group: None,
            index: None,
        };
        let folder = config.data_dir.join("realms").join(realm.name.as_str()).join("decisions");
        let options = realm.decision_log.unwrap_or(config.decision_log);
        let log = SegmentLog::open(&folder, options, outside)?;
        if restored.contains(&realm.name) {
            checkpoint_key::forget_newest(&keys, realm.name.as_str()).context("the checkpoint beside the key stays")?;
        }
        let changed = change(&log, signing, &next).await;
        log.close().await;
        screen.line(changed.with_context(|| format!("realm `{}`", realm.name))?)?;
    }
    checkpoint_key::finish_change(&keys).context("the new key could not be put in the old one's place; try again")?;
    note("hand the new keys to the auditors; the old ones verify older checkpoints");
    Ok(Outcome::Fine)
}

async fn change(log: &SegmentLog, signing: Signing, next: &[u8; 32]) -> Result<VerifierKey> {
    log.sign(signing)?;
    let checkpoint = log.checkpoint().await?;
    let key = CheckpointKey::new(next, &checkpoint.checkpoint.origin).context("the log's origin is no key's name")?;
    let verifier = key.verifier().clone();
    log.rotate_key(key).await?;
    Ok(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::segment_log::verify::{Trusted, verify};

    #[tokio::test]
    async fn a_rotation_changes_the_key_of_every_log_and_every_checkpoint_stays_good() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("hallpass.toml");
        std::fs::write(
            &config,
            "data_dir = \"data\"\n[realms.one]\nfolder = \"one\"\n[realms.two]\nfolder = \"two\"\n",
        )
        .unwrap();
        let mut screen = Screen::of_process(&Environment::default());
        let mut firsts: Vec<VerifierKey> = Vec::new();
        for round in 0..3 {
            let stopped = Stopped { config: Some(config.clone()), data_dir: None };
            rotate(Rotate { stopped, restored: Vec::new() }, &Environment::default(), &mut screen).await.unwrap();
            for (at, realm) in ["one", "two"].into_iter().enumerate() {
                let log = folder.path().join("data/realms").join(realm).join("decisions");
                let text = std::fs::read_to_string(log.join("keys")).unwrap();
                let keys: Vec<VerifierKey> = text.lines().map(|line| line.parse().unwrap()).collect();
                assert_eq!(keys.len(), round + 2);
                if round == 0 {
                    firsts.push(keys[0].clone());
                }
                let trusted = Trusted { keys: vec![firsts[at].clone()], checkpoints: Vec::new() };
                let report = verify(&log, &trusted).unwrap();
                assert_eq!(report.findings, []);
                assert_eq!((report.covered, report.key_changes.len()), (report.entries, round + 1));
            }
        }
        assert!(!folder.path().join("data/keys/checkpoint.next.key").exists());
        // One log is put back to what it was, and everything in its folder with it.
        let (one, older) = (folder.path().join("data/realms/one/decisions"), folder.path().join("older"));
        std::fs::rename(&one, &older).unwrap();
        let rotated = |restored: &[&str]| Rotate {
            stopped: Stopped { config: Some(config.clone()), data_dir: None },
            restored: restored.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let error = rotate(rotated(&[]), &Environment::default(), &mut screen).await.unwrap_err();
        assert!(format!("{error:#}").contains("--restored"), "{error:#}");
        assert!(rotate(rotated(&["three"]), &Environment::default(), &mut screen).await.is_err());
        rotate(rotated(&["one"]), &Environment::default(), &mut screen).await.unwrap();
        let keys = std::fs::read_to_string(one.join("keys")).unwrap();
        let trusted = Trusted { keys: vec![keys.lines().next().unwrap().parse().unwrap()], checkpoints: Vec::new() };
        let report = verify(&one, &trusted).unwrap();
        assert_eq!((report.findings.as_slice(), report.key_changes.len()), (&[][..], 1));
        let arguments = Stopped { config: Some(config), data_dir: None };
        assert_eq!(export(arguments, &Environment::default(), &mut screen).unwrap(), Outcome::Fine);
    }
}
