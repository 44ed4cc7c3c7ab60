//! The configuration file: TOML, one table per section.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Setting};
use super::keys::{self, SECTIONS};
use super::routes::RawTable;
use super::source::{Collected, Found, Origin, Raw, similar_key};
use super::suggest;
use crate::sandbox;

/// Reads the file at `path`; what is wrong with it goes to the collected errors.
pub(super) fn read(path: &Path, collected: &mut Collected) {
    match read_bounded(path) {
        Ok(text) => parse(path, &text, collected),
        Err(error) => collected.errors.push(ConfigError::File {
            path: path.to_owned(),
            place: None,
            problem: format!("cannot read the configuration file: {}", sandbox::explain(path, &error)),
        }),
    }
}

/// Errors of one file that are gathered: each costs a search for what was meant, and a file with
/// more is none that a person wrote for us.
pub(super) const MOST_ERRORS: usize = 200;
/// Tables of which there can be many.
const TABLES: [&str; 2] = ["route", "check"];
/// A device or a pipe may never end, and no configuration is longer than this: as many routes as there may
/// be, of 400 bytes each, which is a host, a path, two upstreams, and half a dozen limits of its own.
const LONGEST: u64 = 4 << 20;

fn read_bounded(path: &Path) -> io::Result<String> {
    // Asked before it is opened: to open a pipe is to wait for whoever writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it is over {LONGEST} bytes")));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str, collected: &mut Collected) {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What could be recovered is a guess; judging it would bury the real error under false ones.
        collected.errors.extend(errors.iter().take(MOST_ERRORS).map(|error| ConfigError::File {
            path: path.to_owned(),
            place: error.span().map(|span| place(text, span.start)),
            problem: format!("not TOML: {}", error.message().trim().replace('\n', ", ")),
        }));
        return;
    }
    let lines = Lines::of(text);
    let origin = |offset| Origin::File { path: path.to_owned(), line: lines.line(offset) };
    for (section, content) in root.get_ref() {
        if collected.errors.len() >= MOST_ERRORS {
            break;
        }
        let name = section.get_ref().as_ref();
        if TABLES.contains(&name) {
            match RawTable::read_all(content.get_ref(), &origin, &raw) {
                Ok(tables) if name == "route" => collected.routes = tables,
                Ok(tables) => collected.checks = tables,
                Err(problem) => collected.errors.push(ConfigError::Table {
                    table: format!("[[{name}]]"),
                    origin: origin(section.span().start),
                    problem,
                }),
            }
            continue;
        }
        let known = SECTIONS.iter().any(|(known, _, _)| *known == name);
        match content.get_ref().as_table() {
            Some(table) if known => {
                for (key, value) in table {
                    if collected.errors.len() >= MOST_ERRORS {
                        break;
                    }
                    let path = format!("{name}.{}", key.get_ref());
                    entry(&path, value.get_ref(), origin(key.span().start), collected);
                }
            }
            _ => collected.errors.push(ConfigError::UnknownKey {
                name: name.to_owned(),
                origin: origin(section.span().start),
                suggestion: similar_section(name, known),
            }),
        }
    }
}

fn entry(path: &str, value: &DeValue<'_>, origin: Origin, collected: &mut Collected) {
    let Some(key) = keys::find(path) else {
        let suggestion = similar_key(path);
        collected.errors.push(ConfigError::UnknownKey { name: path.to_owned(), origin, suggestion });
        return;
    };
    match raw(value) {
        Some(raw) => collected.file.push(Found { key, raw, origin }),
        None => collected.errors.push(ConfigError::Invalid {
            setting: Setting { key: key.path, value: format!("(a TOML {})", value.type_str()), origin },
            problem: "not a value that a key takes".to_owned(),
            allowed: key.allowed(),
        }),
    }
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(items) => {
            items.iter().map(|item| scalar(item.get_ref())).collect::<Option<Vec<_>>>().map(Raw::List)
        }
        value => scalar(value).map(Raw::Text),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => Some(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// For a section: `[limits]` for `[limit]`, or for a key that stands outside of its section.
fn similar_section(name: &str, known: bool) -> Option<String> {
    if known {
        return Some(format!("[{name}]"));
    }
    let sections = SECTIONS.iter().map(|(section, _, _)| *section);
    let near = suggest::nearest(name, sections.chain(TABLES).map(str::to_owned));
    near.map(|near| if TABLES.contains(&near.as_str()) { format!("[[{near}]]") } else { format!("[{near}]") })
        .or_else(|| similar_key(name))
}

/// Where the lines of a text begin. To count them anew for every value of a long file takes minutes.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, of a byte.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// Line and column, from 1, of a byte of `text`.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let mut collected = Collected::default();
        parse(Path::new("n.toml"), text, &mut collected);
        let found = |found: &Found| format!("{} {} {}", found.key.path, found.raw, found.origin);
        (
            collected.file.iter().map(found).collect(),
            collected.errors.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn values_come_with_their_line() {
        let (found, errors) = read(
            "[server]\nport = 8_080\nhost = '::1'\n\nlimits.max_body_size = 1\n\
             [limits]\nallowed_methods = ['GET', \"POST\"]\nmax_url_length = 0x400\n[http2]\nenabled = false\n",
        );
        assert_eq!(errors, ["server.limits (file n.toml:5): no such key"]);
        assert_eq!(
            found,
            [
                r#"http2.enabled "false" file n.toml:10"#,
                r#"limits.allowed_methods ["GET", "POST"] file n.toml:7"#,
                r#"limits.max_url_length "1024" file n.toml:8"#,
                r#"server.host "::1" file n.toml:3"#,
                r#"server.port "8080" file n.toml:2"#,
            ]
        );
    }

    #[test]
    fn an_unknown_name_says_what_was_probably_meant() {
        for (text, error) in [
            ("[limts]\nx = 1", "limts (file n.toml:1): no such key; did you mean [limits]?"),
            (
                "[limits]\nmax_bodysize = 1",
                "limits.max_bodysize (file n.toml:2): no such key; did you mean limits.max_body_size?",
            ),
            (
                "[server]\nmax_body_size = 1",
                "server.max_body_size (file n.toml:2): no such key; did you mean limits.max_body_size?",
            ),
            (
                "max_body_size = 1",
                "max_body_size (file n.toml:1): no such key; did you mean limits.max_body_size?",
            ),
            ("[[server]]\nport = 1", "server (file n.toml:1): no such key; did you mean [server]?"),
            ("[wholly]\nother = 1", "wholly (file n.toml:1): no such key"),
        ] {
            assert_eq!(read(text).1, [error]);
        }
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let (found, errors) = read("[server]\nport = \nhost = '::1'\n");
        assert!(found.is_empty());
        assert!(errors[0].starts_with("n.toml:2:"), "{errors:?}");
        let (_, errors) = read("[server]\nport = 1\nport = 2\n");
        assert!(errors[0].starts_with("n.toml:3:"), "{errors:?}");
    }

    #[test]
    fn a_line_is_that_of_the_byte() {
        let text = "a\n\nb\n";
        let lines = Lines::of(text);
        for (offset, _) in text.bytes().enumerate() {
            assert_eq!(lines.line(offset), place(text, offset).0, "{offset}");
        }
    }

    #[test]
    fn a_table_or_date_is_no_value() {
        let (_, errors) = read("[server]\nport = { a = 1 }\n[limits]\nmemory = 2026-01-01\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[1].contains("server.port = (a TOML table)"), "{errors:?}");
    }
}
