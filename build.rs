//! Tells the binary what it was built from, for `/version` and `nessen_build_info`.
//!
//! `NESSEN_VERSION` stands for the version of `Cargo.toml` where a build carries one of its own,
//! `NESSEN_REVISION` for the git revision where there is no repository (a container build), and
//! `SOURCE_DATE_EPOCH` for the clock where builds are to be reproducible.
//!
//! What is told here is also in the environment of `cargo run`, so none of it is named `NESSEN_*`:
//! the server would take it for a misspelt setting.

use std::env;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "a build script is told everything by its environment")]
fn main() {
    println!("cargo:rerun-if-env-changed=NESSEN_VERSION");
    println!("cargo:rerun-if-env-changed=NESSEN_REVISION");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    // A path that does not exist would make every build run this again.
    for file in git(&["rev-parse", "--git-path", "logs/HEAD"])
        .into_iter()
        .filter(|file| std::fs::exists(file).unwrap_or(false))
    {
        println!("cargo:rerun-if-changed={file}");
    }

    let given = |name| env::var(name).ok().filter(|text| is_plain(text));
    let version = given("NESSEN_VERSION").or_else(|| given("CARGO_PKG_VERSION"));
    println!("cargo:rustc-env=BUILT_VERSION={}", version.as_deref().unwrap_or("unknown"));

    let revision = given("NESSEN_REVISION");
    let revision = revision.or_else(|| git(&["rev-parse", "HEAD"]));
    println!("cargo:rustc-env=BUILT_REVISION={}", revision.as_deref().unwrap_or("unknown"));

    let second = env::var("SOURCE_DATE_EPOCH").ok().and_then(|second| second.trim().parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo:rustc-env=BUILT_SECOND={}", second.unwrap_or_else(now));

    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = run(Command::new(rustc).arg("--version"));
    println!("cargo:rustc-env=BUILT_RUSTC={}", version.as_deref().unwrap_or("unknown"));
}

/// Asks git about the repository of this very package: a package unpacked inside somebody else's
/// repository has no revision of its own.
fn git(arguments: &[&str]) -> Option<String> {
    if !std::path::Path::new(".git").exists() {
        return None;
    }
    run(Command::new("git").args(arguments))
}

fn run(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?;
    let line = line.trim();
    is_plain(line).then(|| line.to_owned())
}

/// One line of printable text: anything else could smuggle directives into Cargo's protocol.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && !text.contains(char::is_control)
}
