//! How many requests are worked on at once: so many places, a short queue before them, and a clear word for who finds neither.
//!
//! A request takes a place when all of its message has come, so a slow sender holds none, and gives it back when its answer
//! begins, so a slow reader holds none either. Who waits longer than is worth waiting is turned away before any work is done:
//! under more load than can be served, answers then stay as fast as they are, instead of all being late. A request that is
//! turned away was not answered: nothing that comes of it is an allow.
//!
//! Who waits for somebody else, an issuer or its turn, has no [place](place) meanwhile: there is room for so many of them.
//!
//! What has come of messages is held until then, so there is [room](budget) for so many bytes of all of them together. And
//! no answer may take longer than its caller waits, or than answers of its kind may take: what is not there then is given up.
//!
//! Requests also wait for a thread, in the [queue] of the runtime. That wait counts as well where they are many, once it has
//! not gone away for a while: a burst, or a machine that does something else, turns nobody away.

mod budget;
mod place;
mod queue;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http::{HeaderName, HeaderValue, Request, Response, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};
use tower::{Layer, Service};

use self::{
    budget::{Budget, Charge},
    place::Held,
    queue::Queue,
};
use super::deadline::{Ceiling, Until};
use crate::app::ports::{meter::Meter, place::holding};

/// How long a message may take to come, all of it.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(10);

/// The header with the caller's own id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The limits of all listeners together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that are worked on at once; as many may wait.
    pub requests_max: usize,
    /// How long a request may wait for a place.
    pub wait_max: Duration,
    /// How many requests may wait for somebody else, without a place; 0: they keep theirs.
    pub elsewhere_max: usize,
    /// How long a message may take to come, all of it.
    pub message_within: Duration,
    /// How many bytes of messages may be held that came and are not answered yet.
    pub gathered_bytes_max: usize,
    /// How long one decision may take, from when its request is let in.
    pub check_within: Duration,
    /// The same for many decisions.
    pub batch_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: 256,
            wait_max: Duration::from_millis(20),
            elsewhere_max: 1_024,
            message_within: MESSAGE_WITHIN,
            gathered_bytes_max: 256 * 1024 * 1024,
            // An issuer has three seconds for its new keys: nobody is refused because of a rotation.
            check_within: Duration::from_secs(5),
            batch_within: Duration::from_secs(10),
        }
    }
}

/// How a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Always, without a place: who asks how the service is doing.
    Free,
    /// With a place, when all of its message is there.
    Whole,
    /// When there is a place, which it does not keep: the messages come one after the other.
    Stream,
}

/// Why a request gets no answer of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// As many as may wait do so already.
    QueueFull,
    /// It waited for a place as long as is worth it.
    Waited,
    /// It waited for a thread as long as is worth it.
    Late,
    /// Its message did not come in time.
    TooSlow,
    /// Its message broke off.
    Broken,
    /// There is no room for its message.
    BytesFull,
    /// Its answer was not there in time.
    Overdue,
}

impl Shed {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Waited => "waited",
            Self::Late => "late",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::BytesFull => "bytes_full",
            Self::Overdue => "overdue",
        }
    }
}

/// The places that all listeners share.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    free: Semaphore,
    waiting: AtomicUsize,
    /// How many wait for somebody else.
    elsewhere: AtomicUsize,
    budget: Budget,
    queue: Queue,
    meter: Arc<dyn Meter>,
}

