//! What it costs to decide logged decisions again: reading the log, opening what is kept of each question, and deciding.

use std::{fs, path::Path, sync::Arc};

use hallpass::{
    app::{
        App,
        authorize::AuthorizeRequest,
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
    let live = read_folder(Path::new("policies/edfi")).unwrap();
    let (unchanged, closed) = (Against::Candidate(live.clone()), Against::Candidate(with_forbid(live)));
    let figure = |against: &Against| {
        let us = (0..ROUNDS).map(|_| {
            let before_us = process_us();
            let summary = runtime.block_on(replay(&app, against.clone()));
            assert_eq!((summary.same + summary.different) as usize, DECISIONS, "{summary:?}");
            ((process_us() - before_us) / DECISIONS as f64, summary.different)
        });
        let (us, different): (Vec<f64>, Vec<u64>) = us.unzip();
        (1e6 / median(&us), different.first().copied().unwrap_or_default())
    };
    let (its_moment, _) = figure(&Against::ItsMoment);
    let (same, different) = figure(&unchanged);
    assert_eq!(different, 0);
    let (changed, different) = figure(&closed);
    assert!(different > 0);
    report.goal("replay_candidate_decisions_per_s_of_one_core", same, Goal::AtLeast(100_000.0));
    info("replay_of_its_moment_decisions_per_s_of_one_core", its_moment);
    info("replay_with_changes_decisions_per_s_of_one_core", changed);
    info("replay_share_of_changes", different as f64 / DECISIONS as f64);
    runtime.block_on(running.stop()).unwrap();
}

/// Clients ask about students by chance; most are theirs.
async fn ask(app: &Arc<App>, key: &LocalKey) {
    let organization = |place: usize| if place % 4 == 0 { district(place % STATE.districts()) } else { AGENCY };
    let tokens: Vec<String> = (0..CLIENTS).map(|place| token(key, organization(place))).collect();
    let mut numbers = Numbers(5);
    for _ in 0..DECISIONS {
        let id: Arc<str> = student(numbers.below(STATE.students)).to_string().into();
        let attributes: Attributes =
            [(Arc::from("studentUniqueId"), Value::String(Arc::clone(&id)))].into_iter().collect();
        let request = AuthorizeRequest {
            realm: REALM.into(),
            credentials: Credentials::bearer(&tokens[numbers.below(CLIENTS)]),
            question: Question {
                action: "Read".into(),
                resource_type: "ed-fi/students".into(),
                resource_id: id,
                attributes: Some(attributes),
                ..Question::default()
            },
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

/// The files with a forbid that closes students.
fn with_forbid(mut files: Vec<SourceFile>) -> Vec<SourceFile> {
    let content = "@id(\"closed\")\n@title(\"students are closed\")\n@reason(\"CLOSED\")\n@message(\"Closed.\")\n\
                   forbid (principal is Client, action, resource is Resource) when { resource has student };\n";
    files.push(SourceFile { path: "closed.cedar".to_owned(), content: content.to_owned() });
    files
}
