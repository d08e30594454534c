//! Admission before a service that works until it is told to be done, so that no test waits for a clock.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use axum::body::Body;
use http::StatusCode;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet, yield_now},
};
use tokio_stream::StreamExt as _;
use tower::{ServiceExt as _, service_fn};

use super::*;

/// What is counted here.
#[derive(Debug, Default)]
struct Counts {
    shed: Mutex<Vec<&'static str>>,
    in_work: AtomicUsize,
    in_work_max: AtomicUsize,
}

impl Meter for Counts {
    fn shed(&self, _: &'static str, why: &'static str) {
        self.shed.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    fn work_began(&self) {
        let now = self.in_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_work_max.fetch_max(now, Ordering::SeqCst);
    }

    fn work_ended(&self) {
        self.in_work.fetch_sub(1, Ordering::SeqCst);
    }
}

fn door() -> Door<Body, Body> {
    Door {
        listener: "test",
        entry: |path| match path {
            "/free" => Entry::Free,
            "/stream" => Entry::Stream,
            _ => Entry::Whole,
        },
        deadline_in: |headers| {
            let given = headers.get("timeout-ms")?.to_str().ok()?;
            given.parse().ok().map(Duration::from_millis)
        },
        message_bytes_max: 16,
        body: Body::from,
        refuse: |shed| {
            let mut response = Response::new(Body::from(shed.as_str()));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        },
    }
}

type Outcome = (StatusCode, String);

/// A service behind places that echoes what it is sent.
#[derive(Clone)]
struct House {
    admission: Admission<Body, Body>,
    counts: Arc<Counts>,
    /// Who is worked on, and goes on when told.
    working: Arc<Mutex<Vec<oneshot::Sender<()>>>>,
}

impl House {
    fn new(limits: Limits) -> Self {
        let counts = Arc::new(Counts::default());
        let places = Arc::new(Places::new(limits, Arc::clone(&counts) as Arc<dyn Meter>));
        Self { admission: Admission::new(places, door()), counts, working: Arc::default() }
    }

    /// Places for which one would wait longer than any test lasts.
    fn patient(requests_max: usize) -> Self {
        Self::new(Limits { requests_max, wait_max: Duration::from_secs(3_600), ..Limits::default() })
    }

    fn send(&self, request: Request<Body>) -> JoinHandle<Outcome> {
        let working = Arc::clone(&self.working);
        let service = service_fn(move |request: Request<Body>| {
            let working = Arc::clone(&working);
            async move {
                let (sender, done) = oneshot::channel();
                working.lock().unwrap().push(sender);
                let bytes = request
                    .into_body()
                    .collect()
                    .await
                    .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
                done.await.ok();
                Ok::<_, Infallible>(Response::new(Body::from(bytes)))
            }
        });
        let answer = self.admission.layer(service).oneshot(request);
        tokio::spawn(async move {
            let response = answer.await.unwrap();
            let status = response.status();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(bytes.to_vec()).unwrap())
        })
    }

    fn say(&self, path: &str, words: &'static str) -> JoinHandle<Outcome> {
        self.send(request(path, Body::from(words)))
    }

    /// Lets everybody go on who can.
    async fn settle(&self) {
        for _ in 0..50 {
            yield_now().await;
        }
    }

    /// Ends the work that is done now, and says how much it was.
    async fn finish(&self) -> usize {
        self.settle().await;
        let working = std::mem::take(&mut *self.working.lock().unwrap());
        let count = working.len();
        for done in working {
            done.send(()).ok();
        }
        self.settle().await;
        count
    }

    fn shed(&self) -> Vec<&'static str> {
        self.counts.shed.lock().unwrap().clone()
    }

    fn in_work(&self) -> usize {
        self.counts.in_work.load(Ordering::SeqCst)
    }
}

fn request(path: &str, body: Body) -> Request<Body> {
    Request::builder().uri(path).body(body).unwrap()
}

fn echo(words: &str) -> Outcome {
    (StatusCode::OK, words.to_owned())
}

