//! `tracing.*` and `metrics.*`

use super::{Key, Kind, TIMEOUT};

pub(super) const TRACING: &[Key] = &[
    Key::new(
        "tracing.enabled",
        Kind::Bool,
        "false",
        "Traces: a span for each request and for each attempt at an upstream, sent to an OTLP collector.",
        |config, value| value.put(&mut config.tracing.enabled),
    )
    .env(&["TRACING_ENABLED"]),
    Key::new(
        "tracing.disabled",
        Kind::Bool,
        "false",
        "Switches traces off whatever tracing.enabled says.",
        |config, value| value.put(&mut config.tracing.disabled),
    )
    .env(&["OTEL_SDK_DISABLED"]),
    Key::new(
        "tracing.exporter",
        Kind::Choice(&["otlp", "none"]),
        "otlp",
        "Where spans go: to a collector, or nowhere, which is off.",
        |config, value| value.put(&mut config.tracing.exporter),
    )
    .env(&["OTEL_TRACES_EXPORTER"]),
    Key::new(
        "tracing.endpoint",
        Kind::Url,
        "auto",
        "The collector. Over HTTP, v1/traces is added to its path; over gRPC it has none.",
        |config, value| value.put(&mut config.tracing.endpoint),
    )
    .env(&["OTEL_EXPORTER_OTLP_ENDPOINT"])
    .or_auto("http://localhost:4318, for gRPC http://localhost:4317"),
    Key::new(
        "tracing.traces_endpoint",
        Kind::Url,
        "off",
        "The collector of traces, in place of tracing.endpoint; its path is taken as it is.",
        |config, value| value.put(&mut config.tracing.traces_endpoint),
    )
    .env(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
    .or_off(),
    Key::new(
        "tracing.protocol",
        Kind::Choice(&["http/protobuf", "grpc"]),
        "auto",
        "How the collector is spoken to.",
        |config, value| value.put(&mut config.tracing.protocol),
    )
    .env(&["OTEL_EXPORTER_OTLP_PROTOCOL"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    .or_auto("grpc where the endpoint's port is 4317, else http/protobuf"),
    Key::new(
        "tracing.headers",
        Kind::Pairs { fields: true },
        "none",
        "Fields that the collector is sent, such as an API key.",
        |config, value| value.put(&mut config.tracing.headers),
    )
    .env(&["OTEL_EXPORTER_OTLP_HEADERS"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    .secret(),
    Key::new(
        "tracing.timeout",
        TIMEOUT,
        "10s",
        "Longest time for one attempt to hand over a batch.",
        |config, value| value.put(&mut config.tracing.timeout),
    )
    .env(&["OTEL_EXPORTER_OTLP_TIMEOUT"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
    Key::new(
        "tracing.compression",
        Kind::Choice(&["none", "gzip"]),
        "none",
        "How batches are compressed.",
        |config, value| value.put(&mut config.tracing.compression),
    )
    .env(&["OTEL_EXPORTER_OTLP_COMPRESSION"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
    Key::new(
        "tracing.ca",
        Kind::File,
        "off",
        "CAs that a collector's certificate may be of, as PEM; off: the public ones, which are built in.",
        |config, value| value.put(&mut config.tracing.ca),
    )
    .env(&["OTEL_EXPORTER_OTLP_CERTIFICATE"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
    .or_off(),
    Key::new(
        "tracing.client_certificate",
        Kind::File,
        "off",
        "A certificate to show the collector, with its chain, as PEM.",
        |config, value| value.put(&mut config.tracing.client_certificate),
    )
    .env(&["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE")
    .or_off(),
    Key::new(
        "tracing.client_key",
        Kind::File,
        "off",
        "The key of that certificate, as PEM.",
        |config, value| value.put(&mut config.tracing.client_key),
    )
    .env(&["OTEL_EXPORTER_OTLP_CLIENT_KEY"])
    .env_first("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")
    .or_off(),
    Key::new(
        "tracing.sampler",
        Kind::Choice(&[
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
            "always_on",
            "always_off",
            "traceidratio",
        ]),
        "parentbased_always_on",
        "Which traces are recorded: as the parent says, or all, none, or the part that tracing.ratio says.",
        |config, value| value.put(&mut config.tracing.sampler),
    )
    .env(&["OTEL_TRACES_SAMPLER"]),
    Key::new(
        "tracing.ratio",
        Kind::Ratio,
        "1",
        "The part of traces that the traceidratio samplers record.",
        |config, value| value.put(&mut config.tracing.ratio),
    )
    .env(&["OTEL_TRACES_SAMPLER_ARG"]),
    Key::new(
        "tracing.trust_incoming",
        Kind::Choice(&["trusted", "all", "none"]),
        "trusted",
        "Whose traceparent is gone on with, and decides where the sampler asks the parent: that of \
         server.trusted_proxies, everybody's, or nobody's. A trace that begins here links to any other.",
        |config, value| value.put(&mut config.tracing.trust_incoming),
    ),
    Key::new(
        "tracing.propagators",
        Kind::Words(&["tracecontext", "baggage", "none"]),
        "tracecontext baggage",
        "With tracecontext, traceparent and tracestate are read, and written to upstreams. \
         The field baggage goes through like any other.",
        |config, value| value.put(&mut config.tracing.propagators),
    )
    .env(&["OTEL_PROPAGATORS"]),
    Key::new(
        "tracing.service_name",
        Kind::Text,
        "auto",
        "What the service is called in traces.",
        |config, value| value.put(&mut config.tracing.service_name),
    )
    .env(&["OTEL_SERVICE_NAME"])
    .or_auto("service.name of tracing.resource_attributes, else nessen"),
    Key::new(
        "tracing.resource_attributes",
        Kind::Pairs { fields: false },
        "none",
        "What is said of the service in all traces.",
        |config, value| value.put(&mut config.tracing.resource_attributes),
    )
    .env(&["OTEL_RESOURCE_ATTRIBUTES"]),
    Key::new(
        "tracing.max_queue_size",
        Kind::Count { min: 1, max: 1_000_000 },
        "2048",
        "Spans that wait for the collector; more are dropped and counted. 2KiB of limits.memory are set aside \
         for each, and for each of two batches; an eighth of it at most.",
        |config, value| value.put(&mut config.tracing.max_queue_size),
    )
    .env(&["OTEL_BSP_MAX_QUEUE_SIZE"]),
    Key::new(
        "tracing.schedule_delay",
        TIMEOUT,
        "5s",
        "Longest time that a span waits before its batch is sent.",
        |config, value| value.put(&mut config.tracing.schedule_delay),
    )
    .env(&["OTEL_BSP_SCHEDULE_DELAY"]),
    Key::new(
        "tracing.max_export_batch_size",
        Kind::Count { min: 1, max: 100_000 },
        "512",
        "Spans that are sent together.",
        |config, value| value.put(&mut config.tracing.max_export_batch_size),
    )
    .env(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
];

pub(super) const METRICS: &[Key] = &[Key::new(
    "metrics.semantic_conventions",
    Kind::Bool,
    "false",
    "Adds http_server_request_duration_seconds with the labels of OpenTelemetry's conventions to /metrics.",
    |config, value| value.put(&mut config.metrics.semantic_conventions),
)];
