//! Keeps the generated files current: `NESSEN_UPDATE_GOLDEN=1 cargo test` writes them anew.

use std::fs;
use std::path::Path;

use super::{Config, Machine, Sources, example, load, reference, schema};

#[allow(clippy::disallowed_methods, reason = "a switch of the test run, not a setting")]
fn golden(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("NESSEN_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, generated).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == generated, "{path} is not current: NESSEN_UPDATE_GOLDEN=1 cargo test rewrites it");
}

#[test]
fn the_reference_is_current() {
    golden("docs/CONFIGURATION.md", &reference());
}

#[test]
fn the_schema_is_current() {
    golden("docs/config.schema.json", &schema());
}

#[test]
fn the_example_file_is_current() {
    golden("nessen.example.toml", &example());
}

#[test]
fn the_example_file_with_everything_uncommented_is_the_default() {
    let setting = |line: &&str| line.starts_with("#[") || (line.starts_with('#') && !line.starts_with("# "));
    let text: Vec<&str> =
        example().leak().lines().filter(setting).map(|line| line.trim_start_matches('#')).collect();
    let path = std::env::temp_dir().join(format!("nessen-example-{}.toml", std::process::id()));
    fs::write(&path, text.join("\n")).unwrap();
    let sources = Sources { file: Some(path.clone()), ..Sources::default() };
    let loaded = load(&sources, &Machine::detect());
    fs::remove_file(&path).unwrap();
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.values.iter().all(|value| value.explicit), "a key is missing from the example");
    assert_eq!(format!("{:#?}", loaded.config), format!("{:#?}", Config::default()));
}
