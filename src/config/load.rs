//! From the sources to a valid configuration, or to everything that is wrong with them.

use std::net::IpAddr;

use super::blank::blank;
use super::budget::{self, Demand, WorstCase};
use super::error::{ConfigError, ConfigErrors};
use super::machine::Machine;
use super::routes::{RouteRow, Routes, checks, routes};
use super::settings::{Chosen, Settings};
use super::source::{Collected, Origin, Sources, collect};
use super::value::Value;
use super::{Config, LogFormat, RouteConfig, Target, files, keys, limits, production, tls};

/// A key, its value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveValue {
    /// `section.key`
    pub key: &'static str,
    /// The value that holds, as it would be written; of a secret only that there is one.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
    /// Whether it was set anywhere, rather than being the default.
    pub explicit: bool,
    /// Whether it was `auto`, and the value is what that came to.
    pub auto: bool,
}

/// A valid configuration, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key, in the order of the table.
    pub values: Vec<EffectiveValue>,
    /// The routes of the configuration, in the same order.
    pub routes: Vec<RouteRow>,
    /// How `auto` was decided, and settings that have no effect or do not hold.
    pub notes: Vec<String>,
    /// The most memory that clients can make the server hold.
    pub worst_case: WorstCase,
}

impl Loaded {
    /// The value of `section.key`.
    pub fn value(&self, key: &str) -> Option<&EffectiveValue> {
        self.values.iter().find(|value| value.key == key)
    }

    /// Whether `section.key` was set by file, environment or flag.
    pub fn is_explicit(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.explicit)
    }
}

/// Reads every source, checks everything, and decides what `auto` comes to.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(sources: &Sources, machine: &Machine) -> Result<Loaded, ConfigErrors> {
    let mut collected = collect(sources);
    let mut settings = Settings::choose(&mut collected);
    let Collected { mut errors, mut notes, routes: route_tables, checks: check_tables, .. } = collected;
    resolve(&mut settings, machine, &mut notes);
    let with_routes = |settings: &Settings, errors: &mut Vec<ConfigError>| {
        let mut config = blank();
        settings.apply(&mut config);
        let Routes { routes, rows } = routes(&route_tables, settings, &config, errors);
        let mut config = Config { routes, ..config };
        limits::switch_off(&mut config);
        (config, rows)
    };
    // What the budget comes to depends on the routes, and their values on what the budget decides: a
    // first look at them is for the budget alone.
    let demand = Demand::of(&with_routes(&settings, &mut Vec::new()).0);
    let worst_case = budget::decide(&mut settings, machine, &demand, &mut notes, &mut errors);
    contradictions(&settings, &mut errors);
    limits::contradictions(&settings, &mut errors);
    let (mut config, rows) = with_routes(&settings, &mut errors);
    production::check(&settings, &config, &mut errors);
    limits::check(&settings, &config, &mut errors);
    if let Err((problem, keys)) = config.evidence.place() {
        // One that is faulty has its own error already.
        let sound: Option<_> = keys.iter().map(|path| Some(settings.sound(path)?.setting())).collect();
        errors.extend(sound.map(|settings| ConfigError::Contradiction { settings, problem }));
    }
    without_effect(&settings, &config, &mut notes);
    limits::without_effect(&settings, &mut notes);
    tls::check(&settings, &config, &mut errors, &mut notes);
    files::check(&settings, &config, &mut errors);
    files::notes(&settings, &config, &mut notes);
    config.checks = checks(&check_tables, &mut errors);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let values = settings.iter().map(|chosen| EffectiveValue {
        key: chosen.key.path,
        value: chosen.shown(),
        origin: chosen.origin.clone(),
        explicit: chosen.explicit(),
        auto: chosen.value == Value::Auto && chosen.resolved.is_some(),
    });
    Ok(Loaded { values: values.collect(), routes: rows, config, notes, worst_case })
}

