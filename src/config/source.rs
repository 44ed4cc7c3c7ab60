//! Stage one: what was written, and where. Nothing is interpreted here beyond finding the key.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::keys::{self, Key};
use super::routes::RawTable;
use super::{environment, file, suggest};
use crate::redact::REDACTED;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table of keys.
    Default,
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Env(String),
    /// A flag of the command line, by its name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File { path, line } => f.pad(&format!("file {}:{line}", path.display())),
            Self::Env(name) => f.pad(&format!("environment {name}")),
            Self::Flag(name) => f.pad(&format!("flag {name}")),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// One value, of any kind.
    Text(String),
    /// An array of the file.
    List(Vec<String>),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted and escaped: a value must not be able to write to the terminal of who reads it.
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
        }
    }
}

impl Raw {
    /// For an error: what stands for user and password in a URL is left out.
    pub(super) fn without_user_info(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(without_user_info(text)),
            Self::List(list) => Self::List(list.iter().map(|text| without_user_info(text)).collect()),
        }
    }
}

/// `http://[redacted]@host` for `http://user:password@host`, and rather too much of a list. Somebody may have
/// forgotten the scheme.
pub(super) fn without_user_info(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, rest)) => format!("{scheme}://{REDACTED}@{rest}"),
            None => text.to_owned(),
        },
        None => match text.rsplit_once('@') {
            Some((user, rest)) if user.contains(':') => format!("{REDACTED}@{rest}"),
            _ => text.to_owned(),
        },
    }
}

/// A value of the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Flag {
    /// `section.key`
    pub key: String,
    /// The value.
    pub value: String,
    /// The flag that set it, as in `--port`.
    pub flag: String,
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = keys::find(&self.key).is_some_and(|key| key.secret);
        let value = if secret { REDACTED } else { &self.value };
        write!(f, "{} {}={value:?}", self.flag, self.key)
    }
}

/// Where to look. The environment is captured once, the file is read at every load, so that a
/// SIGHUP sees the new file under the old environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The file of `--config`; without it, that of `NESSEN_CONFIG`.
    pub file: Option<PathBuf>,
    /// The command line, in order; of two that set one key the last counts.
    pub flags: Vec<Flag>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
}

impl fmt::Debug for Sources {
    /// Leaves the values of the environment out: they are not all ours, and some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The environment of this process, with the file and flags of its command line.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        Self { file, flags, env: std::env::vars_os().collect() }
    }

    /// The configuration file, if one was named.
    pub fn config_file(&self) -> Option<PathBuf> {
        let from_env =
            || self.variable(environment::CONFIG).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.file.clone().or_else(from_env)
    }

    /// Every file that a load reads, and a SIGHUP reads again: that of the configuration, and those
    /// with the value of one key.
    pub fn files(&self) -> Vec<PathBuf> {
        self.config_file().into_iter().chain(environment::files(&self.env).map(Path::to_owned)).collect()
    }

    /// What the environment says by this name.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }
}

/// A value found for a key.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The key.
    pub(super) key: &'static Key,
    /// What was written.
    pub(super) raw: Raw,
    /// Where.
    pub(super) origin: Origin,
}

/// Everything found, source by source.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) flags: Vec<Found>,
    pub(super) env: Vec<Found>,
    pub(super) file: Vec<Found>,
    pub(super) routes: Vec<RawTable>,
    pub(super) checks: Vec<RawTable>,
    pub(super) errors: Vec<ConfigError>,
    pub(super) notes: Vec<String>,
}

/// Reads every source.
pub(super) fn collect(sources: &Sources) -> Collected {
    let mut collected = Collected::default();
    if let Some(path) = sources.config_file() {
        file::read(&path, &mut collected);
    }
    environment::read(&sources.env, &mut collected);
    for flag in &sources.flags {
        let origin = Origin::Flag(flag.flag.clone());
        match keys::find(&flag.key) {
            Some(key) => {
                collected.flags.push(Found { key, raw: Raw::Text(flag.value.clone()), origin });
            }
            None => collected.errors.push(ConfigError::UnknownKey {
                name: flag.key.clone(),
                origin,
                suggestion: similar_key(&flag.key),
            }),
        }
    }
    collected
}

/// The path of the key that an unknown one probably stands for: the same name in another section,
/// or a near miss.
pub(super) fn similar_key(path: &str) -> Option<String> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let mut namesakes = keys::all().filter(|key| key.name() == name);
    match (namesakes.next(), namesakes.next()) {
        (Some(only), None) => Some(only.path.to_owned()),
        _ => suggest::nearest(path, keys::all().map(|key| key.path.to_owned())).or_else(|| {
            let name = suggest::nearest(name, keys::all().map(|key| key.name().to_owned()))?;
            keys::all().find(|key| key.name() == name).map(|key| key.path.to_owned())
        }),
    }
}
