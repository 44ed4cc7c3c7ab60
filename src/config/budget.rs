//! The memory budget: what clients may make the server hold, and how the counts follow from it.

use std::fmt;

use super::error::ConfigError;
use super::machine::Machine;
use super::settings::Settings;
use super::value::Value;
use super::{Config, Target};
use crate::evidence;
use crate::memory::{HANDSHAKE, PROBING, TLS, TLS_WORKING, UPSTREAM, UPSTREAM_TLS, WAITING, WORKING};
use crate::net::admission::RESERVE;
use crate::trace::SPAN_COST;
use crate::units::Size;

/// Bytes of one tracked client of the rate limit: key, bucket, and its place in map and list.
pub const TRACKED_CLIENT_COST: u64 = 128;
/// Bytes of one answer that is being compressed: the window and tables of the costliest algorithm.
pub const COMPRESSOR_COST: u64 = 4 << 20;
/// Connections that may be open beyond the limits, for probes: those that are served, and as many that
/// are on their way out.
const PROBES: u64 = 2 * RESERVE as u64;
/// Bytes of the process itself while it has nothing to do.
pub const IDLE_PROCESS: u64 = 16 << 20;

const MIB: u64 = 1 << 20;
/// The least that `auto` comes to, however small the machine: below it nothing useful can be served.
const LEAST_MEMORY: u64 = 4 * MIB;
/// Memory is taken for this where the machine does not tell.
const UNKNOWN_MEMORY: u64 = 512 * MIB;
const LEAST_COUNT: u64 = 16;
/// Evidence is lowered to this by itself, and no further.
const LEAST_EVIDENCE: u64 = MIB;
const MOST_CONNECTIONS: u64 = 10_000;
const MOST_IN_FLIGHT: u64 = 1_024;
/// Descriptors that are not for clients: standard streams, listeners, timers, log, upstream
/// checks, the reserve for probes, and refused connections that are being told why.
const SPARE_FILES: u64 = 128;

/// What routes and switches ask for besides what the limits say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Clients are spoken to by TLS.
    tls: bool,
    /// Some route is proxied.
    proxied: bool,
    /// Some of its upstreams speak TLS.
    upstream_tls: bool,
    /// A request in flight may hold a descriptor of its own: a connection to an upstream, or a file.
    descriptors: bool,
    /// Answers are compressed somewhere.
    compressed: bool,
    /// Bytes of one HTTP/2 stream.
    stream: u64,
    /// There are traces.
    traced: bool,
    /// Clients that routes with a rate limit of their own track.
    tracked_clients: u64,
}

impl Demand {
    pub(super) fn of(config: &Config) -> Self {
        let leads = |wanted: fn(&Target) -> bool| config.routes.iter().any(|route| wanted(&route.target));
        let own = config.routes.iter().filter_map(|route| route.rate_limit.as_ref());
        Self {
            tls: config.tls.is_on(),
            proxied: leads(|target| matches!(target, Target::Upstream(_))),
            upstream_tls: leads(
                |target| matches!(target, Target::Upstream(urls) if urls.iter().any(|url| url.protocol.is_tls())),
            ),
            stream: config.stream_memory(),
            traced: config.tracing.is_on(),
            descriptors: leads(|target| matches!(target, Target::Upstream(_) | Target::Files(_))),
            compressed: config.compression.enabled
                || config.routes.iter().any(|route| route.compression.enabled),
            tracked_clients: own
                .filter(|limit| limit.max_requests.is_some())
                .filter_map(|limit| u64::try_from(limit.max_keys).ok())
                .fold(0, u64::saturating_add),
        }
    }
}

/// Descriptors of the process itself: standard streams, listeners, signals, timers, name servers.
const OWN_FILES: u64 = 16;

/// Descriptors that are left beside the process's own, its connections, and what requests hold.
pub fn spare_files(config: &Config, machine: &Machine) -> usize {
    let share = if Demand::of(config).descriptors { 2 } else { 1 };
    let connections = u64::try_from(config.limits.max_connections).unwrap_or(u64::MAX);
    let taken = connections.saturating_mul(share).saturating_add(OWN_FILES);
    let spare = machine.open_files.unwrap_or(u64::MAX).saturating_sub(taken);
    usize::try_from(spare).unwrap_or(usize::MAX)
}

