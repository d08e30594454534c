//! What is told of a panic: where it was, and nothing of what the program had in its hands. A panic's own message may hold
//! any of that, such as the text that was cut at a wrong place.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    thread,
};

/// From now on panics of this process are told in its log, by their place alone, in place of what Rust prints to standard
/// error. With `RUST_BACKTRACE`, the names of the functions on the way there come along.
pub(super) fn tell_places() {
    panic::set_hook(Box::new(tell));
}

fn tell(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string);
    let (thread, backtrace) = (thread::current(), Backtrace::capture());
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        place = place.as_deref(),
        thread = thread.name(),
        backtrace = backtrace.as_deref(),
        "a fault of the program (a panic): what it was doing has no answer, and the service goes on"
    );
}
