//! One line for each request, and for each connection refused before it came to one.
//!
//! The lines are formatted by hand: at tens of thousands of requests a second a general
//! formatter would cost more than serving them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::log::LogFormat;
use super::log_pipe::LogPipe;
use super::text;
use crate::client_address::write_address;
use crate::protocol::{Protocol, TlsVersion};
use crate::redact::redact_target;
use crate::refusal::Reason;
use crate::trace::context::{SpanId, TraceId};

/// Bytes of a target that are written; what is longer ends in `…`.
const LONGEST_TARGET: usize = 2048;

/// Which requests are written: `log.access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// Every request; probes only where they fail.
    All,
    /// Refusals, aborted requests and answers of 400 and above.
    Errors,
    /// None.
    Off,
}

/// What is written about one request.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    /// The id that the client was told.
    pub request_id: &'a str,
    /// As sent.
    pub method: &'a str,
    /// Path and query as sent; secrets are redacted here.
    pub target: &'a str,
    /// `None`: aborted before an answer.
    pub status: Option<u16>,
    /// From the first byte of the request head to the end of the answer.
    pub duration: Duration,
    /// Who asked, after trusted proxies.
    pub client: IpAddr,
    /// The configured path of the route; `none` where none was chosen.
    pub route: &'a str,
    /// Bytes of the request body that were read.
    pub bytes_in: u64,
    /// Bytes of the response body that were sent.
    pub bytes_out: u64,
    /// What the connection speaks.
    pub protocol: Protocol,
    /// The version of TLS under that, if there is any.
    pub tls: Option<TlsVersion>,
    /// Why it was refused, if it was.
    pub reason: Option<Reason>,
    /// The configured upstream that answered, if one did.
    pub upstream: Option<&'a str>,
    /// The trace and the span that it is, where there are traces.
    pub trace: Option<(TraceId, SpanId)>,
}

/// The access log. Cheap to clone; what it writes can be changed while it runs.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pipe: LogPipe,
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    format: AtomicU8,
    mode: AtomicU8,
    level: AtomicU8,
}

impl AccessLog {
    /// Writes to `pipe` what `mode` asks for, where `level` lets it through: lines are INFO, and
    /// WARN for answers of 500 and above and for refusals without an answer.
    pub fn new(pipe: LogPipe, format: LogFormat, mode: AccessMode, level: LevelFilter) -> Self {
        let settings = Settings { format: AtomicU8::new(0), mode: AtomicU8::new(0), level: AtomicU8::new(0) };
        let log = Self { pipe, settings: Arc::new(settings) };
        log.set_format(format);
        log.set_mode(mode);
        log.set_level(level);
        log
    }

    /// Changes how lines look.
    pub fn set_format(&self, format: LogFormat) {
        self.settings.format.store(format as u8, Ordering::Relaxed);
    }