fn turned_away(why: &str) -> Outcome {
    (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

#[tokio::test]
async fn at_three_times_the_capacity_what_is_served_stays_as_much_and_nearly_as_fast() {
    const PLACES: usize = 8;
    const ROUNDS: usize = 100;
    let house = House::patient(PLACES);
    let mut calls = JoinSet::new();
    let mut served_in = Vec::new();
    for round in 0..ROUNDS {
        // As much work is done in a round as there are places, and three times as much comes.
        for _ in 0..PLACES * 3 {
            let call = house.say("/", "deny");
            calls.spawn(async move { (round, call.await.unwrap()) });
        }
        assert_eq!(house.finish().await, PLACES, "all places work in round {round}");
        while let Some(answered) = calls.try_join_next() {
            let (began, (status, said)) = answered.unwrap();
            assert_eq!(said == "deny", status == StatusCode::OK, "who is turned away gets no answer");
            if status == StatusCode::OK {
                served_in.push(round - began);
            } else {
                assert_eq!(began, round, "who is turned away hears so at once");
            }
        }
    }
    assert!(served_in.len() >= PLACES * (ROUNDS - 2), "{}", served_in.len());
    assert!(served_in.iter().all(|rounds| *rounds <= 1), "nobody waits longer than the work of one round");
    assert_eq!(house.counts.in_work_max.load(Ordering::SeqCst), PLACES);
}

#[tokio::test]
async fn a_queue_is_as_long_as_there_are_places_and_who_waits_is_served_in_order() {
    let house = House::patient(1);
    let calls: Vec<_> = ["first", "second", "third"].map(|words| house.say("/", words)).into();
    house.settle().await;
    assert_eq!(house.in_work(), 1);
    while house.finish().await > 0 {}
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    assert_eq!(outcomes, [echo("first"), echo("second"), turned_away("queue_full")]);
    assert_eq!((house.shed(), house.in_work()), (vec!["queue_full"], 0));
}

#[tokio::test]
async fn nobody_waits_longer_than_a_third_of_the_time_that_is_left() {
    let house = House::patient(1);
    let first = house.say("/", "first");
    house.settle().await;
    let hurried = Request::builder().header("timeout-ms", "9").body(Body::empty()).unwrap();
    assert_eq!(house.send(hurried).await.unwrap(), turned_away("waited"));
    assert_eq!(house.finish().await, 1);
    assert_eq!(first.await.unwrap(), echo("first"));
    let (millis, places) = (Duration::from_millis, &house.admission.places);
    assert_eq!(places.patience(Some(millis(9))), millis(3));
    assert_eq!(places.patience(None), places.limits.wait_max);
    assert_eq!(places.patience(Some(Duration::from_secs(36_000))), places.limits.wait_max);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_limit() {
    let house = House::new(Limits { requests_max: 1, wait_max: Duration::from_millis(2), ..Limits::default() });
    let first = house.say("/", "first");
    house.settle().await;
    assert_eq!(house.say("/", "second").await.unwrap(), turned_away("waited"));
    assert_eq!(house.finish().await, 1);
    assert_eq!(first.await.unwrap(), echo("first"));
}

#[tokio::test]
async fn who_asks_how_the_service_is_doing_needs_no_place() {
    let house = House::patient(1);
    let busy = [house.say("/", "first"), house.say("/", "second")];
    let free = house.say("/free", "fine");
    assert_eq!(house.finish().await, 2, "one with a place, one without");
    assert_eq!(free.await.unwrap(), echo("fine"));
    while house.finish().await > 0 {}
    for call in busy {
        assert_eq!(call.await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test]
async fn slow_senders_take_no_place_and_are_told() {
    let limits = Limits { requests_max: 1, message_within: Duration::from_millis(2), ..Limits::default() };
    let house = House::new(limits);
    let never = || Body::from_stream(tokio_stream::iter([Ok::<_, Infallible>("be")]).chain(tokio_stream::pending()));
    for _ in 0..50 {
        assert_eq!(house.send(request("/", never())).await.unwrap(), turned_away("too_slow"));
    }
    assert_eq!(house.counts.in_work_max.load(Ordering::SeqCst), 0);
    let limits = Limits { message_within: Duration::from_secs(3_600), ..limits };
    let house = House::new(limits);
    let slow: Vec<_> = (0..50).map(|_| house.send(request("/", never()))).collect();
    let quick = house.say("/", "quick");
    assert_eq!(house.finish().await, 1);
    assert_eq!(quick.await.unwrap(), echo("quick"));
    for call in slow {
        call.abort();
    }
}

#[tokio::test]
async fn a_message_in_pieces_comes_whole_and_one_that_is_too_long_is_cut_where_that_shows() {
    let pieces = |pieces: &'static [&'static str]| {
        Body::from_stream(tokio_stream::iter(pieces.iter().map(|piece| Ok::<_, Infallible>(*piece))))
    };
    for (sent, expected) in [
        (&["a", "", "bc", "d"][..], "abcd"),
        (&[], ""),
        (&["0123456789abcdef"], "0123456789abcdef"),
        (&["0123456789abcdef", "g", "h"], "0123456789abcdefg"),
    ] {
        let house = House::patient(1);
        let call = house.send(request("/", pieces(sent)));
        house.finish().await;
        assert_eq!(call.await.unwrap(), echo(expected), "{sent:?}");
    }
}

#[tokio::test]
async fn a_message_that_breaks_off_is_not_worked_on() {
    let house = House::patient(1);
    let broken = tokio_stream::iter([Ok("part"), Err(std::io::Error::other("reset"))]);
    assert_eq!(house.send(request("/", Body::from_stream(broken))).await.unwrap(), turned_away("broken"));
    assert_eq!(house.counts.in_work_max.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_of_messages_waits_for_a_place_and_does_not_keep_it() {
    let house = House::patient(1);
    let first = house.say("/", "first");
    house.settle().await;
    let streams: Vec<_> = ["a", "b", "c"].map(|words| house.say("/stream", words)).into();
    house.settle().await;
    assert_eq!(house.working.lock().unwrap().len(), 1, "none begins without a place");
    assert_eq!(house.finish().await, 1);
    assert_eq!(house.finish().await, 1, "one waited, the others were too many");
    assert_eq!(first.await.unwrap(), echo("first"));
    let house = House::patient(1);
    let side_by_side: Vec<_> = ["a", "b", "c"].map(|words| house.say("/stream", words)).into();
    assert_eq!(house.finish().await, 3);
    for call in side_by_side {
        assert_eq!(call.await.unwrap().0, StatusCode::OK);
    }
    for call in streams {
        call.abort();
    }
}

#[test]
fn a_wait_in_the_runtime_counts_only_when_it_does_not_go_away() {
    let queue = Queue::new();
    let millis = Duration::from_millis;
    for (now, waited, expected) in [
        (500, 30, Ok(())),
        (599, 30, Ok(())),
        (600, 30, Err(Shed::Late)),
        (601, 20, Ok(())),
        (602, 21, Err(Shed::Late)),
        (603, 5, Ok(())),
        (604, 300, Ok(())),
        (703, 300, Ok(())),
        (704, 300, Err(Shed::Late)),
    ] {
        assert_eq!(queue.pass(millis(now), millis(waited), millis(20), millis(20)), expected, "{now}");
    }
}

#[tokio::test]
async fn who_goes_away_gives_back_place_and_turn() {
    let house = House::patient(1);
    let calls = [house.say("/", "first"), house.say("/", "second")];
    house.settle().await;
    assert_eq!(house.in_work(), 1);
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!(house.in_work(), 0);
    house.working.lock().unwrap().clear();
    let call = house.say("/", "third");
    assert_eq!(house.finish().await, 1);
    assert_eq!((call.await.unwrap(), house.shed()), (echo("third"), Vec::new()));
}
