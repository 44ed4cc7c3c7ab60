//! The house rules: rooms import only from the floors below, and no file grows out of sight.
//!
//! `ARCHITECTURE.md` says what each room is for. A new room has to be placed in [`FLOORS`]; a wall
//! that is in the way is moved there, in the open, with its reason.

#![expect(clippy::string_slice, reason = "the positions come from matches, and sources are ASCII there")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms, floor by floor from the ground up: a file or folder directly under `src`.
const FLOORS: [&[&str]; 6] = [
    &[
        "body",
        "check",
        "chunked",
        "client_address",
        "deadline",
        "exchange",
        "host",
        "html",
        "memory",
        "pace",
        "path",
        "places",
        "policy",
        "protocol",
        "quota",
        "random",
        "redact",
        "refusal",
        "seen",
        "stage",
        "trace",
        "units",
    ],
    &["dial", "evidence", "lifecycle", "otlp", "outcall", "probe", "resolve", "sandbox", "telemetry", "tls"],
    &["admin", "audit", "handler", "limits", "middleware", "net"],
    &["config"],
    &["server"],
    &["cli", "fuzzing", "main"],
];

/// The floor whose rooms do not know each other: any of them can be taken out alone.
const STRANGERS: usize = 2;

/// Imports that break the rule, each with its reason. None does.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// Lines of a file, with its tests.
const LONGEST_FILE: usize = 500;
/// Lines of `main.rs`: it starts what the library does.
const LONGEST_MAIN: usize = 60;

/// One source file.
struct Source {
    /// As in `net/http1/io.rs`.
    name: String,
    text: String,
}

fn sources(folder: &str) -> Vec<Source> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

/// The room that a file stands in.
fn room(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// How deep below the crate the module of a file lies: `net/mod.rs` and `net.rs` 1, `net/park.rs` 2.
fn depth(name: &str) -> usize {
    name.split('/').filter(|part| *part != "mod.rs").count()
}

/// The name that a path goes on with: `refusal` of `refusal::Reason`.
fn first_name(path: &str) -> &str {
    path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or("")
}

/// The names that a path from the crate's root begins with: `refusal::Reason`, or in braces several.
fn heads(path: &str) -> Vec<&str> {
    match path.strip_prefix('{') {
        None => vec![first_name(path)],
        Some(list) => {
            let (mut level, mut names) = (0, Vec::new());
            for part in list.split_inclusive([',', '{', '}']) {
                if level == 0 {
                    names.push(first_name(part.trim_start()));
                }
                match part.chars().last() {
                    Some('{') => level += 1,
                    Some('}') if level == 0 => break,
                    Some('}') => level -= 1,
                    _ => {}
                }
            }
            names.retain(|name| !name.is_empty());
            names
        }
    }
}

/// The rooms that a file names, its own among them.
fn imports(source: &Source) -> BTreeSet<String> {
    let code: String = source
        .text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .fold(String::new(), |code, line| code + line + "\n");
    let is_path = |at: usize| {
        !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':' | '$'))
    };
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if is_path(at) {
            rooms.extend(heads(&code[at + "crate::".len()..]).into_iter().map(str::to_owned));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if !is_path(at) {
            continue;
        }
        let mut path = &code[at..];
        let mut steps = 0;
        while let Some(rest) = path.strip_prefix("super::") {
            (path, steps) = (rest, steps + 1);
        }
        // An indented path stands in a module within the file, such as its tests.
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let inner = usize::from(code[line..].starts_with(' '));
        if steps >= depth(&source.name) + inner {
            let known = heads(path).into_iter().filter(|name| floor(name).is_some());
            rooms.extend(known.map(str::to_owned));
        }
    }
    rooms
}

/// What is wrong with `room` importing from `other`.
fn broken(room: &str, other: &str) -> Option<String> {
    let (Some(here), Some(there)) = (floor(room), floor(other)) else {
        return Some(format!("{room} imports {other}: one of them has no floor"));
    };
    if room == other || EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (room, other)) {
        None
    } else if there > here {
        Some(format!("{room} (floor {here}) imports {other}, which is above it (floor {there})"))
    } else if there == here && here == STRANGERS {
        Some(format!("{room} imports {other}: rooms of floor {here} do not know each other"))
    } else {
        None
    }
}

#[test]
fn every_room_has_one_floor() {
    let found: BTreeSet<_> = sources("src")
        .iter()
        .map(|source| room(&source.name).to_owned())
        .filter(|room| room != "lib" && !room.ends_with("_tests"))
        .collect();
    let placed: Vec<_> = FLOORS.iter().copied().flatten().map(|room| (*room).to_owned()).collect();
    assert_eq!(found, placed.iter().cloned().collect(), "FLOORS and the files under src differ");
    assert_eq!(found.len(), placed.len(), "a room stands on two floors");
}

#[test]
fn imports_only_go_down() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let room = room(&source.name);
        if room == "lib" || room.ends_with("_tests") {
            continue;
        }
        let broken = imports(&source).iter().filter_map(|other| broken(room, other)).collect::<Vec<_>>();
        wrong.extend(broken.into_iter().map(|what| format!("src/{}: {what}", source.name)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_two_rooms_import_each_other() {
    let mut pairs = BTreeSet::new();
    for source in sources("src") {
        let from = room(&source.name).to_owned();
        pairs.extend(imports(&source).into_iter().filter(|to| *to != from).map(|to| (from.clone(), to)));
    }
    let mutual: Vec<_> =
        pairs.iter().filter(|(from, to)| pairs.contains(&(to.clone(), from.clone()))).collect();
    assert!(mutual.is_empty(), "{mutual:?}");
}

#[test]
fn no_file_is_too_long() {
    let mut lengths = Vec::new();
    for folder in ["src", "tests", "examples"] {
        for source in sources(folder) {
            let lines = source.text.lines().count();
            let most = if source.name == "main.rs" && folder == "src" { LONGEST_MAIN } else { LONGEST_FILE };
            assert!(lines <= most, "{folder}/{} has {lines} lines, over {most}", source.name);
            lengths.push(lines);
        }
    }
    lengths.sort_unstable();
    println!("{} files, median {} lines", lengths.len(), lengths[lengths.len() / 2]);
}

/// `cargo run` hands what the build script tells on to the server, which takes every unknown
/// `NESSEN_*` for a mistake.
#[test]
fn the_build_script_sets_no_variable_that_looks_like_a_setting() {
    assert!(!include_str!("../build.rs").contains("rustc-env=NESSEN_"));
}

/// A test of the test: a rule that finds nothing would pass for ever.
#[test]
fn a_broken_wall_is_found() {
    let imports = |name: &str, text: &str| {
        imports(&Source { name: name.into(), text: text.into() }).into_iter().collect::<Vec<_>>()
    };
    let text = "use crate::{refusal::{Reason, Refusal}, units};\n// crate::cli\nlet x = crate::net::Y;";
    assert_eq!(imports("limits/a.rs", text), ["net", "refusal", "units"]);
    assert_eq!(imports("net/http1/io.rs", "use super::super::state::A;"), [""; 0]);
    assert_eq!(imports("net/http1/io.rs", "use super::super::super::limits::A;"), ["limits"]);
    assert_eq!(imports("net/mod.rs", "mod t {\n    use super::limits;\n}"), [""; 0]);
    assert_eq!(imports("net/mod.rs", "use super::limits;"), ["limits"]);
    assert!(broken("net", "limits").is_some());
    assert!(broken("limits", "server").is_some());
    assert!(broken("body", "telemetry").is_some());
    assert!(broken("server", "net").is_none());
    assert!(broken("net", "attic").is_some());
}