/// One who is counted until it is dropped.
struct Counted<'a> {
    count: &'a AtomicUsize,
    /// How many there were before.
    before: usize,
}

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// Free places. `meter` counts who is turned away.
    pub fn new(limits: Limits, meter: Arc<dyn Meter>) -> Self {
        let free = Semaphore::new(limits.requests_max.clamp(1, Semaphore::MAX_PERMITS));
        let [waiting, elsewhere] = [0; 2].map(AtomicUsize::new);
        let (budget, queue) = (Budget::new(limits.gathered_bytes_max), Queue::new(limits.wait_max));
        Self { limits, free, waiting, elsewhere, budget, queue, meter }
    }

    /// Looks how long requests wait for a thread, until it is dropped. Without it that wait turns nobody away.
    pub async fn watch_queue(&self) {
        self.queue.watch().await;
    }

    /// How long requests wait for a thread; zero while there are none.
    pub fn queue_wait(&self) -> Duration {
        self.queue.wait()
    }

    /// How many bytes of messages are held that came and are not answered yet.
    pub fn gathered_bytes(&self) -> usize {
        self.budget.held()
    }

    /// How long answers of this kind may take.
    fn ceiling(&self, ceiling: Ceiling) -> Option<Duration> {
        match ceiling {
            Ceiling::Check => Some(self.limits.check_within),
            Ceiling::Batch => Some(self.limits.batch_within),
            Ceiling::Own => None,
        }
    }

    /// How long this one may wait: a third of the time that its caller has, and never longer than others.
    fn patience(&self, deadline_in: Option<Duration>) -> Duration {
        deadline_in.map_or(self.limits.wait_max, |given| self.limits.wait_max.min(given / 3))
    }

    /// A place, as soon as there is one.
    async fn take(self: &Arc<Self>, patience: Duration) -> Result<Arc<Held>, Shed> {
        self.permit(patience).await?.forget();
        Ok(Arc::new(Held::taken(self)))
    }

    async fn permit(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Shed> {
        match self.free.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => self.wait(patience).await,
        }
    }

    async fn wait(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Shed> {
        let waiting = Counted::one_more(&self.waiting);
        if waiting.before >= self.limits.requests_max || patience.is_zero() {
            return Err(Shed::QueueFull);
        }
        let acquired = timeout(patience, self.free.acquire()).await;
        // The semaphore is never closed.
        acquired.ok().and_then(Result::ok).ok_or(Shed::Waited)
    }
}

/// What is different at each listener. `B` is the body of its requests, `R` that of its answers.
#[derive(Debug)]
pub struct Door<B, R> {
    /// Its word in metrics.
    pub listener: &'static str,
    /// How the request of a path is let in.
    pub entry: fn(&str) -> Entry,
    /// What kind of answer the request of a path gets.
    pub ceiling: fn(&str) -> Ceiling,
    /// How long the caller waits for its answer, as the request says.
    pub deadline_in: fn(&Request<B>) -> Option<Duration>,
    /// The longest message that is gathered here, in bytes. What is longer is handed on cut off, for the handler to refuse.
    pub message_bytes_max: usize,
    /// A body of these bytes.
    pub body: fn(Bytes) -> B,
    /// The answer to who is turned away.
    pub refuse: fn(&TurnedAway) -> Response<R>,
}

/// A request that gets no answer of a handler.
#[derive(Clone, Debug)]
pub struct TurnedAway {
    /// Why.
    pub why: Shed,
    /// Where it went to.
    path: Option<PathAndQuery>,
    /// The caller's own id of it, as it came.
    pub request_id: Option<HeaderValue>,
}

impl TurnedAway {
    /// What there is to say of a request, should it be turned away.
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path_and_query().cloned();
        Self { why: Shed::Overdue, path, request_id: request.headers().get(REQUEST_ID).cloned() }
    }

    /// The path that it went to; empty for none.
    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }
}

impl<B, R> Clone for Door<B, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, R> Copy for Door<B, R> {}

/// The layer. All listeners have the same places.
#[derive(Debug)]
pub struct Admission<B, R> {
    places: Arc<Places>,
    door: Door<B, R>,
}

impl<B, R> Admission<B, R> {
    /// Lets requests of a listener to the places.
    pub fn new(places: Arc<Places>, door: Door<B, R>) -> Self {
        Self { places, door }
    }
}

impl<B, R> Clone for Admission<B, R> {
    fn clone(&self) -> Self {
        Self { places: Arc::clone(&self.places), door: self.door }
    }
}

impl<S, B, R> Layer<S> for Admission<B, R> {
    type Service = Admitted<S, B, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Admitted { inner, admission: self.clone() }
    }
}