/// The keys whose value changed from `old` to `new` and that only a restart can apply.
pub fn reloadable_diff(old: &Loaded, new: &Loaded) -> Vec<&'static str> {
    // What `auto` comes to may move with the machine; nobody asked for a change. But where the new
    // routes need room, fewer connections and requests are safe than there are let in.
    let (less, more) = (&new.worst_case, &old.worst_case);
    let fewer = |key: &str| match key {
        "limits.max_connections" => less.connections < more.connections,
        "limits.max_in_flight" => less.in_flight < more.in_flight,
        _ => false,
    };
    let changed = new
        .values
        .iter()
        .zip(&old.values)
        .filter(|(new, old)| new.value != old.value && (!(new.auto && old.auto) || fewer(new.key)));
    let needs_restart = |key: &str| keys::find(key).is_some_and(|key| !key.reloadable);
    let checks = (old.config.checks != new.config.checks).then_some("[[check]]");
    // Another certificate is taken over; with none, the port would speak another protocol.
    let switched = (old.config.tls.is_on() != new.config.tls.is_on()).then_some("tls.cert");
    changed.map(|(new, _)| new.key).filter(|key| needs_restart(key)).chain(switched).chain(checks).collect()
}

/// Decides what `auto` comes to where it does not touch the memory budget.
fn resolve(settings: &mut Settings, machine: &Machine, notes: &mut Vec<String>) {
    if settings.is_auto("server.workers") {
        let cpus = machine.cpus();
        settings.resolve("server.workers", Value::Count(u64::try_from(cpus).unwrap_or(1)));
        let quota = machine.cpu_quota_millis.map_or("none".to_owned(), |millis| format!("{millis}m"));
        notes.push(format!(
            "server.workers = {cpus}: {} CPUs by affinity, cgroup quota {quota}",
            machine.affinity
        ));
    }
    limits::resolve(settings);
    // Without a rate limit there is no burst to decide, and `auto` stays.
    if settings.is_auto("rate_limit.burst")
        && let Some(requests) = settings.number("rate_limit.max_requests")
    {
        settings.resolve("rate_limit.burst", Value::Count(requests));
    }
    if settings.is_auto("tracing.protocol") {
        let port = |path| match settings.effective(path) {
            Some(Value::Url(url)) => Some(url.port),
            _ => None,
        };
        let grpc = port("tracing.traces_endpoint").or(port("tracing.endpoint")) == Some(4317);
        settings.resolve("tracing.protocol", Value::Choice(if grpc { "grpc" } else { "http/protobuf" }));
    }
    if settings.is_auto("log.format") {
        let format = if machine.terminal { LogFormat::Console } else { LogFormat::Json };
        settings.resolve("log.format", Value::Choice(format.as_str()));
    }
}

/// Settings that are each fine and cannot hold together.
fn contradictions(settings: &Settings, errors: &mut Vec<ConfigError>) {
    let address = |path| match settings.sound(path)?.value {
        Value::Address(address) => Some(address),
        _ => None,
    };
    let set =
        |paths: &[&str]| paths.iter().filter_map(|path| Some(settings.sound(path)?.setting())).collect();
    let choice = |path| settings.sound(path).map(Chosen::effective);
    let believes_nobody = matches!(choice("server.trusted_proxies"), Some(Value::Networks(trusted)) if trusted.networks().is_empty());
    if believes_nobody && choice("server.proxy_protocol").is_some_and(|mode| *mode != Value::Choice("off")) {
        errors.push(ConfigError::Contradiction {
            settings: set(&["server.proxy_protocol", "server.trusted_proxies"]),
            problem: "nobody is believed who could send a PROXY header".to_owned(),
        });
    }
    let time = |path| match choice(path) {
        Some(Value::Time(time)) => Some(*time),
        _ => None,
    };
    if let (Some(first), Some(most)) = (time("upstream.eject_time"), time("upstream.max_eject_time"))
        && first > most
    {
        errors.push(ConfigError::Contradiction {
            settings: set(&["upstream.eject_time", "upstream.max_eject_time"]),
            problem: "the first time is longer than the longest".to_owned(),
        });
    }
    let missing = |path| matches!(choice(path), None | Some(Value::Off));
    if missing("upstream.cert") != missing("upstream.key") {
        errors.push(ConfigError::Contradiction {
            settings: set(&["upstream.cert", "upstream.key"]),
            problem: "a certificate and its key go together".to_owned(),
        });
    }
    let given = |path| choice(path).is_some_and(|value| *value != Value::Off);
    if given("tracing.client_certificate") != given("tracing.client_key") {
        errors.push(ConfigError::Contradiction {
            settings: set(&["tracing.client_certificate", "tracing.client_key"]),
            problem: "a certificate and its key go together".to_owned(),
        });
    }
    if settings.number("tracing.max_export_batch_size") > settings.number("tracing.max_queue_size") {
        errors.push(ConfigError::Contradiction {
            settings: set(&["tracing.max_export_batch_size", "tracing.max_queue_size"]),
            problem: "a batch is never full where fewer spans may wait".to_owned(),
        });
    }
    let same_port = match (settings.sound("server.port"), settings.sound("admin.port")) {
        (Some(server), Some(admin)) => {
            server.value == admin.value && !matches!(admin.value, Value::Off | Value::Count(0))
        }
        _ => false,
    };
    let same_host = match (address("server.host"), address("admin.host")) {
        (Some(server), Some(admin)) => overlap(server, admin),
        _ => false,
    };
    if same_port && same_host {
        errors.push(ConfigError::Contradiction {
            settings: set(&["server.host", "server.port", "admin.host", "admin.port"]),
            problem: "both listeners would bind the same port of the same address".to_owned(),
        });
    }
}

