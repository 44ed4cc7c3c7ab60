//! What the machine, or the container on it, allows.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cgroup;
use crate::sandbox;

/// What the machine allows this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// CPUs of the affinity mask.
    pub affinity: usize,
    /// The CPU quota of the control group, in thousandths of a CPU.
    pub cpu_quota_millis: Option<u64>,
    /// Bytes of memory that the control group allows.
    pub memory_limit: Option<u64>,
    /// Bytes of memory of the whole machine.
    pub memory_total: Option<u64>,
    /// Files that may be open at a time; `None` is no limit.
    pub open_files: Option<u64>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
}

impl Machine {
    /// Asks this machine. What it does not tell is taken for no limit. Within a sandbox, which leaves
    /// no control group to be read, it is what the machine said before.
    pub fn detect() -> Self {
        static SAID: OnceLock<Machine> = OnceLock::new();
        match SAID.get() {
            Some(before) if sandbox::in_force().is_some() => *before,
            _ => {
                let machine = Self::ask();
                // Only the first counts: a sandbox comes right after it.
                SAID.get_or_init(|| machine);
                machine
            }
        }
    }

    fn ask() -> Self {
        let affinity = rustix::thread::sched_getaffinity(None)
            .ok()
            .and_then(|cpus| usize::try_from(cpus.count()).ok())
            // A mask of more CPUs than the call holds: the standard library has another way.
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        Self::read(
            Path::new("/"),
            affinity,
            getrlimit(Resource::Nofile).current,
            std::io::stdout().is_terminal(),
        )
    }

    /// Reads control groups and memory from the files under `root`; the rest is given.
    pub fn read(root: &Path, affinity: usize, open_files: Option<u64>, terminal: bool) -> Self {
        let limits = cgroup::read(root);
        Self {
            affinity: affinity.max(1),
            cpu_quota_millis: limits.cpu_millis,
            memory_limit: limits.memory,
            memory_total: memory_total(root),
            open_files,
            terminal,
        }
    }

    /// CPUs to use. A part of one counts as one: rounded down, a quota of 1500m would leave a
    /// third of what is paid for unused.
    pub fn cpus(&self) -> usize {
        let quota = self.cpu_quota_millis.map(|millis| millis.div_ceil(1_000).max(1));
        let quota = quota.and_then(|cpus| usize::try_from(cpus).ok()).unwrap_or(usize::MAX);
        self.affinity.min(quota)
    }

    /// CPUs that this process may use, in parts too.
    pub fn cpu_limit(&self) -> f64 {
        let quota = self.cpu_quota_millis.map_or(f64::INFINITY, |millis| millis as f64 / 1_000.0);
        quota.min(self.affinity as f64)
    }

    /// Bytes of memory that there are for this process.
    pub fn memory(&self) -> Option<u64> {
        self.memory_limit.into_iter().chain(self.memory_total).min()
    }
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn memory_total(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// Raises the soft limit of open files to the hard one, and returns the limit that then holds
/// (`None`: no limit). Call it before [`Machine::detect`], which reads the soft limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    // A refusal leaves the soft limit as it was, and the connections are counted by that.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
pub(super) mod fixture {
    use std::path::{Path, PathBuf};

    /// A folder that stands for `/`.
    pub(crate) struct Fixture(PathBuf);

    impl Fixture {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("nessen-{name}-{}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Self(root)
        }

        pub(crate) fn root(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_cpu_counts_as_one() {
        let machine = |affinity, cpu_quota_millis| {
            Machine { cpu_quota_millis, ..Machine::read(Path::new("/nowhere"), affinity, None, false) }.cpus()
        };
        assert_eq!(machine(8, Some(1_500)), 2);
        assert_eq!(machine(8, Some(250)), 1);
        assert_eq!(machine(8, Some(0)), 1);
        assert_eq!(machine(2, Some(4_000)), 2);
        assert_eq!(machine(3, None), 3);
        assert_eq!(machine(0, None), 1);
    }

    #[test]
    fn the_cpu_limit_is_the_less_of_quota_and_affinity() {
        let limit = |affinity, cpu_quota_millis| {
            Machine { cpu_quota_millis, ..Machine::read(Path::new("/nowhere"), affinity, None, false) }
                .cpu_limit()
        };
        assert_eq!((limit(8, Some(1_500)), limit(2, Some(4_000)), limit(3, None)), (1.5, 2.0, 3.0));
    }

    #[test]
    fn the_memory_is_the_less_of_limit_and_machine() {
        let files =
            fixture::Fixture::new("mem", &[("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n")]);
        let machine = Machine::read(files.root(), 1, None, false);
        assert_eq!(machine.memory(), Some(2 << 20));
        assert_eq!(Machine { memory_limit: Some(1 << 20), ..machine }.memory(), Some(1 << 20));
        assert_eq!(Machine { memory_limit: Some(9 << 30), ..machine }.memory(), Some(2 << 20));
    }

    #[test]
    fn this_machine_can_be_asked() {
        let machine = Machine::detect();
        assert!(machine.cpus() >= 1);
        assert!(machine.memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn raising_the_open_files_never_lowers_them() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(raise_open_files().unwrap_or(u64::MAX) >= before);
    }
}
