//! What the operating system knows of this process, under the names that all Prometheus clients give it. Linux alone tells.

use std::fs;

use crate::app::ports::meter::{Family, FamilyKind, Sample};

/// Ticks of the kernel's clock in a second, as it shows them to programs (`USER_HZ`; 100 on all processors that we are built
/// for).
const TICKS: f64 = 100.0;

/// What is known now; nothing where the system does not tell.
pub(super) fn families() -> Vec<Family> {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let (stat, status, limits) = (read("stat"), read("status"), read("limits"));
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| f64::from(u32::try_from(entries.count()).unwrap_or(0)));
    let found = [
        (
            "process_cpu_seconds",
            "Processor time that was used, of user and system",
            FamilyKind::Counter,
            cpu_seconds(&stat),
        ),
        ("process_resident_memory_bytes", "Memory that is held", FamilyKind::Gauge, kibibytes(&status, "VmRSS:")),
        (
            "process_virtual_memory_bytes",
            "Addresses that are reserved",
            FamilyKind::Gauge,
            kibibytes(&status, "VmSize:"),
        ),
        ("process_open_fds", "Open file descriptors", FamilyKind::Gauge, open),
        ("process_max_fds", "The most open file descriptors", FamilyKind::Gauge, max_fds(&limits)),
        (
            "process_start_time_seconds",
            "When the process was started, since the epoch",
            FamilyKind::Gauge,
            started(&stat, &boot),
        ),
        ("process_threads", "Threads of the operating system", FamilyKind::Gauge, number(&status, "Threads:")),
    ];
    let family = |(name, help, kind, value): (_, _, _, Option<f64>)| {
        Some(Family { name, help, kind, labels: &[], samples: vec![(Vec::new(), Sample::Level(value?))] })
    };
    found.into_iter().filter_map(family).collect()
}

/// The fields of `stat` behind the name of the program, which may hold blanks and parentheses; the first is the third of
/// proc(5).
fn field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn started(stat: &str, boot: &str) -> Option<f64> {
    Some(number(boot, "btime")? + field(stat, 22)? / TICKS)
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(word))?.split_ascii_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, word: &str) -> Option<f64> {
    Some(number(status, word)? * 1024.0)
}

/// The soft limit; without one the metric is left out.
fn max_fds(limits: &str) -> Option<f64> {
    number(limits, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read() {
        let stat = "812 (a) b) S 1 812 812 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 9 0 4200 1 2 3\n";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(started(stat, "cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_042.0));
        let status = "Name:\thallpass\nVmSize:\t  2048 kB\nVmRSS:\t    512 kB\nThreads:\t9\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(524_288.0));
        assert_eq!(kibibytes(status, "VmSize:"), Some(2_097_152.0));
        assert_eq!(number(status, "Threads:"), Some(9.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(max_fds(limits), Some(1_024.0));
        assert_eq!(max_fds(&limits.replace("1024", "unlimited")), None);
        assert_eq!((cpu_seconds(""), started("1 (x", ""), kibibytes("", "VmRSS:")), (None, None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_all_of_them() {
        let names: Vec<_> = families().iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}
