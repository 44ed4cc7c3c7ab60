//! The configuration: a file and an environment.
//!
//! The text up to a line `#env` is the file; behind it stand variables, one a line.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::{Config, ConfigError, Flag, Loaded, Machine, Origin, Sources, Target, keys, load};

/// What `auto` is decided for.
const MACHINE: Machine = Machine {
    affinity: 4,
    cpu_quota_millis: None,
    memory_limit: Some(1 << 30),
    memory_total: Some(8 << 30),
    open_files: Some(65_536),
    terminal: false,
};

/// One file for all runs of this process.
fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("nessen-fuzz-{}.toml", std::process::id())))
}

pub(super) fn run(data: &[u8]) {
    let marker = b"\n#env\n";
    let at = data.windows(marker.len()).position(|window| window == marker);
    let (text, env) = at.map_or((data, &b""[..]), |at| (&data[..at], &data[at + marker.len()..]));
    std::fs::write(file(), text).unwrap();
    let sources = Sources { file: Some(file().to_owned()), env: variables(env), ..Sources::default() };
    match load(&sources, &MACHINE) {
        Ok(loaded) => is_read_again_to_the_same(&loaded),
        Err(errors) => {
            assert!(!errors.0.is_empty());
            errors.0.iter().for_each(names_what_and_where);
        }
    }
}

/// The variables that name no file: those of this machine are nobody's business.
fn variables(env: &[u8]) -> Vec<(OsString, OsString)> {
    use std::os::unix::ffi::OsStringExt;
    let lines = env.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&line[..at], &line[at + 1..]);
        let named = name.ends_with(b"_FILE") || name == b"NESSEN_CONFIG";
        (!named).then(|| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    });
    lines.collect()
}

/// A person who reads the error knows what to look for, and where.
fn names_what_and_where(error: &ConfigError) {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "an error that writes to the terminal: {text:?}");
    match error {
        ConfigError::File { .. } => assert!(text.starts_with(file().to_str().unwrap()), "{text}"),
        ConfigError::Invalid { setting, .. } => assert!(keys::find(setting.key).is_some(), "{text}"),
        ConfigError::Contradiction { settings, .. } => {
            assert!(settings.len() > 1 && settings.iter().all(|set| keys::find(set.key).is_some()), "{text}");
        }
        ConfigError::Twice { first, second } => assert_eq!(first.key, second.key, "{text}"),
        ConfigError::Table { table, origin, .. } => {
            assert!(!table.is_empty() && *origin != Origin::Default, "{text}");
        }
        ConfigError::UnknownKey { origin, .. } => assert!(*origin != Origin::Default, "{text}"),
        ConfigError::UnknownVariable { name, .. } | ConfigError::Variable { name, .. } => {
            assert!(!name.is_empty(), "{text}");
        }
    }
}

/// What holds can be printed, and set anew from what was printed.
fn is_read_again_to_the_same(loaded: &Loaded) {
    let set = loaded.values.iter().filter(|value| value.explicit && !value.auto);
    // What a route stands for is printed with the routes.
    let set = set.filter(|value| !matches!(value.key, "upstream.url" | "files.root"));
    // A value in bytes that are no text is not shown, and neither is a secret.
    let shown = set.filter(|value| value.value != "(not text)" && value.value != "(redacted)");
    let flags: Vec<Flag> = shown
        .map(|value| Flag { key: value.key.to_owned(), value: value.value.clone(), flag: "--set".to_owned() })
        .collect();
    let hidden = loaded.values.iter().any(|value| value.value == "(not text)" || value.value == "(redacted)");
    let Some(routes) = printed_routes(loaded) else { return };
    std::fs::write(file(), &routes).unwrap();
    let sources = Sources { file: Some(file().to_owned()), flags, ..Sources::default() };
    let again = match load(&sources, &MACHINE) {
        Ok(again) => again,
        Err(errors) => panic!("what was accepted is not, once it was printed: {errors}\n{routes}"),
    };
    if hidden {
        return;
    }
    for (before, after) in loaded.values.iter().zip(&again.values) {
        let placed = matches!(before.key, "upstream.url" | "files.root");
        assert!(placed || before.value == after.value, "{before:?} was read again as {after:?}");
    }
    let (before, after) = (without_origins(&loaded.config), without_origins(&again.config));
    for (before, after) in before.routes.iter().zip(&after.routes) {
        assert_eq!(format!("{before:?}"), format!("{after:?}"), "{routes}");
    }
    assert_eq!(before.routes.len(), after.routes.len(), "{routes}");
}

fn without_origins(config: &Config) -> Config {
    let mut config = config.clone();
    for route in &mut config.routes {
        route.origin = Origin::Default;
        // Said once for all, or by each of them.
        (route.upstream.url, route.files.root) = (Vec::new(), None);
    }
    config
}

/// The routes as a file; `None` where one of them cannot be written as text.
fn printed_routes(loaded: &Loaded) -> Option<String> {
    let mut text = String::new();
    for (route, row) in loaded.config.routes.iter().zip(&loaded.routes) {
        let path = quoted(&route.path);
        let _ = writeln!(text, "[[route]]\npath = {path}");
        if let Some(host) = &route.host {
            let _ = writeln!(text, "host = {}", quoted(host));
        }
        let _ = match &route.target {
            Target::Upstream(urls) => {
                let urls: Vec<_> = urls.iter().map(|url| quoted(&url.to_string())).collect();
                writeln!(text, "upstream = [{}]", urls.join(", "))
            }
            Target::Files(root) => writeln!(text, "root = {}", quoted(root.to_str()?)),
            Target::Redirect { to, status, keep_path } => {
                let (to, status) = (quoted(to), status.as_u16());
                writeln!(text, "redirect = {{ to = {to}, status = {status}, keep_path = {keep_path} }}")
            }
            Target::Respond { status, body, content_type } => {
                let (body, kind) = (std::str::from_utf8(body).ok()?, content_type.to_str().ok()?);
                let (status, body, kind) = (status.as_u16(), quoted(body), quoted(kind));
                writeln!(text, "respond = {{ status = {status}, body = {body}, content_type = {kind} }}")
            }
        };
        for (name, value) in &row.overrides {
            if value == "(not text)" {
                return None;
            }
            let _ = writeln!(text, "{name} = {}", quoted(value));
        }
    }
    Some(text)
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}