/// The most memory that clients can make the server hold, part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstCase {
    /// `limits.memory`, in bytes.
    pub memory: u64,
    /// `limits.max_connections`
    pub connections: u64,
    /// `limits.max_in_flight`
    pub in_flight: u64,
    /// Bytes of one HTTP/2 stream, without its body: windows, buffers and head.
    pub stream: u64,
    /// Whether clients are spoken to by TLS.
    pub tls: bool,
    /// Whether some route is proxied.
    pub proxied: bool,
    /// Whether TLS is spoken to some upstream.
    pub upstream_tls: bool,
    /// `rate_limit.max_keys` where the rate limit is on, and those of routes with one of their own.
    pub tracked_clients: u64,
    /// `compression.max_concurrent` where anything is compressed, else 0.
    pub compressors: u64,
    /// Bytes of a body that evidence keeps while its request is in flight: `evidence.body_bytes`, or 0.
    pub kept_body: u64,
    /// `evidence.max_bytes` and what is on its way, where evidence is collected, else 0.
    pub evidence: u64,
    /// `limits.max_body_size`, in bytes.
    pub max_body_size: u64,
    /// Spans that may wait or be on their way, where there are traces: `tracing.max_queue_size`, and two batches.
    pub spans: u64,
}

impl WorstCase {
    fn of(settings: &Settings, demand: &Demand) -> Self {
        let number = |path| settings.number(path).unwrap_or(0);
        let rate_limited = settings.number("rate_limit.max_requests").is_some();
        Self {
            memory: number("limits.memory"),
            connections: number("limits.max_connections"),
            in_flight: number("limits.max_in_flight"),
            stream: demand.stream,
            tls: demand.tls,
            proxied: demand.proxied,
            upstream_tls: demand.upstream_tls,
            tracked_clients: if rate_limited { number("rate_limit.max_keys") } else { 0 }
                .saturating_add(demand.tracked_clients),
            compressors: if demand.compressed { number("compression.max_concurrent") } else { 0 },
            kept_body: if settings.is_on("evidence.enabled") { number("evidence.body_bytes") } else { 0 },
            evidence: if settings.is_on("evidence.enabled") {
                number("evidence.max_bytes").saturating_add(evidence::BESIDE)
            } else {
                0
            },
            max_body_size: number("limits.max_body_size"),
            spans: if demand.traced {
                spans(number("tracing.max_queue_size"), number("tracing.max_export_batch_size"))
            } else {
                0
            },
        }
    }

    /// Bytes set aside for what is of a fixed size: connections of probes, tracked clients, answers that
    /// are being compressed, evidence, and the beginnings of bodies that it keeps.
    pub fn set_aside(&self) -> u64 {
        let clients = self.tracked_clients.saturating_mul(TRACKED_CLIENT_COST);
        let compressors = self.compressors.saturating_mul(COMPRESSOR_COST);
        let spans = self.spans.saturating_mul(SPAN_COST as u64);
        let parts = [clients, compressors, spans, self.evidence, self.kept_bodies()];
        parts.into_iter().fold(PROBES * PROBING, u64::saturating_add)
    }

    /// Bytes of all bodies in flight that evidence keeps.
    fn kept_bodies(&self) -> u64 {
        self.in_flight.saturating_mul(self.kept_body)
    }

    /// Bytes of a connection that waits.
    pub fn waiting(&self) -> u64 {
        if self.tls { WAITING + TLS } else { WAITING }
    }

    /// Bytes of one at work.
    pub fn working(&self) -> u64 {
        self.waiting() + if self.tls { WORKING + TLS_WORKING } else { WORKING }
    }

    /// The least that serves anybody: one request at a time, of the costliest kind.
    fn least(&self) -> u64 {
        let upstream = self.upstream();
        let request = self.working().saturating_add(self.stream).saturating_add(upstream);
        // One client may have half, and bodies seven eighths.
        request.saturating_add(self.max_body_size).saturating_mul(2).saturating_mul(8) / 7
    }

    /// Bytes more of a request to an upstream, of the costliest kind.
    fn upstream(&self) -> u64 {
        match (self.proxied, self.upstream_tls) {
            (false, _) => 0,
            (true, false) => UPSTREAM,
            (true, true) => UPSTREAM + UPSTREAM_TLS,
        }
    }

