//! The place of one request, which its handler may give back for as long as it waits for somebody else.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Counted, Places};
use crate::app::ports::place::{Crowded, Place};

/// A place that is taken until it is dropped, or given back.
#[derive(Debug)]
pub(super) struct Held {
    places: Arc<Places>,
    is_taken: AtomicBool,
}

impl Held {
    /// The place of a permit that is gone with it.
    pub(super) fn taken(places: &Arc<Places>) -> Self {
        places.meter.work_began();
        Self { places: Arc::clone(places), is_taken: AtomicBool::new(true) }
    }

    fn give_back(&self) {
        if self.is_taken.swap(false, Ordering::Relaxed) {
            self.places.free.add_permits(1);
            self.places.meter.work_ended();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[async_trait::async_trait]
impl Place for Held {
    async fn leave_while(&self, waiting: Pin<&mut (dyn Future<Output = ()> + Send)>) -> Result<(), Crowded> {
        let Places { elsewhere, limits, meter, .. } = &*self.places;
        if limits.elsewhere_max == 0 {
            waiting.await;
            return Ok(());
        }
        let one_more = Counted::one_more(elsewhere);
        if one_more.before >= limits.elsewhere_max {
            return Err(Crowded);
        }
        self.give_back();
        waiting.await;
        self.places.permit(limits.wait_max).await.map_err(|_| Crowded)?.forget();
        self.is_taken.store(true, Ordering::Relaxed);
        meter.work_began();
        Ok(())
    }
}
