//! What is counted of TLS: handshakes, certificates, and their changes.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Metrics;

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// From nothing.
    Full,
    /// With a ticket of an earlier session.
    Resumed,
    /// `tls.handshake_timeout` was over.
    Timeout,
    /// A request came in the clear.
    PlainHttp,
    /// The client has no certificate, or none that is believed.
    ClientCertificate,
    /// No version, cipher or protocol that both sides speak.
    Unsupported,
    /// The client broke it off by an alert: it may not believe the certificate.
    Rejected,
    /// What came was no TLS.
    Failed,
    /// The client went away, or had to make room.
    Closed,
}

impl Handshake {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Full, "full"),
        (Self::Resumed, "resumed"),
        (Self::Timeout, "timeout"),
        (Self::PlainHttp, "plain_http"),
        (Self::ClientCertificate, "client_certificate"),
        (Self::Unsupported, "unsupported"),
        (Self::Rejected, "rejected"),
        (Self::Failed, "failed"),
        (Self::Closed, "closed"),
    ];
}

/// The counts. Nothing is shown of them while TLS is off.
#[derive(Debug, Default)]
pub struct TlsSeries {
    is_on: AtomicBool,
    handshakes: [AtomicU64; Handshake::ALL.len()],
    reloads: [AtomicU64; 2],
    certificates: Mutex<Vec<(String, Duration)>>,
}

impl Metrics {
    /// A TLS handshake ended.
    pub fn handshake(&self, how: Handshake) {
        self.tls.handshake(how);
    }

    /// What else is counted of TLS.
    pub fn tls(&self) -> &TlsSeries {
        &self.tls
    }
}

impl TlsSeries {
    pub(super) fn handshake(&self, how: Handshake) {
        if let Some(count) = self.handshakes.get(how as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Certificates were read again: taken over or not.
    pub fn reloaded(&self, taken_over: bool) {
        let [ok, failed] = &self.reloads;
        if taken_over { ok } else { failed }.fetch_add(1, Ordering::Relaxed);
    }

    /// These are in use from now on: their files as they are configured, and until when they are valid, since 1970.
    pub fn in_use(&self, certificates: Vec<(String, Duration)>) {
        self.is_on.store(true, Ordering::Relaxed);
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// The lines of `/metrics`; `head` writes those that come before the values of a metric. By hand, since the
    /// recorder would show a certificate for ever.
    pub(super) fn render(&self, out: &mut String, head: fn(&mut String, &str), escaped: fn(&str) -> String) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        // Writing to a String does not fail.
        let name = "nessen_tls_handshakes_total";
        head(out, name);
        for ((_, result), count) in Handshake::ALL.iter().zip(&self.handshakes) {
            let _ = writeln!(out, "{name}{{result=\"{result}\"}} {}", count.load(Ordering::Relaxed));
        }
        let name = "nessen_tls_reloads_total";
        head(out, name);
        for (result, count) in ["ok", "failed"].iter().zip(&self.reloads) {
            let _ = writeln!(out, "{name}{{result=\"{result}\"}} {}", count.load(Ordering::Relaxed));
        }
        let name = "nessen_tls_certificate_expiry_timestamp_seconds";
        head(out, name);
        for (path, not_after) in &*self.certificates.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "{name}{{certificate=\"{}\"}} {}", escaped(path), not_after.as_secs());
        }
        out.push('\n');
    }
}