    /// Bytes that connections, requests and bodies share.
    pub fn shared(&self) -> u64 {
        self.memory.saturating_sub(self.set_aside()).max(self.least())
    }

    /// Bytes that clients can make the server hold: `limits.memory`, or more where it does not hold.
    pub fn total(&self) -> u64 {
        self.set_aside().saturating_add(self.shared())
    }

    /// Whether what is set aside, the connections that may wait, and one request are within
    /// `limits.memory`.
    pub fn fits(&self) -> bool {
        self.needed() <= self.memory
    }

    fn needed(&self) -> u64 {
        let waiting = self.connections.saturating_mul(self.waiting());
        self.set_aside().saturating_add(waiting).saturating_add(self.least())
    }
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, what: String, bytes: u64| {
            writeln!(f, "  {what:<44}{:>12}", approximate(bytes))
        };
        let each = |count: u64, what: &str, cost: u64| format!("{count} {what} x {}", Size(cost));
        row(f, each(PROBES, "connections for probes", PROBING), PROBES * PROBING)?;
        if self.tracked_clients > 0 {
            row(
                f,
                each(self.tracked_clients, "tracked clients", TRACKED_CLIENT_COST),
                self.tracked_clients.saturating_mul(TRACKED_CLIENT_COST),
            )?;
        }
        if self.compressors > 0 {
            row(
                f,
                each(self.compressors, "answers compressed", COMPRESSOR_COST),
                self.compressors.saturating_mul(COMPRESSOR_COST),
            )?;
        }
        if self.evidence > 0 {
            row(f, "evidence, and what is on its way".to_owned(), self.evidence)?;
        }
        if self.kept_bodies() > 0 {
            row(f, each(self.in_flight, "bodies begun, for evidence", self.kept_body), self.kept_bodies())?;
        }
        if self.spans > 0 {
            let cost = SPAN_COST as u64;
            row(f, each(self.spans, "spans of traces", cost), self.spans.saturating_mul(cost))?;
        }
        row(f, "shared by connections, requests and bodies".to_owned(), self.shared())?;
        let verdict = if self.fits() { "within" } else { "OVER" };
        row(f, format!("together, {verdict} limits.memory = {}", Size(self.memory)), self.total())?;
        row(f, "the process itself, about".to_owned(), IDLE_PROCESS)?;
        let room = self.shared();
        let share = |f: &mut fmt::Formatter<'_>, what: &str, cost: u64| {
            let whole = room / cost.max(1);
            writeln!(f, "  {what:<44}{:>12}  (room for {whole})", Size(cost).to_string())
        };
        writeln!(f, "\nof what is shared")?;
        share(f, "a connection that waits", self.waiting())?;
        share(f, "a connection at work", self.working())?;
        if self.tls {
            share(f, "a TLS handshake, besides its connection", HANDSHAKE)?;
        }
        share(f, "an HTTP/2 stream, besides its connection", self.stream)?;
        if self.proxied {
            share(f, "a request to an upstream, besides", self.upstream())?;
        }
        Ok(())
    }
}

