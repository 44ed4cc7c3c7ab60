use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::evidence::tests::{evidence, options, refuse};
use crate::evidence::{Eviction, Evidence, Options};
use crate::refusal::Reason;
use crate::resolve::Resolver;

/// A folder that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nessen-cold-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn cold(&self, max_bytes: u64) -> Cold {
        let place = Place::Folder(Folder { path: self.0.join("in/it"), max_bytes });
        Cold::new(&place, Dialer::new(Resolver::system())).unwrap()
    }

    /// Every batch, oldest first.
    fn batches(&self) -> Vec<PathBuf> {
        let mut found: Vec<_> =
            std::fs::read_dir(self.0.join("in/it")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn metric(evidence: &Evidence, name: &str) -> Option<String> {
    let text = evidence.0.metrics.render();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

#[tokio::test]
async fn a_batch_is_a_file_that_is_whole() {
    let scratch = Scratch::new();
    let evidence = evidence(options());
    for path in ["/a?token=x", "/b"] {
        refuse(&evidence, Reason::InvalidPath, "192.0.2.1", path);
    }
    let writer = tokio::spawn(evidence.clone().write_on(scratch.cold(1 << 20), Duration::from_secs(3600)));
    evidence.finish(Duration::from_secs(20)).await;
    let batches = scratch.batches();
    let [batch] = batches.as_slice() else { panic!("{batches:?}") };
    let name = batch.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("evidence-2") && name.ends_with("-000001.ndjson.gz"), "{name}");
    let targets: Vec<_> = lines(batch).iter().map(|line| line["target"].clone()).collect();
    assert_eq!(targets, ["/a?token=[redacted]", "/b"]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(batch).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = evidence.list(&crate::evidence::Query::default());
    assert!(listed["entries"].as_array().unwrap().iter().all(|entry| entry["stored"] == true), "{listed}");
    // Nothing is written twice.
    evidence.finish(Duration::from_secs(20)).await;
    assert_eq!(
        (scratch.batches().len(), metric(&evidence, "cold_storage_failures_total")),
        (1, Some("0".into()))
    );
    writer.abort();
}

/// While a flood lasts there is always one more: each would be a batch of its own.
#[tokio::test]
async fn what_comes_while_a_batch_is_written_waits_for_the_next_time() {
    let scratch = Scratch::new();
    let mut cold = scratch.cold(1 << 20);
    let evidence = evidence(options());
    refuse(&evidence, Reason::InvalidPath, "192.0.2.1", "/");
    evidence.list(&crate::evidence::Query::default());
    let flood = async {
        for number in 0..40 {
            refuse(&evidence, Reason::InvalidPath, &format!("192.0.2.{number}"), "/");
            evidence.list(&crate::evidence::Query::default());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (written, ()) = tokio::join!(evidence.0.write_all(&mut cold), flood);
    written.unwrap();
    assert_eq!(scratch.batches().len(), 1);
    assert!(evidence.0.store().waiting_for_storage() > 0);
}

/// To read what waits takes no longer than there is time.
#[tokio::test]
async fn the_end_is_not_late_for_what_was_not_read() {
    let evidence = evidence(options());
    for number in 0..100 {
        refuse(&evidence, Reason::InvalidPath, "192.0.2.1", &format!("/{number}"));
    }
    evidence.finish(Duration::ZERO).await;
    assert_eq!(evidence.0.store().len(), 0);
}

#[tokio::test]
async fn a_folder_is_bounded_and_what_is_not_ours_is_left() {
    let scratch = Scratch::new();
    let mut cold = scratch.cold(4000);
    let evidence = evidence(options());
    let mut last = 0;
    for round in 0..20 {
        refuse(&evidence, Reason::InvalidPath, "192.0.2.1", &format!("/{round}"));
        evidence.list(&crate::evidence::Query::default());
        let entries = evidence.0.store().unstored(1 << 20);
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        cold.put(entries).await.unwrap();
        evidence.0.store().are_stored(&ids);
        if round == 0 {
            std::fs::write(scratch.0.join("in/it/notes.txt"), vec![b'x'; 5000]).unwrap();
        }
        let batches: Vec<_> = scratch
            .batches()
            .into_iter()
            .filter(|path| path.extension().is_some_and(|it| it == "gz"))
            .collect();
        let size: u64 = batches.iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(size <= 4000, "{size}");
        last = batches.len();
        assert_eq!(lines(batches.last().unwrap())[0]["target"], format!("/{round}"));
    }
    assert!(last >= 2, "{last}");
    assert!(scratch.0.join("in/it/notes.txt").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_counted_and_tried_again() {
    let scratch = Scratch::new();
    // Where the folder should be is a file; a test that runs as root can write to any folder.
    std::fs::write(scratch.0.join("in"), "").unwrap();
    let evidence = evidence(Options { max_count: 4, eviction: Eviction::Oldest, ..options() });
    let writer = tokio::spawn(evidence.clone().write_on(scratch.cold(1 << 20), Duration::from_secs(3600)));
    for number in 1..=8 {
        refuse(&evidence, Reason::InvalidPath, &format!("192.0.2.{number}"), "/");
    }
    evidence.finish(Duration::from_secs(20)).await;
    assert_eq!(metric(&evidence, "cold_storage_failures_total").as_deref(), Some("1"));
    std::fs::remove_file(scratch.0.join("in")).unwrap();
    evidence.finish(Duration::from_secs(20)).await;
    assert_eq!(lines(&scratch.batches()[0]).len(), 4);
    evidence.0.tell();
    assert_eq!(metric(&evidence, "nessen_evidence_lost_total").as_deref(), Some("4"));
    writer.abort();
}

#[test]
fn a_place_is_a_folder_or_a_bucket() {
    for (text, place) in [
        ("./a", Location::Folder("./a".into())),
        ("/var/lib/x", Location::Folder("/var/lib/x".into())),
        ("file:///var/x", Location::Folder("/var/x".into())),
        ("s3://a-bucket", Location::Bucket("a-bucket".into(), String::new())),
        ("s3://a.bucket/prod/evidence/", Location::Bucket("a.bucket".into(), "prod/evidence".into())),
    ] {
        assert_eq!(location(text), Ok(place), "{text}");
    }
    for text in [
        "",
        "file://",
        "gs://a",
        "s3://",
        "s3://A_b",
        "s3://ab",
        "s3://a..b",
        "s3://abc/x//y",
        "s3://abc/../y",
        "s3://abc/ü",
    ] {
        assert!(location(text).is_err(), "{text}");
    }
    let of = |text: &str| endpoint(text).map(|endpoint| endpoint.to_string());
    for (text, shown) in [
        ("https://s3.example", "https://s3.example"),
        ("https://s3.example:443/", "https://s3.example"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ] {
        assert_eq!(of(text).as_deref(), Ok(shown));
    }
    for text in [
        "",
        "s3.example",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://u:p@a",
        "http://a:0",
        "http://a:99999",
        "http://a b",
    ] {
        assert!(endpoint(text).is_err(), "{text}");
    }
}

#[test]
fn no_key_is_shown() {
    let keys = Keys { id: "hunter1".into(), secret: "hunter2".into(), session: Some("hunter3".into()) };
    let bucket = Bucket {
        name: "abc".into(),
        prefix: String::new(),
        region: "us-east-1".into(),
        endpoint: None,
        ca: None,
        keys,
    };
    assert_eq!(bucket.server().to_string(), "https://s3.us-east-1.amazonaws.com");
    let place = Place::Bucket(bucket);
    let cold = Cold::new(&place, Dialer::new(Resolver::system())).unwrap();
    let text = format!("{place:?} {cold:?}");
    assert!(!text.contains("hunter"), "{text}");
}
