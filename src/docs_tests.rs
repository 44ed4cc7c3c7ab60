//! The written documents name only what is there: files, keys and their defaults, reasons, metrics,
//! tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::keys;
use crate::refusal::Reason;
use crate::telemetry::names;

const PAGES: [&str; 23] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/threat-model.md",
    "docs/CONFIGURATION.md",
    "docs/hardening-report.md",
    "docs/probe.md",
    "docs/proxy.md",
    "docs/routes.md",
    "docs/deployment.md",
    "docs/evidence.md",
    "docs/migrating.md",
    "docs/performance.md",
    "docs/rate-limits.md",
    "docs/runbook.md",
    "docs/sandbox.md",
    "docs/sizing.md",
    "docs/static-files.md",
    "docs/status-page.md",
    "docs/tls.md",
    "docs/tracing.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between `open` and `close`, again and again.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(inside, _)| inside).collect()
}

/// What stands in backticks, code blocks left out.
fn code(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The cells of a page's tables, row by row.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|row| row.split(" | ").map(str::trim).collect())
        .collect()
}

/// Words like `section.key`, of a section that there is.
fn is_key(word: &str) -> bool {
    let sections: BTreeSet<_> = keys::all().filter_map(|key| key.path.split('.').next()).collect();
    word.split_once('.').is_some_and(|(section, key)| {
        sections.contains(section) && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '2')
    }) && !word.ends_with(".rs")
}

#[test]
fn every_link_leads_somewhere() {
    for page in PAGES {
        let folder = root().join(page).parent().map(PathBuf::from).unwrap_or_default();
        for link in between(&read(page), "](", ')') {
            let path = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !path.is_empty() {
                assert!(folder.join(path).exists(), "{page} links to {link}");
            }
        }
    }
}

#[test]
fn every_key_that_is_named_exists() {
    for page in PAGES {
        for word in code(&read(page)).into_iter().filter(|word| is_key(word)) {
            assert!(keys::find(word).is_some(), "{page} names the key {word}");
        }
    }
}

#[test]
fn the_limits_of_the_readme_have_the_defaults_of_the_table() {
    let (readme, reference) = (read("README.md"), read("docs/CONFIGURATION.md"));
    let defaults = rows(&reference);
    let mut seen = BTreeSet::new();
    for row in rows(&readme) {
        let Some(key) = row.first().map(|key| key.trim_matches('`')).filter(|key| is_key(key)) else {
            continue;
        };
        let known = defaults.iter().find(|known| known[0].trim_end_matches(" ↻").trim_matches('`') == key);
        assert_eq!(known.map(|known| known[2]), Some(row[1]), "the default of {key}");
        seen.insert(key);
    }
    for key in keys::all().map(|key| key.path).filter(|key| key.starts_with("limits.")) {
        assert!(seen.contains(key), "{key} is not in the README's table");
    }
}

#[test]
fn the_threat_model_knows_every_reason_and_every_limit() {
    let page = read("docs/threat-model.md");
    let words: BTreeSet<_> = code(&page).into_iter().collect();
    for reason in Reason::ALL {
        assert!(words.contains(reason.label()), "{reason}");
    }
    for key in keys::all().map(|key| key.path).filter(|key| key.starts_with("limits.")) {
        assert!(words.contains(key), "{key}");
    }
    let metrics: BTreeSet<_> = names::METRICS.iter().map(|metric| metric.name).collect();
    for metric in words.iter().filter(|word| word.starts_with("nessen_")) {
        let name = metric.split('{').next().unwrap_or_default();
        assert!(metrics.contains(name), "{metric}");
    }
}

/// A test is known by a name of at least three words.
#[test]
fn every_test_of_the_threat_model_exists() {
    fn functions(folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                functions(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                into.extend(between(&text, "fn ", '(').into_iter().map(str::to_owned));
            }
        }
    }
    let mut known = BTreeSet::new();
    functions(&root().join("src"), &mut known);
    functions(&root().join("tests"), &mut known);
    let page = read("docs/threat-model.md");
    let known_words: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| reason.label())
        .chain(names::METRICS.iter().map(|m| m.name))
        .collect();
    for word in code(&page) {
        let is_name =
            word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && !known_words.contains(word) {
            assert!(known.contains(word), "there is no test {word}");
        }
    }
}
