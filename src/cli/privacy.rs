//! `hallpass privacy`: erases people from the decision log, holds them, and says who is behind pseudonyms.

use anyhow::Result;
use serde_json::json;

use super::{
    Outcome, parse,
    render::{Form, Screen, plain},
    target::{LogChannel, LogTarget, MESSAGE_BYTES_MAX, failed},
};
use crate::{
    config::Environment,
    proto::v1::{
        EntityReference, ErasePersonRequest, ErasePersonResponse, HeldPerson, ListLegalHoldsRequest,
        ResolvePseudonymsRequest, ResolvedPseudonym, SetLegalHoldRequest, SetLegalHoldResponse,
        privacy_service_client::PrivacyServiceClient,
    },
};

/// How many pseudonyms the service takes at once.
const PSEUDONYMS_AT_ONCE: usize = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Destroys the keys to what the decision log keeps of a person. There is no way back
    Erase(Erase),
    /// Keeps a person, and the decisions about it, from being erased or deleted
    Hold(Hold),
    /// Lifts a person's hold
    Release(Hold),
    /// Lists the people under legal hold
    Holds(Holds),
    /// Says who is behind pseudonyms; exit code 1 when one of them is nobody's, or nobody's any more
    Resolve(Resolve),
}

#[derive(Debug, clap::Args)]
pub(super) struct Erase {
    /// The person: Student:604822
    #[arg(value_name = "TYPE:ID", value_parser = parse::entity)]
    person: EntityReference,
    #[command(flatten)]
    target: LogTarget,
    /// The legal basis, which the log keeps: GDPR art. 17(1)(b), request of 2027-03-02
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// How to show what was done
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Hold {
    /// The person: Student:604822
    #[arg(value_name = "TYPE:ID", value_parser = parse::entity)]
    person: EntityReference,
    #[command(flatten)]
    target: LogTarget,
    /// Why, which the log keeps
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How to show what was done
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Holds {
    #[command(flatten)]
    target: LogTarget,
    /// How to show them
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    /// The pseudonyms, as the decision log shows them
    #[arg(value_name = "PSEUDONYM", required = true)]
    pseudonyms: Vec<String>,
    #[command(flatten)]
    target: LogTarget,
    /// Why it is asked, which the log keeps
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// How to show them
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Whether a person is held from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Hold,
    Release,
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Erase(arguments) => erase(arguments, environment, screen).await,
        Verb::Hold(arguments) => hold(arguments, Change::Hold, environment, screen).await,
        Verb::Release(arguments) => hold(arguments, Change::Release, environment, screen).await,
        Verb::Holds(arguments) => holds(arguments, environment, screen).await,
        Verb::Resolve(arguments) => resolve(arguments, environment, screen).await,
    }
}

/// The service's client, and the realm.
async fn connect(target: &LogTarget, environment: &Environment) -> Result<(PrivacyServiceClient<LogChannel>, String)> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    Ok((PrivacyServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX), realm))
}

