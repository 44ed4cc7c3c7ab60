//! Paths: which file of a root one names, and which route it is for.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::Request;
use http_body_util::BodyExt;

use crate::handler::routes::{Route, Target, is_ambiguous, normal};
use crate::handler::static_files::path::judge;
use crate::handler::static_files::{FilesOptions, StaticFiles};
use crate::policy::Policy;

/// What stands beside the root, and in no answer.
const SECRET: &[u8] = b"what stands outside of the root";
/// What files of the root hold.
const CONTENT: &[u8] = b"a file of the root";

/// A folder with a root in it, which is left behind for the next run of this process.
struct Site {
    root: PathBuf,
    files: StaticFiles,
    runtime: tokio::runtime::Runtime,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("nessen-fuzz-path-{}", std::process::id()));
        let root = folder.join("site");
        for folder in ["a/b", ".well-known", "outside", " ", "caf\u{e9}"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["a/b/c", "a/x", "index.html", ".well-known/y", " /z", "caf\u{e9}/f", ".env", "a/.git"] {
            let hidden = file.contains("/.g") || file.starts_with(".e");
            std::fs::write(root.join(file), if hidden { SECRET } else { CONTENT }).unwrap();
        }
        for file in ["secret", "x", "f"] {
            std::fs::write(folder.join(file), SECRET).unwrap();
        }
        let _ = std::os::unix::fs::symlink("../secret", root.join("link"));
        let _ = std::os::unix::fs::symlink("../..", root.join("up"));
        let options =
            FilesOptions { root: root.clone(), cache_control: None, fallback: None, precompressed: false };
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        Site { files: StaticFiles::new(options).unwrap(), root, runtime }
    })
}

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (prefix, path) = text.split_once('\n').unwrap_or(("/a", text));
    if judge(path).is_ok() {
        stays_below(path);
    }
    // What a request's target has for a path begins so, or is no path of a place at all.
    if path.starts_with('/') {
        below_a_route(prefix, path);
    }
}

fn has_one_spelling(path: &str) {
    let spelling = normal(path);
    assert_eq!(normal(&spelling), spelling, "the spelling of {path:?} has another");
    assert!(spelling.is_empty() || spelling.starts_with('/'), "{spelling:?}");
    assert!(!spelling.split('/').any(|segment| segment == ".." || segment == "."), "{spelling:?}");
    assert!(!spelling.contains(['\\', ';', '?', '#', '\0']) && !spelling.contains("//"), "{spelling:?}");
    // A path in one spelling climbs in one way alone, and ends early for some at a NUL.
    assert_eq!(is_ambiguous(&spelling), spelling.contains("%00"), "{spelling:?}");
}

/// The file that a path names is below the root, both by its letters and as it is served.
fn stays_below(path: &str) {
    let site = site();
    let decoded = percent_decoded(path).expect("what names a file can be decoded");
    let mut depth = 0;
    for part in Path::new(decoded.strip_prefix('/').expect("it begins at the root")).components() {
        match part {
            Component::Normal(name) => {
                assert!(!name.as_encoded_bytes().contains(&0), "{path:?}");
                depth += 1;
            }
            Component::CurDir => {}
            _ => panic!("{path:?} holds {part:?} below {depth} folders"),
        }
    }
    let mut request = Request::new(());
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let parts = request.into_parts().0;
    let answer = site.runtime.block_on(async {
        let answer = site.files.serve(&parts, path).await.ok()?;
        let found = answer.status() == http::StatusCode::OK;
        found.then_some(answer.into_body().collect().await.expect("a file can be read").to_bytes())
    });
    if let Some(answer) = answer {
        assert_eq!(answer, CONTENT, "{path:?}");
        let served = site.root.join(decoded.trim_start_matches('/'));
        assert!(served.exists() || served.join("index.html").exists(), "{path:?} is {served:?}");
    }
}

/// What is left of a path behind its route leads to where the route was chosen for.
fn below_a_route(prefix: &str, path: &str) {
    has_one_spelling(path);
    let prefix = normal(prefix).into_owned();
    let route = Route { host: None, prefix, policy: Arc::new(Policy::nothing(0)), target: Target::Nothing };
    let spelling = normal(path);
    let Some(rest) = route.rest(path) else { return };
    assert!(path.ends_with(rest) || rest == "/", "{rest:?} of {path:?}");
    if route.takes(&spelling) && judge(rest).is_ok() && !is_ambiguous(path) {
        let again = format!("{}{}", route.prefix, normal(rest));
        // The slash at the end is the client's.
        let (again, spelling) = (again.trim_end_matches('/'), spelling.trim_end_matches('/'));
        assert_eq!(again, spelling, "{path:?} below {:?} is {rest:?}", route.prefix);
    }
}

/// Read in another way than the product does; `None` where it is no text.
fn percent_decoded(path: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut pieces = path.split('%');
    decoded.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).ok()
}
