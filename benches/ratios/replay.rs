//! What it costs to decide logged decisions again: reading the log, opening what is kept of each question, and deciding.

use std::{fs, path::Path, sync::Arc};

use hallpass::{
    app::{
        App,
        authorize::AuthorizeRequest,
        caller::Presented,
        credentials::Credentials,
        decisions::DecisionQuery,
        replay::{Against, Part, Summary},
    },
    domain::{
        access_request::Question,
        policy_set::SourceFile,
        value::{Attributes, Value},
    },
    provider::{realm_files::read_folder, signer::LocalKey},
    server,
};
use tokio::runtime::Runtime;

use crate::{
    measure::{Goal, Numbers, Report, info, median, process_us},
    service::{self, REALM},
    state::{AGENCY, State, district, student},
    wire::{issuer, token},
};

const STATE: State = State { students: 10_000 };
const DECISIONS: usize = 100_000;
/// How many clients ask, each for an organization of its own.
const CLIENTS: usize = 100;
const ROUNDS: usize = 3;

/// How many decisions a core decides again.
pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let key = LocalKey::generate().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, key.jwks()).unwrap();
    let runtime = Runtime::new().unwrap();
    let config = service::config(folder.path(), vec![issuer(&keys)]);
    let running = runtime.block_on(server::start(config)).unwrap();
    let app = Arc::clone(running.app());
    runtime.block_on(async {
        let mut import = app.import(REALM).unwrap();
        for (resource, count, record) in STATE.records() {
            let lines: Vec<String> = (0..count).map(|place| record(STATE, place)).collect();
            for message in lines.chunks(1_000) {
                import.push(resource, message).await.unwrap();
            }
        }
        import.finish().await.unwrap();
        ask(&app, &key).await;
    });
    let figure = |against: Against| {
        let us = (0..ROUNDS).map(|_| {
            let before_us = process_us();
            let summary = runtime.block_on(replay(&app, against.clone()));
            assert_eq!(summary.same + summary.different, DECISIONS as u64, "{summary:?}");
            ((process_us() - before_us) / DECISIONS as f64, summary)
        });
        let (us, mut summaries): (Vec<f64>, Vec<Summary>) = us.unzip();
        (1e6 / median(&us), summaries.pop().unwrap())
    };
    let (one_action, found) = figure(Against::Candidate(with_forbid("action == Action::\"ReadChanges\"")));
    assert!(found.different > 0 && found.changed.is_some_and(|changed| changed.untouched > 0));
    let (all, found) = figure(Against::Candidate(with_forbid("action")));
    assert!(found.different > 0 && found.changed.is_some_and(|changed| changed.untouched == 0));
    let (its_moment, found) = figure(Against::ItsMoment);
    assert_eq!(found.different, 0);
    report.goal("replay_candidate_decisions_per_s_of_one_core", one_action, Goal::AtLeast(100_000.0));
    info("replay_candidate_for_all_questions_decisions_per_s_of_one_core", all);
    info("replay_of_its_moment_decisions_per_s_of_one_core", its_moment);
    runtime.block_on(running.stop()).unwrap();
}

/// Clients ask about students by chance; most are theirs. Every fifth question is for changes.
async fn ask(app: &Arc<App>, key: &LocalKey) {
    let organization =
        |place: usize| if place.is_multiple_of(4) { district(place % STATE.districts()) } else { AGENCY };
    let tokens: Vec<String> = (0..CLIENTS).map(|place| token(key, organization(place))).collect();
    let mut numbers = Numbers(5);
    for place in 0..DECISIONS {
        let id: Arc<str> = student(numbers.below(STATE.students)).to_string().into();
        let attributes: Attributes =
            [(Arc::from("studentUniqueId"), Value::String(Arc::clone(&id)))].into_iter().collect();
        let request = AuthorizeRequest {
            realm: REALM.into(),
            credentials: Credentials::bearer(tokens.get(numbers.below(CLIENTS)).unwrap()),
            question: Question {
                action: if place.is_multiple_of(5) { "ReadChanges" } else { "Read" }.into(),
                resource_type: "ed-fi/students".into(),
                resource_id: id,
                attributes: Some(attributes),
                ..Question::default()
            },
            presented: Presented::embedded(),
            ..AuthorizeRequest::default()
        };
        app.authorize(request).await.unwrap();
    }
}

async fn replay(app: &Arc<App>, against: Against) -> Summary {
    let mut replay = app.replay(REALM, DecisionQuery::default(), against).await.unwrap().unwrap();
    while let Some(part) = replay.next().await.unwrap() {
        if let Part::End(summary) = part {
            return summary;
        }
    }
    Summary::default()
}

/// The files, and a forbid that closes students for these actions.
fn with_forbid(actions: &str) -> Vec<SourceFile> {
    let content = format!(
        "@id(\"closed\")\n@title(\"students are closed\")\n@reason(\"CLOSED\")\n@message(\"Closed.\")\nforbid (principal is \
         Client, {actions}, resource is Resource) when {{ resource has student }};\n"
    );
    let mut files = read_folder(Path::new("policies/edfi")).unwrap();
    files.push(SourceFile { path: "closed.cedar".to_owned(), content });
    files
}
