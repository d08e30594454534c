//! Work on several threads, its results in order.

use std::{
    num::NonZero,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// How many threads there are where nobody says.
pub(super) fn jobs() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does the work for every number below `count` on up to `jobs` threads.
pub(super) fn in_parallel<T: Send>(jobs: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(number)));
        }
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.clamp(1, count.max(1))).map(|_| scope.spawn(share)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause)));
        joined.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_however_many_threads_there_are() {
        for jobs in [0, 1, 3, 50] {
            assert_eq!(
                in_parallel(jobs, 20, |number| number * 2),
                (0..20).map(|number| number * 2).collect::<Vec<_>>()
            );
        }
        assert_eq!(in_parallel(4, 0, |number| number), Vec::<usize>::new());
    }
}
