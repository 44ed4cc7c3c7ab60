//! What can be wrong with a configuration. Every variant says which key, where it was set, the
//! value, and what to write instead; all of them are collected and shown at once.

use std::fmt;
use std::path::PathBuf;

use super::keys::{Key, Kind};
use super::source::{Origin, Raw, without_user_info};
use crate::redact::{REDACTED, redact_target};

/// One setting, as an error shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`
    pub key: &'static str,
    /// The value as written; of a secret only that there is one.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

impl Setting {
    pub(super) fn new(key: &Key, value: &Raw, origin: &Origin) -> Self {
        let shown = |text: &String| without_secrets(key.kind, text);
        let value = match value {
            _ if key.secret => "(redacted)".to_owned(),
            Raw::Text(text) => Raw::Text(shown(text)).to_string(),
            Raw::List(list) => Raw::List(list.iter().map(shown).collect()).to_string(),
        };
        Self { key: key.path, value, origin: origin.clone() }
    }
}

/// A value of any kind without user and password of a URL, and without what stands behind a name that tells of
/// a secret.
pub(super) fn without_secrets(kind: Kind, text: &str) -> String {
    let text = without_user_info(text);
    if !matches!(kind, Kind::Pairs { .. }) {
        return redact_target(&text).into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut goes_on = false;
    for (place, pair) in text.split(',').enumerate() {
        out.push_str(if place > 0 { "," } else { "" });
        // A comma that should have been encoded.
        if goes_on && !pair.contains('=') {
            out.push_str(REDACTED);
            continue;
        }
        let marked = format!("?{pair}");
        let shown = redact_target(&marked);
        goes_on = shown != marked;
        out.push_str(shown.strip_prefix('?').unwrap_or(&shown));
    }
    out
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.origin)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or is not TOML.
    File {
        /// The file.
        path: PathBuf,
        /// Line and column, from 1, where it is not TOML.
        place: Option<(usize, usize)>,
        /// What is wrong.
        problem: String,
    },
    /// There is no such key.
    UnknownKey {
        /// As written.
        name: String,
        /// Where it was set.
        origin: Origin,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// There is no such `NESSEN_*` variable.
    UnknownVariable {
        /// As written.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A variable is not UTF-8, or the file that it names cannot be read.
    Variable {
        /// As written.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The value is not of the key's kind, or out of range.
    Invalid {
        /// The setting.
        setting: Setting,
        /// What is wrong.
        problem: String,
        /// What may be written.
        allowed: String,
    },
    /// Two variables set one key, and they do not agree or one is the other's file.
    Twice {
        /// One.
        first: Setting,
        /// The other.
        second: Setting,
    },
    /// A `[[route]]` or `[[check]]` is wrong.
    Table {
        /// Which: `route 2 "/api"`.
        table: String,
        /// The line that is wrong.
        origin: Origin,
        /// The key, its value, and what is wrong with it.
        problem: String,
    },
    /// Settings that are each fine cannot hold together.
    Contradiction {
        /// All that take part.
        settings: Vec<Setting>,
        /// Why not.
        problem: String,
    },
}

pub(super) fn did_you_mean(f: &mut impl fmt::Write, suggestion: Option<&String>) -> fmt::Result {
    suggestion.map_or(Ok(()), |name| write!(f, "; did you mean {name}?"))
}

/// Escapes what would write to the terminal of who reads it. Much of an error is what somebody else
/// wrote: names of variables, of keys and of files.
struct Escaped<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(self.0, "{}", letter.escape_default()),
            false => self.0.write_char(letter),
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut Escaped(f))
    }
}

