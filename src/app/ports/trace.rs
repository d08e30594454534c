//! What is known of a request beside its answer, for who watches over the service: its id, its trace, who asks, what was
//! decided. It goes along with the task that works on the request, so that nothing has to hand it on.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{app::ports::Clock, domain::traceparent::Traceparent};

tokio::task_local! {
    static CURRENT: Arc<Watched>;
}

/// A request under way.
#[derive(Debug)]
pub struct Watched {
    /// Its id: as it was sent, or made.
    pub request_id: Arc<str>,
    /// Its trace, if it is part of one.
    pub trace: Option<Trace>,
    caller: OnceLock<Arc<str>>,
    decisions: AtomicU32,
    allows: AtomicU32,
    first: Mutex<Option<Decided>>,
}

/// A decision as it is shown: words of the configuration and the policies, nothing that the request brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The realm.
    pub realm: Arc<str>,
    /// It is an allow.
    pub is_allowed: bool,
    /// The code of its first reason; empty where there is none.
    pub reason: Arc<str>,
    /// The digest of the policies.
    pub policy_version: Arc<str>,
    /// How it was asked for.
    pub adapter: &'static str,
    /// It says whether a search may be made, of which those behind it are a part.
    pub is_of_search: bool,
}

/// The decisions that were made for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The one that the request was about: the only one, or whether its search may be made.
    pub about: Option<Decided>,
    /// How many there were.
    pub count: u32,
    /// How many of them are allows.
    pub allows: u32,
}

impl Watched {
    /// A request with this id that is part of this trace, or of none.
    pub fn new(request_id: Arc<str>, trace: Option<Trace>) -> Self {
        let (caller, first) = (OnceLock::new(), Mutex::new(None));
        Self { request_id, trace, caller, decisions: AtomicU32::new(0), allows: AtomicU32::new(0), first }
    }

    /// Who asks, by the configured name; `None` until that is known.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(|name| &**name)
    }

    /// What was decided so far. Only of a request whose spans are kept.
    pub fn decided(&self) -> Decisions {
        let (count, allows) = (self.decisions.load(Ordering::Acquire), self.allows.load(Ordering::Acquire));
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Decisions { about: first.filter(|first| count == 1 || first.is_of_search), count, allows }
    }

    fn is_sampled(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.here.is_sampled)
    }

    fn decide(&self, is_allowed: bool, decided: impl FnOnce() -> Decided) {
        if !self.is_sampled() {
            return;
        }
        if is_allowed {
            self.allows.fetch_add(1, Ordering::AcqRel);
        }
        if self.decisions.fetch_add(1, Ordering::AcqRel) == 0 {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided());
        }
    }
}

/// Works on a request.
pub async fn watched<F: Future>(request: Arc<Watched>, work: F) -> F::Output {
    CURRENT.scope(request, work).await
}

/// The same work for a task of its own, which goes on for the request that is worked on here.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = CURRENT.try_with(Arc::clone).ok();
    async move {
        match request {
            Some(request) => CURRENT.scope(request, work).await,
            None => work.await,
        }
    }
}

/// The same for work on a thread that may block.
pub fn carried_blocking<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let request = CURRENT.try_with(Arc::clone).ok();
    || match request {
        Some(request) => CURRENT.sync_scope(request, work),
        None => work(),
    }
}

/// Notes who makes the request that is worked on, by the configured name.
pub fn note_caller(name: &Arc<str>) {
    // Who asks within the process is watched by nobody.
    let _unwatched = CURRENT.try_with(|request| drop(request.caller.set(Arc::clone(name))));
}

/// Notes a decision for the request that is worked on; `decided` is made only if somebody will see it: of many decisions they
/// see how many there were.
pub fn note_decision(is_allowed: bool, decided: impl FnOnce() -> Decided) {
    let _unwatched = CURRENT.try_with(|request| request.decide(is_allowed, decided));
}

/// Begins to ask a server for the request that is worked on; `None` when it is part of no trace.
pub fn ask(name: impl FnOnce() -> String) -> Option<Asking> {
    let request = CURRENT.try_with(Arc::clone).ok()?;
    let trace = request.trace.as_ref()?;
    let span_id = if trace.here.is_sampled { random_id()? } else { trace.here.span_id };
    let here = Traceparent { span_id, ..trace.here };
    let name = if here.is_sampled { name() } else { String::new() };
    let (tracer, parent) = (Arc::clone(&trace.tracer), trace.here.span_id);
    Some(Asking { here, parent, name, begun_us: tracer.clock.now_us(), tracer })
}

/// A question to a server under way.
#[derive(Debug)]
pub struct Asking {
    here: Traceparent,
    parent: u64,
    name: String,
    begun_us: i64,
    tracer: Arc<Tracer>,
}

impl Asking {
    /// What the server is told of the trace.
    pub fn traceparent(&self) -> String {
        self.here.to_string()
    }

