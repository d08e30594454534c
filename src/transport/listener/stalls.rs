//! Ends connections over which nothing moves: whoever takes nothing of what is written, or has sent nothing for long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take none of what is written to it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// The patience with both directions of a connection.
#[derive(Debug)]
pub(super) struct Stalls {
    reading: Timer,
    writing: Timer,
}

impl Stalls {
    /// Waits so long for something to come.
    pub(super) fn new(idle_max: Duration) -> Self {
        Self { reading: Timer::new(idle_max), writing: Timer::new(WRITTEN_WITHIN) }
    }

    /// What came of reading, or an error when nothing came for too long.
    pub(super) fn reading<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.reading.watch(polled, context)
    }

    /// What came of writing, or an error when nothing was taken for too long.
    pub(super) fn writing<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.writing.watch(polled, context)
    }
}

/// A timer that runs while something is waited for.
#[derive(Debug)]
struct Timer {
    within: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    fn new(within: Duration) -> Self {
        Self { within, sleep: None, is_running: false }
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.is_running = false;
            return polled;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + self.within)));
        if !self.is_running {
            self.is_running = true;
            sleep.as_mut().reset(Instant::now() + self.within);
        }
        match sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_does_not_move_ends_and_what_moves_does_not() {
        let mut timer = Timer::new(Duration::from_millis(2));
        let ended = poll_fn(|context| timer.watch(Poll::<io::Result<()>>::Pending, context)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut timer = Timer::new(Duration::from_secs(3_600));
        let mut polls = 0;
        let moved = poll_fn(|context| {
            polls += 1;
            let polled = timer.watch(if polls == 3 { Poll::Ready(Ok(7)) } else { Poll::Pending }, context);
            if polled.is_pending() {
                assert!(timer.is_running);
                context.waker().wake_by_ref();
            }
            polled
        });
        assert_eq!(moved.await.unwrap(), 7);
        assert!(!timer.is_running, "the time for the next one begins anew");
    }
}
