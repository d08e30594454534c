//! `hallpass decisions verify`: checks a copy of a log offline, with nothing but a verifier key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use super::super::{
    Outcome,
    render::{Form, Screen, Tone, count, counted, plain},
};
use crate::{
    domain::{
        log_event::{EventKind, LoggedEvent},
        signed_note::VerifierKey,
    },
    storage::segment_log::verify::{Finding, OldCheckpoint, Report, Trusted, is_log, origin, verify},
};

const NOTES: &str = "\
Works on a copy, without the service and without any secret. What is proved: that each entry is exactly as it was when a
checkpoint by the given key was made of it, and that none was lost, added or moved before that. What is not: entries after
the newest checkpoint, and whether what was written was true. A log that was put back to an older state as a whole is
found by a checkpoint that was kept elsewhere: give it with --checkpoint. Exit code 0 is fine, 1 are findings.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(in super::super) struct Arguments {
    /// The folder of a log (DATA/realms/REALM/decisions), or a whole data folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A verifier key, or a file with one a line; it must have come by another way than the log
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// A file with a checkpoint that was kept elsewhere; the log must contain what it was made of
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// How to show the report
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { folder, keys, checkpoints, output } = arguments;
    let trusted = Trusted { keys: read_keys(keys)?, checkpoints: read_checkpoints(checkpoints)? };
    let Checked { reports, findings, remarks } = check(folder, &trusted)?;
    let has_findings = !findings.is_empty() || reports.iter().any(|(_, report)| !report.findings.is_empty());
    match output {
        Form::Json => {
            let logs: Vec<Json> = reports.iter().map(|(log, report)| as_json(log, report)).collect();
            screen.json(&json!({ "fine": !has_findings, "findings": findings, "remarks": remarks, "logs": logs }))?;
        }
        Form::Text => {
            reports.iter().try_for_each(|(log, report)| show(log, report, screen))?;
            remarks.iter().try_for_each(|remark| screen.line(format_args!("remark: {}", plain(remark))))?;
            let bad = screen.toned(Tone::Bad, "finding");
            findings.iter().try_for_each(|finding| screen.line(format_args!("{bad}: {}", plain(finding))))?;
        }
    }
    Ok(Outcome::of(has_findings))
}

/// What was found in the logs of a folder, and beside them.
#[derive(Debug, Default)]
struct Checked {
    reports: Vec<(PathBuf, Report)>,
    findings: Vec<String>,
    remarks: Vec<String>,
}

/// Checks a log, or all those of a data folder: of these, each checkpoint and each key is that of a log that must be there.
fn check(folder: &Path, trusted: &Trusted) -> Result<Checked> {
    let (logs, without) = logs(folder)?;
    let is_log_itself = logs.first().is_some_and(|log| log == folder);
    let mut checked = Checked::default();
    let mut origins: BTreeMap<Arc<str>, PathBuf> = BTreeMap::new();
    for log in logs {
        let name = origin(&log);
        let of_log = |old: &&OldCheckpoint| is_log_itself || name.as_ref() == Some(old.origin());
        let checkpoints = trusted.checkpoints.iter().filter(of_log).cloned().collect();
        let trusted = Trusted { keys: trusted.keys.clone(), checkpoints };
        let report = verify(&log, &trusted).with_context(|| format!("`{}` cannot be read", log.display()))?;
        if let Some(name) = name
            && let Some(other) = origins.insert(Arc::clone(&name), log.clone())
        {
            let (one, other) = (log.display(), other.display());
            checked
                .findings
                .push(format!("`{one}` and `{other}` are both called `{name}`: one is a copy of the other's"));
        }
        checked.reports.push((log, report));
    }
    if is_log_itself {
        return Ok(checked);
    }
    for old in trusted.checkpoints.iter().filter(|old| !origins.contains_key(old.origin())) {
        let (name, origin) = (old.name(), old.origin());
        checked.findings.push(format!(
            "{name} is of the log `{origin}`, which is not here: it is gone, or another one is in its place"
        ));
    }
    let of_nobody: BTreeSet<&str> =
        trusted.keys.iter().map(|key| &**key.name()).filter(|name| !origins.contains_key(*name)).collect();
    for origin in of_nobody {
        checked.findings.push(format!(
            "a key of the log `{origin}` is trusted, which is not here: it is gone, or another one is in its place"
        ));
    }
    checked.remarks.extend(without.iter().map(|realm| format!("`{}` has no log", realm.display())));
    Ok(checked)
}

/// The keys that are given, each as it is or as a file of keys.
pub(super) fn read_keys(given: &[String]) -> Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for text in given {
        if let Ok(key) = text.parse() {
            keys.push(key);
            continue;
        }
        let content = fs::read_to_string(text)
            .with_context(|| format!("`{text}` is neither a verifier key nor a file that can be read"))?;
        for line in content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            keys.push(line.parse().map_err(|error| anyhow::anyhow!("`{text}`: `{line}` {error}"))?);
        }
    }
    if keys.is_empty() {
        bail!("no verifier key is given");
    }
    Ok(keys)
}

