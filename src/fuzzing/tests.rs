//! The corpora, as ordinary tests.

use std::path::Path;

use super::TARGETS;

/// Feeds each target with its corpus; a panic says which file it was.
fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let data = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| (target.run)(&data)).is_err() {
            panic!("fuzz/corpus/{name}/{}", file.file_name().unwrap().display());
        }
    }
}

macro_rules! corpora {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_corpus() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}
corpora!(configuration, connection_http1, connection_http2, forwarded, path, proxy_protocol, upstream);
