//! Work that nobody waits for goes behind all other.

/// Gives the calling thread the lowest priority, where priorities are of threads, as they are on Linux.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY_LOWEST) {
        tracing::warn!(%error, "a thread that nobody waits for works with the priority of the others");
    }
}

/// The highest of nice values (setpriority(2)).
#[cfg(target_os = "linux")]
const PRIORITY_LOWEST: i32 = 19;
