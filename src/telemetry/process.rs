//! What the kernel says about this process, read from `/proc`. What cannot be read is absent.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{Dir, DirEntry};

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

/// Where the kernel says it. Opened once and read again and again: that costs less than to look a path
/// up each time, and goes on in a sandbox where `/proc`, and with it the environment, is out of reach.
#[derive(Debug)]
pub struct ProcessFiles {
    stat: Option<File>,
    status: Option<File>,
    limits: Option<File>,
    /// Boot of the machine, in seconds since the Unix epoch.
    boot: Option<u64>,
    descriptors: Descriptors,
    ticks_per_second: u64,
}

/// How open descriptors are counted.
#[derive(Debug)]
enum Descriptors {
    /// By the size of the folder: Linux 6.2 and later.
    Size(PathBuf),
    /// One by one; before 6.2 the size is 0.
    Count(Mutex<Dir>),
    Unknown,
}

/// Opens what [`read`] reads, unless it is open. To be called before a sandbox is entered.
pub fn files() -> &'static ProcessFiles {
    static FILES: OnceLock<ProcessFiles> = OnceLock::new();
    FILES.get_or_init(|| ProcessFiles::open(Path::new("/proc"), rustix::param::clock_ticks_per_second()))
}

/// What the kernel says of this process now. Blocks only as long as it needs to format a few lines.
pub fn read() -> ProcessStats {
    files().read()
}

impl ProcessFiles {
    fn open(proc: &Path, ticks_per_second: u64) -> Self {
        let own = proc.join("self");
        let file = |name| File::open(own.join(name)).ok();
        let stat = fs::read_to_string(proc.join("stat")).ok();
        Self {
            stat: file("stat"),
            status: file("status"),
            limits: file("limits"),
            boot: stat.and_then(|stat| line_value(&stat, "btime ")),
            descriptors: Descriptors::open(own.join("fd"), proc == Path::new("/proc")),
            ticks_per_second: ticks_per_second.max(1),
        }
    }

    fn read(&self) -> ProcessStats {
        let mut stats = ProcessStats::default();
        let ticks = |ticks: u64| ticks as f64 / self.ticks_per_second as f64;
        if let Some(stat) = text(self.stat.as_ref()) {
            // The second field is the program's name, which may hold spaces and parentheses itself.
            let fields: Vec<&str> =
                stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
            // Numbered as in proc_pid_stat(5); the first field after the name is the third.
            let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
            stats.cpu_seconds = field(14).zip(field(15)).map(|(user, system)| ticks(user + system));
            stats.threads = field(20);
            stats.virtual_bytes = field(23);
            stats.start_seconds = self.boot.zip(field(22)).map(|(boot, start)| boot as f64 + ticks(start));
        }
        if let Some(status) = text(self.status.as_ref()) {
            stats.resident_bytes = line_value(&status, "VmRSS:").map(|kib| kib * 1024);
        }
        if let Some(limits) = text(self.limits.as_ref()) {
            stats.max_fds = line_value(&limits, "Max open files");
        }
        stats.open_fds = self.descriptors.count();
        stats
    }
}

/// All of a file, from its beginning.
fn text(file: Option<&File>) -> Option<String> {
    let file = file?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match file.read_at(&mut chunk, bytes.len() as u64) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count)?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

impl Descriptors {
    fn open(folder: PathBuf, of_the_kernel: bool) -> Self {
        match fs::metadata(&folder) {
            Ok(metadata) if of_the_kernel && metadata.len() > 0 => Self::Size(folder),
            Ok(_) => File::open(&folder)
                .ok()
                .and_then(|folder| Dir::new(folder).ok())
                .map_or(Self::Unknown, |folder| Self::Count(Mutex::new(folder))),
            Err(_) => Self::Unknown,
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            Self::Size(folder) => fs::metadata(folder).ok().map(|metadata| metadata.len()),
            Self::Count(folder) => {
                let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
                folder.rewind();
                let names = folder.by_ref().filter_map(Result::ok);
                let real = |name: &DirEntry| !matches!(name.file_name().to_bytes(), b"." | b"..");
                Some(names.filter(real).count() as u64)
            }
            Self::Unknown => None,
        }
    }
}

/// The first number on the line that begins with `name`.
fn line_value(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
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
        for fd in 0..3 {
            write(&format!("self/fd/{fd}"), "");
        }
        let files = ProcessFiles::open(&proc, 100);
        let stats = files.read();
        assert_eq!(files.read(), stats, "read again");
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
        assert_eq!(ProcessFiles::open(Path::new("/nonexistent"), 100).read(), ProcessStats::default());
    }

    #[test]
    fn this_process_can_be_read() {
        let stats = read();
        assert!(stats.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{stats:?}");
        assert!(stats.open_fds.is_some_and(|fds| (3..10_000).contains(&fds)), "{stats:?}");
        assert!(stats.start_seconds.is_some_and(|second| second > 1.6e9), "{stats:?}");
        let open: Vec<_> = (0..9).map(|_| File::open("/dev/null").unwrap()).collect();
        let more = read().open_fds.unwrap() + 5 > stats.open_fds.unwrap() + open.len() as u64;
        assert!(more, "other tests may have closed some, not all");
    }
}
