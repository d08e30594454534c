//! A small realm behind a real listener: its files, doubles of the ports, tokens.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, oneshot, watch},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Server},
};

use super::super::{Health, Options, door, routes};
use crate::{
    app::{
        App,
        caller::{CallerPolicies, Callers, KeyDigest, KnownCaller},
        ports::{
            ApplicationChange, ApplicationStore, Clock, DecisionLog, KeyError, KeySource, LogError, LogSegment,
            LogStatus, RealmFiles, RealmSource, RecordPage, RelationshipStore, RevocationChange, RevocationStore,
            StoreError, Stores,
        },
        realm_state::{Deployed, RealmState},
        retention::Rules,
        test_people::people,
    },
    domain::{
        application::{Application, ApplicationToken, TokenDigest},
        decision_record::{DecisionRecord, LoggedDecision},
        id::{DecisionId, RealmName, Revision},
        issuer::{Algorithm, Issuer},
        key_set::KeySet,
        log_event::EventKind,
        policy_set::SourceFile,
        record_filter::{Order, PageRequest, RecordFilter},
        relationship::{Change, Effect, Record, RecordKey, Remembered, Written, settle},
        revocation::{Revocation, RevokedTokens},
        test_keys::{TestKey, jwks},
    },
    proto::v1::{
        self as pb, decision_log_service_client::DecisionLogServiceClient, policy_service_client::PolicyServiceClient,
        privacy_service_client::PrivacyServiceClient,
    },
    transport::layer::admission::{self, Admission, Places},
};

/// The present, in seconds since the epoch.
pub(super) const NOW: i64 = 1_790_000_000;
pub(super) const REALM: &str = "north";

const REALM_TOML: &str = r#"
title = "North"
[[issuers]]
issuer = "https://idp.example"
audiences = []
algorithms = ["EdDSA"]
keys = { file = "issuer.jwks.json" }
[principal]
entity = "Client"
id = "client_id"
parents = ["schools"]
[principal.attributes.schools]
claim = "schools"
separator = ","
[trusted]
File = ["student"]
context = ["method"]
[denials.RELATIONSHIP_MISSING]
status = 403
type = "urn:north:denied"
title = "Denied"
detail = "Not yours.{hints}"
errors = ["No relationship with {subjects}."]
members = { status = 4, about = "{subjects}" }
headers = { "X-Denied" = "not yours" }
"#;
const SCHEMA: &str = r"
entity School;
entity Student in [School];
entity Client in [School] { schools: Set<School> };
entity File { lacks: Set<String>, student?: Student };
action Read, Update appliesTo { principal: [Client], resource: [File], context: { method?: String } };
";
const RELATIONS: &str = r#"
[entities.Student]
person = true
hint = "Is the student enrolled?"
[relations.enrolled_at]
subject = "Student"
object = "School"
[items.File]
entity = "Student"
[[records]]
resource = "schools"
key = ["schoolId"]
facts = { entity = "School", id = "schoolId", fields = { name = "name" } }
[[records]]
resource = "enrolments"
key = ["school", "student"]
[[records.relationships]]
relation = "enrolled_at"
subject = "student"
object = "school"
"#;
const POLICIES: &str = r#"
@id("Enrolled")
@title("the student is enrolled at one of the client's schools")
@reason("RELATIONSHIP_MISSING")
@message("The student is at none of the client's schools.")
permit (principal is Client, action == Action::"Read", resource is File)
when { resource has student && resource.student in principal.schools };
"#;
const TESTS: &str = r#"
facts: { enrolments: [ { school: "1", student: ada } ] }
principals: { one: { client_id: one, schools: "1" } }
cases:
  - { name: a school reads its own, principal: one, action: Read, resource: { type: File, attributes: { student: ada } }, expect: ALLOW }
  - { name: and no other, principal: one, action: Read, resource: { type: File, attributes: { student: ben } }, expect: DENY }
"#;

/// The local admin token.
pub(super) const ADMIN_KEY: &str = "the local admin token of these tests";

/// Shows a key with every call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(&'static str);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.0).parse().unwrap());
        Ok(request)
    }
}

/// The files of the policies that judge callers, as the program ships them.
pub(super) fn caller_files() -> Vec<SourceFile> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/hallpass");
    ["realm.toml", "schema.cedarschema", "relations.toml", "policies.cedar", "questions.cedar", "callers.cedar"]
        .map(|path| SourceFile {
            path: path.to_owned(),
            content: std::fs::read_to_string(format!("{folder}/{path}")).unwrap(),
        })
        .to_vec()
}

