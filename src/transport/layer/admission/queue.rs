//! How long whatever is ready to go on waits for a thread.
//!
//! Requests wait in the queue of the runtime before anybody looks at them, and so do the connections before anything is read
//! from them. A task that does nothing else goes through that queue again and again, to its end each time, and the time that
//! this takes is what all others wait.
//!
//! Requests could not say so themselves: they are handed to us when they have waited. And the runtime runs the newest task
//! first, so that of each bunch one is quick however long the queue is.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::Shed;

/// The wait is one that does not go away when it was never short for so long.
const OVERLOADED_AFTER: Duration = Duration::from_millis(100);

/// The wait is that of requests for each other when so many of them went through meanwhile; else it is the machine that does
/// something else, and nobody would be helped by turning them away.
const MANY: u64 = 16;

/// How often the queue is looked at while requests come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// As a time: not at all.
const NEVER: u64 = u64::MAX;

/// The queue of the runtime. Times are microseconds since `origin`.
#[derive(Debug)]
pub(super) struct Queue {
    origin: Instant,
    /// A wait of a quarter of this is short.
    wait_max: Duration,
    /// Since when who looks at it waits now.
    waits_since_us: AtomicU64,
    /// How long it waited the last time.
    waited_us: AtomicU64,
    /// Since when the wait has not been short.
    late_since_us: AtomicU64,
    /// How many requests came since it was looked at.
    came: AtomicU64,
    one_came: Notify,
}

impl Queue {
    /// One that nobody has looked at.
    pub(super) fn new(wait_max: Duration) -> Self {
        Self {
            origin: Instant::now(),
            wait_max,
            waits_since_us: AtomicU64::new(NEVER),
            waited_us: AtomicU64::new(0),
            late_since_us: AtomicU64::new(NEVER),
            came: AtomicU64::new(0),
            one_came: Notify::new(),
        }
    }

    /// One in which everybody has waited for too long.
    #[cfg(test)]
    pub(super) fn overloaded() -> Self {
        let queue = Self { origin: Instant::now().checked_sub(OVERLOADED_AFTER).unwrap(), ..Self::new(Duration::ZERO) };
        queue.late_since_us.store(0, Ordering::Relaxed);
        queue.waits_since_us.store(0, Ordering::Relaxed);
        queue
    }

    /// How long who becomes ready now has to wait, about.
    pub(super) fn wait(&self) -> Duration {
        self.wait_at(self.now_us())
    }

    /// Lets a request come, unless requests wait for longer than this one may, and that does not go away.
    ///
    /// # Errors
    /// [`Shed::Late`].
    pub(super) fn come(&self, patience: Duration) -> Result<(), Shed> {
        if self.came.fetch_add(1, Ordering::Relaxed) == 0 {
            self.one_came.notify_one();
        }
        self.go_on(patience)
    }

    /// The same for one that has come and waited again.
    ///
    /// # Errors
    /// [`Shed::Late`].
    pub(super) fn go_on(&self, patience: Duration) -> Result<(), Shed> {
        self.go_on_at(self.now_us(), patience)
    }

    /// Looks at the queue for as long as it is polled, while requests come.
    pub(super) async fn watch(&self) {
        loop {
            if self.came.load(Ordering::Relaxed) == 0 {
                self.waited_us.store(0, Ordering::Relaxed);
                self.late_since_us.store(NEVER, Ordering::Relaxed);
                self.one_came.notified().await;
            }
            if self.late_since_us.load(Ordering::Relaxed) == NEVER {
                sleep(LOOK_EVERY).await;
            }
            // Those that come while this one waits.
            self.came.store(0, Ordering::Relaxed);
            let since = Instant::now();
            self.waits_since_us.store(micros(since.duration_since(self.origin)), Ordering::Relaxed);
            behind_all().await;
            self.came_through_at(self.now_us(), since.elapsed(), self.came.load(Ordering::Relaxed));
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.origin.elapsed())
    }

    /// Whoever looks at the queue came through, after so long and with so many requests.
    fn came_through_at(&self, now_us: u64, waited: Duration, requests: u64) {
        self.waits_since_us.store(NEVER, Ordering::Relaxed);
        self.waited_us.store(micros(waited), Ordering::Relaxed);
        if waited <= self.wait_max / 4 || requests < MANY {
            self.late_since_us.store(NEVER, Ordering::Relaxed);
        } else {
            self.late_since_us.fetch_min(now_us, Ordering::Relaxed);
        }
    }

