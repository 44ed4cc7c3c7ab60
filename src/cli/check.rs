//! `nessen check`: every value that holds, where it was set, and what follows from it.

use std::fmt::Write;

use crate::config::Loaded;

/// The report, in plain text.
pub(super) fn report(loaded: &Loaded) -> String {
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
    if !loaded.notes.is_empty() {
        text.push_str("\nnotes\n");
        for note in &loaded.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    let _ = write!(text, "\nworst-case memory\n{}", loaded.worst_case);
    text.push_str("\nthe configuration is valid\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Machine, Sources, keys, load};

    #[test]
    fn the_report_has_every_key_and_its_origin() {
        let env = vec![("PORT".into(), "8081".into())];
        let loaded = load(&Sources { env, ..Sources::default() }, &Machine::detect()).unwrap();
        let report = report(&loaded);
        for key in keys::all() {
            assert!(report.lines().any(|line| line.starts_with(key.path)), "{}", key.path);
        }
        let port = report.lines().find(|line| line.starts_with("server.port")).unwrap();
        assert!(port.contains("8081") && port.ends_with("environment PORT"), "{port}");
        assert!(report.contains("worst-case memory") && report.contains("connections x 80KiB"));
    }
}
