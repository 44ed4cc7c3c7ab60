//! `nessen.example.toml`: every key with its help and default, all commented out.

use std::fmt::Write;

use super::keys::{Key, Kind, SECTIONS};
use super::routes::document;

/// The example file.
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of Nessen with its default. Uncomment what you change; docs/CONFIGURATION.md says more.\n\
         # Sizes: bytes or \"64KiB\". Durations: milliseconds or \"30s\". This file is generated.\n",
    );
    for (section, about, keys) in SECTIONS {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n# {about}\n#[{section}]\n");
        for key in *keys {
            let _ = write!(text, "\n# {}\n# Allowed: {}.\n", key.help, key.allowed());
            if let Some(meaning) = key.auto {
                let _ = writeln!(text, "# auto: {meaning}.");
            }
            let _ = writeln!(text, "#{} = {}", key.name(), default_value(key));
        }
    }
    text.push_str(document::EXAMPLE);
    text
}

/// The default as TOML.
fn default_value(key: &Key) -> String {
    match key.kind {
        Kind::Bool => key.default.to_owned(),
        Kind::Count { .. } if key.default.bytes().all(|byte| byte.is_ascii_digit()) => key.default.to_owned(),
        Kind::Methods | Kind::Algorithms | Kind::Words(_) => {
            let items: Vec<String> = key.default.split(' ').map(|item| format!("\"{item}\"")).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Networks | Kind::Hosts | Kind::Upstreams if key.auto.is_none() => "[]".to_owned(),
        Kind::Pairs { .. } => "[]".to_owned(),
        _ => format!("\"{}\"", key.default),
    }
}
