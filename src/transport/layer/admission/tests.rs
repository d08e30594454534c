//! Admission before a service that works until it is told to be done, so that no test waits for a clock.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use axum::body::Body;
use http::StatusCode;
use tokio::{
    sync::{Notify, oneshot},
    task::{JoinHandle, JoinSet, yield_now},
};
use tokio_stream::StreamExt as _;
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::app::ports::place::elsewhere;

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
        ceiling: |path| match path {
            "/check" => Ceiling::Check,
            "/batch" => Ceiling::Batch,
            _ => Ceiling::Own,
        },
        deadline_in: |request| {
            let given = request.headers().get("timeout-ms")?.to_str().ok()?;
            given.parse().ok().map(Duration::from_millis)
        },
        message_bytes_max: 16,
        body: Body::from,
        refuse: |turned_away| {
            let mut response = Response::new(Body::from(turned_away.why.as_str()));
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
        Self::with(limits, door())
    }

    fn with(limits: Limits, door: Door<Body, Body>) -> Self {
        let counts = Arc::new(Counts::default());
        let places = Arc::new(Places::new(limits, Arc::clone(&counts) as Arc<dyn Meter>));
        Self { admission: Admission::new(places, door), counts, working: Arc::default() }
    }

    /// Room for so many bytes, for messages that are as long as anybody likes, each of which comes when it comes.
    fn roomy(gathered_bytes_max: usize) -> Self {
        let hour = Duration::from_secs(3_600);
        let limits = Limits { wait_max: hour, message_within: hour, gathered_bytes_max, ..Limits::default() };
        Self::with(limits, Door { message_bytes_max: usize::MAX, ..door() })
    }

    fn gathered_bytes(&self) -> usize {
        self.admission.places.gathered_bytes()
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

/// A message of which one piece has come, and another may.
fn begun(bytes: usize) -> (tokio::sync::mpsc::Sender<Vec<u8>>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.try_send(vec![b'x'; bytes]).unwrap();
    let pieces = tokio_stream::wrappers::ReceiverStream::new(receiver);
    (sender, Body::from_stream(pieces.map(Ok::<_, Infallible>)))
}

#[tokio::test]
async fn all_messages_together_find_room_for_so_many_bytes_and_others_are_told_at_once() {
    const PIECE: usize = 64 * 1024;
    let house = House::roomy(4 * PIECE);
    let mut senders = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let (sender, body) = begun(PIECE);
        senders.push(sender);
        calls.push(house.send(request("/", body)));
    }
    house.settle().await;
    assert_eq!((house.gathered_bytes(), house.in_work()), (4 * PIECE, 0), "they are held before anybody works on them");
    assert_eq!(house.say("/", "short").await.unwrap(), turned_away("bytes_full"));
    senders[0].send(vec![b'x'; 1]).await.unwrap();
    assert_eq!(calls.remove(0).await.unwrap(), turned_away("bytes_full"), "one that grows beyond it");
    assert_eq!(house.gathered_bytes(), 3 * PIECE);
    assert_eq!(house.shed(), ["bytes_full", "bytes_full"]);
    calls.pop().unwrap().abort();
    house.settle().await;
    assert_eq!(house.gathered_bytes(), 2 * PIECE, "who goes away gives back what it held");
    let short = house.say("/", "short");
    assert_eq!(house.finish().await, 1);
    assert_eq!(short.await.unwrap(), echo("short"));
    drop(senders);
    assert_eq!(house.finish().await, 2);
    for call in calls {
        assert_eq!(call.await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(house.gathered_bytes(), 0);
}

#[tokio::test]
async fn what_is_held_counts_until_the_answer_begins_and_a_stream_of_messages_not_at_all() {
    let house = House::roomy(1024 * 1024);
    let calls = [house.say("/", "one"), house.say("/free", "two"), house.say("/stream", "three")];
    house.settle().await;
    assert_eq!((house.in_work(), house.gathered_bytes()), (1, budget::CHARGED_MIN));
    house.finish().await;
    for call in calls {
        assert_eq!(call.await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(house.gathered_bytes(), 0);
}

#[tokio::test]
async fn a_message_that_trickles_has_no_more_time_than_one_that_stands_still() {
    let limits = Limits { message_within: Duration::from_millis(20), ..Limits::default() };
    let house = House::with(limits, Door { message_bytes_max: usize::MAX, ..door() });
    let (sender, body) = begun(1);
    let call = house.send(request("/", body));
    // It comes to an end only because nobody takes the pieces any more.
    while sender.send(vec![b'x']).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(call.await.unwrap(), turned_away("too_slow"));
    assert_eq!((house.gathered_bytes(), house.counts.in_work_max.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn an_answer_that_is_not_there_in_time_is_given_up_whoever_set_the_time() {
    let (soon, hour) = (Duration::from_millis(2), Duration::from_secs(3_600));
    let house = House::new(Limits { check_within: soon, batch_within: hour, ..Limits::default() });
    let hurried = |path: &str, millis: &str| {
        Request::builder().uri(path).header("timeout-ms", millis).body(Body::empty()).unwrap()
    };
    for late in [
        house.say("/check", "the service's own time"),
        house.send(hurried("/check", "3600000")),
        house.send(hurried("/batch", "2")),
        house.send(hurried("/", "2")),
        house.send(hurried("/stream", "2")),
        house.send(hurried("/check", "0")),
    ] {
        assert_eq!(late.await.unwrap(), turned_away("overdue"));
    }
    assert_eq!(house.shed(), ["overdue"; 6]);
    assert_eq!(house.finish().await, 5, "whose time was over before it came was not begun");
    assert_eq!((house.in_work(), house.gathered_bytes()), (0, 0), "what was given up holds nothing");
    let calls = [house.say("/batch", "ok"), house.say("/", "ok"), house.say("/stream", "ok")];
    assert_eq!(house.finish().await, 3);
    for call in calls {
        assert_eq!(call.await.unwrap(), echo("ok"));
    }
}

#[tokio::test]
async fn handlers_know_when_their_answer_must_be_there() {
    let until = async |path: &str, given: Option<&str>| {
        let service = service_fn(|request: Request<Body>| async move {
            let Until(until) = *request.extensions().get::<Until>().unwrap();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_secs() / 100);
            Ok::<_, Infallible>(Response::new(Body::from(format!("{left:?}"))))
        });
        let limits = Limits { check_within: Duration::from_secs(250), ..Limits::default() };
        let mut request = Request::builder().uri(path);
        if let Some(given) = given {
            request = request.header("timeout-ms", given);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = House::new(limits).admission.layer(service).oneshot(request).await.unwrap();
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    assert_eq!(until("/", None).await, "None");
    assert_eq!(until("/", Some("950000")).await, "Some(9)");
    assert_eq!(until("/check", None).await, "Some(2)");
    assert_eq!(until("/check", Some("950000")).await, "Some(2)");
    assert_eq!(until("/check", Some("150000")).await, "Some(1)");
}

#[tokio::test]
async fn who_is_turned_away_is_answered_by_where_it_went_and_by_its_id() {
    let door = Door {
        refuse: |turned_away| {
            let id = turned_away.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("none");
            Response::new(Body::from(format!("{} {id}", turned_away.path())))
        },
        ..door()
    };
    let house = House::with(Limits { requests_max: 1, wait_max: Duration::ZERO, ..Limits::default() }, door);
    let busy = house.say("/", "busy");
    house.settle().await;
    let named = Request::builder().uri("/there?secret").header("x-request-id", "7").body(Body::empty()).unwrap();
    assert_eq!(house.send(named).await.unwrap().1, "/there 7");
    assert_eq!(house.say("*", "").await.unwrap().1, "* none");
    busy.abort();
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

#[tokio::test]
async fn who_would_wait_too_long_for_a_thread_is_turned_away_and_who_asks_how_the_service_is_doing_is_not() {
    let counts = Arc::new(Counts::default());
    let mut places = Places::new(Limits::default(), Arc::clone(&counts) as Arc<dyn Meter>);
    places.queue = Queue::overloaded();
    let house = House { admission: Admission::new(Arc::new(places), door()), counts, working: Arc::default() };
    for path in ["/", "/stream"] {
        assert_eq!(house.say(path, "words").await.unwrap(), turned_away("late"), "{path}");
    }
    let free = house.say("/free", "how are you?");
    assert_eq!(house.finish().await, 1);
    assert_eq!(free.await.unwrap(), echo("how are you?"));
    assert_eq!(house.shed(), ["late"; 2]);
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

/// A service that waits for somebody else before it works: for whom, comes with the request.
async fn waiting_elsewhere(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let waited_for = request.extensions().get::<Arc<Notify>>().cloned().unwrap();
    let waited = elsewhere(async { waited_for.notified().await }).await;
    Ok(Response::new(Body::from(if waited.is_ok() { "waited" } else { "crowded" })))
}

#[tokio::test]
async fn who_waits_for_somebody_else_has_no_place_meanwhile() {
    let hour = Duration::from_secs(3_600);
    let house = House::new(Limits {
        requests_max: 2,
        elsewhere_max: 2,
        wait_max: hour,
        check_within: hour,
        ..Limits::default()
    });
    let waited_for = Arc::new(Notify::new());
    let wait = || {
        let mut request = request("/", Body::empty());
        request.extensions_mut().insert(Arc::clone(&waited_for));
        let answer = house.admission.layer(service_fn(waiting_elsewhere)).oneshot(request);
        tokio::spawn(async move {
            let bytes = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(bytes.to_vec()).unwrap()
        })
    };
    let waiting = [wait(), wait()];
    house.settle().await;
    assert_eq!(house.in_work(), 0, "two wait for somebody else");
    assert_eq!(wait().await.unwrap(), "crowded", "there is no room for a third");
    let working = ["one", "two"].map(|words| house.say("/", words));
    house.settle().await;
    assert_eq!(house.in_work(), 2, "the places were free");
    // They take their place again one after the other, when there is one.
    waited_for.notify_waiters();
    house.settle().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert_eq!(house.finish().await, 2);
    for (working, words) in working.into_iter().zip(["one", "two"]) {
        assert_eq!(working.await.unwrap(), echo(words));
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), "waited");
    }
    house.settle().await;
    assert_eq!(house.in_work(), 0);
    // Who leaves while it waits leaves nothing behind.
    let left = wait();
    house.settle().await;
    left.abort();
    house.settle().await;
    assert_eq!(house.in_work(), 0);
    assert_eq!([house.admission.places.elsewhere.load(Ordering::SeqCst)], [0]);
    assert_eq!(house.admission.places.free.available_permits(), 2);
}

#[tokio::test]
async fn where_there_is_no_room_at_all_whoever_waits_keeps_its_place() {
    let house = House::new(Limits { requests_max: 1, elsewhere_max: 0, ..Limits::default() });
    let waited_for = Arc::new(Notify::new());
    let mut request = request("/", Body::empty());
    request.extensions_mut().insert(Arc::clone(&waited_for));
    let answer = tokio::spawn(house.admission.layer(service_fn(waiting_elsewhere)).oneshot(request));
    house.settle().await;
    assert_eq!(house.in_work(), 1);
    waited_for.notify_waiters();
    answer.await.unwrap().unwrap();
    assert_eq!(house.in_work(), 0);
}
