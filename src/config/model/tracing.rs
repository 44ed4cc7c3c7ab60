//! `tracing.*` and `metrics.*`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::outcall::Url;
use crate::tls::TlsError;
use crate::tls::client::ClientOptions;
use crate::trace::{Ratio, Root, Sampler, Trust};

/// Traces, and the collector that they go to.
#[derive(Debug, Clone)]
pub struct TracingConfig {
    /// Master switch.
    pub enabled: bool,
    /// Off whatever that says.
    pub disabled: bool,
    /// Where spans go.
    pub exporter: TracesExporter,
    /// The collector; `None`: on this host.
    pub endpoint: Option<Url>,
    /// The collector of traces, with its whole path.
    pub traces_endpoint: Option<Url>,
    /// How it is spoken to, already resolved from `auto`.
    pub protocol: OtlpProtocol,
    /// Fields that it is sent. Secrets.
    pub headers: Vec<(String, String)>,
    /// For one attempt to hand over a batch.
    pub timeout: Duration,
    /// How batches are compressed.
    pub compression: OtlpCompression,
    /// CAs of the collector; `None`: the public ones.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// Which traces are recorded.
    pub sampler: TracesSampler,
    /// The part of those that begin here.
    pub ratio: Ratio,
    /// Whose context is gone on with.
    pub trust_incoming: Trust,
    /// `tracecontext`, `baggage`, `none`.
    pub propagators: Vec<&'static str>,
    /// `service.name`; empty: that of the attributes, else `nessen`.
    pub service_name: String,
    /// What is said of the service.
    pub resource_attributes: Vec<(String, String)>,
    /// Spans that wait.
    pub max_queue_size: usize,
    /// Longest time that one waits before its batch is sent.
    pub schedule_delay: Duration,
    /// Spans of a batch.
    pub max_export_batch_size: usize,
}

/// What `/metrics` shows besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Durations as the semantic conventions have them.
    pub semantic_conventions: bool,
}

/// `tracing.exporter`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracesExporter {
    /// To a collector.
    Otlp,
    /// Nowhere.
    None,
}

/// `tracing.protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// POST over HTTP/1.1, or HTTP/2 where TLS agrees on it.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

/// `tracing.compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpCompression {
    /// As they are.
    None,
    /// By gzip.
    Gzip,
}

/// `tracing.sampler`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracesSampler {
    /// As the parent says; all that begin here.
    ParentOn,
    /// As the parent says; none that begin here.
    ParentOff,
    /// As the parent says; a part of those that begin here.
    ParentRatio,
    /// All.
    On,
    /// None.
    Off,
    /// A part of all.
    Ratio,
}

impl TracingConfig {
    /// Whether there are any traces.
    pub fn is_on(&self) -> bool {
        self.enabled && !self.disabled && self.exporter == TracesExporter::Otlp
    }

    /// What decides which traces are recorded.
    pub fn decides(&self) -> Sampler {
        let (root, by_parent) = match self.sampler {
            TracesSampler::ParentOn => (Root::On, true),
            TracesSampler::ParentOff => (Root::Off, true),
            TracesSampler::ParentRatio => (Root::Ratio(self.ratio), true),
            TracesSampler::On => (Root::On, false),
            TracesSampler::Off => (Root::Off, false),
            TracesSampler::Ratio => (Root::Ratio(self.ratio), false),
        };
        Sampler::new(root, by_parent)
    }

    /// The files that it names, where there are traces.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.ca, &self.client_certificate, &self.client_key];
        files.into_iter().filter(|_| self.is_on()).filter_map(|file| file.as_deref())
    }

    /// How the collector is spoken to within TLS, by these protocols (ALPN), where it is.
    ///
    /// # Errors
    /// A file is no good; and the key that names it.
    pub fn tls(&self, protocols: &[&[u8]]) -> Result<Option<Arc<ClientConfig>>, (&'static str, TlsError)> {
        if !self.is_on() || !self.collector().tls {
            return Ok(None);
        }
        let identity = self.client_certificate.clone().zip(self.client_key.clone());
        let options = ClientOptions { ca: self.ca.clone(), identity };
        let key = |error: TlsError| match &error.path {
            path if self.client_certificate.as_ref() == Some(path) => ("tracing.client_certificate", error),
            path if self.client_key.as_ref() == Some(path) => ("tracing.client_key", error),
            _ => ("tracing.ca", error),
        };
        options.config(protocols).map(Some).map_err(key)
    }

    /// Where batches are sent: the endpoint with the path of traces, or what stands in its place.
    pub fn collector(&self) -> Url {
        let grpc = self.protocol == OtlpProtocol::Grpc;
        let mut url = match (&self.traces_endpoint, &self.endpoint) {
            (Some(url), _) => return url.clone(),
            (None, Some(url)) => url.clone(),
            (None, None) => Url {
                tls: false,
                host: "localhost".to_owned(),
                port: if grpc { 4317 } else { 4318 },
                path: "/".to_owned(),
            },
        };
        let slash = if url.path.ends_with('/') { "" } else { "/" };
        url.path = format!("{}{slash}v1/traces", url.path);
        url
    }
}