/// The realm's files.
pub(super) fn files() -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    vec![
        file("policies.cedar", POLICIES),
        file("realm.toml", REALM_TOML),
        file("relations.toml", RELATIONS),
        file("schema.cedarschema", SCHEMA),
        file("tests/files.yaml", TESTS),
    ]
}

/// The service, its ports in the hands of a test, and a way to call it.
pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) log: Arc<Log>,
    pub(super) store: Arc<Store>,
    pub(super) applications: Arc<Applications>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Arc<FixedClock>,
    pub(super) source: Arc<Source>,
    pub(super) health: Health,
    pub(super) channel: Channel,
    key: TestKey,
    _serving: DropGuard,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(super) async fn start_with(options: Options) -> Self {
        Self::start_for(options, Vec::new()).await
    }

    pub(super) async fn start_for(options: Options, callers: Vec<KnownCaller>) -> Self {
        let key = TestKey::of(Algorithm::EdDSA);
        let keys = Arc::new(Keys::new(KeySet::from_jwks(&jwks(&[key.jwk("key")])).unwrap()));
        let (log, store, source) = (Arc::new(Log::default()), Arc::new(Store::default()), Arc::new(Source::default()));
        let (applications, revocations) = (Arc::new(Applications::default()), Arc::new(Revocations::default()));
        let clock = Arc::new(FixedClock(AtomicI64::new(NOW)));
        let stores = Stores {
            relationships: Arc::clone(&store) as Arc<dyn RelationshipStore>,
            applications: Arc::clone(&applications) as Arc<dyn ApplicationStore>,
            revocations: Arc::clone(&revocations) as Arc<dyn RevocationStore>,
        };
        let state = RealmState::start(
            Deployed { name: REALM.parse().unwrap(), variant: None, issuers: Vec::new() },
            &files(),
            &stores,
            Arc::clone(&log) as Arc<dyn DecisionLog>,
            people(),
            NOW * 1_000_000,
        )
        .await
        .unwrap();
        let app = App::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&keys) as Arc<dyn KeySource>,
            stores,
            Arc::clone(&source) as Arc<dyn RealmSource>,
            Arc::default(),
            vec![state],
        );
        let policies = CallerPolicies::start(&caller_files(), NOW * 1_000_000).unwrap();
        // Nothing is deleted until a test says so.
        let everything = Rules { bytes: Some(0), ..Rules::default() };
        let app = app.with_retention([(REALM.parse().unwrap(), everything)].into());
        let app = Arc::new(app.with_callers(Callers::new(callers, KeyDigest::of(ADMIN_KEY), policies)));
        let (routes, health) = routes(Arc::clone(&app), &options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let limits = admission::Limits { check_within: Duration::from_secs(60), ..admission::Limits::default() };
        let places = Arc::new(Places::new(limits, Arc::clone(app.meter())));
        let admission = Admission::new(places, door(options.message_bytes_max));
        let server = Server::builder().layer(admission).add_routes(routes);
        tokio::spawn(
            server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned()),
        );
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self {
            app,
            log,
            store,
            applications,
            revocations,
            clock,
            source,
            health,
            channel,
            key,
            keys,
            _serving: stop.drop_guard(),
        }
    }

    /// The decision log, as the local admin reads it.
    pub(super) fn decisions(&self) -> DecisionLogServiceClient<InterceptedService<Channel, Bearer>> {
        self.decisions_as(ADMIN_KEY)
    }

    /// The decision log, as who has this key reads it.
    pub(super) fn decisions_as(
        &self,
        key: &'static str,
    ) -> DecisionLogServiceClient<InterceptedService<Channel, Bearer>> {
        DecisionLogServiceClient::with_interceptor(self.channel.clone(), Bearer(key))
    }

    /// The realms and their policies, for who has this key.
    pub(super) fn policies_as(&self, key: &'static str) -> PolicyServiceClient<InterceptedService<Channel, Bearer>> {
        PolicyServiceClient::with_interceptor(self.channel.clone(), Bearer(key))
    }

    /// What the log knows of people, as the local admin asks.
    pub(super) fn privacy(&self) -> PrivacyServiceClient<InterceptedService<Channel, Bearer>> {
        self.privacy_as(ADMIN_KEY)
    }

    /// What the log knows of people, as who has this key asks.
    pub(super) fn privacy_as(&self, key: &'static str) -> PrivacyServiceClient<InterceptedService<Channel, Bearer>> {
        PrivacyServiceClient::with_interceptor(self.channel.clone(), Bearer(key))
    }

    /// A good token of a client with these schools.
    pub(super) fn token(&self, schools: &str) -> String {
        self.token_saying(&json!({ "schools": schools }))
    }

    /// A good token of the client with these further claims.
    pub(super) fn token_saying(&self, further: &serde_json::Value) -> String {
        let mut claims = json!({ "iss": "https://idp.example", "exp": NOW + 600, "client_id": "client" });
        for (name, claim) in further.as_object().unwrap() {
            claims[name] = claim.clone();
        }
        self.key.token(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"key"}"#, claims.to_string())
    }

    /// Enrols a student.
    pub(super) async fn enrol(&self, student: &str, school: &str) -> u64 {
        let request = pb::WriteRelationshipsRequest {
            realm: REALM.to_owned(),
            creates: vec![enrolment(student, school)],
            ..pb::WriteRelationshipsRequest::default()
        };
        let mut client = pb::relationship_service_client::RelationshipServiceClient::new(self.channel.clone());
        client.write_relationships(request).await.unwrap().into_inner().revision
    }

    /// May the client of this school read the student's file?
    pub(super) fn question(&self, student: &str, school: &str) -> pb::AuthorizeRequest {
        pb::AuthorizeRequest {
            realm: REALM.to_owned(),
            token: self.token(school),
            action: "Read".to_owned(),
            resource: Some(pb::Resource {
                r#type: "File".to_owned(),
                id: "f-1".to_owned(),
                attributes: HashMap::from([("student".to_owned(), text(student))]),
                ..pb::Resource::default()
            }),
            ..pb::AuthorizeRequest::default()
        }
    }
}

