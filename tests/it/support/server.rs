//! The binary under test as a process: its log, its metrics, its signals, its exit code.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http1::{Conn, get};
use super::{PATIENCE, assert_eventually};

/// Lines as they come, and a bell for those who wait for one.
#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    bell: Condvar,
    /// Set by a test that plays a reader who has better things to do.
    stalled: AtomicBool,
    /// Set by a test that plays a reader who is gone.
    closed: AtomicBool,
    /// The pipe has been read to its end.
    ended: AtomicBool,
}

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines() {
                let Ok(line) = line else { break };
                while writer.stalled.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if writer.closed.load(Ordering::Relaxed) {
                    break;
                }
                writer.lines.lock().unwrap().push(line);
                writer.bell.notify_all();
            }
            writer.ended.store(true, Ordering::Release);
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that `wanted` takes, now or before `deadline`.
    fn wait<T>(&self, deadline: Instant, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut seen = 0;
        let mut lines = self.lines.lock().unwrap();
        loop {
            while seen < lines.len() {
                if let Some(found) = wanted(&lines[seen]) {
                    return Some(found);
                }
                seen += 1;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.bell.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// What the run of the tests hands on to the servers.
const SANDBOX: &str = "NESSEN_SERVER_SANDBOX";

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_nessen");

/// A started binary, which may or may not come to listen.
pub(crate) struct Process {
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

impl Process {
    /// Starts the binary with these arguments and only this environment.
    pub(crate) fn start(env: &[(&str, &str)], args: &[&str]) -> Self {
        Self::spawn(Command::new(BINARY), env, args)
    }

    /// The same, from a shell that says `prelude` first: the process is the same one.
    pub(crate) fn start_in_shell(prelude: &str, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{prelude} && exec \"$0\" \"$@\""), BINARY]);
        Self::spawn(shell, env, args)
    }

    /// The same, started by another program that becomes it in the end.
    pub(crate) fn start_by(program: &[&str], env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(BINARY);
        Self::spawn(command, env, args)
    }

    /// The same, handed these sockets with these names as a service manager would.
    pub(crate) fn start_with_sockets(
        sockets: [Option<(&str, &TcpListener)>; 2],
        env: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        // Descriptors can only be handed over in place of the standard ones; the shell moves them.
        shell.args([
            "-c",
            "exec 3<&0 4<&2 </dev/null 2>/dev/null && export LISTEN_PID=$$ && exec \"$0\" \"$@\"",
            BINARY,
        ]);
        let names: Vec<&str> = sockets.iter().flatten().map(|(name, _)| *name).collect();
        let (count, names) = (names.len().to_string(), names.join(":"));
        let env = [env, &[("LISTEN_FDS", &count), ("LISTEN_FDNAMES", &names)]].concat();
        let stdio = |socket: Option<(&str, &TcpListener)>| {
            socket.map_or_else(Stdio::null, |(_, socket)| OwnedFd::from(socket.try_clone().unwrap()).into())
        };
        Self::spawn_with(shell, &env, &[], stdio(sockets[0]), stdio(sockets[1]))
    }

    fn spawn(command: Command, env: &[(&str, &str)], args: &[&str]) -> Self {
        Self::spawn_with(command, env, args, Stdio::null(), Stdio::piped())
    }

    fn spawn_with(
        mut command: Command,
        env: &[(&str, &str)],
        args: &[&str],
        stdin: Stdio,
        stderr: Stdio,
    ) -> Self {
        command.env_clear().envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("LOG_FORMAT", "json")]);
        // `just test-sandboxed`: every server of the suite in the sandbox, unless a test says what it wants.
        if let Some(sandbox) = std::env::var_os(SANDBOX) {
            command.env(SANDBOX, sandbox);
        }
        // An alias and its long name together contradict each other: the test's own word stands.
        for (name, _) in env {
            match *name {
                "NESSEN_SERVER_PORT" => _ = command.env_remove("PORT"),
                "NESSEN_SERVER_HOST" => _ = command.env_remove("HOST"),
                "NESSEN_LOG_FORMAT" => _ = command.env_remove("LOG_FORMAT"),
                _ => {}
            }
        }
        command.envs(env.iter().copied()).args(args).current_dir(env!("CARGO_TARGET_TMPDIR"));
        command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the binary starts");
        let stdout = Lines::follow(child.stdout.take().unwrap());
        let stderr = match child.stderr.take() {
            Some(stderr) => Lines::follow(stderr),
            None => Lines::follow(std::io::empty()),
        };
        Self { child, stdout, stderr }
    }

    /// Everything on standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// Everything on standard error so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Stops reading standard output, so that the pipe fills up; or goes on reading.
    pub(crate) fn stall_log(&self, stalled: bool) {
        self.stdout.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Closes the reading end of standard output, at the next line.
    pub(crate) fn close_log(&self) {
        self.stdout.closed.store(true, Ordering::Relaxed);
    }

    /// The exit code, if the process ends by itself within `timeout`. A signal that ended it is
    /// told apart from a code.
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> Option<Result<i32, String>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words may still be in the pipes.
                let pipes = [&self.stdout, &self.stderr];
                while Instant::now() < deadline
                    && !pipes.iter().all(|pipe| pipe.ended.load(Ordering::Acquire))
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                return Some(status.code().ok_or_else(|| status.to_string()));
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// The exit code, which must come.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i32 {
        match self.wait_exit(PATIENCE) {
            Some(Ok(code)) => code,
            Some(Err(signal)) => panic!("ended by {signal}"),
            None => panic!("still running after {PATIENCE:?}"),
        }
    }

    /// Sends a signal to this process and no other.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).expect("the process is there to be signalled");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the system says of this process in a file of its own.
    pub(crate) fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default()
    }

    /// What the system says of each of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let status = |path: std::path::PathBuf| std::fs::read_to_string(path.join("status")).ok();
        threads.filter_map(|thread| status(thread.unwrap().path())).collect()
    }

    /// The state of each of its threads, as proc(5) has them: `T` is stopped.
    pub(crate) fn states(&self) -> Vec<char> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten();
        let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        // The name in parentheses may hold anything.
        stats.filter_map(|stat| stat.rsplit(") ").next().and_then(|rest| rest.chars().next())).collect()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// CPU time that it has used, to the hundredth of a second.
    #[track_caller]
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.proc_file("stat");
        // The name in parentheses may hold anything: what is counted comes behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// The first log line that `wanted` takes, waiting for it.
    #[track_caller]
    pub(crate) fn wait_log(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).ok().filter(|line| wanted(line));
        match self.stdout.wait(Instant::now() + PATIENCE, parsed) {
            Some(line) => line,
            None => panic!("no log line for: {what}"),
        }
    }

    /// The log so far, as JSON.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines: Vec<String> = self.stdout().into_iter().chain(self.stderr()).collect();
            for line in &lines[lines.len().saturating_sub(12)..] {
                eprintln!("  server: {line}");
            }
        }
    }
}