    /// As long as it took the last time, or as long as it has taken already this time.
    fn wait_at(&self, now_us: u64) -> Duration {
        self.waits_at(now_us).max(self.waited())
    }

    fn waits_at(&self, now_us: u64) -> Duration {
        Duration::from_micros(now_us.saturating_sub(self.waits_since_us.load(Ordering::Relaxed)))
    }

    fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    /// Once around the queue, those go on who come first, and for the rest of the time others are turned away: what goes on
    /// then waits no longer than it may. To turn somebody away takes time, too, and a quarter of all is the most that is
    /// spent on it.
    fn go_on_at(&self, now_us: u64, patience: Duration) -> Result<(), Shed> {
        let late_us = now_us.saturating_sub(self.late_since_us.load(Ordering::Relaxed));
        let is_overloaded = Duration::from_micros(late_us) >= OVERLOADED_AFTER;
        let is_late = self.waits_at(now_us) > patience.max(self.waited() * 3 / 4);
        if is_overloaded && is_late { Err(Shed::Late) } else { Ok(()) }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER)
}

/// Lets everybody go first who is ready already. (`tokio::task::yield_now` waits for timers and sockets to be looked at, too.)
async fn behind_all() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::yield_now;

    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_wait_counts_only_when_it_does_not_go_away_and_is_that_of_many() {
        let queue = Queue::new(millis(20));
        // At a time, whoever looks at the queue has waited so long with so many others; then it waits again, and a request
        // comes 300 ms later.
        for (now, waited, others, expected) in [
            (500, 30, MANY, Ok(())),
            (599, 30, MANY, Ok(())),
            (600, 30, MANY, Err(Shed::Late)),
            (602, 6, MANY, Err(Shed::Late)),
            (603, 5, MANY, Ok(())),
            (604, 30, MANY, Ok(())),
            (703, 30, MANY, Ok(())),
            (704, 30, MANY, Err(Shed::Late)),
            (705, 30, MANY - 1, Ok(())),
            (806, 30, MANY, Ok(())),
        ] {
            queue.came_through_at(now * 1_000, millis(waited), others);
            queue.waits_since_us.store(now * 1_000 - 300_000, Ordering::Relaxed);
            assert_eq!(queue.go_on_at(now * 1_000, millis(20)), expected, "{now}");
        }
    }

    #[test]
    fn each_time_around_those_go_on_who_come_first_and_it_takes_at_most_a_quarter_to_turn_others_away() {
        let queue = Queue::new(millis(20));
        queue.came_through_at(100_000, millis(6), MANY);
        queue.waits_since_us.store(400_000, Ordering::Relaxed);
        assert_eq!((queue.wait_at(300_000), queue.wait_at(425_000)), (millis(6), millis(25)));
        assert_eq!(queue.go_on_at(420_000, millis(20)), Ok(()));
        assert_eq!(queue.go_on_at(420_001, millis(20)), Err(Shed::Late));
        assert_eq!(queue.go_on_at(420_001, millis(21)), Ok(()), "who may wait longer does");
        queue.came_through_at(500_000, millis(100), MANY);
        assert_eq!(queue.go_on_at(500_000, millis(20)), Ok(()), "nobody looks");
        queue.waits_since_us.store(500_000, Ordering::Relaxed);
        assert_eq!(queue.go_on_at(575_000, millis(20)), Ok(()));
        assert_eq!(queue.go_on_at(575_001, millis(20)), Err(Shed::Late));
        queue.came_through_at(600_000, millis(5), MANY);
        queue.waits_since_us.store(600_000, Ordering::Relaxed);
        assert_eq!(queue.go_on_at(900_000, millis(20)), Ok(()), "the queue was short again");
    }

    #[tokio::test]
    async fn a_thread_that_is_kept_shows_in_the_wait_until_nobody_asks_any_more() {
        let queue = Arc::new(Queue::new(millis(20)));
        let watched = Arc::clone(&queue);
        let watching = tokio::spawn(async move { watched.watch().await });
        yield_now().await;
        // Another task that is always ready, as long as somebody asks.
        let asked = Arc::clone(&queue);
        let asking = tokio::spawn(async move {
            while asked.wait() < millis(1) {
                asked.come(millis(20)).unwrap();
                std::thread::sleep(millis(1));
                behind_all().await;
            }
        });
        asking.await.unwrap();
        while queue.wait() != Duration::ZERO {
            yield_now().await;
        }
        watching.abort();
    }
}