/// Whether two listeners on one port would be in each other's way. An unspecified address takes the
/// port of every address of its family, and the IPv6 one that of every IPv4 address too.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let takes = |all: IpAddr, other: IpAddr| all.is_unspecified() && (all.is_ipv6() || other.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}

/// Settings that a switch elsewhere leaves without effect. Deployments set some of them always, so
/// that this is worth a word and no error.
fn without_effect(settings: &Settings, config: &Config, notes: &mut Vec<String>) {
    // A route may have switched on for itself what is off for all.
    let any = |wanted: fn(&RouteConfig) -> bool| config.routes.iter().any(wanted);
    let limited = any(|route| route.rate_limit.as_ref().is_some_and(|limit| limit.max_requests.is_some()));
    let with_headers = any(|route| route.security_headers.enabled);
    let compressed = any(|route| route.compression.enabled);
    let proxied = any(|route| matches!(route.target, Target::Upstream(_)));
    let files = any(|route| matches!(route.target, Target::Files(_)));
    for (section, switch, otherwise) in [
        ("rate_limit", "rate_limit.max_requests", limited),
        ("http2", "http2.enabled", false),
        ("security_headers", "security_headers.enabled", with_headers),
        ("admin", "admin.port", false),
        ("compression", "compression.enabled", compressed),
        ("evidence", "evidence.enabled", false),
        ("upstream", "upstream.url", proxied),
        ("files", "files.root", files),
        ("tls", "tls.cert", false),
        ("tracing", "tracing.enabled", false),
    ] {
        let is_off = |value: &Value| match value {
            Value::Off | Value::Bool(false) => true,
            Value::Upstreams(urls) => urls.is_empty(),
            _ => false,
        };
        let off = !otherwise && settings.sound(switch).is_some_and(|chosen| is_off(chosen.effective()));
        let idle = settings.iter().filter(|chosen| {
            off && chosen.explicit() && chosen.key.section() == section && chosen.key.path != switch
        });
        notes.extend(idle.map(|chosen| format!("{} has no effect while {switch} is off", chosen.setting())));
    }
}

impl Default for Config {
    /// The defaults, with `auto` decided for this machine. Nothing is read from file or environment.
    fn default() -> Self {
        let mut collected = Collected::default();
        let mut settings = Settings::choose(&mut collected);
        let machine = Machine::detect();
        resolve(&mut settings, &machine, &mut collected.notes);
        let demand = Demand::default();
        budget::decide(&mut settings, &machine, &demand, &mut collected.notes, &mut collected.errors);
        let mut config = blank();
        settings.apply(&mut config);
        config
    }
}

impl Config {
    /// Bytes that one HTTP/2 stream holds, without its body: its windows, buffers and head.
    pub fn stream_memory(&self) -> u64 {
        let (http2, limits) = (&self.http2, &self.limits);
        let sizes = [http2.send_buffer, limits.max_header_size, limits.max_url_length];
        let sizes = sizes.into_iter().filter_map(|size| u64::try_from(size).ok());
        sizes.fold(u64::from(http2.stream_window), u64::saturating_add)
    }

    /// What the environment says, and the file that `NESSEN_CONFIG` names, over the defaults.
    ///
    /// `limits.max_connections` at `auto` follows from the soft limit of open files: a program that
    /// wants all that it may have calls [`raise_open_files`](super::raise_open_files) first, as the
    /// binary does.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        let sources = Sources::from_process(None, Vec::new());
        load(&sources, &Machine::detect()).map(|loaded| loaded.config)
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