/// A service behind an [`Admission`].
#[derive(Debug)]
pub struct Admitted<S, B, R> {
    inner: S,
    admission: Admission<B, R>,
}

impl<S: Clone, B, R> Clone for Admitted<S, B, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), admission: self.admission.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Admitted<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let entry = (self.admission.door.entry)(request.uri().path());
        // The service that is ready goes with the request, its copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        if entry == Entry::Free {
            return Box::pin(inner.call(request));
        }
        let (Admission { places, door }, arrived) = (self.admission.clone(), Instant::now());
        Box::pin(async move {
            let mut turned_away = TurnedAway::of(&request);
            let given = (door.deadline_in)(&request);
            let ceiling = places.ceiling((door.ceiling)(turned_away.path()));
            let patience = places.patience([given, ceiling].into_iter().flatten().min());
            let admitted = match places.queue.come(patience) {
                Ok(()) => admit(&places, &door, request, entry, patience).await,
                Err(shed) => Err(shed),
            };
            let answered = match admitted {
                Ok((request, kept)) => {
                    // What the caller says counts from when the request came, what the service says from when it was let in.
                    let until = [given.map(|given| arrived + given), ceiling.map(|ceiling| Instant::now() + ceiling)];
                    let answered = answer(&mut inner, request, until.into_iter().flatten().min());
                    match kept {
                        Some((place, _charge)) => holding(place, answered).await,
                        None => answered.await,
                    }
                }
                Err(shed) => Err(shed),
            };
            answered.unwrap_or_else(|shed| {
                places.meter.shed(door.listener, shed.as_str());
                turned_away.why = shed;
                Ok((door.refuse)(&turned_away))
            })
        })
    }
}

/// What the service answers, if it does so in time. What is given up is dropped with all that it waits for.
async fn answer<S, B>(
    service: &mut S,
    mut request: Request<B>,
    until: Option<Instant>,
) -> Result<Result<S::Response, S::Error>, Shed>
where
    S: Service<Request<B>>,
{
    request.extensions_mut().insert(Until(until));
    match until {
        None => Ok(service.call(request).await),
        Some(until) if until <= Instant::now() => Err(Shed::Overdue),
        Some(until) => timeout_at(until, service.call(request)).await.map_err(|_| Shed::Overdue),
    }
}

/// What a request keeps until its answer begins.
type Kept<'a> = (Arc<Held>, Charge<'a>);

/// The request as it is worked on, with what it keeps.
async fn admit<'a, B, R>(
    places: &'a Arc<Places>,
    door: &Door<B, R>,
    request: Request<B>,
    entry: Entry,
    patience: Duration,
) -> Result<(Request<B>, Option<Kept<'a>>), Shed>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if entry == Entry::Stream {
        drop(places.take(patience).await?);
        return Ok((request, None));
    }
    let (head, body) = request.into_parts();
    let mut charge = places.budget.charge()?;
    let until = Instant::now() + places.limits.message_within;
    let gathered = gather(body, door.message_bytes_max, until, &mut charge).await?;
    // Its task has waited for a thread again.
    places.queue.go_on(patience)?;
    let place = places.take(patience).await?;
    Ok((Request::from_parts(head, (door.body)(gathered)), Some((place, charge))))
}

/// All bytes of a body, or as many as show that it is too long. Charged is what is held of them.
async fn gather<B>(mut body: B, bytes_max: usize, until: Instant, charge: &mut Charge<'_>) -> Result<Bytes, Shed>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while !body.is_end_stream() {
        let frame = match timeout_at(until, body.frame()).await.map_err(|_| Shed::TooSlow)? {
            None => break,
            Some(frame) => frame.map_err(|_| Shed::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() && first.is_empty() {
            first = data;
            charge.cover(first.len())?;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            // Room for what comes, and for what is made for it to grow into.
            charge.cover((whole.len() + data.len()).max(whole.capacity()))?;
            whole.extend_from_slice(&data);
            charge.cover(whole.capacity())?;
        }
        if first.len().max(whole.len()) > bytes_max {
            break;
        }
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}

#[cfg(test)]
mod tests;
