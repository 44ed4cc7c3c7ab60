//! Tests of the whole way, from sources to a configuration or to errors.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::source::Flag;
use crate::config::{LogLevel, ProxyProtocol};

/// A machine with 8 CPUs, 16 GiB and many files.
fn machine() -> Machine {
    Machine {
        memory_total: Some(16 << 30),
        ..Machine::read(Path::new("/nowhere"), 8, Some(1_048_576), false)
    }
}

fn sources(file: Option<(&str, &str)>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let file = file.map(|(name, text)| {
        let path = std::env::temp_dir().join(format!("nessen-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    });
    Sources {
        file,
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags
            .iter()
            .map(|(key, value)| Flag {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                flag: "--set".to_owned(),
            })
            .collect(),
    }
}

fn env(env: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    load(&sources(None, env, &[]), &machine())
        .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

#[test]
fn there_is_a_key_for_every_field_and_a_field_for_every_key() {
    let shape = format!("{:#?}", blank());
    let mut section = "";
    let mut fields = BTreeSet::new();
    for line in shape.lines() {
        let name = |line: &'static str| line.split_once(':').map(|(name, _)| name.trim());
        let line: &'static str = line.to_owned().leak();
        match line.len() - line.trim_start().len() {
            4 => section = name(line).unwrap_or(section),
            8 => fields.extend(name(line).map(|name| format!("{section}.{name}"))),
            _ => {}
        }
    }
    // One section of the file in two: what a route can have of its own, and what is common to all limits.
    let fields: BTreeSet<_> =
        fields.into_iter().map(|field| field.replace("shared_limit.", "rate_limit.")).collect();
    assert_eq!(fields, keys::all().map(|key| key.path.to_owned()).collect());
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = Some(("precedence", "[server]\nport = 1\nhost = '::1'\n[log]\nlevel = 'debug'\n"));
    let sources =
        sources(file, &[("PORT", "2"), ("LOG_LEVEL", "warn")], &[("server.port", "3"), ("server.port", "4")]);
    let loaded = load(&sources, &machine()).unwrap();
    assert_eq!(loaded.config.server.port, 4);
    assert_eq!(loaded.config.log.level, LogLevel::Warn);
    assert_eq!(loaded.config.server.host.to_string(), "::1");
    let origin = |key| loaded.value(key).unwrap().origin.to_string();
    assert_eq!(origin("server.port"), "flag --set");
    assert_eq!(origin("log.level"), "environment LOG_LEVEL");
    assert!(origin("server.host").ends_with(".toml:3"));
    assert_eq!(origin("limits.memory"), "default");
    assert!(loaded.is_explicit("server.port") && !loaded.is_explicit("limits.memory"));
    std::fs::remove_file(sources.file.unwrap()).unwrap();
}

#[test]
fn the_file_can_be_named_by_the_environment_and_must_be_there() {
    let mut named = sources(Some(("named", "[server]\nport = 7\n")), &[], &[]);
    let path = named.file.take().unwrap();
    named.env.push(("NESSEN_CONFIG".into(), path.clone().into()));
    assert_eq!(load(&named, &machine()).unwrap().config.server.port, 7);
    std::fs::remove_file(path).unwrap();
    let errors = load(&named, &machine()).unwrap_err().to_string();
    assert!(errors.contains("cannot read the configuration file"), "{errors}");
}

#[test]
fn all_errors_are_shown_at_once() {
    let file = Some(("errors", "[limits]\nmax_bdoy_size = 1\nmax_url_length = '1 mile'\n"));
    let environment = [("NESSEN_SERVER_PROT", "1"), ("REQUEST_TIMEOUT", "0"), ("PORT", "99999")];
    let sources = sources(file, &environment, &[("limits.memroy", "1GiB"), ("log.level", "loud")]);
    let errors = load(&sources, &machine()).unwrap_err();
    let text = errors.to_string();
    for part in [
        "7 errors in the configuration\n",
        "errors-",
        ".toml:2): no such key; did you mean limits.max_body_size?",
        "limits.max_url_length = \"1 mile\" (file ",
        "allowed: 16B to 65534B",
        "did you mean NESSEN_SERVER_PORT?",
        "limits.request_timeout = \"0\" (environment REQUEST_TIMEOUT): out of range; allowed: 1ms to 24h",
        "server.port = \"99999\" (environment PORT): out of range; allowed: 0 to 65535",
        "limits.memroy (flag --set): no such key; did you mean limits.memory?",
        "log.level = \"loud\" (flag --set): not one of the words known here; allowed: off, error",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    std::fs::remove_file(sources.file.unwrap()).unwrap();
}

#[test]
fn two_names_of_one_key_must_agree() {
    let agreed = env(&[("SHUTDOWN_TIMEOUT", "45s"), ("SHUTDOWN_DRAIN_TIMEOUT_SECONDS", "45")]).unwrap();
    assert_eq!(agreed.config.shutdown.drain_timeout, Duration::from_secs(45));
    let errors = env(&[("PORT", "1"), ("NESSEN_SERVER_PORT", "2")]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("NESSEN_SERVER_PORT") && errors[0].contains("(environment PORT)"),
        "{errors:?}"
    );
}

#[test]
fn the_seeds_own_environment_is_understood() {
    let loaded = env(&[
        ("NODE_ENV", "production"),
        ("PORT", "3000"),
        ("MAX_BODY_SIZE", "1048576"),
        ("REQUEST_TIMEOUT", "30000"),
        ("MAX_HEADER_SIZE", "16384"),
        ("MAX_URL_LENGTH", "8192"),
        ("LOG_LEVEL", "info"),
        ("SHUTDOWN_DRAIN_TIMEOUT_SECONDS", "30"),
        ("RATE_LIMIT_WINDOW_MS", "60000"),
        ("RATE_LIMIT_MAX_REQUESTS", "1000"),
        ("RATE_LIMIT_BLOCK_MS", "30000"),
        ("TRUST_PROXY", "true"),
    ])
    .unwrap();
    let rate = &loaded.config.rate_limit;
    assert_eq!((rate.max_requests, rate.burst), (Some(1000), 1000));
    assert_eq!((rate.window, rate.block), (Duration::from_secs(60), Duration::from_secs(30)));
    assert!(loaded.config.server.trusted_proxies.trusts("10.0.0.1".parse().unwrap()));
}

#[test]
fn the_two_listeners_cannot_share_a_port() {
    let errors = env(&[("PORT", "9090"), ("ADMIN_PORT", "9090")]).unwrap_err();
    assert!(errors[0].contains("admin.port") && errors[0].contains("same port"), "{errors:?}");
    let apart = [("PORT", "9"), ("ADMIN_PORT", "9"), ("HOST", "10.0.0.1"), ("NESSEN_ADMIN_HOST", "10.0.0.2")];
    assert!(env(&apart).is_ok());
    assert!(env(&[("PORT", "0"), ("ADMIN_PORT", "0")]).is_ok());
    for (server, admin, overlaps) in [
        ("0.0.0.0", "127.0.0.1", true),
        ("127.0.0.1", "::", true),
        ("0.0.0.0", "::", true),
        ("0.0.0.0", "::1", false),
        ("127.0.0.1", "127.0.0.2", false),
    ] {
        assert_eq!(overlap(server.parse().unwrap(), admin.parse().unwrap()), overlaps, "{server} {admin}");
    }
}

#[test]
fn a_proxy_header_needs_somebody_who_is_believed() {
    for mode in ["required", "optional"] {
        assert_eq!(
            env(&[("NESSEN_SERVER_PROXY_PROTOCOL", mode)]).unwrap_err(),
            [format!(
                "server.proxy_protocol = {mode} (environment NESSEN_SERVER_PROXY_PROTOCOL), \
                 server.trusted_proxies = none (default): nobody is believed who could send a PROXY header"
            )]
        );
        let believed = env(&[("NESSEN_SERVER_PROXY_PROTOCOL", mode), ("TRUSTED_PROXIES", "10.0.0.0/8")]);
        assert_ne!(believed.unwrap().config.server.proxy_protocol, ProxyProtocol::Off);
    }
    assert!(env(&[("NESSEN_SERVER_PROXY_PROTOCOL", "off")]).is_ok());
}

#[test]
fn an_upstream_cannot_be_put_aside_for_longer_than_the_longest() {
    assert_eq!(
        env(&[("NESSEN_UPSTREAM_EJECT_TIME", "2m")]).unwrap_err(),
        ["upstream.eject_time = 2m (environment NESSEN_UPSTREAM_EJECT_TIME), \
          upstream.max_eject_time = 1m (default): the first time is longer than the longest"]
    );
}

#[test]
fn a_setting_without_effect_is_a_note() {
    let loaded = env(&[("RATE_LIMIT_WINDOW_MS", "1000")]).unwrap();
    assert!(loaded.notes.iter().any(|note| note.contains("rate_limit.window = 1s (environment")));
    let loaded = env(&[("RATE_LIMIT_WINDOW_MS", "1000"), ("RATE_LIMIT_MAX_REQUESTS", "5")]).unwrap();
    assert!(!loaded.notes.iter().any(|note| note.contains("no effect")));
    let of_routes = [("NESSEN_UPSTREAM_RETRIES", "1"), ("NESSEN_FILES_PRECOMPRESSED", "false")];
    let loaded = env(&of_routes).unwrap();
    for note in [
        "upstream.retries = 1 (environment NESSEN_UPSTREAM_RETRIES) has no effect while upstream.url is off",
        "files.precompressed = false (environment NESSEN_FILES_PRECOMPRESSED) has no effect while files.root is off",
    ] {
        assert!(loaded.notes.iter().any(|found| found == note), "{:?}", loaded.notes);
    }
    // A route may need what is off for all.
    let text = "[upstream]\nretries = 1\n[rate_limit]\nwindow = '1s'\n[compression]\nmin_size = 5\n[[route]]\n\
                path = '/'\nupstream = 'http://a'\ncompression = true\nrate_limit = { max_requests = 1 }\n";
    let sources = sources(Some(("effect", text)), &[], &[]);
    let loaded = load(&sources, &machine()).unwrap();
    std::fs::remove_file(sources.file.unwrap()).unwrap();
    assert!(!loaded.notes.iter().any(|note| note.contains("no effect")), "{:?}", loaded.notes);
}

#[test]
fn auto_follows_the_machine() {
    let load_on = |machine: Machine| load(&Sources::default(), &machine).unwrap();
    let large = load_on(Machine { terminal: true, ..machine() });
    assert_eq!(large.config.server.workers, 8);
    assert_eq!(large.config.limits.max_connections, 10_000);
    assert_eq!(large.config.limits.max_in_flight, 1_024);
    assert_eq!(large.config.log.format, LogFormat::Console);
    let shown = |key| large.value(key).map(|value| (value.value.as_str(), value.auto));
    assert_eq!(shown("limits.max_connections"), Some(("10000", true)));
    assert_eq!(shown("rate_limit.burst"), Some(("auto", false)));
    assert!(large.worst_case.fits());

    let small = load_on(Machine {
        memory_limit: Some(64 << 20),
        cpu_quota_millis: Some(1_500),
        open_files: Some(1_024),
        ..machine()
    });
    assert_eq!(small.config.server.workers, 2);
    // 70 % of 64 MiB less 16 MiB, in whole MiB.
    assert_eq!(small.config.limits.memory, 28 << 20);
    // By the descriptors; memory would hold more.
    assert_eq!(small.config.limits.max_connections, 896);
    assert!((200..400).contains(&small.config.limits.max_in_flight), "{:?}", small.worst_case);
    assert!(small.worst_case.fits());
    assert!(small.worst_case.total() <= small.config.limits.memory);
    assert_eq!(small.config.log.format, LogFormat::Json);

    let few_files = load_on(Machine { open_files: Some(256), ..machine() });
    assert_eq!(few_files.config.limits.max_connections, 128);
    let none = load_on(Machine { open_files: Some(10), memory_total: Some(1 << 20), ..machine() });
    assert_eq!(none.config.limits.max_connections, 16);
    assert!(load_on(Machine { open_files: None, memory_total: None, ..machine() }).worst_case.fits());
}

#[test]
fn a_budget_must_hold_what_was_set_beside_it() {
    let errors = env(&[("MEMORY_BUDGET", "64MiB"), ("MAX_CONNECTIONS", "10000")]).unwrap_err();
    assert_eq!(errors.len(), 1);
    for part in
        ["limits.memory = 64MiB (environment MEMORY_BUDGET)", "limits.max_connections = 10000", "8KiB"]
    {
        assert!(errors[0].contains(part), "{errors:?}");
    }
    assert!(env(&[("MEMORY_BUDGET", "64MiB"), ("MAX_BODY_SIZE", "1GiB")]).is_err());
    assert!(env(&[("MEMORY_BUDGET", "64MiB"), ("MAX_CONNECTIONS", "100")]).is_ok());
    // Without a budget of their own it is a warning.
    let loaded = env(&[("MAX_BODY_SIZE", "20GiB")]).unwrap();
    assert!(loaded.notes.iter().any(|note| note.contains("does not hold")), "{:?}", loaded.notes);
    // A faulty part has its own error, and none on top.
    let errors = env(&[("MEMORY_BUDGET", "64MiB"), ("MAX_BODY_SIZE", "2000GB")]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn a_reload_names_what_waits_for_a_restart() {
    let old = env(&[("PORT", "1")]).unwrap();
    let new = env(&[("PORT", "2"), ("LOG_LEVEL", "debug"), ("RATE_LIMIT_MAX_REQUESTS", "9")]).unwrap();
    assert_eq!(reloadable_diff(&old, &new), ["server.port"]);
    assert!(reloadable_diff(&old, &old).is_empty());
    // What auto comes to may move with the machine.
    let smaller = load(&sources(None, &[("PORT", "1")], &[]), &Machine { affinity: 1, ..machine() }).unwrap();
    assert!(reloadable_diff(&old, &smaller).is_empty());
}

#[test]
fn routes_change_while_running_and_checks_do_not() {
    let loaded = |name: &str, text: &str| {
        let sources = sources(Some((name, text)), &[], &[]);
        let loaded = load(&sources, &machine()).unwrap();
        std::fs::remove_file(sources.file.unwrap()).unwrap();
        loaded
    };
    let route = "[[route]]\npath = '/'\nrespond = {}\n";
    let check = "[[check]]\nname = 'db'\ntcp = 'db:1'\n";
    let old = loaded("diff-1", check);
    // Another line of the file is no change.
    assert!(reloadable_diff(&old, &loaded("diff-2", &format!("{route}{check}"))).is_empty());
    assert_eq!(reloadable_diff(&old, &loaded("diff-3", &format!("{check}fall = 9\n"))), ["[[check]]"]);
    assert_eq!(reloadable_diff(&old, &loaded("diff-4", route)), ["[[check]]"]);
}

#[test]
fn the_file_is_read_anew_at_every_load() {
    let sources = sources(Some(("anew", "[log]\nlevel = 'debug'\n")), &[("PORT", "1")], &[]);
    let old = load(&sources, &machine()).unwrap();
    std::fs::write(sources.file.as_ref().unwrap(), "[log]\nlevel = 'warn'\n").unwrap();
    let new = load(&sources.clone(), &machine()).unwrap();
    std::fs::remove_file(sources.file.unwrap()).unwrap();
    assert_eq!((old.config.log.level, new.config.log.level), (LogLevel::Debug, LogLevel::Warn));
    assert_eq!(new.config.server.port, 1);
}

#[test]
fn the_defaults_need_no_sources() {
    let config = Config::default();
    assert_eq!(config.server.port, 3000);
    assert_eq!(config.limits.max_body_size, 1 << 20);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(75));
    assert_eq!(config.rate_limit.max_requests, None);
    assert!(config.limits.max_connections >= 16 && config.server.workers >= 1);
    let loaded = load(&Sources::default(), &Machine::detect()).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", loaded.config));
}