    /// Changes which requests are written.
    pub fn set_mode(&self, mode: AccessMode) {
        self.settings.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Changes which levels are written.
    pub fn set_level(&self, level: LevelFilter) {
        let severities = level.into_level().map_or(0, severity);
        self.settings.level.store(severities, Ordering::Relaxed);
    }

    /// Whether a request that ended like this would be written. Ask before gathering a record.
    pub fn enabled_for(&self, status: Option<u16>, reason: Option<Reason>) -> bool {
        let mode = self.settings.mode.load(Ordering::Relaxed);
        let wanted = if mode == AccessMode::All as u8 {
            true
        } else {
            mode == AccessMode::Errors as u8 && (reason.is_some() || failed(status))
        };
        wanted && self.lets_through(level(status, reason))
    }

    /// Whether nothing at all is written, so that nothing need be kept for it.
    pub fn is_off(&self) -> bool {
        self.settings.mode.load(Ordering::Relaxed) == AccessMode::Off as u8
    }

    /// As [`AccessLog::enabled_for`], for a probe, which is only worth a line where it fails.
    pub fn enabled_for_probe(&self, status: Option<u16>, reason: Option<Reason>) -> bool {
        (reason.is_some() || failed(status)) && self.enabled_for(status, reason)
    }

    fn lets_through(&self, level: Level) -> bool {
        severity(level) <= self.settings.level.load(Ordering::Relaxed)
    }

    /// Writes one line, whatever [`AccessLog::enabled_for`] says. Never blocks.
    pub fn write(&self, record: &AccessRecord<'_>) {
        self.write_at(SystemTime::now(), record);
    }

    fn write_at(&self, now: SystemTime, record: &AccessRecord<'_>) {
        text::with_line(|line| {
            if self.json() {
                json(line, now, record);
            } else {
                console(line, now, record);
            }
            self.pipe.write(line);
        });
    }

    /// Writes one line about a connection, or a part of one, that was refused without a request.
    /// `request_id` is what the client was told, if it was told anything. An idle connection that
    /// was closed is the normal end of one, and only told at DEBUG.
    pub fn refused_connection(
        &self,
        reason: Reason,
        client: IpAddr,
        protocol: Protocol,
        request_id: Option<&str>,
    ) {
        let level = match reason {
            Reason::Idle => Level::DEBUG,
            // Scanners do so all the time.
            Reason::TlsHandshakeFailed | Reason::TlsHandshakeTimeout => Level::INFO,
            _ => level(None, Some(reason)),
        };
        if self.settings.mode.load(Ordering::Relaxed) == AccessMode::Off as u8 || !self.lets_through(level) {
            return;
        }
        text::with_line(|line| {
            let now = SystemTime::now();
            if self.json() {
                json_head(line, now, level, "refused");
                if let Some(id) = request_id {
                    line.extend_from_slice(b",\"request_id\":\"");
                    // Our own hexadecimal digits: nothing to escape.
                    line.extend_from_slice(id.as_bytes());
                    line.push(b'"');
                }
                line.extend_from_slice(b",\"client\":\"");
                write_address(line, client);
                line.extend_from_slice(b"\",\"protocol\":\"");
                line.extend_from_slice(protocol.label().as_bytes());
                line.extend_from_slice(b"\",\"reason\":\"");
                line.extend_from_slice(reason.label().as_bytes());
                line.extend_from_slice(b"\"}\n");
            } else {
                console_head(line, now, level);
                line.extend_from_slice(b"refused client=");
                write_address(line, client);
                tail(line, protocol, Some(reason));
            }
            self.pipe.write(line);
        });
    }

    fn json(&self) -> bool {
        self.settings.format.load(Ordering::Relaxed) == LogFormat::Json as u8
    }
}

fn failed(status: Option<u16>) -> bool {
    status.is_none_or(|status| status >= 400)
}

/// A refusal with an answer is the limits at work, and the client's affair; one without, and an
/// answer of 500 and above, is worth an operator's look.
fn level(status: Option<u16>, reason: Option<Reason>) -> Level {
    match (status, reason) {
        (Some(500..), _) => Level::WARN,
        (_, Some(reason)) if reason.status().is_none() => Level::WARN,
        _ => Level::INFO,
    }
}

/// 1 (ERROR) to 5 (TRACE).
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The target as it is written: no secrets, not too long; and whether it was cut.
fn target(target: &str) -> (std::borrow::Cow<'_, str>, bool) {
    let cut = target.len() > LONGEST_TARGET;
    let shown = if cut {
        target.get(..target.floor_char_boundary(LONGEST_TARGET)).unwrap_or_default()
    } else {
        target
    };
    // Cut first: it bounds the work, and a name that is cut off has lost its value with it.
    (redact_target(shown), cut)
}

fn json_head(line: &mut Vec<u8>, now: SystemTime, level: Level, message: &str) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    text::timestamp(line, now);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(b"\",\"message\":\"");
    line.extend_from_slice(message.as_bytes());
    line.push(b'"');
}

