//! The configuration in force, and where each value was set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::redact::{REDACTED, redact_target};

/// One setting in force, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// `section.key`, or what a table of the configuration is called by.
    pub key: String,
    /// Its value, as an operator would write it. Of a secret only that there is one.
    pub value: String,
    /// `default`, `file nessen.toml:3`, `environment PORT` or `flag --port`.
    pub origin: String,
    /// Whether it was set anywhere.
    pub explicit: bool,
    /// What else there is to say; mostly nothing.
    pub note: &'static str,
}

/// The settings in force. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Settings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    current: ArcSwap<Vec<SettingRow>>,
    generation: AtomicU64,
    proposed: Mutex<Option<Vec<SettingRow>>>,
}

impl Settings {
    /// These are in force.
    pub fn new(rows: Vec<SettingRow>) -> Self {
        let settings = Self::default();
        settings.propose(rows);
        settings.accept();
        settings
    }

    /// These will be, if they are accepted.
    pub fn propose(&self, mut rows: Vec<SettingRow>) {
        for row in &mut rows {
            row.value = without_secrets(&row.value);
        }
        *self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    /// What was proposed last is in force now.
    pub fn accept(&self) {
        let proposed = self.0.proposed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rows) = proposed {
            self.0.current.store(Arc::new(rows));
            self.0.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Another number whenever others are in force.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Relaxed)
    }

    /// Those in force.
    pub fn rows(&self) -> Arc<Vec<SettingRow>> {
        self.0.current.load_full()
    }
}

/// SECURITY: keys that are secrets come redacted. What may stand within a URL, user and password or a
/// parameter called like a secret, is taken out here whoever made the row.
fn without_secrets(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (place, word) in value.split(' ').enumerate() {
        if place > 0 {
            out.push(' ');
        }
        match word.split_once("://") {
            Some((scheme, rest)) if rest.contains('@') => {
                let rest = rest.rsplit_once('@').map_or("", |(_, rest)| rest);
                out.push_str(&format!("{scheme}://{REDACTED}@{}", redact_target(rest)));
            }
            _ => out.push_str(&redact_target(word)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &str) -> SettingRow {
        SettingRow {
            key: "a.b".into(),
            value: value.into(),
            origin: "default".into(),
            explicit: false,
            note: "",
        }
    }

    #[test]
    fn what_was_proposed_holds_once_it_is_accepted() {
        let settings = Settings::new(vec![row("1")]);
        settings.propose(vec![row("2")]);
        assert_eq!(settings.rows()[0].value, "1");
        settings.accept();
        settings.accept();
        assert_eq!(settings.rows()[0].value, "2");
    }

    #[test]
    fn no_secret_is_in_a_url() {
        for (value, shown) in [
            ("http://user:pass@app:8080", "http://[redacted]@app:8080"),
            ("a http://u:p@q@b?x=1, c", "a http://[redacted]@b?x=1, c"),
            ("redirect https://a/?token=abc&b=c", "redirect https://a/?token=[redacted]&b=c"),
            ("redis://:pw@r?password=x", "redis://[redacted]@r?password=[redacted]"),
            ("10s", "10s"),
        ] {
            assert_eq!(Settings::new(vec![row(value)]).rows()[0].value, shown);
        }
    }
}