    /// It was answered, or was not: `error` says what failed, in words of ours.
    pub fn done(self, attributes: Vec<(&'static str, Value)>, error: Option<Cow<'static, str>>) {
        let Self { here, parent, name, begun_us, tracer } = self;
        if here.is_sampled {
            tracer.sink.take(Span {
                trace_id: here.trace_id,
                span_id: here.span_id,
                parent: Some(parent),
                is_parent_remote: false,
                kind: SpanKind::Client,
                name: name.into(),
                begun_us,
                ended_us: tracer.clock.now_us(),
                attributes,
                error,
            });
        }
    }
}

/// The trace of a request.
#[derive(Clone, Debug)]
pub struct Trace {
    here: Traceparent,
    parent: Option<u64>,
    begun_us: i64,
    tracer: Arc<Tracer>,
}

impl Trace {
    /// The trace's id.
    pub fn id(&self) -> u128 {
        self.here.trace_id
    }

    /// Somebody will see what is said of it.
    pub fn is_sampled(&self) -> bool {
        self.here.is_sampled
    }

    /// The request was answered. `error` says what failed, in words of ours; a deny is none.
    pub fn done(&self, name: Arc<str>, attributes: Vec<(&'static str, Value)>, error: Option<Cow<'static, str>>) {
        let Self { here, parent, begun_us, tracer } = self;
        if here.is_sampled {
            tracer.sink.take(Span {
                trace_id: here.trace_id,
                span_id: here.span_id,
                parent: *parent,
                is_parent_remote: parent.is_some(),
                kind: SpanKind::Server,
                name,
                begun_us: *begun_us,
                ended_us: tracer.clock.now_us(),
                attributes,
                error,
            });
        }
    }
}

/// Begins traces.
pub struct Tracer {
    sink: Arc<dyn SpanSink>,
    clock: Arc<dyn Clock>,
    ratio: SampleRatio,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Hands spans to `sink`: those of requests whose sender keeps its own, and of this share of the others.
    pub fn new(sink: Arc<dyn SpanSink>, clock: Arc<dyn Clock>, ratio: SampleRatio) -> Self {
        Self { sink, clock, ratio }
    }

    /// The trace of a request that begins now; `None` when it came with none, and none is begun for it.
    pub fn begin(self: &Arc<Self>, parent: Option<Traceparent>) -> Option<Trace> {
        let (trace_id, is_sampled) = match parent {
            Some(parent) => (parent.trace_id, parent.is_sampled),
            None if self.ratio == SampleRatio::NONE => return None,
            None => {
                let trace_id = u128::from(random_id()?) << 64 | u128::from(random_id()?);
                (trace_id, self.ratio.takes(trace_id))
            }
        };
        let here = Traceparent { trace_id, span_id: random_id()?, is_sampled };
        let parent = parent.map(|parent| parent.span_id);
        Some(Trace { here, parent, begun_us: self.clock.now_us(), tracer: Arc::clone(self) })
    }
}

/// A number that nobody else has drawn; `None` without random bytes from the operating system, and then nothing is traced.
fn random_id() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes)).filter(|id| *id != 0)
}

/// The share of requests that are traced though they came with no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRatio(u64);

impl SampleRatio {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Of 63 random bits, as many numbers lie below.
    const ALL: u64 = 1 << 63;

    /// This share, 0 to 1; `None` for any other number.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "2 to the 63rd is exact in a float, and a share of it fits"
    )]
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self((share * Self::ALL as f64) as u64))
    }

    fn takes(self, trace_id: u128) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are the random ones")]
        let random = trace_id as u64 & (Self::ALL - 1);
        random < self.0
    }
}

/// Takes what is to be seen of requests. It must not wait.
pub trait SpanSink: Send + Sync + fmt::Debug {
    /// Takes a span; one for which there is no room is dropped.
    fn take(&self, span: Span);
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// This service answered.
    Server,
    /// This service asked.
    Client,
}