fn json(line: &mut Vec<u8>, now: SystemTime, record: &AccessRecord<'_>) {
    json_head(line, now, level(record.status, record.reason), "request");
    line.extend_from_slice(b",\"request_id\":");
    text::json_string(line, record.request_id);
    line.extend_from_slice(b",\"method\":");
    text::json_string(line, record.method);
    line.extend_from_slice(b",\"path\":\"");
    let (path, cut) = target(record.target);
    text::json_escape(line, &path);
    line.extend_from_slice(if cut { "…\"".as_bytes() } else { b"\"" });
    line.extend_from_slice(b",\"status\":");
    match record.status {
        Some(status) => text::number(line, status),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"duration_ms\":");
    text::milliseconds(line, record.duration);
    line.extend_from_slice(b",\"client\":\"");
    write_address(line, record.client);
    line.extend_from_slice(b"\",\"route\":");
    text::json_string(line, record.route);
    line.extend_from_slice(b",\"bytes_in\":");
    text::number(line, record.bytes_in);
    line.extend_from_slice(b",\"bytes_out\":");
    text::number(line, record.bytes_out);
    line.extend_from_slice(b",\"protocol\":\"");
    line.extend_from_slice(record.protocol.label().as_bytes());
    line.push(b'"');
    if let Some(tls) = record.tls {
        line.extend_from_slice(b",\"tls\":\"");
        line.extend_from_slice(tls.label().as_bytes());
        line.push(b'"');
    }
    if let Some(reason) = record.reason {
        line.extend_from_slice(b",\"reason\":\"");
        line.extend_from_slice(reason.label().as_bytes());
        line.push(b'"');
    }
    if let Some(upstream) = record.upstream {
        line.extend_from_slice(b",\"upstream\":");
        text::json_string(line, upstream);
    }
    if let Some((trace, span)) = record.trace {
        line.extend_from_slice(b",\"trace_id\":\"");
        line.extend_from_slice(&trace.hex());
        line.extend_from_slice(b"\",\"span_id\":\"");
        line.extend_from_slice(&span.hex());
        line.push(b'"');
    }
    line.extend_from_slice(b"}\n");
}

fn console_head(line: &mut Vec<u8>, now: SystemTime, level: Level) {
    text::timestamp(line, now);
    line.push(b' ');
    line.extend_from_slice(level.as_str().as_bytes());
    line.extend_from_slice(if level.as_str().len() < 5 { b"  " } else { b" " });
}

/// `2026-11-20T22:08:59.123Z INFO  GET /a 200 1.234ms client=… route=… in=0 out=13 http/1.1 id=…`
fn console(line: &mut Vec<u8>, now: SystemTime, record: &AccessRecord<'_>) {
    console_head(line, now, level(record.status, record.reason));
    text::console(line, record.method);
    line.push(b' ');
    let (path, cut) = target(record.target);
    text::console(line, &path);
    line.extend_from_slice(if cut { "… ".as_bytes() } else { b" " });
    match record.status {
        Some(status) => text::number(line, status),
        None => line.extend_from_slice(b"aborted"),
    }
    line.push(b' ');
    text::milliseconds(line, record.duration);
    line.extend_from_slice(b"ms client=");
    write_address(line, record.client);
    line.extend_from_slice(b" route=");
    text::console(line, record.route);
    line.extend_from_slice(b" in=");
    text::number(line, record.bytes_in);
    line.extend_from_slice(b" out=");
    text::number(line, record.bytes_out);
    line.extend_from_slice(b" id=");
    text::console(line, record.request_id);
    if let Some(upstream) = record.upstream {
        line.extend_from_slice(b" upstream=");
        text::console(line, upstream);
    }
    if let Some(tls) = record.tls {
        line.extend_from_slice(b" tls=");
        line.extend_from_slice(tls.label().as_bytes());
    }
    if let Some((trace, _)) = record.trace {
        line.extend_from_slice(b" trace=");
        line.extend_from_slice(&trace.hex());
    }
    tail(line, record.protocol, record.reason);
}

fn tail(line: &mut Vec<u8>, protocol: Protocol, reason: Option<Reason>) {
    line.push(b' ');
    line.extend_from_slice(protocol.label().as_bytes());
    if let Some(reason) = reason {
        line.extend_from_slice(b" reason=");
        line.extend_from_slice(reason.label().as_bytes());
    }
    line.push(b'\n');
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
