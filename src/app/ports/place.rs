//! A request's place among those that are worked on at once, which it gives back while it waits for somebody else: an issuer
//! that is slow, or keys that are never found, must not keep those from an answer who wait for nobody.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use async_trait::async_trait;

use crate::app::error::{Error, Kind};

/// The place of one request.
#[async_trait]
pub trait Place: Send + Sync + fmt::Debug {
    /// Gives the place back until `waiting` has come to its end, and takes one again then.
    ///
    /// # Errors
    /// So many wait already that there is no room for one more, or there is no place now: then the request is turned away.
    async fn leave_while(&self, waiting: Pin<&mut (dyn Future<Output = ()> + Send)>) -> Result<(), Crowded>;
}

/// There are too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

impl From<Crowded> for Error {
    fn from(Crowded: Crowded) -> Self {
        Self::new(Kind::Unavailable, "OVERLOADED", "too many requests wait for somebody else, try again later")
    }
}

tokio::task_local! {
    /// The place of the request that this task works on.
    static PLACE: Arc<dyn Place>;
}

/// Works on a request that has this place.
pub async fn holding<T>(place: Arc<dyn Place>, work: impl Future<Output = T>) -> T {
    PLACE.scope(place, work).await
}

/// Waits for somebody else, without the request's place unless there is nothing to wait for. What is not worked on for a
/// request, or in another task than the request's, has no place to give back.
///
/// # Errors
/// [`Crowded`].
pub async fn elsewhere<T: Send>(waiting: impl Future<Output = T> + Send) -> Result<T, Crowded> {
    let mut waiting = pin!(waiting);
    let at_once = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    if let Poll::Ready(output) = at_once {
        return Ok(output);
    }
    let Ok(place) = PLACE.try_with(Arc::clone) else { return Ok(waiting.await) };
    let mut output = None;
    {
        let mut waiting = pin!(async { output = Some(waiting.await) });
        place.leave_while(waiting.as_mut()).await?;
    }
    output.ok_or(Crowded)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::oneshot;

    use super::*;

    /// Notes what happens to it; has room for those who wait, or none.
    #[derive(Debug)]
    struct Noted {
        has_room: bool,
        events: Mutex<Vec<&'static str>>,
    }

    #[async_trait]
    impl Place for Noted {
        async fn leave_while(&self, waiting: Pin<&mut (dyn Future<Output = ()> + Send)>) -> Result<(), Crowded> {
            if !self.has_room {
                return Err(Crowded);
            }
            self.events.lock().unwrap().push("left");
            waiting.await;
            self.events.lock().unwrap().push("taken again");
            Ok(())
        }
    }

    fn noted(has_room: bool) -> Arc<Noted> {
        Arc::new(Noted { has_room, events: Mutex::default() })
    }

    #[tokio::test]
    async fn a_place_is_given_back_for_as_long_as_something_is_waited_for() {
        let place = noted(true);
        assert_eq!(holding(Arc::<Noted>::clone(&place), elsewhere(async { 7 })).await, Ok(7));
        assert!(place.events.lock().unwrap().is_empty(), "there was nothing to wait for");
        let (sender, receiver) = oneshot::channel();
        let work = holding(Arc::<Noted>::clone(&place), elsewhere(receiver));
        let (waited, ()) = tokio::join!(work, async { sender.send(8).unwrap() });
        assert_eq!(waited, Ok(Ok(8)));
        assert_eq!(*place.events.lock().unwrap(), ["left", "taken again"]);
    }

    #[tokio::test]
    async fn without_room_nothing_is_waited_for_and_without_a_place_none_is_needed() {
        let (_sender, receiver) = oneshot::channel::<u8>();
        assert_eq!(holding(noted(false), elsewhere(receiver)).await, Err(Crowded));
        let (sender, receiver) = oneshot::channel();
        let (waited, ()) = tokio::join!(elsewhere(receiver), async { sender.send(9).unwrap() });
        assert_eq!(waited, Ok(Ok(9)));
    }
}