pub(super) fn text(text: &str) -> pb::Value {
    pb::Value { kind: Some(pb::value::Kind::StringValue(text.to_owned())) }
}

pub(super) fn entity(r#type: &str, id: &str) -> pb::EntityReference {
    pb::EntityReference { r#type: r#type.to_owned(), id: id.to_owned() }
}

pub(super) fn enrolment(student: &str, school: &str) -> pb::Relationship {
    pb::Relationship {
        subject: Some(entity("Student", student)),
        relation: "enrolled_at".to_owned(),
        object: Some(entity("School", school)),
    }
}

/// A clock that stands at [`NOW`] and goes on only when it is told to.
#[derive(Debug)]
pub(super) struct FixedClock(AtomicI64);

impl FixedClock {
    /// Lets so many seconds pass.
    pub(super) fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed) * 1_000_000 + 250_000
    }
}

/// The issuer's keys. Each fetch passes the door.
#[derive(Debug)]
pub(super) struct Keys {
    /// A fetch is waiting for the door.
    pub(super) arrivals: Semaphore,
    pub(super) door: Semaphore,
    set: Arc<KeySet>,
}

impl Keys {
    fn new(keys: KeySet) -> Self {
        Self { arrivals: Semaphore::new(0), door: Semaphore::new(1), set: Arc::new(keys) }
    }
}

#[async_trait]
impl KeySource for Keys {
    async fn keys(&self, _: &RealmName, _: &str, _: Option<&str>) -> Result<Arc<KeySet>, KeyError> {
        self.arrivals.add_permits(1);
        drop(self.door.acquire().await.unwrap());
        Ok(Arc::clone(&self.set))
    }

    fn set_issuers(&self, _: &RealmName, _: &[Issuer]) {}
}

/// The realm's folder; without files it cannot be read. With a door, the next reading says that it has read, and then
/// waits until it may go on. Last the candidate for its shadow.
#[derive(Debug, Default)]
pub(super) struct Source(
    pub(super) Mutex<Option<Vec<SourceFile>>>,
    pub(super) Mutex<Option<Door>>,
    pub(super) Mutex<Option<Vec<SourceFile>>>,
);

pub(super) type Door = (oneshot::Sender<()>, std::sync::mpsc::Receiver<()>);

