//! The environment: `NESSEN_SECTION_KEY`, the short names, and `NAME_FILE` for values in files.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::error::{ConfigError, Setting};
use super::keys::{self, Key};
use super::source::{Collected, Found, Origin, Raw};
use super::suggest;
use crate::sandbox;

/// Names the configuration file.
pub(super) const CONFIG: &str = "NESSEN_CONFIG";
/// Every variable that begins so is ours, and must be known.
const PREFIX: &str = "NESSEN_";
/// What turns a name into that of a file with the value.
const FILE: &str = "_FILE";

/// Reads all that is ours; what is wrong with it goes to the collected errors.
pub(super) fn read(env: &[(OsString, OsString)], collected: &mut Collected) {
    // Sorted, so that errors and precedence do not depend on the order of the environment.
    let mut env: Vec<(&str, &OsStr)> =
        env.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str()))).collect();
    env.sort_unstable();
    // A variable set to nothing is not set: `PORT=${PORT}` of a compose file must not be an error.
    for (name, value) in env.into_iter().filter(|(name, value)| !value.is_empty() && *name != CONFIG) {
        if is_service_link(name, value) {
            if key_of(name).is_some() {
                collected.notes.push(format!("{name} is a Kubernetes service link and is ignored"));
            }
        } else if let Some(key) = key_of(name) {
            match value.to_str() {
                Some(text) => found(key, name, text.to_owned(), collected),
                None => collected.errors.push(ConfigError::Variable {
                    name: name.to_owned(),
                    problem: "the value is not UTF-8".to_owned(),
                }),
            }
        } else if let Some(key) = name.strip_suffix(FILE).and_then(key_of) {
            match std::fs::read_to_string(Path::new(value)) {
                Ok(text) => found(key, name, text.trim().to_owned(), collected),
                Err(error) => collected.errors.push(ConfigError::Variable {
                    name: name.to_owned(),
                    problem: format!(
                        "cannot read {}: {}",
                        Path::new(value).display(),
                        sandbox::explain(Path::new(value), &error)
                    ),
                }),
            }
        } else if name.starts_with(PREFIX) {
            let suggestion = similar(name);
            collected.errors.push(ConfigError::UnknownVariable { name: name.to_owned(), suggestion });
        }
    }
}

/// The files that hold values.
pub(super) fn files(env: &[(OsString, OsString)]) -> impl Iterator<Item = &Path> {
    let is_file = |name: &str| key_of(name).is_none() && name.strip_suffix(FILE).and_then(key_of).is_some();
    env.iter()
        .filter(move |(name, value)| !value.is_empty() && name.to_str().is_some_and(is_file))
        .map(|(_, value)| Path::new(value))
}

/// Adds a value, unless the same name has already given one by its file or itself.
fn found(key: &'static Key, name: &str, text: String, collected: &mut Collected) {
    let found = Found { key, raw: Raw::Text(text), origin: Origin::Env(name.to_owned()) };
    let base = name.strip_suffix(FILE);
    let twin = collected.env.iter().find(|other| match &other.origin {
        Origin::Env(other) => base == Some(other),
        _ => false,
    });
    // Sorted order puts NAME before NAME_FILE, so looking back is enough.
    if let Some(twin) = twin {
        collected.errors.push(ConfigError::Twice {
            first: Setting::new(key, &twin.raw, &twin.origin),
            second: Setting::new(key, &found.raw, &found.origin),
        });
    }
    collected.env.push(found);
}

fn key_of(name: &str) -> Option<&'static Key> {
    keys::all().find(|key| key.env_names().any(|known| known == name))
}

/// Kubernetes tells every pod about the services beside it: a service named `nessen` or
/// `nessen-admin` becomes `NESSEN_SERVICE_HOST`, `NESSEN_PORT_80_TCP` and even
/// `NESSEN_ADMIN_PORT=tcp://10.0.0.1:9090`. None of them is a setting, and none may stop a start.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = value
        .to_str()
        .is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)));
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let rest = format!("_{rest}");
    if rest.ends_with("_SERVICE_HOST") || rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        return true;
    }
    rest.rmatch_indices("_PORT_").any(|(at, mark)| {
        let mut parts = rest.get(at + mark.len()..).unwrap_or_default().split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = parts.next().is_some_and(|part| ["TCP", "UDP", "SCTP"].contains(&part));
        let last = parts.next().is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(&part));
        number && protocol && last && parts.next().is_none()
    })
}

