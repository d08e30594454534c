//! `hallpass explain`: why a question is answered as it is, and what would change it; asked of a running service, or of a
//! case of a realm's own tests.

mod json;
#[cfg(test)]
mod tests;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{ArgMatches, Command, FromArgMatches, error::Error as ClapError};

pub(super) use self::json::explanation as json;
use self::tree::{Line, tree};
use super::{
    Outcome,
    authorize::QuestionArguments,
    check, json as shown_json,
    render::{Form, Screen, Tone, plain},
    target::failed,
};
use crate::{
    app::authorize::Answer,
    config::Environment,
    domain::{
        decide::decide,
        explain::explain,
        id::{DecisionId, Revision},
        policy_test,
    },
    proto::v1::{AuthorizeResponse, Decision, ExplainLevel, authorization_service_client::AuthorizationServiceClient},
    transport::grpc::wire_answer,
};

/// What to explain, and how to show it.
#[derive(Debug)]
pub(super) struct Arguments {
    asked: Asked,
    output: Form,
}

#[derive(Debug)]
enum Asked {
    Question(Box<QuestionArguments>, KeyArguments),
    Case(CaseArguments),
}

/// Who asks for the explanation.
#[derive(Debug, clap::Args)]
struct KeyArguments {
    /// The service's data folder, which has the local admin token [default: the `data_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// A case of a realm's own tests, for which no service is needed.
#[derive(Debug, clap::Args)]
struct CaseArguments {
    /// The folder of a realm, for a case of its own tests: no service is asked
    #[arg(long, value_name = "DIR", required = true)]
    realm_folder: PathBuf,
    /// The case: the file within the folder, a colon, and the case's name
    #[arg(long, value_name = "FILE:NAME", required = true)]
    case: String,
}

#[derive(Debug, clap::Args)]
struct OutputArguments {
    /// How to show the answer
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

// A question takes a token, an action and a resource; a case brings them along.
impl clap::Args for Arguments {
    fn augment_args(command: Command) -> Command {
        let command = QuestionArguments::augment_args(KeyArguments::augment_args(command));
        let command = CaseArguments::augment_args(OutputArguments::augment_args(command));
        let without_case = |command: Command, name: &'static str| {
            command.mut_arg(name, |arg| arg.required(false).required_unless_present("case"))
        };
        let command = without_case(without_case(command, "action"), "resource");
        command
            .mut_group("TokenArguments", |group| group.required(false))
            .mut_arg("token", |arg| arg.required_unless_present_any(["case", "token_file", "query_token_file"]))
            .mut_arg("case", |arg| {
                arg.required(false).requires("realm_folder").conflicts_with_all(["action", "resource"])
            })
            .mut_arg("realm_folder", |arg| arg.required(false).requires("case"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        let OutputArguments { output } = OutputArguments::from_arg_matches(matches)?;
        let asked = if matches.contains_id("case") {
            Asked::Case(CaseArguments::from_arg_matches(matches)?)
        } else {
            let question = QuestionArguments::from_arg_matches(matches)?;
            Asked::Question(Box::new(question), KeyArguments::from_arg_matches(matches)?)
        };
        Ok(Self { asked, output })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { asked, output } = arguments;
    let answer = match asked {
        Asked::Question(question, key) => of_service(*question, key, environment).await?,
        Asked::Case(CaseArguments { realm_folder, case }) => of_case(&realm_folder, &case)?,
    };
    match output {
        Form::Json => screen.json(&shown_json::answer(&answer))?,
        Form::Text => show(&tree(&answer), screen)?,
    }
    Ok(Outcome::of(answer.decision() != Decision::Allow))
}

async fn of_service(
    question: QuestionArguments,
    key: KeyArguments,
    environment: &Environment,
) -> Result<AuthorizeResponse> {
    let (target, mut request) = question.read()?;
    let KeyArguments { data_dir } = key;
    let channel = target.connect_as_log_reader("--key-file", data_dir, environment).await?;
    request.realm = target.realm_or_empty(&channel).await?;
    request.explain = ExplainLevel::Full.into();
    let mut client = AuthorizationServiceClient::new(channel);
    Ok(client.authorize(request).await.map_err(|status| failed(&status))?.into_inner())
}

/// The answer to a case of a realm's tests, with everything that explains it.
fn of_case(folder: &Path, case: &str) -> Result<AuthorizeResponse> {
    let (file, name) =
        case.split_once(':').ok_or_else(|| anyhow!("`{case}` names no case; expected `tests/FILE.yaml:NAME`"))?;
    let files = check::read(folder)?;
    if !files.iter().any(|known| known.path == file && policy_test::is_test_file(known)) {
        let known = files.iter().filter(|file| policy_test::is_test_file(file)).map(|file| file.path.as_str());
        let known: Vec<&str> = known.collect();
        bail!("`{file}` is no file of tests in `{}`; there are {}", folder.display(), known.join(", "));
    }
    let (mut found, mut names) = (None, Vec::new());
    let read = policy_test::each(&files, Some(file), &mut |case| {
        names.push(case.name.to_owned());
        if found.is_none() && case.name == name {
            let decision = decide(case.realm, case.principal, case.request, case.graph);
            let explanation = explain(case.realm, case.principal, case.request, case.graph);
            found = Some((decision, explanation));
        }
    });
    read.map_err(|faults| anyhow!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        .with_context(|| format!("`{}` cannot be read", folder.display()))?;
    let Some((decision, explanation)) = found else {
        bail!("`{file}` has no case `{name}` that can be asked; there are: {}", names.join("; "));
    };
    let (decision_id, data_revision) = (DecisionId(0), Revision::default());
    let explanation = Some(Box::new(explanation));
    let answer = Answer { decision, decision_id, data_revision, principal: None, explanation };
    // Nobody kept it, so it has no id.
    Ok(AuthorizeResponse { decision_id: String::new(), ..wire_answer(answer) })
}

fn show(lines: &[Line], screen: &mut Screen) -> Result<()> {
    let text = written(lines, |tone, text| screen.toned(tone, text));
    Ok(screen.line(text.trim_end_matches('\n'))?)
}

/// The lines as one text, each in the colour of its tone.
fn written(lines: &[Line], toned: impl Fn(Tone, &str) -> String) -> String {
    let mut whole = String::new();
    for Line { depth, tone, mark, text } in lines {
        let mark = if mark.is_empty() { String::new() } else { format!("{mark} ") };
        let line = format!("{mark}{}", plain(text));
        let line = tone.map_or_else(|| line.clone(), |tone| toned(tone, &line));
        whole.push_str("  ".repeat(*depth).as_str());
        whole.push_str(&line);
        whole.truncate(whole.trim_end_matches(' ').len());
        whole.push('\n');
    }
    whole
}