async fn erase(arguments: Erase, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Erase { person, target, basis, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let request = ErasePersonRequest { realm, person: Some(person), basis };
    let done = client.erase_person(request).await.map_err(|status| failed(&status))?.into_inner();
    let ErasePersonResponse { pseudonyms, sequence, relationships_left } = &done;
    match output {
        Form::Json => screen.line(json!({
            "pseudonyms": pseudonyms, "sequence": sequence, "relationships_left": relationships_left
        }))?,
        Form::Text => erased(&done).iter().try_for_each(|line| screen.line(line))?,
    }
    Ok(Outcome::Fine)
}

/// What an erasure did, in words.
fn erased(done: &ErasePersonResponse) -> Vec<String> {
    let ErasePersonResponse { pseudonyms, sequence, relationships_left } = done;
    let mut lines = Vec::new();
    if pseudonyms.is_empty() {
        lines.push("the decision log knew nothing of this person".to_owned());
    } else {
        let names = plain(&pseudonyms.join(", "));
        lines.push(format!("erased, entry {sequence}: nobody can tell any more who was {names}"));
    }
    if *relationships_left > 0 {
        lines.push(format!(
            "{relationships_left} relationships still name the person; `hallpass relationships delete --forget` removes \
             their records"
        ));
    }
    lines
}

async fn hold(arguments: Hold, change: Change, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Hold { person, target, reason, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let request = SetLegalHoldRequest { realm, person: Some(person), held: change == Change::Hold, reason };
    let done = client.set_legal_hold(request).await.map_err(|status| failed(&status))?.into_inner();
    let SetLegalHoldResponse { pseudonyms, sequence } = &done;
    match output {
        Form::Json => screen.line(json!({ "pseudonyms": pseudonyms, "sequence": sequence }))?,
        Form::Text => screen.line(changed(&done, change))?,
    }
    Ok(Outcome::Fine)
}

/// What became of a hold, in words.
fn changed(done: &SetLegalHoldResponse, change: Change) -> String {
    let SetLegalHoldResponse { pseudonyms, sequence } = done;
    let names = plain(&pseudonyms.join(", "));
    match (change, *sequence) {
        (Change::Hold, 0) => format!("{names} is under legal hold already"),
        (Change::Hold, sequence) => format!("{names} is under legal hold from now on, entry {sequence}"),
        (Change::Release, 0) => "the person is not under legal hold".to_owned(),
        (Change::Release, sequence) => format!("{names} is not under legal hold any more, entry {sequence}"),
    }
}

async fn holds(arguments: Holds, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Holds { target, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let held = client.list_legal_holds(ListLegalHoldsRequest { realm }).await.map_err(|status| failed(&status))?;
    let mut rows = Vec::new();
    for HeldPerson { pseudonym, r#type, since } in held.into_inner().people {
        let since = since.map(|since| since.to_string()).unwrap_or_default();
        match output {
            Form::Json => screen.line(json!({ "pseudonym": pseudonym, "type": r#type, "since": since }))?,
            Form::Text => rows.push(vec![pseudonym, r#type, since]),
        }
    }
    if output == Form::Text {
        screen.table(&["PSEUDONYM", "TYPE", "SINCE"], &rows)?;
    }
    Ok(Outcome::Fine)
}

async fn resolve(arguments: Resolve, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Resolve { pseudonyms, target, purpose, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let (mut rows, mut has_unknown) = (Vec::new(), false);
    for pseudonyms in pseudonyms.chunks(PSEUDONYMS_AT_ONCE) {
        let (realm, purpose, pseudonyms) = (realm.clone(), purpose.clone(), pseudonyms.to_vec());
        let request = ResolvePseudonymsRequest { realm, pseudonyms, purpose };
        let found = client.resolve_pseudonyms(request).await.map_err(|status| failed(&status))?.into_inner();
        for ResolvedPseudonym { pseudonym, person } in found.people {
            has_unknown |= person.is_none();
            match output {
                Form::Json => {
                    let person = person.map(|EntityReference { r#type, id }| json!({ "type": r#type, "id": id }));
                    screen.line(json!({ "pseudonym": pseudonym, "person": person }))?;
                }
                Form::Text => {
                    let EntityReference { r#type, id } = person.unwrap_or_else(|| EntityReference {
                        r#type: "not known".to_owned(),
                        ..EntityReference::default()
                    });
                    rows.push(vec![pseudonym, r#type, id]);
                }
            }
        }
    }
    if output == Form::Text {
        screen.table(&["PSEUDONYM", "TYPE", "ID"], &rows)?;
    }
    Ok(Outcome::of(has_unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_in_words() {
        let done = ErasePersonResponse { pseudonyms: vec!["p".into(), "q".into()], sequence: 7, relationships_left: 0 };
        assert_eq!(erased(&done), ["erased, entry 7: nobody can tell any more who was p, q"]);
        let nothing = ErasePersonResponse { relationships_left: 2, ..ErasePersonResponse::default() };
        assert_eq!(erased(&nothing)[0], "the decision log knew nothing of this person");
        assert!(erased(&nothing)[1].starts_with("2 relationships still name the person"));
        let held = SetLegalHoldResponse { pseudonyms: vec!["p".into()], sequence: 7 };
        let unchanged = SetLegalHoldResponse { sequence: 0, ..held.clone() };
        for (done, change, expected) in [
            (&held, Change::Hold, "p is under legal hold from now on, entry 7"),
            (&unchanged, Change::Hold, "p is under legal hold already"),
            (&held, Change::Release, "p is not under legal hold any more, entry 7"),
            (&unchanged, Change::Release, "the person is not under legal hold"),
        ] {
            assert_eq!(changed(done, change), expected);
        }
    }
}
