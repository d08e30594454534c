//! Ends connections over which nothing moves: whoever takes nothing of what is written, or has sent nothing for long, or does
//! not come to the point at its beginning.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take none of what is written to it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// How long the patience with a connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// How long nothing may come.
    pub(super) idle_max: Duration,
    /// How long a client may take none of what is written to it.
    pub(super) written_within: Duration,
    /// How many bytes must come first, and how soon all of them.
    pub(super) opening: Option<(usize, Duration)>,
}

impl Patience {
    /// With a connection over which nothing may come for so long.
    pub(super) fn of(idle_max: Duration, opening: Option<(usize, Duration)>) -> Self {
        Self { idle_max, written_within: WRITTEN_WITHIN, opening }
    }
}

/// The patience with both directions of a connection.
#[derive(Debug)]
pub(super) struct Stalls {
    reading: Timer,
    writing: Timer,
    opening: Option<Opening>,
}

/// What must come first: so many more bytes, until then.
#[derive(Debug)]
struct Opening {
    bytes_left: usize,
    until: Pin<Box<Sleep>>,
}

impl Stalls {
    /// Waits so long.
    pub(super) fn new(patience: Patience) -> Self {
        let Patience { idle_max, written_within, opening } = patience;
        let opening = opening
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes_left, within)| Opening { bytes_left, until: Box::pin(sleep_until(Instant::now() + within)) });
        Self { reading: Timer::new(idle_max), writing: Timer::new(written_within), opening }
    }

    /// What came of reading so many bytes, or an error when nothing came for too long. Who sends the first bytes one by one
    /// has no more time for them than others.
    pub(super) fn reading<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        bytes: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let Some(Opening { bytes_left, until }) = &mut self.opening {
            *bytes_left = bytes_left.saturating_sub(bytes);
            if *bytes_left == 0 {
                self.opening = None;
            } else if polled.is_pending() && until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
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

    /// What comes of reading byte after byte, the next one whenever the runtime has time.
    async fn trickle(stalls: &mut Stalls, bytes: usize) -> io::Result<()> {
        for _ in 0..bytes {
            let mut has_waited = false;
            poll_fn(|context| {
                let polled = if has_waited { Poll::Ready(Ok(())) } else { Poll::Pending };
                let polled = stalls.reading(polled, usize::from(has_waited), context);
                if polled.is_pending() {
                    has_waited = true;
                    context.waker().wake_by_ref();
                }
                polled
            })
            .await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_first_bytes_come_in_time_or_the_connection_ends() {
        let hour = Duration::from_secs(3_600);
        let mut soon = Stalls::new(Patience::of(hour, Some((24, Duration::from_millis(2)))));
        let nothing = poll_fn(|context| soon.reading(Poll::<io::Result<()>>::Pending, 0, context)).await;
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut over = Stalls::new(Patience::of(hour, Some((24, Duration::from_millis(2)))));
        trickle(&mut over, 23).await.ok();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(trickle(&mut over, 1).await.unwrap_err().kind(), io::ErrorKind::TimedOut, "all but one");
        let mut in_time = Stalls::new(Patience::of(hour, Some((24, hour))));
        trickle(&mut in_time, 24).await.unwrap();
        assert!(in_time.opening.is_none(), "what came in time is not looked at again");
        for nothing_first in [Some((0, Duration::ZERO)), None] {
            trickle(&mut Stalls::new(Patience::of(hour, nothing_first)), 24).await.unwrap();
        }
    }

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
