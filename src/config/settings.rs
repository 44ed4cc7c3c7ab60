//! Every key with the one value that counts: flag over environment over file over default.

use super::Config;
use super::error::{ConfigError, Setting, without_secrets};
use super::keys::{self, Key};
use super::parse::parse;
use super::source::{Collected, Found, Origin, Raw};
use super::value::Value;

/// A key and what it is set to.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) key: &'static Key,
    /// As it was set; `auto` stays `auto`.
    pub(super) value: Value,
    /// What `auto` came to.
    pub(super) resolved: Option<Value>,
    pub(super) origin: Origin,
    /// What was set is no value, and the default stands in its place so that all else can be checked.
    faulty: bool,
}

impl Chosen {
    /// The value to use.
    pub(super) fn effective(&self) -> &Value {
        self.resolved.as_ref().unwrap_or(&self.value)
    }

    pub(super) fn explicit(&self) -> bool {
        self.origin != Origin::Default
    }

    /// The effective value as text; of a secret only that there is one.
    pub(super) fn shown(&self) -> String {
        if self.key.secret {
            return "(redacted)".to_owned();
        }
        without_secrets(self.key.kind, &self.effective().to_string())
    }

    /// For an error about this setting together with others.
    pub(super) fn setting(&self) -> Setting {
        Setting { key: self.key.path, value: self.shown(), origin: self.origin.clone() }
    }
}

/// Every key, in the order of the table.
#[derive(Debug, Clone)]
pub(super) struct Settings(Vec<Chosen>);

impl Settings {
    /// Picks the value of every key. All that was found is checked, also what another source overrides:
    /// it would come to light on the day that the other goes away.
    pub(super) fn choose(collected: &mut Collected) -> Self {
        let mut errors = std::mem::take(&mut collected.errors);
        let chosen = keys::all().map(|key| choose(key, collected, &mut errors)).collect();
        collected.errors = errors;
        Self(chosen)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Chosen> {
        self.0.iter()
    }

    /// The setting at `path`, unless it is faulty and must not be judged.
    pub(super) fn sound(&self, path: &str) -> Option<&Chosen> {
        self.0.iter().find(|chosen| chosen.key.path == path && !chosen.faulty)
    }

    /// The value that holds at `path`.
    pub(super) fn effective(&self, path: &str) -> Option<&Value> {
        self.0.iter().find(|chosen| chosen.key.path == path).map(Chosen::effective)
    }

    /// The number, of any kind, at `path`; `None` for `auto` and `off`.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        match self.effective(path)? {
            Value::Count(number) | Value::Size(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether the switch at `path` is on.
    pub(super) fn is_on(&self, path: &str) -> bool {
        self.effective(path) == Some(&Value::Bool(true))
    }

    /// Whether the key at `path` was set anywhere.
    pub(super) fn explicit(&self, path: &str) -> bool {
        self.0.iter().any(|chosen| chosen.key.path == path && chosen.explicit())
    }

    /// Whether the key at `path` is still to be decided.
    pub(super) fn is_auto(&self, path: &str) -> bool {
        self.0.iter().any(|chosen| chosen.key.path == path && *chosen.effective() == Value::Auto)
    }

    /// Decides what `auto` comes to.
    pub(super) fn resolve(&mut self, path: &str, value: Value) {
        if let Some(chosen) = self.0.iter_mut().find(|chosen| chosen.key.path == path) {
            chosen.resolved = Some(value);
        }
    }

    /// Writes every value into `config`, save an `auto` that nothing depends on.
    pub(super) fn apply(&self, config: &mut Config) {
        for chosen in self.0.iter().filter(|chosen| *chosen.effective() != Value::Auto) {
            let written = (chosen.key.set)(config, chosen.effective());
            debug_assert!(written, "{} does not take its own value", chosen.key.path);
        }
    }
}

fn choose(key: &'static Key, collected: &Collected, errors: &mut Vec<ConfigError>) -> Chosen {
    let mut best: Option<(Value, Origin)> = None;
    let mut faulty = false;
    for source in [&collected.file, &collected.env, &collected.flags] {
        let mut found: Vec<(&Found, Value)> = Vec::new();
        for item in source.iter().filter(|found| found.key.path == key.path) {
            match parse(key, &item.raw, counts_seconds(&item.origin)) {
                Ok(value) => found.push((item, value)),
                Err(problem) => {
                    faulty = true;
                    errors.push(ConfigError::Invalid {
                        setting: Setting::new(key, &item.raw, &item.origin),
                        problem,
                        allowed: key.allowed(),
                    });
                }
            }
        }
        prefer(key, &mut found);
        if let Some((first, second)) = disagreement(&found) {
            faulty = true;
            errors.push(ConfigError::Twice {
                first: Setting::new(key, &first.raw, &first.origin),
                second: Setting::new(key, &second.raw, &second.origin),
            });
        }
        if let Some((item, value)) = found.pop() {
            best = Some((value, item.origin.clone()));
        }
    }
    let (value, origin) = best.unwrap_or_else(|| (default(key), Origin::Default));
    Chosen { key, value, resolved: None, origin, faulty }
}

/// What the table says. That it can be read is held by a test over the table.
fn default(key: &Key) -> Value {
    parse(key, &Raw::Text(key.default.to_owned()), false).unwrap_or(Value::Off)
}

/// Where the name that goes before all others is among them, the others have nothing to say.
fn prefer(key: &Key, found: &mut Vec<(&Found, Value)>) {
    let Some(first) = key.first else { return };
    let is_first =
        |found: &Found| matches!(&found.origin, Origin::Env(name) if name.trim_end_matches("_FILE") == first);
    if found.iter().any(|(found, _)| is_first(found)) {
        found.retain(|(found, _)| is_first(found));
    }
}

/// Two variables of one key with different values. A name and its own `_FILE` are reported where
/// they are found.
fn disagreement<'a>(found: &[(&'a Found, Value)]) -> Option<(&'a Found, &'a Found)> {
    let (first, value) = found.first()?;
    let Origin::Env(name) = &first.origin else { return None };
    found.iter().find_map(|(other, other_value)| match &other.origin {
        Origin::Env(other_name) if other_value != value && *other_name != format!("{name}_FILE") => {
            Some((*first, *other))
        }
        _ => None,
    })
}

fn counts_seconds(origin: &Origin) -> bool {
    matches!(origin, Origin::Env(name) if name.trim_end_matches("_FILE").ends_with("_SECONDS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_within_a_value_is_not_shown() {
        for (path, value, expected) in [
            ("tracing.endpoint", "https://h/v1?api_key=hunter2", "https://h:443/v1?api_key=[redacted]"),
            ("tracing.resource_attributes", "a=b,token=hunter2,c=d", "a=b,token=[redacted],c=d"),
        ] {
            let key = keys::find(path).unwrap();
            let value = parse(key, &Raw::Text(value.to_owned()), false).unwrap();
            let chosen = Chosen { key, value, resolved: None, origin: Origin::Default, faulty: false };
            assert_eq!((chosen.shown(), chosen.setting().value), (expected.to_owned(), expected.to_owned()));
        }
    }

    #[test]
    fn every_default_is_shown_as_it_is() {
        for key in keys::all().filter(|key| !key.secret) {
            let value = default(key);
            let chosen = Chosen { key, value, resolved: None, origin: Origin::Default, faulty: false };
            assert_eq!(chosen.shown(), chosen.value.to_string(), "{}", key.path);
        }
    }
}
