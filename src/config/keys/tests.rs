//! Tests over the table itself.

use std::collections::HashSet;

use super::*;
use crate::config::parse::parse;
use crate::config::source::Raw;

fn read(key: &Key, text: &str) -> Result<Value, String> {
    parse(key, &Raw::Text(text.to_owned()), false)
}

#[test]
fn no_path_and_no_environment_name_stands_twice() {
    let mut names = HashSet::new();
    for key in all() {
        assert!(names.insert(key.path.to_owned()), "{}", key.path);
        for name in key.env_names() {
            assert!(names.insert(name.clone()), "{name}");
            // `NAME_FILE` must not be another key, nor a key look like another's file.
            assert!(!name.ends_with("_FILE"), "{name}");
        }
    }
}

#[test]
fn names_are_spelled_as_toml_and_environment_want_them() {
    for (section, about, keys) in SECTIONS {
        assert!(about.ends_with('.'), "{section}");
        for key in *keys {
            assert_eq!(key.section(), *section);
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(key.name().chars().all(word), "{}", key.path);
            for name in key.env_names() {
                assert!(
                    name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
                    "{name}"
                );
            }
            assert!(!key.help.is_empty() && !key.help.contains(['\n', '|', '"']), "{}", key.path);
            assert_eq!(key.help, key.help.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

#[test]
fn every_default_is_in_range_and_fits_its_field() {
    for key in all() {
        let value = read(key, key.default).unwrap_or_else(|problem| panic!("{}: {problem}", key.path));
        if value != Value::Auto {
            assert!((key.set)(&mut Config::default(), &value), "{}", key.path);
        }
    }
}

#[test]
fn every_value_that_can_be_written_fits_its_field() {
    for key in all() {
        let mut texts: Vec<String> = match key.kind {
            Kind::Bool => vec!["true".into(), "false".into()],
            Kind::Count { min, max } | Kind::Size { min, max } | Kind::Time { min, max } => {
                vec![min.to_string(), max.to_string()]
            }
            Kind::Rate => vec![format!("{FASTEST} B/s after 24h")],
            Kind::Address => vec!["::1".into()],
            Kind::Choice(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            Kind::HeaderName | Kind::HeaderValue => vec!["x".into()],
            Kind::Networks => vec!["none".into(), "private".into()],
            Kind::Methods => vec![crate::config::value::METHODS.join(" ")],
            Kind::Hosts => vec!["any".into(), "a.example".into()],
            Kind::Upstreams => {
                vec!["none".into(), "http://app:8080, h2c://[::1], https://app, h2://app:1".into()]
            }
            Kind::Folder | Kind::File => vec!["./public".into(), "0".into()],
            Kind::ServerName => vec!["app.example".into(), "10.0.0.1".into(), "::1".into()],
            // What is shown of others cannot be written back: it has no password.
            Kind::RedisUrl => vec!["rediss://cache:6380/1".into()],
            Kind::RateKey => vec!["address".into(), "header:x-api-key".into(), "path:2".into()],
            Kind::Text => vec!["a: b".into()],
            Kind::Store(StorePart::Place) => vec!["./evidence".into(), "s3://a-bucket/of/mine".into()],
            Kind::Store(StorePart::Bucket) => vec!["a-bucket.of.mine".into()],
            Kind::Store(StorePart::Prefix) => vec!["prod/evidence".into()],
            Kind::Store(StorePart::Region) => vec!["eu-central-1".into()],
            Kind::Store(StorePart::Endpoint) => {
                vec!["https://s3.example:9000".into(), "http://[::1]:1".into()]
            }
            Kind::Store(StorePart::Key) => vec!["AKIA/+=".into()],
            Kind::Files => vec!["a.pem".into(), "/etc/a.pem, b.pem".into()],
            Kind::UrlPath { query } => vec!["/".into(), if query { "/a?b=c" } else { "/a" }.into()],
            Kind::Algorithms => vec!["gzip br".into()],
            Kind::Url => vec!["http://a:1/b?c".into(), "https://[::1]".into()],
            Kind::Ratio => vec!["0".into(), "0.25".into(), "1".into()],
            Kind::Pairs { .. } => vec!["none".into(), "a=b%2C,c=d".into()],
            Kind::Words(words) => vec![words.join(" ")],
            kind => panic!("{kind:?} is of routes and checks alone"),
        };
        if key.off {
            texts.push("off".into());
        }
        for text in texts {
            let value = read(key, &text).unwrap_or_else(|problem| panic!("{} = {text}: {problem}", key.path));
            assert!((key.set)(&mut Config::default(), &value), "{} = {text}", key.path);
            // What is shown can be written back.
            assert_eq!(read(key, &value.to_string()), Ok(value), "{} = {text}", key.path);
        }
        if key.auto.is_some() {
            assert_eq!(read(key, "auto"), Ok(Value::Auto), "{}", key.path);
        }
    }
}

#[test]
fn one_beyond_each_end_of_a_range_is_refused() {
    for key in all() {
        if let Kind::Count { min, max } | Kind::Size { min, max } | Kind::Time { min, max } = key.kind {
            assert!(read(key, &(max + 1).to_string()).is_err(), "{}", key.path);
            if min > 0 && !key.off {
                assert!(read(key, &(min - 1).to_string()).is_err(), "{}", key.path);
            }
        }
    }
}

#[test]
fn every_short_name_of_the_contract_is_an_alias() {
    for (alias, path) in [
        ("HOST", "server.host"),
        ("PORT", "server.port"),
        ("TRUSTED_PROXIES", "server.trusted_proxies"),
        ("TRUST_PROXY", "server.trusted_proxies"),
        ("ADMIN_PORT", "admin.port"),
        ("MAX_BODY_SIZE", "limits.max_body_size"),
        ("MAX_URL_LENGTH", "limits.max_url_length"),
        ("MAX_HEADER_SIZE", "limits.max_header_size"),
        ("MAX_HEADER_COUNT", "limits.max_header_count"),
        ("MAX_RESPONSE_SIZE", "limits.max_response_size"),
        ("REQUEST_TIMEOUT", "limits.request_timeout"),
        ("HEADERS_TIMEOUT", "limits.headers_timeout"),
        ("IDLE_TIMEOUT", "limits.idle_timeout"),
        ("BODY_TIMEOUT", "limits.body_timeout"),
        ("WRITE_TIMEOUT", "limits.write_timeout"),
        ("MAX_CONNECTIONS", "limits.max_connections"),
        ("MAX_CONNECTIONS_PER_IP", "limits.max_connections_per_ip"),
        ("MAX_IN_FLIGHT", "limits.max_in_flight"),
        ("ALLOWED_HOSTS", "limits.allowed_hosts"),
        ("MEMORY_BUDGET", "limits.memory"),
        ("RATE_LIMIT_MAX_REQUESTS", "rate_limit.max_requests"),
        ("RATE_LIMIT_WINDOW_MS", "rate_limit.window"),
        ("RATE_LIMIT_BLOCK_MS", "rate_limit.block"),
        ("RATE_LIMIT_MAX_KEYS", "rate_limit.max_keys"),
        ("RATE_LIMIT_ENABLED", "rate_limit.enabled"),
        ("RATE_LIMIT_BACKEND", "rate_limit.backend"),
        ("RATE_LIMIT_DEFAULT_RPS", "rate_limit.per_second"),
        ("RATE_LIMIT_DEFAULT_BURST", "rate_limit.burst"),
        ("REDIS_URL", "rate_limit.redis_url"),
        ("TRACEHOUND_RATE_LIMIT_MAX_REQUESTS", "rate_limit.max_requests"),
        ("TRACEHOUND_RATE_LIMIT_WINDOW_MS", "rate_limit.window"),
        ("TRACEHOUND_RATE_LIMIT_BLOCK_MS", "rate_limit.block"),
        ("MODE", "server.mode"),
        ("REPLICAS", "server.replicas"),
        ("DRAIN_DELAY", "shutdown.drain_delay"),
        ("SHUTDOWN_TIMEOUT", "shutdown.drain_timeout"),
        ("SHUTDOWN_DRAIN_TIMEOUT_SECONDS", "shutdown.drain_timeout"),
        ("LOG_LEVEL", "log.level"),
        ("LOG_FORMAT", "log.format"),
        ("ACCESS_LOG", "log.access"),
        ("UPSTREAM", "upstream.url"),
        ("ROOT", "files.root"),
        ("TRACEHOUND_MAX_PAYLOAD_SIZE", "limits.max_body_size"),
        ("TRACEHOUND_QUARANTINE_MAX_COUNT", "evidence.max_count"),
        ("TRACEHOUND_QUARANTINE_MAX_BYTES", "evidence.max_bytes"),
        ("TRACEHOUND_QUARANTINE_EVICTION", "evidence.eviction"),
        ("TRACEHOUND_SCHEDULER_TICK_MS", "evidence.flush_interval"),
        ("TRACEHOUND_COLD_STORAGE_BUCKET", "evidence.s3_bucket"),
        ("TRACEHOUND_COLD_STORAGE_PREFIX", "evidence.s3_prefix"),
        ("TRACEHOUND_COLD_STORAGE_REGION", "evidence.s3_region"),
        ("AWS_ACCESS_KEY_ID", "evidence.s3_access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "evidence.s3_secret_access_key"),
        ("AWS_SESSION_TOKEN", "evidence.s3_session_token"),
        ("TRACEHOUND_FAILSAFE_PANIC_THRESHOLD", "evidence.panic_threshold"),
        ("TRACEHOUND_FAILSAFE_WINDOW_MS", "evidence.panic_window"),
        ("TLS_CERT", "tls.cert"),
        ("TLS_KEY", "tls.key"),
        ("TRACING_ENABLED", "tracing.enabled"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tracing.traces_endpoint"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "tracing.protocol"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "tracing.headers"),
        ("OTEL_TRACES_SAMPLER", "tracing.sampler"),
        ("OTEL_TRACES_SAMPLER_ARG", "tracing.ratio"),
        ("OTEL_SERVICE_NAME", "tracing.service_name"),
        ("OTEL_RESOURCE_ATTRIBUTES", "tracing.resource_attributes"),
        ("OTEL_SDK_DISABLED", "tracing.disabled"),
    ] {
        assert!(find(path).is_some_and(|key| key.aliases.contains(&alias)), "{alias}");
    }
}

#[test]
fn what_waits_for_a_restart_is_all_that_is_not_marked() {
    let restart: Vec<_> = all().filter(|key| !key.reloadable).map(|key| key.path).collect();
    assert_eq!(
        restart,
        [
            "server.host",
            "server.port",
            "server.workers",
            "server.trusted_proxies",
            "server.proxy_protocol",
            "server.request_id_header",
            "server.sandbox",
            "admin.host",
            "admin.port",
            "admin.allowed_hosts",
            "tls.handshake_timeout",
            "tls.redirect_port",
            "tls.public_port",
            "limits.max_url_length",
            "limits.max_header_size",
            "limits.max_header_count",
            "limits.headers_timeout",
            "limits.idle_timeout",
            "limits.max_connections",
            "limits.max_connections_per_ip",
            "limits.max_requests_per_connection",
            "limits.max_connection_age",
            "limits.max_in_flight",
            "limits.memory",
            "http2.enabled",
            "http2.max_concurrent_streams",
            "http2.max_local_error_resets",
            "http2.max_cancelled_streams",
            "http2.stream_window",
            "http2.connection_window",
            "http2.send_buffer",
            "shutdown.drain_delay",
            "shutdown.drain_timeout",
            "log.format",
            "tracing.enabled",
            "tracing.disabled",
            "tracing.exporter",
            "tracing.endpoint",
            "tracing.traces_endpoint",
            "tracing.protocol",
            "tracing.headers",
            "tracing.timeout",
            "tracing.compression",
            "tracing.ca",
            "tracing.client_certificate",
            "tracing.client_key",
            "tracing.sampler",
            "tracing.ratio",
            "tracing.trust_incoming",
            "tracing.propagators",
            "tracing.service_name",
            "tracing.resource_attributes",
            "tracing.max_queue_size",
            "tracing.schedule_delay",
            "tracing.max_export_batch_size",
            "metrics.semantic_conventions",
            "evidence.enabled",
            "evidence.max_count",
            "evidence.max_bytes",
            "evidence.eviction",
            "evidence.body_bytes",
            "evidence.storage",
            "evidence.storage_max_bytes",
            "evidence.flush_interval",
            "evidence.s3_bucket",
            "evidence.s3_prefix",
            "evidence.s3_region",
            "evidence.s3_endpoint",
            "evidence.s3_ca",
            "evidence.s3_access_key_id",
            "evidence.s3_secret_access_key",
            "evidence.s3_session_token",
            "evidence.panic_threshold",
            "evidence.panic_window",
        ]
    );
}
