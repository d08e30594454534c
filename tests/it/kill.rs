//! Power cuts: whatever was acknowledged is there when the service starts again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hallpass::proto::v1 as pb;
use hallpass::storage::segment_log::verify::{Trusted, verify};
use tokio::task::JoinSet;

use crate::support::{Home, REALM, Service, creating, enrolled_at, enrolment, entity, reading_student};

/// Kills; more of them by hand: `HALLPASS_KILLS=1000`.
fn kills() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let kills = std::env::var("HALLPASS_KILLS");
    kills.ok().and_then(|kills| kills.parse().ok()).unwrap_or(50)
}

/// Rounds take turns at so many schools.
const SCHOOLS: u64 = 50;
/// The load goes on for this long, in milliseconds, before the process is killed.
const LOAD_MS: std::ops::Range<u64> = 20..300;
/// Every fifth start is killed too, after this long, while it may still be reading what the last one left.
const START_MS: std::ops::Range<u64> = 1..150;

/// What the service acknowledged in one round; students by id.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Enrolments that were written one by one, and not asked to be deleted.
    created: BTreeSet<String>,
    /// Enrolments that were created and deleted.
    deleted: BTreeSet<String>,
    /// Enrolments that came as records.
    imported: BTreeSet<String>,
    decisions: Vec<String>,
    revision: u64,
}

/// The load on one process.
struct Load {
    round: u64,
    token: String,
    acknowledged: Mutex<Acknowledged>,
    is_over: AtomicBool,
    next_student: AtomicU64,
}

fn school(round: u64) -> i64 {
    255_901_000 + i64::try_from(round % SCHOOLS).unwrap()
}

impl Load {
    fn new(round: u64, token: &str) -> Arc<Self> {
        Arc::new(Self {
            round,
            token: token.to_owned(),
            acknowledged: Mutex::default(),
            is_over: AtomicBool::new(false),
            next_student: AtomicU64::new(1),
        })
    }

    fn start(self: &Arc<Self>, service: &Service) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            tasks.spawn(Arc::clone(self).write(service.relationships()));
            tasks.spawn(Arc::clone(self).ask(service.authorization()));
        }
        tasks.spawn(Arc::clone(self).import(service.relationships()));
        tasks
    }

    fn note(&self, change: impl FnOnce(&mut Acknowledged)) {
        change(&mut self.acknowledged.lock().unwrap());
    }

    /// Notes that a call failed, which only a process that is being killed may cause.
    fn failed(&self, status: &tonic::Status) {
        assert!(self.is_over.load(Ordering::SeqCst), "round {}: before the kill: {status:?}", self.round);
    }

    fn student(&self) -> String {
        format!("{}-{}", self.round, self.next_student.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates enrolments, and deletes every fourth again.
    async fn write(
        self: Arc<Self>,
        mut client: pb::relationship_service_client::RelationshipServiceClient<tonic::transport::Channel>,
    ) {
        let school = school(self.round).to_string();
        for count in 1_u64.. {
            let student = self.student();
            let request = creating(vec![enrolled_at(&student, &school)]);
            let revision = match client.write_relationships(request).await {
                Ok(answer) => answer.into_inner().revision,
                Err(status) => return self.failed(&status),
            };
            self.note(|acknowledged| {
                acknowledged.created.insert(student.clone());
                acknowledged.revision = acknowledged.revision.max(revision);
            });
            if count % 4 > 0 {
                continue;
            }
            // From here on it may be gone; from the acknowledgement on it must be.
            self.note(|acknowledged| {
                acknowledged.created.remove(&student);
            });
            let deletes = vec![enrolled_at(&student, &school)];
            let request = pb::WriteRelationshipsRequest { deletes, ..creating(Vec::new()) };
            let revision = match client.write_relationships(request).await {
                Ok(answer) => answer.into_inner().revision,
                Err(status) => return self.failed(&status),
            };
            self.note(|acknowledged| {
                acknowledged.deleted.insert(student);
                acknowledged.revision = acknowledged.revision.max(revision);
            });
        }
    }

    /// Imports three records at a time.
    async fn import(
        self: Arc<Self>,
        mut client: pb::relationship_service_client::RelationshipServiceClient<tonic::transport::Channel>,
    ) {
        loop {
            let students = [self.student(), self.student(), self.student()];
            let part = pb::ImportRecordsRequest {
                realm: REALM.to_owned(),
                resource: "studentSchoolAssociations".to_owned(),
                records: students.iter().map(|student| enrolment(student, school(self.round))).collect(),
            };
            match client.import_records(tokio_stream::once(part)).await {
                Ok(answer) => self.note(|acknowledged| {
                    let answer = answer.into_inner();
                    assert_eq!(answer.accepted, 3, "{:?}", answer.refusals);
                    acknowledged.imported.extend(students);
                    acknowledged.revision = acknowledged.revision.max(answer.revision);
                }),
                Err(status) => return self.failed(&status),
            }
        }
    }

    async fn ask(
        self: Arc<Self>,
        mut client: pb::authorization_service_client::AuthorizationServiceClient<tonic::transport::Channel>,
    ) {
        for count in 0_u64.. {
            let student = format!("{}-{}", self.round, count % 50);
            match client.authorize(reading_student(&self.token, &student)).await {
                Ok(answer) => self.note(|acknowledged| {
                    let answer = answer.into_inner();
                    acknowledged.decisions.push(answer.decision_id);
                    acknowledged.revision = acknowledged.revision.max(answer.data_revision);
                }),
                Err(status) => return self.failed(&status),
            }
        }
    }
}

/// The students that are enrolled at a round's school.
async fn enrolled(service: &Service, round: u64) -> BTreeSet<String> {
    let mut client = service.relationships();
    let mut students = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ReadRelationshipsRequest {
            realm: REALM.to_owned(),
            object: Some(entity("EducationOrganization", &school(round).to_string())),
            page_size: 1000,
            page_token,
            ..pb::ReadRelationshipsRequest::default()
        };
        let page = client.read_relationships(request).await.unwrap().into_inner();
        students.extend(page.relationships.into_iter().map(|relationship| relationship.subject.unwrap().id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return students;
        }
    }
}

/// Compares the relationships of a round with what was acknowledged of them.
async fn check_relationships(service: &Service, round: u64, acknowledged: &Acknowledged) {
    let enrolled = enrolled(service, round).await;
    let must_be_there: BTreeSet<String> = acknowledged.created.union(&acknowledged.imported).cloned().collect();
    let lost: Vec<_> = must_be_there.difference(&enrolled).collect();
    assert!(lost.is_empty(), "round {round}: acknowledged, but not there: enrolments of {lost:?}");
    let back: Vec<_> = acknowledged.deleted.intersection(&enrolled).collect();
    assert!(back.is_empty(), "round {round}: deletion acknowledged, but there: enrolments of {back:?}");
}

/// Numbers must rise after the known ones. Between them stand starts and readings of the log; that nothing is missing is
/// what a complete answer says, and a strict log has no gap to tell of after a kill.
fn check_numbers(round: u64, known: u64, decisions: &[pb::DecisionRecord]) {
    let numbers = || [known].into_iter().chain(decisions.iter().map(|decision| decision.sequence));
    let rise = numbers().zip(numbers().skip(1)).all(|(before, after)| before < after);
    assert!(rise, "round {round}: a repetition in the decision log");
}

async fn check_decisions(service: &Service, round: u64, acknowledged: &Acknowledged) {
    let mut client = service.decisions();
    for id in &acknowledged.decisions {
        let request = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: id.clone() };
        let found = client.get_decision(request).await;
        let found = found.unwrap_or_else(|status| panic!("round {round}: decision {id} acknowledged, but {status:?}"));
        assert_eq!(found.into_inner().decision.unwrap().decision_id, *id);
    }
}