/// A binary that listens.
pub(crate) struct Server {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl std::ops::Deref for Server {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server {
    /// Starts a server on a port of its own, with these settings on top of the defaults.
    #[track_caller]
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        Self::start_with(env, &[])
    }

    /// The same, with arguments.
    #[track_caller]
    pub(crate) fn start_with(env: &[(&str, &str)], args: &[&str]) -> Self {
        Self::listening(Process::start(env, args))
    }

    /// The same, from a shell that says `prelude` first.
    #[track_caller]
    pub(crate) fn start_in_shell(prelude: &str, env: &[(&str, &str)], args: &[&str]) -> Self {
        Self::listening(Process::start_in_shell(prelude, env, args))
    }

    /// A process that was started in a way of its own, once it listens.
    #[track_caller]
    pub(crate) fn listening(process: Process) -> Self {
        let line = process.wait_log("listening", |line| line["message"] == "listening");
        let address = line["address"].as_str().expect("the address is logged");
        let address = address.parse().expect("the logged address is one");
        Self { process, address }
    }

    /// A process whose log goes elsewhere, once `log` says that it listens.
    #[track_caller]
    pub(crate) fn listening_by(process: Process, mut log: impl FnMut() -> String) -> Self {
        let mut address = None;
        assert_eventually(PATIENCE, "listening", || {
            let log = log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.into_iter().find(|line| line["message"] == "listening");
            address = line.and_then(|line| line["address"].as_str()?.parse().ok());
            address.is_some()
        });
        Self { process, address: address.expect("just seen") }
    }

