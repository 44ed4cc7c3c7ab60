//! What `tracing.*` comes to: who decides about requests, and who hands their spans over.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::config::{OtlpCompression, OtlpProtocol, TracingConfig};
use crate::dial::Dialer;
use crate::otlp::{Exporter, Options, Service, Wire};
use crate::resolve::Resolver;
use crate::tls::TlsError;
use crate::trace::{Room, Spans, Tracer};

/// Both.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) tracer: Tracer,
    pub(super) exporter: Exporter,
}

impl Traces {
    /// Begins to trace, where that is on. The error tells the key of the file that is no good.
    pub(super) fn start(
        config: &TracingConfig,
        resolver: &Resolver,
    ) -> Result<Option<Self>, (&'static str, TlsError)> {
        if !config.is_on() {
            return Ok(None);
        }
        let options = options(config)?;
        let room = Room { spans: config.max_queue_size, batch: config.max_export_batch_size };
        let spans = Arc::new(Spans::new(room));
        let exporter = Exporter::start(options, spans.clone(), Dialer::new(resolver.clone()));
        let tracer = Tracer {
            sampler: config.decides(),
            trust: config.trust_incoming,
            propagates: config.propagators.contains(&"tracecontext"),
            spans,
        };
        Ok(Some(Self { tracer, exporter }))
    }
}

/// How the collector is spoken to.
fn options(config: &TracingConfig) -> Result<Options, (&'static str, TlsError)> {
    let wire = match config.protocol {
        OtlpProtocol::Http => Wire::Http,
        OtlpProtocol::Grpc => Wire::Grpc,
    };
    let tls = config.tls(wire.speaks().protocols())?;
    // The configuration has none that are not fields.
    let fields = config.headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((name.parse::<HeaderName>().ok()?, value))
    });
    Ok(Options {
        headers: fields.collect(),
        wire,
        tls,
        timeout: config.timeout,
        gzip: config.compression == OtlpCompression::Gzip,
        delay: config.schedule_delay,
        service: Service::new(&config.service_name, &config.resource_attributes),
        url: config.collector(),
    })
}
