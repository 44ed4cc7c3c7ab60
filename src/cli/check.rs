//! `nessen check`: every value that holds, where it was set, and what follows from it.

use std::fmt::Write;

use crate::config::{Loaded, Origin};
use crate::units::Time;

/// The report, in plain text; `sandbox` is what there is to say of that.
pub(super) fn report(loaded: &Loaded, sandbox: &str) -> String {
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let keys = width(&mut loaded.values.iter().map(|value| value.key.len()));
    // One long list of methods must not push every origin off the screen.
    let values = width(&mut loaded.values.iter().map(|value| value.value.chars().count().min(32)));
    let mut text = String::new();
    // Writing to a String cannot fail.
    for value in &loaded.values {
        let auto = if value.auto { " (auto)" } else { "" };
        let _ = writeln!(text, "{:<keys$}  {:<values$}  {}{auto}", value.key, value.value, value.origin);
    }
    tables(&mut text, loaded);
    if !loaded.notes.is_empty() {
        text.push_str("\nnotes\n");
        for note in &loaded.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    let _ = write!(text, "\nworst-case memory\n{}", loaded.worst_case);
    let _ = write!(text, "\nsandbox\n{sandbox}");
    text.push_str("\nthe configuration is valid\n");
    text
}

/// Routes as they are matched, the first first, and readiness checks.
fn tables(text: &mut String, loaded: &Loaded) {
    if !loaded.routes.is_empty() {
        let rows = loaded.routes.iter().map(|route| {
            let overrides: Vec<_> =
                route.overrides.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let host = route.host.as_deref().unwrap_or("any host");
            let cells = [host, &route.path, &route.target, &overrides.join(", ")].map(str::to_owned);
            (cells, &route.origin)
        });
        text.push_str("\nroutes\n");
        aligned(text, rows.collect());
    }
    if !loaded.config.checks.is_empty() {
        let rows = loaded.config.checks.iter().map(|check| {
            let clocks = format!("every {}, within {}", Time(check.interval), Time(check.timeout));
            let counts = format!("fall {}, rise {}", check.fall, check.rise);
            ([check.name.clone(), check.probe.to_string(), clocks, counts], &check.origin)
        });
        text.push_str("\nchecks\n");
        aligned(text, rows.collect());
    }
}

/// Rows in columns, each as wide as its widest cell, and the origin behind them.
fn aligned<const N: usize>(text: &mut String, rows: Vec<([String; N], &Origin)>) {
    let mut widths = [0; N];
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            // One long list must not push all that follows off the screen.
            *width = cell.chars().count().min(60).max(*width);
        }
    }
    for (cells, origin) in rows {
        text.push_str("  ");
        for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{origin}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Machine, Sources, keys, load};

    #[test]
    fn the_report_has_every_key_and_its_origin() {
        let env = vec![("PORT".into(), "8081".into())];
        let loaded = load(&Sources { env, ..Sources::default() }, &Machine::detect()).unwrap();
        let report = report(&loaded, "");
        for key in keys::all() {
            assert!(report.lines().any(|line| line.starts_with(key.path)), "{}", key.path);
        }
        let port = report.lines().find(|line| line.starts_with("server.port")).unwrap();
        assert!(port.contains("8081") && port.ends_with("environment PORT"), "{port}");
        assert!(report.contains("worst-case memory") && report.contains("a connection at work"));
    }

    #[test]
    fn the_report_has_the_routes_as_they_are_matched_and_the_checks() {
        let file = std::env::temp_dir().join(format!("nessen-report-{}.toml", std::process::id()));
        let text = "
[[route]]
path = '/'
respond = { body = 'hello' }
[[route]]
path = '/api'
host = 'a.example'
upstream = 'http://app:8080'
connect_timeout = '1s'
max_body_size = '1MiB'
[[check]]
name = 'db'
postgres = 'db'
";
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        let loaded = load(&sources, &Machine::detect());
        std::fs::remove_file(&file).unwrap();
        let report = report(&loaded.unwrap(), "").replace(file.to_str().unwrap(), "n.toml");
        for part in [
            "
routes
  a.example  /api  upstream http://app:8080  connect_timeout = 1s  file n.toml:5
  any host   /     respond 200 with 5 bytes                        file n.toml:2
",
            "
checks
  db  postgres db:5432  every 5s, within 2s  fall 3, rise 2  file n.toml:11
",
        ] {
            assert!(report.contains(part), "{report}");
        }
    }
}