    /// A connection to it.
    #[track_caller]
    pub(crate) fn connect(&self) -> Conn {
        Conn::open(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> super::http1::Response {
        let mut conn = self.connect();
        conn.send(&get(path));
        conn.read_response()
    }

    /// Every sample of `/metrics`, by name and labels as they stand there.
    #[track_caller]
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let mut conn = self.connect();
        conn.send(b"GET /metrics HTTP/1.1\r\nHost: nessen.test\r\nConnection: close\r\n\r\n");
        parse_metrics(&conn.read_response())
    }

    /// The same, on a connection that is open already.
    #[track_caller]
    pub(crate) fn metrics_on(&self, conn: &mut Conn) -> BTreeMap<String, f64> {
        conn.send(&get("/metrics"));
        parse_metrics(&conn.read_response())
    }

    /// Requests being served besides the scrape that asks.
    #[track_caller]
    pub(crate) fn requests_active(&self) -> f64 {
        self.metrics()["http_requests_active"] - 1.0
    }

    /// How often `reason` has been counted.
    #[track_caller]
    pub(crate) fn rejections(&self, reason: &str) -> f64 {
        rejections(&self.metrics(), reason)
    }

    /// How many log lines carry `reason`.
    pub(crate) fn reason_lines(&self, reason: &str) -> usize {
        self.log().iter().filter(|line| line["reason"] == reason).count()
    }

    /// Waits until `reason` is counted once and logged once, and no other reason was counted.
    #[track_caller]
    pub(crate) fn assert_refused_once(&self, reason: &str) {
        self.assert_refused(reason, 1);
    }

    /// Waits until `reason` is counted and logged `times`, and no other reason was counted.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reason: &str, times: usize) {
        let what = format!("{times} × {reason} in the metrics");
        assert_eventually(PATIENCE, &what, || self.rejections(reason) >= times as f64);
        let what = format!("{times} × {reason} in the log");
        assert_eventually(PATIENCE, &what, || self.reason_lines(reason) >= times);
        let metrics = self.metrics();
        let all: Vec<_> = metrics.iter().filter(|(name, _)| name.starts_with(REJECTIONS)).collect();
        let total: f64 = all.iter().map(|(_, count)| **count).sum();
        assert_eq!(rejections(&metrics, reason), times as f64, "{all:?}");
        assert_eq!(total, times as f64, "another reason was counted too: {all:?}");
        assert_eq!(self.reason_lines(reason), times, "log lines with the reason {reason}");
    }
}

const REJECTIONS: &str = "nessen_rejections_total";

/// The count of `reason` in a scrape.
pub(crate) fn rejections(metrics: &BTreeMap<String, f64>, reason: &str) -> f64 {
    metrics.get(&format!("{REJECTIONS}{{reason=\"{reason}\"}}")).copied().unwrap_or(0.0)
}

#[track_caller]
pub(crate) fn parse_metrics(response: &super::http1::Response) -> BTreeMap<String, f64> {
    assert_eq!(response.status, 200, "a scrape was answered {}", response.text());
    let text = response.text();
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample is a name and a value");
            (name.to_owned(), value.parse().expect("a sample's value is a number"))
        })
        .collect()
}