/// Bytes with one decimal, in MiB: for reading, not for copying.
fn approximate(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Decides `limits.memory`, `limits.max_connections` and `limits.max_in_flight` where they are
/// `auto`, lowers `compression.max_concurrent` to what the memory holds, and checks that what was set
/// holds together.
pub(super) fn decide(
    settings: &mut Settings,
    machine: &Machine,
    demand: &Demand,
    notes: &mut Vec<String>,
    errors: &mut Vec<ConfigError>,
) -> WorstCase {
    if settings.is_auto("limits.memory") {
        let (memory, note) = auto_memory(machine);
        settings.resolve("limits.memory", Value::Size(memory));
        notes.push(note);
    }
    let memory = settings.number("limits.memory").unwrap_or(LEAST_MEMORY);
    fewer_compressors(settings, demand, memory, notes);
    less_evidence(settings, memory, notes);
    fewer_spans(settings, demand, memory, notes);
    // Where requests hold descriptors as well, half of them are for those.
    let share = if demand.descriptors { 2 } else { 1 };
    let free_files = machine.open_files.map_or(u64::MAX, |files| files.saturating_sub(SPARE_FILES) / share);
    if settings.is_auto("limits.max_connections") {
        let files = free_files;
        let worst = WorstCase::of(settings, demand);
        let by_memory = worst.shared() / 2 / worst.waiting();
        let count = MOST_CONNECTIONS.min(files).min(by_memory).max(LEAST_COUNT);
        settings.resolve("limits.max_connections", Value::Count(count));
        let files = machine.open_files.map_or("unlimited".to_owned(), |files| files.to_string());
        notes.push(format!(
            "limits.max_connections = {count}: the least of {MOST_CONNECTIONS}, {by_memory} in half of what \
             limits.memory leaves for requests, and RLIMIT_NOFILE {files} less {SPARE_FILES}{}",
            if demand.descriptors { ", by 2 since requests hold descriptors too" } else { "" }
        ));
        if let Some(files) = machine.open_files.filter(|files| *files < SPARE_FILES + LEAST_COUNT) {
            notes.push(format!(
                "RLIMIT_NOFILE is {files}, and {} are needed: connections will fail, those of probes too",
                SPARE_FILES + LEAST_COUNT
            ));
        }
    } else if let (Some(files), Some(count)) = (machine.open_files, settings.number("limits.max_connections"))
        && count.saturating_add(SPARE_FILES) > files
    {
        notes.push(format!(
            "limits.max_connections = {count} cannot be reached: RLIMIT_NOFILE is {files}, and {SPARE_FILES} \
             descriptors are kept for other uses"
        ));
    }
    if settings.is_auto("limits.max_in_flight") {
        let worst = WorstCase::of(settings, demand);
        let by_memory = worst.shared() / worst.working();
        // An eighth for what evidence keeps of their bodies.
        let by_bodies = (worst.shared() / 8).checked_div(worst.kept_body).unwrap_or(u64::MAX);
        let by_memory = by_memory.min(by_bodies);
        let by_files = if demand.descriptors { free_files } else { u64::MAX };
        let count = MOST_IN_FLIGHT.min(by_memory).min(by_files).max(LEAST_COUNT);
        settings.resolve("limits.max_in_flight", Value::Count(count));
        notes.push(format!(
            "limits.max_in_flight = {count}: the less of {MOST_IN_FLIGHT}, and {by_memory} that limits.memory \
             holds{}",
            if by_files < by_memory.min(MOST_IN_FLIGHT) {
                format!("; or {by_files}, half of the descriptors")
            } else {
                String::new()
            }
        ));
    }
    let worst = WorstCase::of(settings, demand);
    if !worst.fits() {
        over_budget(settings, &worst, notes, errors);
    }
    worst
}

/// Compression is worth a quarter of the memory. What it does not get there goes out as it is, so that
/// fewer compressors cost bandwidth and no request.
fn fewer_compressors(settings: &mut Settings, demand: &Demand, memory: u64, notes: &mut Vec<String>) {
    let Some(wanted) = settings.number("compression.max_concurrent").filter(|_| demand.compressed) else {
        return;
    };
    let most = memory / 4 / COMPRESSOR_COST;
    if wanted > most {
        settings.resolve("compression.max_concurrent", Value::Count(most));
        notes.push(format!(
            "compression.max_concurrent = {most}, not {wanted}: a quarter of limits.memory = {} holds no more \
             of {} each",
            Size(memory),
            Size(COMPRESSOR_COST)
        ));
    }
}

/// Evidence that nobody gave a size is worth a quarter of the memory at most.
fn less_evidence(settings: &mut Settings, memory: u64, notes: &mut Vec<String>) {
    const PATH: &str = "evidence.max_bytes";
    let on = settings.is_on("evidence.enabled") && !settings.explicit(PATH);
    let Some(wanted) = settings.number(PATH).filter(|_| on) else { return };
    let most = (memory / 4).saturating_sub(evidence::BESIDE).max(LEAST_EVIDENCE);
    if wanted > most {
        settings.resolve(PATH, Value::Size(most));
        notes.push(format!(
            "evidence.max_bytes = {}, not {}: a quarter of limits.memory = {}, less {} for what is on its way",
            Size(most),
            Size(wanted),
            Size(memory),
            Size(evidence::BESIDE)
        ));
    }
}

/// Spans that may wait or be on their way: one batch is taken apart while it is put together for the wire.
fn spans(queue: u64, batch: u64) -> u64 {
    batch.saturating_mul(2).saturating_add(queue)
}

/// Traces are worth an eighth of the memory. What finds no place there is dropped and counted.
fn fewer_spans(settings: &mut Settings, demand: &Demand, memory: u64, notes: &mut Vec<String>) {
    let (queue, batch) = ("tracing.max_queue_size", "tracing.max_export_batch_size");
    let (Some(wanted), Some(together)) = (settings.number(queue), settings.number(batch)) else { return };
    let most = memory / 8 / SPAN_COST as u64;
    if !demand.traced || spans(wanted, together) <= most {
        return;
    }
    // Batches of a quarter of the queue, as they are by default.
    let fewer = together.min(most / 6).max(1);
    let places = most.saturating_sub(2 * fewer).clamp(1, wanted);
    settings.resolve(batch, Value::Count(fewer));
    settings.resolve(queue, Value::Count(places));
    notes.push(format!(
        "{queue} = {places} and {batch} = {fewer}, not {wanted} and {together}: an eighth of limits.memory = {} holds \
         no more of {} each",
        Size(memory),
        Size(SPAN_COST as u64)
    ));
}

fn auto_memory(machine: &Machine) -> (u64, String) {
    let (available, what) = match (machine.memory_limit, machine.memory()) {
        (Some(limit), Some(least)) if limit == least => (least, "the cgroup limit"),
        (_, Some(least)) => (least, "the machine's memory"),
        (_, None) => (UNKNOWN_MEMORY, "an assumed memory, since the machine does not tell,"),
    };
    let share = (available / 10).saturating_mul(7).saturating_sub(IDLE_PROCESS);
    let memory = (share / MIB * MIB).max(LEAST_MEMORY);
    let note = format!(
        "limits.memory = {}: 70 % of {what} of {}, less {} for the process itself",
        Size(memory),
        approximate(available),
        Size(IDLE_PROCESS)
    );
    (memory, note)
}

/// A budget that someone set, and parts that someone set, must agree. What was decided here, or a
/// default, is not a mistake of theirs, and gives a warning.
fn over_budget(
    settings: &Settings,
    worst: &WorstCase,
    notes: &mut Vec<String>,
    errors: &mut Vec<ConfigError>,
) {
    let mut parts =
        vec!["limits.max_connections", "limits.max_body_size", "http2.stream_window", "http2.send_buffer"];
    if worst.evidence > 0 {
        parts.extend([
            "evidence.enabled",
            "evidence.max_bytes",
            "evidence.body_bytes",
            "limits.max_in_flight",
        ]);
    }
    let problem = format!(
        "{PROBES} connections for probes x {} + {} tracked clients x {}{}{}{} + {} connections x {} + one request \
         with a body of {}, {} with what others are to find left = {} is over limits.memory = {}",
        Size(PROBING),
        worst.tracked_clients,
        Size(TRACKED_CLIENT_COST),
        match worst.compressors {
            0 => String::new(),
            count => format!(" + {count} answers compressed x {}", Size(COMPRESSOR_COST)),
        },
        match worst.evidence {
            0 => String::new(),
            bytes => format!(" + {} for evidence", Size(bytes.saturating_add(worst.kept_bodies()))),
        },
        match worst.spans {
            0 => String::new(),
            count => format!(" + {count} spans x {}", Size(SPAN_COST as u64)),
        },
        worst.connections,
        Size(worst.waiting()),
        Size(worst.max_body_size),
        approximate(worst.least()),
        approximate(worst.needed()),
        Size(worst.memory),
    );
    let set: Vec<_> = parts.iter().filter(|path| settings.explicit(path)).copied().collect();
    if settings.explicit("limits.memory") && !set.is_empty() {
        let paths = std::iter::once("limits.memory").chain(set);
        let sound: Option<Vec<_>> = paths.map(|path| settings.sound(path)).collect();
        // A part that is faulty has its own error already.
        if let Some(sound) = sound {
            let settings = sound.into_iter().map(|chosen| chosen.setting()).collect();
            errors.push(ConfigError::Contradiction { settings, problem });
        }
    } else {
        notes.push(format!("the memory budget does not hold: {problem}"));
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