impl ConfigError {
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::File { path, place: Some((line, column)), problem } => {
                write!(f, "{}:{line}:{column}: {problem}", path.display())
            }
            Self::File { path, place: None, problem } => write!(f, "{}: {problem}", path.display()),
            Self::UnknownKey { name, origin, suggestion } => {
                write!(f, "{name} ({origin}): no such key")?;
                did_you_mean(f, suggestion.as_ref())
            }
            Self::UnknownVariable { name, suggestion } => {
                write!(f, "{name} (environment): no such variable")?;
                did_you_mean(f, suggestion.as_ref())
            }
            Self::Variable { name, problem } => write!(f, "{name} (environment): {problem}"),
            Self::Invalid { setting, problem, allowed } => {
                write!(f, "{setting}: {problem}; allowed: {allowed}")
            }
            Self::Table { table, origin, problem } => write!(f, "{table} ({origin}): {problem}"),
            Self::Twice { first, second } => {
                write!(f, "{first} and {second}: set twice in the environment; keep one")
            }
            Self::Contradiction { settings, problem } => {
                for (place, setting) in settings.iter().enumerate() {
                    let separator = if place > 0 { ", " } else { "" };
                    write!(f, "{separator}{setting}")?;
                }
                write!(f, ": {problem}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong, in the order of the sources and of the table of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Errors that are written out: all that a person makes, and not all that a broken file can hold.
const MOST_SHOWN: usize = 100;

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in the configuration", self.0.len())?;
        self.0.iter().take(MOST_SHOWN).try_for_each(|error| write!(f, "\n  {error}"))?;
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// As displayed: a `main` that returns a `Result` shows its error by `Debug`, and this one is for
/// the person who has to correct it.
impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn a_secret_never_stands_in_an_error() {
        let secret = Key { secret: true, ..*keys::find("server.request_id_header").unwrap() };
        let origin = Origin::Env("TOKEN".to_owned());
        let setting = Setting::new(&secret, &Raw::Text("hunter2".to_owned()), &origin);
        let error = ConfigError::Invalid {
            setting,
            problem: "not a header field name".to_owned(),
            allowed: secret.allowed(),
        };
        let text = format!("{error} {error:?}");
        assert!(text.contains("(redacted)") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_is_a_secret_within_a_value_never_stands_in_an_error() {
        for (path, value, expected) in [
            ("tracing.endpoint", "https://h/v1?api_key=hunter2", "https://h/v1?api_key=[redacted]"),
            ("evidence.storage", "s3://key:hunter2@bucket/x", "s3://[redacted]@bucket/x"),
            ("evidence.s3_endpoint", "https://u:hunter2@h", "https://[redacted]@h"),
            ("tracing.endpoint", "u:hunter2@h:80", "[redacted]@h:80"),
            ("upstream.url", "http:u:hunter2@h", "[redacted]@h"),
            (
                "tracing.resource_attributes",
                "a=b,token=hunter2,hunter2,c=d",
                "a=b,token=[redacted],[redacted],c=d",
            ),
            ("tracing.resource_attributes", "%74oken=hunter2", "%74oken=[redacted]"),
        ] {
            let key = keys::find(path).unwrap();
            let text = Setting::new(key, &Raw::Text(value.to_owned()), &Origin::Default).to_string();
            assert_eq!(text, format!("{path} = {expected:?} (default)"));
            let text = Setting::new(key, &Raw::List(vec![value.to_owned()]), &Origin::Default).to_string();
            assert_eq!(text, format!("{path} = [{expected:?}] (default)"));
        }
    }

    #[test]
    fn a_value_cannot_write_to_the_terminal_of_who_reads_the_error() {
        let key = keys::find("log.level").unwrap();
        let setting = Setting::new(key, &Raw::Text("\x1b[2J\n".to_owned()), &Origin::Default);
        assert_eq!(setting.to_string(), r#"log.level = "\u{1b}[2J\n" (default)"#);
        let name = "NESSEN_\x1b[2J".to_owned();
        let error = ConfigError::UnknownVariable { name, suggestion: None };
        assert_eq!(error.to_string(), r"NESSEN_\u{1b}[2J (environment): no such variable");
    }
}
