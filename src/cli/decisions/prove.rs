//! `hallpass decisions prove` and `check-proof`: that an entry is in the log, for somebody who has nothing of the log.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::{
    super::{
        Outcome,
        render::{Form, Screen, Tone, plain},
        target::{LogTarget, failed},
    },
    verify::read_keys,
};
use crate::{
    config::Environment,
    domain::{
        checkpoint::Checkpoint,
        id::DecisionId,
        merkle::{Hash, leaf_hash, proof::InclusionProof},
        signed_note::VerifierKey,
    },
    proto::v1::{ProveInclusionRequest, ProveInclusionResponse, decision_log_service_client::DecisionLogServiceClient},
};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Prove {
    /// The decision's id, or the number of an entry
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    target: LogTarget,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct CheckProof {
    /// The proof, as `hallpass decisions prove` wrote it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A verifier key, or a file with one a line; it must have come by another way than the proof
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// How to show what is proved
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn prove(arguments: Prove, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Prove { id, target } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let sequence = id.parse().unwrap_or(0);
    let decision_id = if sequence == 0 { id } else { String::new() };
    let request = ProveInclusionRequest { realm, decision_id, sequence, tree_size: 0 };
    let proved = DecisionLogServiceClient::new(channel).prove_inclusion(request).await;
    let proved = proved.map_err(|status| failed(&status))?.into_inner();
    screen.json(&as_json(&proved)?)?;
    Ok(Outcome::Fine)
}

fn as_json(proved: &ProveInclusionResponse) -> Result<Json> {
    let ProveInclusionResponse { proof, entry, checkpoint } = proved;
    let proof = proof.as_ref().context("the service sent no proof")?;
    Ok(json!({
        "sequence": proof.leaf_index + 1,
        "leaf_index": proof.leaf_index,
        "tree_size": proof.tree_size,
        "leaf_hash": STANDARD.encode(&proof.leaf_hash),
        "path": proof.path.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
        "entry": STANDARD.encode(entry),
        "checkpoint": checkpoint,
    }))
}

/// What a proof shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    checkpoint: Checkpoint,
    sequence: u64,
    /// The entry's bytes are there.
    has_entry: bool,
    decision: Option<DecisionId>,
}

pub(super) fn check(arguments: &CheckProof, screen: &mut Screen) -> Result<Outcome> {
    let CheckProof { file, keys, output } = arguments;
    let keys = read_keys(keys)?;
    let text = fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    let proof: Json = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", file.display()))?;
    let shown = verified(&proof, &keys);
    match (output, &shown) {
        (Form::Json, Ok(shown)) => screen.json(&json!({
            "proved": true,
            "origin": &*shown.checkpoint.origin,
            "tree_size": shown.checkpoint.size,
            "sequence": shown.sequence,
            "decision_id": shown.decision.map(|id| id.to_string()),
            "entry": shown.has_entry,
        }))?,
        (Form::Json, Err(error)) => screen.json(&json!({ "proved": false, "reason": error.to_string() }))?,
        (Form::Text, Ok(shown)) => {
            let good = screen.toned(Tone::Good, "proved");
            let decision = shown.decision.map(|id| format!(", decision {id},")).unwrap_or_default();
            let Checkpoint { origin, size, .. } = &shown.checkpoint;
            let sequence = shown.sequence;
            let origin = plain(origin);
            screen.line(format_args!("{good}: entry {sequence}{decision} is one of the {size} entries of {origin}"))?;
            if !shown.has_entry {
                screen.line("the entry's bytes were deleted from the log; the proof is of their hash alone")?;
            }
        }
        (Form::Text, Err(error)) => {
            let bad = screen.toned(Tone::Bad, "not proved");
            screen.line(format_args!("{bad}: {}", plain(&error.to_string())))?;
        }
    }
    Ok(Outcome::of(shown.is_err()))
}

/// Checks a proof from its own bytes and these keys.
fn verified(proof: &Json, keys: &[VerifierKey]) -> Result<Shown> {
    let number = |name: &str| proof.get(name).and_then(Json::as_u64).with_context(|| format!("it has no `{name}`"));
    let text = |name: &str| proof.get(name).and_then(Json::as_str).with_context(|| format!("it has no `{name}`"));
    let checkpoint = Checkpoint::open(text("checkpoint")?, keys).context("its checkpoint")?;
    let path = proof.get("path").and_then(Json::as_array).context("it has no `path`")?;
    let path = path.iter().map(|hash| hash.as_str().and_then(hash_of).context("a hash of its `path` is none"));
    let proof = InclusionProof {
        leaf_index: number("leaf_index")?,
        tree_size: number("tree_size")?,
        leaf_hash: hash_of(text("leaf_hash")?).context("its `leaf_hash` is no hash")?,
        path: path.collect::<Result<_>>()?,
    };
    let entry = STANDARD.decode(text("entry")?).context("its `entry` is no base64")?;
    let sequence = proof.leaf_index.saturating_add(1);
    if !entry.is_empty() && leaf_hash(&entry) != proof.leaf_hash {
        bail!("its entry is not the one that its hash is of");
    }
    if proof.tree_size != checkpoint.size {
        bail!("it is of a tree of {} entries, its checkpoint of {}", proof.tree_size, checkpoint.size);
    }
    if !proof.verifies(&checkpoint.root) {
        bail!("its hashes do not lead to the root that was signed");
    }
    let said = entry.get(1..).and_then(|rest| rest.first_chunk::<8>()).map(|number| u64::from_le_bytes(*number));
    if said.is_some_and(|said| said != sequence) {
        bail!("its entry says that it is another one");
    }
    let id = entry.get(9..).and_then(|rest| rest.first_chunk::<16>()).filter(|_| entry.first() == Some(&1));
    let decision = id.map(|id| DecisionId(u128::from_be_bytes(*id)));
    Ok(Shown { checkpoint, sequence, has_entry: !entry.is_empty(), decision })
}

fn hash_of(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::domain::{
        merkle::{Frontier, proof::inclusion},
        signed_note::note,
    };

    /// A proof of the third of five entries, as JSON, and the key of its checkpoint.
    fn proof() -> (Json, VerifierKey) {
        let entries: Vec<Vec<u8>> =
            (1..6_u64).map(|sequence| [&[1][..], &sequence.to_le_bytes(), &[7; 40]].concat()).collect();
        let (mut tree, mut nodes) = (Frontier::new(), std::collections::BTreeMap::new());
        for entry in &entries {
            tree.append_with(leaf_hash(entry), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        let path = inclusion(2, 5, |level, index| nodes.get(&(level, index)).copied().ok_or(())).unwrap().unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let key = VerifierKey::new("example.org/log", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let text = Checkpoint { origin: "example.org/log".into(), size: 5, root: tree.root() }.text();
        let checkpoint = note(&text, &[(&key, pair.sign(text.as_bytes()).as_ref().to_vec())]);
        let proof = crate::proto::v1::InclusionProof {
            leaf_index: 2,
            tree_size: 5,
            leaf_hash: leaf_hash(&entries[2]).to_vec(),
            path: path.into_iter().map(Vec::from).collect(),
        };
        let proved = ProveInclusionResponse { proof: Some(proof), entry: entries[2].clone(), checkpoint };
        (as_json(&proved).unwrap(), key)
    }

    #[test]
    fn a_proof_is_checked_from_itself_and_the_key() {
        let (proof, key) = proof();
        let shown = verified(&proof, std::slice::from_ref(&key)).unwrap();
        assert_eq!((shown.sequence, shown.checkpoint.size, shown.has_entry), (3, 5, true));
        assert_eq!(shown.decision, Some(DecisionId(u128::from_be_bytes([7; 16]))));
        assert!(verified(&proof, &[]).is_err());
        let mut deleted = proof.clone();
        deleted["entry"] = json!("");
        assert!(!verified(&deleted, &[key]).unwrap().has_entry);
    }

    #[test]
    fn a_proof_with_any_part_changed_proves_nothing() {
        let (proof, key) = proof();
        let keys = [key];
        let other = STANDARD.encode([9; 32]);
        for (name, value) in [
            ("leaf_index", json!(1)),
            ("leaf_index", json!(u64::MAX)),
            ("tree_size", json!(4)),
            ("leaf_hash", json!(other)),
            ("path", json!([])),
            ("path", json!([other, other, other])),
            ("entry", json!(STANDARD.encode(b"another"))),
            ("checkpoint", json!("")),
            ("checkpoint", Json::Null),
        ] {
            let mut changed = proof.clone();
            changed[name] = value.clone();
            assert!(verified(&changed, &keys).is_err(), "{name} {value}");
        }
        for name in ["leaf_index", "tree_size", "leaf_hash", "path", "entry", "checkpoint"] {
            let mut changed = proof.clone();
            changed.as_object_mut().unwrap().remove(name);
            assert!(verified(&changed, &keys).is_err(), "{name}");
        }
    }
}