impl RealmSource for Source {
    fn read(&self, _: &RealmName) -> Result<RealmFiles, String> {
        let files = self.0.lock().unwrap().clone();
        let door = self.1.lock().unwrap().take();
        if let Some((has_read, go_on)) = door {
            has_read.send(()).unwrap();
            go_on.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        files.map(RealmFiles::unsigned).ok_or_else(|| "the folder cannot be read".to_owned())
    }

    fn candidate(&self, _: &RealmName) -> Option<Result<Vec<SourceFile>, String>> {
        self.2.lock().unwrap().clone().map(Ok)
    }
}

/// A log in memory, which a test may declare full.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) is_full: AtomicBool,
    /// Each append takes one away.
    pub(super) appends_left: Semaphore,
    /// Each note takes one away.
    pub(super) notes_left: Semaphore,
    /// How many notes were begun.
    pub(super) noting: watch::Sender<u32>,
    notes_to_fail: AtomicUsize,
    records: Mutex<Vec<LoggedDecision>>,
    /// Numbered from 1,001.
    pub(super) events: Mutex<Vec<EventKind>>,
    /// The last record that retention deleted, which stays there all the same.
    pub(super) deleted_until: AtomicU64,
    appended: Notify,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            is_full: AtomicBool::default(),
            appends_left: Semaphore::new(1 << 20),
            notes_left: Semaphore::new(1 << 20),
            noting: watch::Sender::new(0),
            notes_to_fail: AtomicUsize::new(0),
            records: Mutex::default(),
            events: Mutex::default(),
            deleted_until: AtomicU64::default(),
            appended: Notify::new(),
        }
    }
}

impl Log {
    /// Lets so many appends through and no more.
    pub(super) fn leave_appends(&self, count: usize) {
        self.appends_left.forget_permits(usize::MAX);
        self.appends_left.add_permits(count);
    }

    /// Fails so many notes, though the log says that it takes them.
    pub(super) fn fail_notes(&self, count: usize) {
        self.notes_to_fail.store(count, Ordering::Relaxed);
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Vec<LoggedDecision>> {
        self.records.lock().unwrap()
    }
}

#[async_trait]
impl DecisionLog for Log {
    async fn append(&self, records: Vec<DecisionRecord>) -> Result<(), LogError> {
        self.appends_left.acquire().await.unwrap().forget();
        if !self.is_writable() {
            return Err(LogError::Unavailable("full".to_owned()));
        }
        let mut log = self.records();
        for record in records {
            let sequence = log.len() as u64 + 1;
            log.push(LoggedDecision { sequence, record });
        }
        self.appended.notify_waiters();
        Ok(())
    }

    async fn note(&self, event: EventKind) -> Result<u64, LogError> {
        self.noting.send_modify(|noting| *noting += 1);
        self.notes_left.acquire().await.unwrap().forget();
        let fails = self.notes_to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        if fails.is_ok() || !self.is_writable() {
            return Err(LogError::Unavailable("full".to_owned()));
        }
        let mut events = self.events.lock().unwrap();
        events.push(event);
        Ok(1_000 + events.len() as u64)
    }

    async fn query(&self, filter: RecordFilter, page: PageRequest) -> Result<RecordPage, LogError> {
        let mut found: Vec<_> = self.records().iter().filter(|found| filter.matches(&found.record)).cloned().collect();
        if page.order == Order::NewestFirst {
            found.reverse();
        }
        if let Some(after) = page.after {
            let is_newer = |found: &LoggedDecision| found.sequence > after;
            found.retain(|found| found.sequence != after && is_newer(found) == (page.order == Order::OldestFirst));
        }
        let next_after = (found.len() > page.size).then(|| found[page.size - 1].sequence);
        found.truncate(page.size);
        Ok(RecordPage { decisions: found, next_after, is_complete: true, events: Vec::new() })
    }

    async fn get(&self, id: DecisionId) -> Result<Option<LoggedDecision>, LogError> {
        Ok(self.records().iter().find(|found| found.record.id == id).cloned())
    }

    async fn follow(&self, after: u64, filter: RecordFilter) -> Result<RecordPage, LogError> {
        loop {
            let appended = self.appended.notified();
            if self.status().entries > after {
                break;
            }
            appended.await;
        }
        let last = self.status().entries;
        let page = PageRequest { order: Order::OldestFirst, size: 3, after: Some(after) };
        let mut page = self.query(filter, page).await?;
        page.next_after = page.next_after.or(Some(last));
        Ok(page)
    }

    fn status(&self) -> LogStatus {
        let entries = self.records().len() as u64;
        let is_writable = self.is_writable();
        LogStatus { mode: "strict", is_writable, entries, is_undamaged: true, ..LogStatus::default() }
    }

    /// Each record is one.
    async fn segments(&self) -> Result<Vec<LogSegment>, LogError> {
        let records = self.records();
        let segment = |found: &LoggedDecision| LogSegment {
            first: found.sequence,
            last: found.sequence,
            bytes: 100,
            newest_us: found.record.time_us,
            is_deletable: found.sequence < records.len() as u64,
        };
        Ok(records.iter().map(segment).collect())
    }

