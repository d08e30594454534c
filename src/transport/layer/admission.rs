//! How many requests are worked on at once: so many places, a short queue before them, and a clear word for who finds neither.
//!
//! A request takes a place when all of its message has come, so a slow sender holds none, and gives it back when its answer
//! begins, so a slow reader holds none either. Who waits longer than is worth waiting is turned away before any work is done:
//! under more load than can be served, answers then stay as fast as they are, instead of all being late. A request that is
//! turned away was not answered: nothing that comes of it is an allow.
//!
//! Requests also wait before they get here, in the queue of the runtime. That wait counts as well, once it has not gone away
//! for a while: a burst, or a moment in which the machine did something else, turns nobody away.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};
use tower::{Layer, Service};

use crate::app::ports::meter::Meter;

/// Requests that wait in the runtime's queue are turned away only when none came through quickly for this long.
const OVERLOADED_AFTER: Duration = Duration::from_millis(100);

/// How long a message may take to come, all of it.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(10);

/// The limits of all listeners together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that are worked on at once; as many may wait.
    pub requests_max: usize,
    /// How long a request may wait for a place.
    pub wait_max: Duration,
    /// How long a message may take to come, all of it.
    pub message_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_max: 256, wait_max: Duration::from_millis(20), message_within: MESSAGE_WITHIN }
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

/// Why a request is turned away.
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
        }
    }
}

/// The places that all listeners share.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    free: Semaphore,
    waiting: AtomicUsize,
    meter: Arc<dyn Meter>,
}

/// How the requests of one listener come through the runtime's queue.
#[derive(Debug)]
struct Queue {
    /// Since when none came through quickly, in microseconds from `origin`; 0 for not.
    late_since_us: AtomicI64,
    origin: Instant,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    meter: &'a dyn Meter,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.meter.work_ended();
    }
}

/// One who waits until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// Free places. `meter` counts who is turned away.
    pub fn new(limits: Limits, meter: Arc<dyn Meter>) -> Self {
        let free = Semaphore::new(limits.requests_max.clamp(1, Semaphore::MAX_PERMITS));
        Self { limits, free, waiting: AtomicUsize::new(0), meter }
    }

    /// How long this one may wait: a third of the time that its caller has, and never longer than others.
    fn patience(&self, deadline_in: Option<Duration>) -> Duration {
        deadline_in.map_or(self.limits.wait_max, |given| self.limits.wait_max.min(given / 3))
    }

    /// A place, as soon as there is one.
    async fn take(&self, patience: Duration) -> Result<Place<'_>, Shed> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait(patience).await?,
        };
        self.meter.work_began();
        Ok(Place { _permit: permit, meter: &*self.meter })
    }

    async fn wait(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Shed> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.limits.requests_max || patience.is_zero() {
            return Err(Shed::QueueFull);
        }
        let acquired = timeout(patience, self.free.acquire()).await;
        // The semaphore is never closed.
        acquired.ok().and_then(Result::ok).ok_or(Shed::Waited)
    }
}

impl Queue {
    fn new() -> Self {
        Self { late_since_us: AtomicI64::new(0), origin: Instant::now() }
    }

    /// A request came through after so long in the queue; `now` counts from `origin`. `wait_max` is the limit of all, `patience`
    /// that of this one.
    fn pass(&self, now: Duration, waited: Duration, wait_max: Duration, patience: Duration) -> Result<(), Shed> {
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).max(1);
        if waited <= wait_max / 4 {
            self.late_since_us.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let since_us = match self.late_since_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now_us,
            Err(since_us) => since_us,
        };
        let for_us = now_us.saturating_sub(since_us).unsigned_abs();
        let is_overloaded = Duration::from_micros(for_us) >= OVERLOADED_AFTER;
        if is_overloaded && waited > patience { Err(Shed::Late) } else { Ok(()) }
    }
}

/// What is different at each listener. `B` is the body of its requests, `R` that of its answers.
#[derive(Debug)]
pub struct Door<B, R> {
    /// Its word in metrics.
    pub listener: &'static str,
    /// How the request of a path is let in.
    pub entry: fn(&str) -> Entry,
    /// How long the caller waits for its answer, as the headers say.
    pub deadline_in: fn(&HeaderMap) -> Option<Duration>,
    /// The longest message that is gathered here, in bytes. What is longer is handed on cut off, for the handler to refuse.
    pub message_bytes_max: usize,
    /// A body of these bytes.
    pub body: fn(Bytes) -> B,
    /// The answer to who is turned away.
    pub refuse: fn(Shed) -> Response<R>,
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
    queue: Arc<Queue>,
    door: Door<B, R>,
}

impl<B, R> Admission<B, R> {
    /// Lets requests of a listener to the places.
    pub fn new(places: Arc<Places>, door: Door<B, R>) -> Self {
        Self { places, queue: Arc::new(Queue::new()), door }
    }
}

impl<B, R> Clone for Admission<B, R> {
    fn clone(&self) -> Self {
        Self { places: Arc::clone(&self.places), queue: Arc::clone(&self.queue), door: self.door }
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

/// When a request came: its deadline counts from there.
#[derive(Clone, Copy, Debug)]
pub struct Arrived(pub Instant);

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
        let (Admission { places, queue, door }, arrived) = (self.admission.clone(), Instant::now());
        Box::pin(async move {
            let waited = arrived.elapsed();
            let patience = places.patience((door.deadline_in)(request.headers()));
            let passed = queue.pass(queue.origin.elapsed(), waited, places.limits.wait_max, patience);
            let admitted = match passed {
                Ok(()) => admit(&places, &door, request, entry, patience).await,
                Err(shed) => Err(shed),
            };
            match admitted {
                Ok((mut request, place)) => {
                    request.extensions_mut().insert(Arrived(arrived));
                    let answer = inner.call(request).await;
                    drop(place);
                    answer
                }
                Err(shed) => {
                    places.meter.shed(door.listener, shed.as_str());
                    Ok((door.refuse)(shed))
                }
            }
        })
    }
}

/// The request as it is worked on, with its place if it keeps one.
async fn admit<'a, B, R>(
    places: &'a Places,
    door: &Door<B, R>,
    request: Request<B>,
    entry: Entry,
    patience: Duration,
) -> Result<(Request<B>, Option<Place<'a>>), Shed>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if entry == Entry::Stream {
        drop(places.take(patience).await?);
        return Ok((request, None));
    }
    let (head, body) = request.into_parts();
    let gathered = gather(body, door.message_bytes_max, Instant::now() + places.limits.message_within).await?;
    let place = places.take(patience).await?;
    Ok((Request::from_parts(head, (door.body)(gathered)), Some(place)))
}

/// All bytes of a body, or as many as show that it is too long.
async fn gather<B>(mut body: B, bytes_max: usize, until: Instant) -> Result<Bytes, Shed>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while !body.is_end_stream() {
        let frame = match timeout_at(until, body.frame()).await.map_err(|_| Shed::TooSlow)? {
            None => break,
            Some(frame) => frame.map_err(|_| Shed::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
        if first.len() + rest.len() > bytes_max {
            break;
        }
    }
    if rest.is_empty() { Ok(first) } else { Ok([&first, &*rest].concat().into()) }
}

#[cfg(test)]
mod tests;
