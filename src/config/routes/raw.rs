//! Stage one of a route or check: its entries as they were written, and where.

use std::fmt;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::source::{Origin, Raw};
use crate::redact::redact_target;

/// Tables of one kind that a file may have. What a request costs does not depend on their number, but each
/// is kept with all its effective values, some kilobytes in all while the file is read.
pub(super) const MOST_TABLES: usize = 10_000;

/// What stands in the place of tables.
const NO_TABLES: &str = "is no list of tables; begin each with this name, in double brackets";

/// One `[[route]]` or `[[check]]`.
#[derive(Debug, Clone)]
pub(in crate::config) struct RawTable {
    /// Its place among its like, from 1; 0 for what no table of the file stands for.
    pub(super) number: usize,
    /// Where it begins.
    pub(super) origin: Origin,
    /// In the order of the file.
    pub(super) entries: Vec<RawEntry>,
}

/// One line of a table.
#[derive(Debug, Clone)]
pub(super) struct RawEntry {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) value: RawValue,
}

/// What stands behind a name.
#[derive(Debug, Clone)]
pub(super) enum RawValue {
    /// What any key takes.
    Plain(Raw),
    /// A table within the table.
    Table(Vec<RawEntry>),
    /// Of this TOML type, which nothing takes.
    Other(&'static str),
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As everywhere else in errors: neither a password of a URL, nor what its query has of secrets.
            Self::Plain(raw) => f.write_str(&redact_target(&raw.without_user_info().to_string())),
            Self::Table(_) => f.write_str("(a TOML table)"),
            Self::Other(kind) => write!(f, "(a TOML {kind})"),
        }
    }
}

impl RawTable {
    /// The entry of this name.
    pub(super) fn entry(&self, name: &str) -> Option<&RawEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Reads the tables of an array, or says why there are none. `origin` knows the line of a byte,
    /// `raw` how a value is written.
    pub(in crate::config) fn read_all(
        value: &DeValue<'_>,
        origin: &dyn Fn(usize) -> Origin,
        raw: &dyn Fn(&DeValue<'_>) -> Option<Raw>,
    ) -> Result<Vec<Self>, String> {
        let items = value.as_array().ok_or(NO_TABLES)?;
        if items.len() > MOST_TABLES {
            return Err(format!("are {} tables; at most {MOST_TABLES} are taken", items.len()));
        }
        let table = |(place, item): (usize, &Spanned<DeValue<'_>>)| {
            let entries = item.get_ref().as_table().ok_or(NO_TABLES)?;
            let entries = read_entries(entries, origin, raw);
            Ok(Self { number: place + 1, origin: origin(item.span().start), entries })
        };
        items.iter().enumerate().map(table).collect()
    }
}

fn read_entries(
    table: &DeTable<'_>,
    origin: &dyn Fn(usize) -> Origin,
    raw: &dyn Fn(&DeValue<'_>) -> Option<Raw>,
) -> Vec<RawEntry> {
    let mut entries: Vec<_> = table.iter().collect();
    // The parser sorts by name; errors are read from the top of the file to its end.
    entries.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let value = match (value.get_ref(), raw(value.get_ref())) {
            (_, Some(raw)) => RawValue::Plain(raw),
            (DeValue::Table(table), None) => RawValue::Table(read_entries(table, origin, raw)),
            (other, None) => RawValue::Other(other.type_str()),
        };
        RawEntry { name: name.get_ref().to_string(), origin: origin(name.span().start), value }
    };
    entries.into_iter().map(entry).collect()
}
