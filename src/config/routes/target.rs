//! What a route leads to.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;

use super::model::Target;
use super::names::{REDIRECT, RESPOND, TargetKind};
use super::place;
use super::raw::{RawEntry, RawValue};
use super::route::Reader;
use crate::config::keys::Key;
use crate::config::value::Value;
use crate::redact::redact_target;

impl Reader<'_, '_> {
    /// The target; what is wrong with it is reported.
    pub(super) fn target(&mut self, kind: TargetKind) -> Option<Target> {
        let entry = self.raw.entry(kind.name())?;
        match kind {
            TargetKind::Upstream => self.upstream(entry),
            TargetKind::Files => self.files(entry),
            TargetKind::Redirect => self.redirect(entry),
            TargetKind::Respond => self.respond(entry),
        }
    }

    fn upstream(&mut self, entry: &RawEntry) -> Option<Target> {
        let Value::Upstreams(urls) = self.own_value(TargetKind::Upstream.name())? else { return None };
        if urls.is_empty() {
            self.report.entry("", entry, "names no upstream");
            return None;
        }
        let server = &self.own.server;
        if let Some(url) = urls.iter().find(|url| place::is_this_server(url, server)) {
            let problem = format!("{url} is this very server (server.port = {})", server.port);
            self.report.entry("", entry, &problem);
        }
        Some(Target::Upstream(urls))
    }

    fn files(&mut self, entry: &RawEntry) -> Option<Target> {
        let Value::Folder(root) = self.own_value(TargetKind::Files.name())? else { return None };
        if let Err(problem) = place::check_root(&root) {
            self.report.entry("", entry, &problem);
        } else if let Some(fallback) = &self.own.files.fallback
            && let Err(problem) = place::check_fallback(&root, fallback)
        {
            let origin = self.raw.entry("fallback").map_or(&entry.origin, |entry| &entry.origin);
            let problem = format!("fallback = {fallback:?} of {}: {problem}", entry.value);
            self.report.whole(origin, problem);
        }
        Some(Target::Files(root))
    }

    fn redirect(&mut self, entry: &RawEntry) -> Option<Target> {
        let values = self.table_values(entry, REDIRECT)?;
        let [to, Some(Value::Count(status)), Some(Value::Bool(keep_path))] = values.as_slice() else {
            return None;
        };
        let Some(Value::Text(to)) = to else {
            self.report.entry("", entry, "has no to");
            return None;
        };
        if *keep_path && to.contains(['?', '#']) {
            self.report.whole(
                &entry.origin,
                format!(
                    "redirect.to = {to:?}: nothing can follow its query or fragment, and keep_path appends"
                ),
            );
        }
        Some(Target::Redirect { to: to.clone(), status: status_code(*status)?, keep_path: *keep_path })
    }

    fn respond(&mut self, entry: &RawEntry) -> Option<Target> {
        let values = self.table_values(entry, RESPOND)?;
        let [Some(Value::Count(status)), body, Some(Value::HeaderValue(content_type))] = values.as_slice()
        else {
            return None;
        };
        let body = match body {
            Some(Value::Text(body)) => Bytes::copy_from_slice(body.as_bytes()),
            _ => Bytes::new(),
        };
        if matches!(status, 204 | 205 | 304) && !body.is_empty() {
            self.report.entry("", entry, &format!("an answer of {status} has no body"));
        }
        Some(Target::Respond { status: status_code(*status)?, body, content_type: content_type.clone() })
    }

    fn table_values(&mut self, entry: &RawEntry, rows: &[Key]) -> Option<Vec<Option<Value>>> {
        if let RawValue::Table(entries) = &entry.value {
            return self.report.values(&entry.name, entries, rows);
        }
        let names: Vec<_> = rows.iter().map(Key::name).collect();
        let problem = format!("not taken here; allowed: a table of {}", names.join(", "));
        self.report.entry("", entry, &problem);
        None
    }
}

fn status_code(number: u64) -> Option<StatusCode> {
    StatusCode::from_u16(u16::try_from(number).ok()?).ok()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(urls) => {
                f.write_str("upstream")?;
                for (place, url) in urls.iter().enumerate() {
                    write!(f, "{} {url}", if place > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Files(root) => write!(f, "root {}", root.display()),
            Self::Redirect { to, status, keep_path } => {
                let rest = if *keep_path { "..." } else { "" };
                write!(f, "redirect {} {}{rest}", status.as_u16(), redact_target(to))
            }
            Self::Respond { status, body, .. } => {
                write!(f, "respond {} with {} bytes", status.as_u16(), body.len())
            }
        }
    }
}