/// The variable that an unknown one probably stands for: the long form of a short name, or a near miss.
fn similar(name: &str) -> Option<String> {
    let (base, suffix) = name.strip_suffix(FILE).map_or((name, ""), |base| (base, FILE));
    let short = base.strip_prefix(PREFIX).unwrap_or(base);
    let long = keys::all().find(|key| key.aliases.contains(&short) || key.name().eq_ignore_ascii_case(short));
    let names = || keys::all().map(Key::env_name).chain([CONFIG.to_owned()]);
    long.map(Key::env_name)
        .or_else(|| suggest::nearest(base, names()))
        .or_else(|| suggest::nearest(name, names()))
        .map(|known| if known == CONFIG { known } else { known + suffix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(env: &[(&str, &str)]) -> Collected {
        let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut collected = Collected::default();
        read(&env, &mut collected);
        collected
    }

    fn errors(env: &[(&str, &str)]) -> Vec<String> {
        read_all(env).errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_and_short_names_are_found_and_foreign_ones_left_alone() {
        let env = [
            ("PORT", "1"),
            ("NESSEN_LIMITS_MEMORY", "2MiB"),
            ("PATH", "/bin"),
            ("NODE_ENV", "production"),
            ("MAX_BODY_SIZE", ""),
        ];
        let collected = read_all(&env);
        let found: Vec<_> = collected.env.iter().map(|found| found.key.path).collect();
        assert_eq!(found, ["limits.memory", "server.port"]);
        assert!(collected.errors.is_empty());
    }

    #[test]
    fn an_unknown_variable_of_ours_says_what_was_probably_meant() {
        for (name, error) in [
            ("NESSEN_SERVER_PROT", "; did you mean NESSEN_SERVER_PORT?"),
            ("NESSEN_MAX_BODY_SIZE", "; did you mean NESSEN_LIMITS_MAX_BODY_SIZE?"),
            ("NESSEN_MAX_BODY_SIZE_FILE", "; did you mean NESSEN_LIMITS_MAX_BODY_SIZE_FILE?"),
            ("NESSEN_CONFIG_FILE", "; did you mean NESSEN_CONFIG?"),
            ("NESSEN_COLOUR_OF_THE_SKY", ""),
        ] {
            assert_eq!(errors(&[(name, "1")]), [format!("{name} (environment): no such variable{error}")]);
        }
    }

    #[test]
    fn a_value_can_come_from_a_file_but_not_from_two_places() {
        let path = std::env::temp_dir().join(format!("nessen-env-{}", std::process::id()));
        std::fs::write(&path, "4MiB\n").unwrap();
        let file = path.to_str().unwrap();
        let collected = read_all(&[("MEMORY_BUDGET_FILE", file)]);
        assert_eq!(collected.env[0].raw, Raw::Text("4MiB".to_owned()));
        let both = errors(&[("MEMORY_BUDGET_FILE", file), ("MEMORY_BUDGET", "4MiB")]);
        assert_eq!(both.len(), 1);
        assert!(both[0].contains("MEMORY_BUDGET)") && both[0].contains("MEMORY_BUDGET_FILE)"), "{both:?}");
        std::fs::remove_file(&path).unwrap();
        assert!(errors(&[("MEMORY_BUDGET_FILE", file)])[0].contains("cannot read"));
    }

    #[test]
    fn kubernetes_service_links_do_not_stop_a_start() {
        let collected = read_all(&[
            ("NESSEN_SERVICE_HOST", "10.0.0.1"),
            ("NESSEN_SERVICE_PORT", "80"),
            ("NESSEN_SERVICE_PORT_HTTP", "80"),
            ("NESSEN_PORT", "tcp://10.0.0.1:80"),
            ("NESSEN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("NESSEN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("NESSEN_RUNTIME_PORT_80_TCP_PROTO", "tcp"),
            ("NESSEN_ADMIN_PORT", "tcp://10.0.0.1:9090"),
            ("NESSEN_ADMIN_SERVICE_PORT", "9090"),
            ("ADMIN_PORT", "tcp://10.0.0.1:9090"),
        ]);
        assert!(collected.errors.is_empty(), "{:?}", collected.errors);
        assert!(collected.env.is_empty());
        assert_eq!(collected.notes.len(), 2);
        assert_eq!(errors(&[("NESSEN_PORT_80_XYZ", "1")]).len(), 1);
    }
}
