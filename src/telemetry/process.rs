//! What the kernel says about this process, read from `/proc`. What cannot be read is absent.

use std::fs;
use std::path::Path;

/// The process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system CPU time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit of open file descriptors; absent where there is none.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Start of the process, in seconds since the Unix epoch.
    pub start_seconds: Option<f64>,
}

/// Reads `/proc/self`. Blocks only as long as the kernel needs to format a few lines.
pub fn read() -> ProcessStats {
    read_from(Path::new("/proc"), rustix::param::clock_ticks_per_second())
}

fn read_from(proc: &Path, ticks_per_second: u64) -> ProcessStats {
    let mut stats = ProcessStats::default();
    let own = proc.join("self");
    let ticks = |ticks: u64| ticks as f64 / ticks_per_second.max(1) as f64;
    if let Ok(stat) = fs::read_to_string(own.join("stat")) {
        // The second field is the program's name, which may hold spaces and parentheses itself.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        // Numbered as in proc_pid_stat(5); the first field after the name is the third.
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        stats.cpu_seconds = field(14).zip(field(15)).map(|(user, system)| ticks(user + system));
        stats.threads = field(20);
        stats.virtual_bytes = field(23);
        let boot = fs::read_to_string(proc.join("stat")).ok().and_then(|stat| line_value(&stat, "btime "));
        stats.start_seconds = boot.zip(field(22)).map(|(boot, start)| boot as f64 + ticks(start));
    }
    if let Ok(status) = fs::read_to_string(own.join("status")) {
        stats.resident_bytes = line_value(&status, "VmRSS:").map(|kib| kib * 1024);
    }
    if let Ok(limits) = fs::read_to_string(own.join("limits")) {
        stats.max_fds = line_value(&limits, "Max open files");
    }
    stats.open_fds = open_fds(&own.join("fd"));
    stats
}

/// The first number on the line that begins with `name`.
fn line_value(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn open_fds(directory: &Path) -> Option<u64> {
    // Since Linux 6.2 the size of the directory is their number; before, it is 0.
    match fs::metadata(directory) {
        Ok(metadata) if directory.starts_with("/proc") && metadata.len() > 0 => Some(metadata.len()),
        // The directory itself is open while it is read.
        _ => fs::read_dir(directory).ok().map(|entries| entries.count().saturating_sub(1) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_awkward_name_is_read() {
        let proc = std::env::temp_dir().join(format!("nessen-process-{}", std::process::id()));
        fs::create_dir_all(proc.join("self/fd")).unwrap();
        let write = |name: &str, text: &str| fs::write(proc.join(name), text).unwrap();
        write("stat", "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n");
        write(
            "self/stat",
            "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 7 0 12345 104857600 256 18446744073709551615",
        );
        write("self/status", "Name:\ta\nVmSize:\t  102400 kB\nVmRSS:\t    2048 kB\nThreads:\t7\n");
        write(
            "self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n",
        );
        for fd in 0..4 {
            write(&format!("self/fd/{fd}"), "");
        }
        let stats = read_from(&proc, 100);
        fs::remove_dir_all(&proc).unwrap();
        let expected = ProcessStats {
            cpu_seconds: Some(2.0),
            resident_bytes: Some(2048 * 1024),
            virtual_bytes: Some(104_857_600),
            open_fds: Some(3),
            max_fds: Some(1024),
            threads: Some(7),
            start_seconds: Some(1_700_000_123.45),
        };
        assert_eq!(stats, expected);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        assert_eq!(read_from(Path::new("/nonexistent"), 100), ProcessStats::default());
    }

    #[test]
    fn this_process_can_be_read() {
        let stats = read();
        assert!(stats.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{stats:?}");
        assert!(stats.open_fds.is_some_and(|fds| (3..10_000).contains(&fds)), "{stats:?}");
        assert!(stats.start_seconds.is_some_and(|second| second > 1.6e9), "{stats:?}");
    }
}