    async fn delete_until(&self, last: u64, _rule: &str) -> Result<Option<(u64, u64)>, LogError> {
        self.deleted_until.store(last, Ordering::Relaxed);
        Ok(Some((1, last)))
    }

    fn is_writable(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    async fn close(&self) {}
}

/// Records in memory. Each write passes the door.
#[derive(Debug)]
pub(super) struct Store {
    /// A write has become durable, and is waiting for the door.
    pub(super) arrivals: Semaphore,
    pub(super) door: Semaphore,
    records: Mutex<(Revision, BTreeMap<RecordKey, Record>)>,
}

impl Default for Store {
    fn default() -> Self {
        Self { arrivals: Semaphore::new(0), door: Semaphore::new(1), records: Mutex::default() }
    }
}

#[async_trait]
impl RelationshipStore for Store {
    async fn write(
        &self,
        _: &RealmName,
        batches: Vec<Vec<Change>>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, StoreError> {
        let written = {
            let (revision, records) = &mut *self.records.lock().unwrap();
            let mut write = |change: Change| {
                let effect = settle(records.get(change.key()).cloned(), change, remembered);
                effect.keep_in(records);
                effect
            };
            let batches = batches.into_iter().map(|batch| {
                let effects: Vec<_> = batch.into_iter().map(&mut write).collect();
                revision.0 += u64::from(effects.iter().any(|effect| *effect != Effect::Unchanged));
                Written { revision: *revision, effects }
            });
            batches.collect()
        };
        self.arrivals.add_permits(1);
        drop(self.door.acquire().await.unwrap());
        Ok(written)
    }

    fn check(&self, _: &Record) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self, _: &RealmName, mut each: Box<dyn FnMut(Record) + Send>) -> Result<Revision, StoreError> {
        let records = self.records.lock().unwrap();
        records.1.values().cloned().for_each(&mut each);
        Ok(records.0)
    }

    fn is_writable(&self) -> bool {
        true
    }
}

/// Revocations in memory; a test may let writes fail after they were made.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    pub(super) is_failing: AtomicBool,
    kept: Mutex<BTreeMap<RevokedTokens, Revocation>>,
}

impl Revocations {
    /// How many revocations are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

#[async_trait]
impl RevocationStore for Revocations {
    async fn write_revocations(&self, _: &RealmName, changes: Vec<RevocationChange>) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap();
        for change in changes {
            match change {
                RevocationChange::Put(revocation) => kept.insert(revocation.tokens.clone(), revocation),
                RevocationChange::Delete(tokens) => kept.remove(&tokens),
            };
        }
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the disk is gone".to_owned()));
        }
        Ok(())
    }

    async fn load_revocations(&self, _: &RealmName) -> Result<Vec<Revocation>, StoreError> {
        Ok(self.kept.lock().unwrap().values().cloned().collect())
    }
}

/// Applications in memory, by realm-wide order of changes; a test may let writes fail after they were made.
#[derive(Debug, Default)]
pub(super) struct Applications {
    pub(super) is_failing: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    applications: BTreeMap<Arc<str>, Application>,
    tokens: BTreeMap<TokenDigest, ApplicationToken>,
}

impl Applications {
    /// How many tokens are kept.
    pub(super) fn tokens(&self) -> usize {
        self.kept.lock().unwrap().tokens.len()
    }
}

#[async_trait]
impl ApplicationStore for Applications {
    async fn write_applications(&self, _: &RealmName, changes: Vec<ApplicationChange>) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().unwrap();
        for change in changes {
            match change {
                ApplicationChange::Put(application) => {
                    kept.applications.insert(Arc::clone(&application.id), application);
                }
                ApplicationChange::Delete(id) => drop(kept.applications.remove(&id)),
                ApplicationChange::PutToken(token) => drop(kept.tokens.insert(token.digest, token)),
                ApplicationChange::DeleteToken(digest) => drop(kept.tokens.remove(&digest)),
            }
        }
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the disk is gone".to_owned()));
        }
        Ok(())
    }

    async fn load_applications(&self, _: &RealmName) -> Result<(Vec<Application>, Vec<ApplicationToken>), StoreError> {
        let kept = self.kept.lock().unwrap();
        Ok((kept.applications.values().cloned().collect(), kept.tokens.values().cloned().collect()))
    }
}