/// A piece of work that ended, within a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// The span that it is part of.
    pub parent: Option<u64>,
    /// That one is somebody else's.
    pub is_parent_remote: bool,
    /// Which side of the call it is.
    pub kind: SpanKind,
    /// What was done, in one of a few words.
    pub name: Arc<str>,
    /// When it began, in microseconds since the epoch.
    pub begun_us: i64,
    /// When it ended.
    pub ended_us: i64,
    /// More about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What failed, if anything did.
    pub error: Option<Cow<'static, str>>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct StandingClock;

    impl Clock for StandingClock {
        fn now_us(&self) -> i64 {
            5
        }
    }

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl SpanSink for Kept {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    const PARENT: Traceparent = Traceparent { trace_id: 7, span_id: 9, is_sampled: true };

    fn tracer(share: f64) -> (Arc<Tracer>, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let ratio = SampleRatio::new(share).unwrap();
        let tracer = Tracer::new(Arc::clone(&kept) as _, Arc::new(StandingClock), ratio);
        (Arc::new(tracer), kept)
    }

    fn decided(is_allowed: bool) -> Decided {
        let [realm, reason, policy_version] = ["north", "R", "v"].map(Arc::from);
        Decided { realm, is_allowed, reason, policy_version, adapter: "grpc", is_of_search: false }
    }

    #[test]
    fn a_request_with_a_trace_is_traced_as_its_sender_says() {
        for share in [0.0, 0.5, 1.0] {
            let (tracer, _) = tracer(share);
            for is_sampled in [true, false] {
                let trace = tracer.begin(Some(Traceparent { is_sampled, ..PARENT })).unwrap();
                assert_eq!((trace.id(), trace.is_sampled(), trace.parent), (7, is_sampled, Some(9)), "{share}");
                assert_ne!(trace.here.span_id, 9, "it has a span of its own");
            }
        }
    }

    #[test]
    fn of_the_others_a_share_is_traced() {
        let sampled = |share| {
            let (tracer, _) = tracer(share);
            (0..2_000).filter(|_| tracer.begin(None).is_some_and(|trace| trace.is_sampled())).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 2_000));
        // Nine standard deviations to each side.
        assert!((800..1_200).contains(&sampled(0.5)));
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(SampleRatio::new(bad), None, "{bad}");
        }
        assert!(SampleRatio::NONE == SampleRatio::new(0.0).unwrap());
    }

    #[tokio::test]
    async fn what_is_asked_for_a_request_is_part_of_its_trace_also_in_another_task() {
        let (tracer, kept) = tracer(0.0);
        let request = Arc::new(Watched::new("r".into(), tracer.begin(Some(PARENT))));
        let here = request.trace.as_ref().unwrap().here;
        let work = async {
            let asked = tokio::spawn(carried(async {
                let asking = ask(|| "GET it".to_owned()).unwrap();
                let told = Traceparent::parse(asking.traceparent().as_bytes()).unwrap();
                asking.done(Vec::new(), None);
                told
            }));
            asked.await.unwrap()
        };
        let told = watched(Arc::clone(&request), work).await;
        let spans = kept.0.lock().unwrap().clone();
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((span.trace_id, span.parent, span.span_id), (7, Some(here.span_id), told.span_id));
        assert_eq!((told.trace_id, told.is_sampled, span.kind), (7, true, SpanKind::Client));
    }

    #[tokio::test]
    async fn a_request_that_is_not_kept_hands_its_trace_on_and_shows_nothing() {
        let (tracer, kept) = tracer(1.0);
        let trace = tracer.begin(Some(Traceparent { is_sampled: false, ..PARENT }));
        let request = Arc::new(Watched::new("r".into(), trace));
        watched(Arc::clone(&request), async {
            let asking = ask(|| panic!("nobody sees its name")).unwrap();
            assert!(asking.traceparent().ends_with("-00"));
            asking.done(Vec::new(), None);
            note_decision(true, || panic!("nobody sees it"));
        })
        .await;
        request.trace.as_ref().unwrap().done("x".into(), Vec::new(), None);
        assert!(kept.0.lock().unwrap().is_empty());
        assert!(ask(|| panic!("there is no request")).is_none());
    }

    #[tokio::test]
    async fn one_decision_is_shown_and_of_several_how_many_there_were() {
        let (tracer, _) = tracer(0.0);
        let request = Arc::new(Watched::new("r".into(), tracer.begin(Some(PARENT))));
        watched(Arc::clone(&request), async {
            note_decision(false, || decided(false));
            note_caller(&"gateway".into());
        })
        .await;
        let only = Decisions { about: Some(decided(false)), count: 1, allows: 0 };
        assert_eq!((request.decided(), request.caller()), (only, Some("gateway")));
        watched(Arc::clone(&request), async { note_decision(true, || panic!("nobody sees it")) }).await;
        assert_eq!(request.decided(), Decisions { about: None, count: 2, allows: 1 });
    }

    #[tokio::test]
    async fn whether_a_search_may_be_made_is_shown_and_of_what_it_finds_how_much_wherever_it_is_decided() {
        let (tracer, _) = tracer(0.0);
        let request = Arc::new(Watched::new("r".into(), tracer.begin(Some(PARENT))));
        let opening = || Decided { is_of_search: true, ..decided(true) };
        watched(Arc::clone(&request), async {
            note_decision(true, opening);
            let task = tokio::spawn(carried(async {
                let found = carried_blocking(|| {
                    for is_allowed in [true, false, true] {
                        note_decision(is_allowed, || panic!("nobody sees it"));
                    }
                });
                tokio::task::spawn_blocking(found).await.unwrap();
            }));
            task.await.unwrap();
        })
        .await;
        assert_eq!(request.decided(), Decisions { about: Some(opening()), count: 4, allows: 3 });
        tokio::task::spawn_blocking(carried_blocking(|| note_decision(true, || panic!("nobody watches"))))
            .await
            .unwrap();
    }
}