fn read_checkpoints(files: &[PathBuf]) -> Result<Vec<OldCheckpoint>> {
    let read = |file: &PathBuf| {
        let shown = file.display().to_string();
        let note = fs::read_to_string(file).with_context(|| format!("`{shown}` cannot be read"))?;
        OldCheckpoint::parse(&format!("the checkpoint `{shown}`"), &note).with_context(|| format!("`{shown}`"))
    };
    files.iter().map(read).collect()
}

/// The logs of a folder: itself, or those of the realms of a data folder; and the realms that have none.
fn logs(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    if is_log(folder) {
        return Ok((vec![folder.to_owned()], Vec::new()));
    }
    let realms = folder.join("realms");
    let entries = fs::read_dir(&realms)
        .with_context(|| format!("`{}` is neither the folder of a log nor a data folder", folder.display()))?;
    let (mut logs, mut without) = (Vec::new(), Vec::new());
    for entry in entries {
        let realm = entry?.path();
        let log = realm.join("decisions");
        if is_log(&log) {
            logs.push(log);
        } else if realm.is_dir() {
            without.push(realm);
        }
    }
    logs.sort();
    without.sort();
    if logs.is_empty() {
        bail!("`{}` has no log", folder.display());
    }
    Ok((logs, without))
}

fn moment(us: i64) -> String {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }.to_string()
}

fn as_json(log: &Path, report: &Report) -> Json {
    let Report {
        origin,
        entries,
        first_sequence,
        decisions,
        events,
        first_us,
        last_us,
        gaps,
        retention,
        key_changes,
        clock_changes,
        checkpoints,
        covered,
        bytes,
        findings,
        findings_left_out,
        remarks,
    } = report;
    let finding = |finding: &Finding| {
        let Finding { what, file, offset, sequence } = finding;
        json!({ "what": what, "file": file, "offset": offset, "sequence": sequence })
    };
    let lines = |events: &[LoggedEvent]| events.iter().map(line).collect::<Vec<_>>();
    json!({
        "folder": log.display().to_string(),
        "origin": origin.as_deref(),
        "fine": findings.is_empty(),
        "entries": entries,
        "first_sequence": first_sequence,
        "decisions": decisions,
        "events": events,
        "first_time": first_us.map(moment),
        "last_time": last_us.map(moment),
        "gaps": lines(gaps),
        "retention": lines(retention),
        "key_changes": lines(key_changes),
        "clock_changes": lines(clock_changes),
        "checkpoints": checkpoints,
        "covered": covered,
        "not_covered": entries.saturating_sub(*covered),
        "bytes": bytes,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "findings_left_out": findings_left_out,
        "remarks": remarks,
    })
}

/// An event in a line.
fn line(logged: &LoggedEvent) -> String {
    let what = match &logged.event.kind {
        EventKind::Gap(gap) => {
            let (from, until) = (moment(gap.from_us), moment(gap.until_us));
            format!("{:?} gap from {from} until {until}: {} allowed, {} denied", gap.cause, gap.allowed, gap.denied)
        }
        EventKind::Retention { first, last, rule } => format!("retention deleted {first} to {last}: {rule}"),
        EventKind::KeyChange { verifier_key } => format!("the key became {verifier_key}"),
        EventKind::ClockChange { before_us, after_us } => {
            format!("the clock went from {} to {}", moment(*before_us), moment(*after_us))
        }
        _ => String::new(),
    };
    format!("entry {} at {}: {what}", logged.sequence, moment(logged.event.time_us))
}