fn any_of(milliseconds: &std::ops::Range<u64>) -> Duration {
    let span = milliseconds.end - milliseconds.start;
    Duration::from_millis(milliseconds.start + u64::from(getrandom::u32().unwrap()) % span)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives_any_number_of_kills() {
    let kills = kills();
    let mut home = Home::new();
    // So that some are killed while they end a file of the log and begin the next.
    home.tables.push_str("segment_seconds_max = 1\n");
    // Without the realm's own tests a start takes half the time.
    home.copy_rules();
    let token = home.token("SISVendor", &(0..SCHOOLS).map(school).collect::<Vec<_>>());
    let mut rounds: Vec<Acknowledged> = Vec::new();
    let mut known = 0;
    let mut service = home.start().await;
    for round in 0..kills {
        let load = Load::new(round, &token);
        let mut tasks = load.start(&service);
        tokio::time::sleep(any_of(&LOAD_MS)).await;
        load.is_over.store(true, Ordering::SeqCst);
        service.kill();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let acknowledged = std::mem::take(&mut *load.acknowledged.lock().unwrap());

        if round % 5 == 0 {
            home.start_and_kill(any_of(&START_MS)).await;
        }
        service = home.start().await;
        let revision = service.revision().await;
        let seen = acknowledged.revision;
        assert!(revision >= seen, "round {round}: at revision {revision}, but {seen} was acknowledged");
        check_relationships(&service, round, &acknowledged).await;
        check_decisions(&service, round, &acknowledged).await;
        let decisions = service.decisions_after(known).await;
        check_numbers(round, known, &decisions);
        known = decisions.last().map_or(known, |decision| decision.sequence);
        rounds.push(acknowledged);
    }
    // Later kills took nothing of what had survived earlier ones.
    for (round, acknowledged) in (0..).zip(&rounds) {
        check_relationships(&service, round, acknowledged).await;
    }
    let decisions = service.decisions_after(0).await;
    check_numbers(kills, 0, &decisions);
    let found: BTreeSet<String> = decisions.into_iter().map(|decision| decision.decision_id).collect();
    let acknowledged = rounds.iter().flat_map(|acknowledged| &acknowledged.decisions);
    let lost: Vec<_> = acknowledged.filter(|id| !found.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged, but not in the log: decisions {lost:?}");
    let mut decisions = service.decisions();
    let status = decisions.get_log_status(pb::GetLogStatusRequest { realm: REALM.to_owned() });
    let key = status.await.unwrap().into_inner().verifier_key.parse().unwrap();
    service.signal("TERM");
    assert!(service.ended().await.success());
    // To who has nothing but the key, the log is whole.
    let trusted = Trusted { keys: vec![key], checkpoints: Vec::new() };
    let report = verify(&home.data.join("realms").join(REALM).join("decisions"), &trusted).unwrap();
    assert!(report.findings.is_empty() && report.covered >= found.len() as u64, "{report:#?}");
    let written: usize = rounds.iter().map(|round| round.created.len() + round.deleted.len()).sum();
    let imported: usize = rounds.iter().map(|round| round.imported.len()).sum();
    assert!(
        written > 50 && imported > 50 && found.len() > 50,
        "hardly any load: {written}, {imported}, {}",
        found.len()
    );
    println!("{kills} kills: {written} writes, {imported} records and {} decisions are all there", found.len());
}