fn show(log: &Path, report: &Report, screen: &mut Screen) -> Result<()> {
    let findings = report.findings.len() as u64 + report.findings_left_out;
    let verdict = if findings == 0 {
        screen.toned(Tone::Good, "fine")
    } else {
        screen.toned(Tone::Bad, &counted(findings, "finding", "findings"))
    };
    screen.line(format_args!("{}: {verdict}", log.display()))?;
    let times = [report.first_us, report.last_us].map(|us| us.map(moment).unwrap_or_default());
    let not_covered = report.entries.saturating_sub(report.covered);
    for (name, value) in [
        ("log", report.origin.as_deref().unwrap_or("unknown").to_owned()),
        ("entries", format!("{}, those from {} are there", count(report.entries), count(report.first_sequence))),
        ("of them", format!("{} decisions, {} events", count(report.decisions), count(report.events))),
        ("times", format!("{} to {}", times[0], times[1])),
        ("checkpoints", format!("{} good", count(report.checkpoints))),
        (
            "covered",
            format!("{} entries; {} after the newest checkpoint are not", count(report.covered), count(not_covered)),
        ),
    ] {
        screen.line(format_args!("  {name:<12} {}", plain(&value)))?;
    }
    let lists = [&report.gaps, &report.retention, &report.key_changes, &report.clock_changes];
    for event in lists.into_iter().flatten() {
        screen.line(format_args!("  {}", plain(&line(event))))?;
    }
    for remark in &report.remarks {
        screen.line(format_args!("  remark: {}", plain(remark)))?;
    }
    for Finding { what, file, offset, sequence } in &report.findings {
        let place = [
            file.as_ref().map(|file| format!("`{file}`")),
            offset.map(|offset| format!("byte {offset}")),
            sequence.map(|sequence| format!("entry {sequence}")),
        ];
        let place = place.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let bad = screen.toned(Tone::Bad, "finding");
        screen.line(format_args!("  {bad}: {}: {}", plain(&place), plain(what)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::ports::DecisionLog as _,
        provider::clock::SystemClock,
        storage::segment_log::{LogKey, Options, Outside, SegmentLog, Signing},
    };

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn keys_are_given_as_they_are_or_as_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys").display().to_string();
        fs::write(&file, format!("# of the log\n{KEY}\n\n")).unwrap();
        assert_eq!(read_keys(&[KEY.to_owned()]).unwrap(), read_keys(std::slice::from_ref(&file)).unwrap());
        fs::write(&file, "nonsense\n").unwrap();
        let error = read_keys(std::slice::from_ref(&file)).unwrap_err().to_string();
        assert!(error.contains("`nonsense` is no verifier key"), "{error}");
        fs::write(&file, "").unwrap();
        assert!(read_keys(&[file]).is_err());
        assert!(read_keys(&["nowhere".to_owned()]).is_err());
    }

    #[test]
    fn a_folder_without_a_log_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(logs(folder.path()).unwrap_err().to_string().contains("neither the folder of a log nor a data folder"));
        fs::create_dir_all(folder.path().join("realms/one/decisions")).unwrap();
        assert!(logs(folder.path()).unwrap_err().to_string().contains("has no log"));
        fs::write(folder.path().join("realms/one/decisions/00000001.seg"), "").unwrap();
        fs::create_dir_all(folder.path().join("realms/two")).unwrap();
        let (found, without) = logs(folder.path()).unwrap();
        assert_eq!(found, [folder.path().join("realms/one/decisions")]);
        assert_eq!(without, [folder.path().join("realms/two")]);
    }

    /// A data folder with the logs of these realms, each of a few entries, and their keys.
    async fn data_folder(realms: &[&str]) -> (tempfile::TempDir, Vec<VerifierKey>) {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Vec::new();
        for realm in realms {
            let outside = Outside {
                clock: Arc::new(SystemClock),
                key: LogKey::of_realm(&[1; 32], &realm.parse().unwrap()).unwrap(),
                before_group: None,
                index: None,
            };
            let log = folder.path().join("realms").join(realm).join("decisions");
            let log = SegmentLog::open(&log, Options::default(), outside).unwrap();
            let origin_default = format!("example.org/{realm}").into();
            log.sign(Signing { seeds: vec![[1; 32]], origin: None, origin_default, kept: None }).unwrap();
            log.note(EventKind::ClockChange { before_us: 1, after_us: 2 }).await.unwrap();
            log.close().await;
            keys.extend(log.verifier_keys());
        }
        (folder, keys)
    }

    fn kept(folder: &Path, realm: &str) -> OldCheckpoint {
        let note = fs::read_to_string(folder.join("realms").join(realm).join("decisions/checkpoint")).unwrap();
        OldCheckpoint::parse(&format!("kept of {realm}"), &note).unwrap()
    }

    #[tokio::test]
    async fn every_checkpoint_and_every_key_that_is_given_is_of_a_log_that_is_there() {
        let (folder, keys) = data_folder(&["one", "two"]).await;
        let path = folder.path();
        let checkpoints = vec![kept(path, "one"), kept(path, "two")];
        let trusted = Trusted { keys, checkpoints };
        let checked = check(path, &trusted).unwrap();
        assert!(checked.findings.is_empty() && checked.remarks.is_empty(), "{checked:?}");
        assert!(checked.reports.iter().all(|(_, report)| report.findings.is_empty()), "{checked:?}");
        // All keys may be given with the copy of one log.
        let of_one = Trusted { checkpoints: vec![kept(path, "one")], ..trusted.clone() };
        assert!(check(&path.join("realms/one/decisions"), &of_one).unwrap().findings.is_empty());
        // One log is gone.
        let (two, aside) = (path.join("realms/two/decisions"), path.join("aside"));
        fs::rename(&two, &aside).unwrap();
        let checked = check(path, &trusted).unwrap();
        let is_said = |what: &str| checked.findings.iter().any(|found| found.contains(what));
        assert!(is_said("kept of two is of the log `example.org/two`, which is not here"), "{checked:?}");
        assert!(is_said("a key of the log `example.org/two`"), "{checked:?}");
        assert_eq!((checked.findings.len(), checked.remarks.len()), (2, 1), "{checked:?}");
        // Or another one is in its place.
        fs::create_dir(&two).unwrap();
        for file in ["00000001.seg", "checkpoint", "checkpoints", "keys"] {
            fs::copy(path.join("realms/one/decisions").join(file), two.join(file)).unwrap();
        }
        let checked = check(path, &trusted).unwrap();
        assert!(checked.findings[0].contains("are both called `example.org/one`"), "{checked:?}");
        assert_eq!(checked.findings.len(), 3, "{checked:?}");
    }
}
