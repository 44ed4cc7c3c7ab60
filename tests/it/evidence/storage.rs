//! Cold storage: a folder, a bucket, and either in a bad state.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::bucket::{Bucket, Mood};
use super::{Watched, text};
use crate::support::folder::Folder;
use crate::support::http1::get;
use crate::support::server::Process;
use crate::support::{PATIENCE, assert_eventually, say};

fn unpack(bytes: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every entry in the folder's batches, the oldest first; files that are not whole are a fault.
fn entries(folder: &Folder) -> Vec<Value> {
    let Ok(found) = std::fs::read_dir(folder.at("evidence")) else { return Vec::new() };
    let mut paths: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    paths.sort();
    paths.iter().flat_map(|path| unpack(&std::fs::read(path).unwrap())).collect()
}

#[test]
fn what_is_refused_is_written_to_a_folder() {
    let folder = Folder::new();
    let path = folder.path("evidence");
    let mut watched =
        Watched::start(&[("NESSEN_EVIDENCE_STORAGE", &path), ("TRACEHOUND_SCHEDULER_TICK_MS", "100")]);
    let secret = "GET /a?token=hunter2 HTTP/1.1\r\nHost: a\r\nCookie: hunter2\r\n\r\n";
    assert_eq!(watched.send(secret), 404);
    assert_eventually(PATIENCE, "written", || entries(&folder).len() == 1);
    assert_eventually(PATIENCE, "known as stored", || watched.entry("not_found")["stored"] == true);
    assert_eq!(entries(&folder)[0], watched.entry("not_found"));
    for path in ["/b", "/c"] {
        assert_eq!(watched.send(get(path)), 404);
    }
    assert_eventually(PATIENCE, "written", || entries(&folder).len() == 3);
    let all = entries(&folder);
    let targets: Vec<_> = all.iter().map(|entry| text(&entry["target"])).collect();
    assert_eq!(targets, ["/a?token=[redacted]", "/b", "/c"]);
    assert!(!all.iter().any(|entry| entry.to_string().contains("hunter2")));
    assert_eq!(watched.metric("cold_storage_failures_total"), Some(0.0));
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
}

#[test]
fn the_last_of_it_is_written_before_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let path = folder.path("evidence");
        let mut watched =
            Watched::start(&[("NESSEN_EVIDENCE_STORAGE", &path), ("NESSEN_EVIDENCE_FLUSH_INTERVAL", "1h")]);
        for number in 0..200 {
            assert_eq!(watched.send(get(&format!("/{number}"))), 404);
        }
        watched.server.signal(signal);
        assert_eq!(watched.server.exit_code(), 0);
        assert_eq!(entries(&folder).len(), 200);
    }
}

#[test]
fn in_the_sandbox_it_can_write_there_and_nowhere_else() {
    let folder = Folder::new();
    let path = folder.path("evidence");
    let env = [
        ("NESSEN_EVIDENCE_STORAGE", path.as_str()),
        ("NESSEN_EVIDENCE_ENABLED", "true"),
        ("NESSEN_SERVER_SANDBOX", "on"),
    ];
    let mut check = Process::start(&env, &["check"]);
    assert_eq!(check.exit_code(), 0);
    let said = check.stdout().join("\n");
    if said.contains("not held:") {
        assert!(std::env::var_os("NESSEN_REQUIRE_ALL").is_none(), "{said}");
        return say("SKIPPED: this kernel has no sandbox");
    }
    assert!(said.contains(&format!("write {path}; run none")), "{said}");
    let mut watched = Watched::start(&[&env[..], &[("NESSEN_EVIDENCE_FLUSH_INTERVAL", "100")]].concat());
    assert_eq!(watched.send(get("/a")), 404);
    assert_eventually(PATIENCE, "written", || entries(&folder).len() == 1);
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
    let log = watched.server.stdout().concat();
    assert!(!log.contains("cannot be written"), "{log}");
}

#[test]
fn a_folder_that_cannot_be_written_to_costs_no_request() {
    let folder = Folder::new();
    // Where the folder would be made is a file, and on /dev/full there is never room.
    folder.write("file", "");
    for storage in [folder.path("file/evidence"), "/dev/full".to_owned(), "/proc/nothing".to_owned()] {
        let mut watched = Watched::start(&[
            ("NESSEN_EVIDENCE_STORAGE", &storage),
            ("NESSEN_EVIDENCE_FLUSH_INTERVAL", "100"),
            ("NESSEN_EVIDENCE_MAX_COUNT", "20"),
        ]);
        for number in 0..100 {
            assert_eq!(watched.send(get(&format!("/{number}"))), 404);
        }
        assert_eventually(PATIENCE, "counted", || {
            watched.metric("cold_storage_failures_total").is_some_and(|count| count >= 2.0)
        });
        assert!(watched.list("")["count"].as_u64().unwrap() <= 20);
        assert_eq!(watched.send(get("/badge/a/b.svg")), 200);
        watched.server.signal(Signal::TERM);
        assert_eq!(watched.server.exit_code(), 0);
        let lines = watched.server.log().into_iter();
        let said = lines.filter(|line| text(&line["message"]).contains("cannot be written")).count();
        assert_eq!(said, 1, "once for all failures in a row");
    }
}

#[test]
fn a_folder_is_kept_within_its_bound() {
    let folder = Folder::new();
    let path = folder.path("evidence");
    let watched = Watched::start(&[
        ("NESSEN_EVIDENCE_STORAGE", &path),
        ("NESSEN_EVIDENCE_STORAGE_MAX_BYTES", "1MiB"),
        ("NESSEN_EVIDENCE_FLUSH_INTERVAL", "100"),
        ("NESSEN_EVIDENCE_MAX_COUNT", "1000"),
    ]);
    // What was written before this run counts as well; letters that cannot be compressed.
    for number in 0..4 {
        let junk: Vec<u8> =
            (0..300_000u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        folder.write(&format!("evidence/evidence-20200101T00000{number}.000Z-x-1-000001.ndjson.gz"), junk);
    }
    assert_eq!(watched.send(get("/a")), 404);
    assert_eventually(PATIENCE, "the oldest is gone", || {
        !folder.at("evidence/evidence-20200101T000000.000Z-x-1-000001.ndjson.gz").exists()
    });
    assert!(folder.at("evidence/evidence-20200101T000003.000Z-x-1-000001.ndjson.gz").exists());
}

/// A server that writes to this bucket.
fn with_bucket(bucket: &Bucket, more: &[(&str, &str)]) -> Watched {
    let endpoint = format!("http://{}", bucket.address);
    let env = [
        ("TRACEHOUND_COLD_STORAGE_BUCKET", "tracehound-evidence"),
        ("TRACEHOUND_COLD_STORAGE_PREFIX", "prod/evidence/"),
        ("TRACEHOUND_COLD_STORAGE_REGION", "eu-test-1"),
        ("NESSEN_EVIDENCE_S3_ENDPOINT", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-test"),
        ("AWS_SESSION_TOKEN", "session-of-test"),
        ("NESSEN_EVIDENCE_FLUSH_INTERVAL", "100"),
    ];
    Watched::start(&[&env, more].concat())
}

#[test]
fn what_is_refused_is_written_to_a_bucket() {
    for sandbox in ["off", "on"] {
        let bucket = Bucket::start();
        let watched = with_bucket(&bucket, &[("NESSEN_SERVER_SANDBOX", sandbox)]);
        assert_eq!(watched.send(get("/a?sig=hunter2")), 404);
        assert_eventually(PATIENCE, "stored", || !bucket.objects().is_empty());
        let objects = bucket.objects();
        let (key, packed) = objects.iter().next().unwrap();
        assert!(key.starts_with("/tracehound-evidence/prod/evidence/evidence-2"), "{key}");
        assert!(key.ends_with(".ndjson.gz"), "{key}");
        assert_eq!(unpack(packed)[0]["target"], "/a?sig=[redacted]");
        assert_eq!(bucket.wrong(), [""; 0]);
        assert_eventually(PATIENCE, "known as stored", || watched.entry("not_found")["stored"] == true);
    }
}

#[test]
fn a_bucket_that_fails_costs_no_request_and_gets_all_of_it_later() {
    let bucket = Bucket::start();
    let watched = with_bucket(&bucket, &[]);
    for (mood, failures, words) in
        [(Mood::Ill, 1.0, "answered with an error"), (Mood::Strict, 2.0, "may not write there")]
    {
        bucket.is(mood);
        assert_eq!(watched.send(get(&format!("/{failures}"))), 404);
        assert_eventually(PATIENCE, "counted", || {
            watched.metric("cold_storage_failures_total").is_some_and(|count| count >= failures)
        });
        if mood == Mood::Ill {
            watched.server.wait_log("why", |line| text(&line["message"]).contains(words));
        }
    }
    assert!(bucket.objects().is_empty());
    bucket.is(Mood::Well);
    assert_eventually(PATIENCE, "stored", || {
        bucket.objects().values().map(|it| unpack(it).len()).sum::<usize>() >= 2
    });
    watched.server.wait_log("that it does again", |line| text(&line["message"]).contains("again"));
    let log = watched.server.stdout().concat();
    for secret in ["AKIATEST", "secret-of-test", "session-of-test"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_bucket_that_is_silent_or_gone_holds_nobody_up() {
    let bucket = Bucket::start();
    bucket.is(Mood::Silent);
    let mut watched = with_bucket(&bucket, &[]);
    assert_eq!(watched.send(get("/a")), 404);
    assert_eventually(PATIENCE, "asked", || bucket.asked() > 0);
    for number in 0..50 {
        assert_eq!(watched.send(get(&format!("/{number}"))), 404);
    }
    let began = Instant::now();
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    watched.server.wait_log("what was lost", |line| text(&line["message"]).contains("never came"));

    let gone = with_bucket(&bucket, &[("NESSEN_EVIDENCE_S3_ENDPOINT", "http://127.0.0.1:9")]);
    assert_eq!(gone.send(get("/a")), 404);
    assert_eventually(PATIENCE, "counted", || {
        gone.metric("cold_storage_failures_total").is_some_and(|count| count >= 1.0)
    });
}

#[test]
fn what_is_wrong_with_a_place_is_named_at_the_start() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let on = ("NESSEN_EVIDENCE_ENABLED", "true");
    for (env, named) in [
        (vec![on, ("NESSEN_EVIDENCE_STORAGE", "s3://Not_A_Bucket")], "NESSEN_EVIDENCE_STORAGE"),
        (vec![on, ("NESSEN_EVIDENCE_STORAGE", "gs://a-bucket")], "NESSEN_EVIDENCE_STORAGE"),
        (vec![on, ("NESSEN_EVIDENCE_STORAGE", "s3://a-bucket")], "evidence.s3_secret_access_key"),
        (vec![on, ("TRACEHOUND_COLD_STORAGE_BUCKET", "x")], "TRACEHOUND_COLD_STORAGE_BUCKET"),
        (vec![on, ("TRACEHOUND_COLD_STORAGE_PREFIX", "a/../b")], "TRACEHOUND_COLD_STORAGE_PREFIX"),
        (vec![on, ("NESSEN_EVIDENCE_S3_ENDPOINT", "https://user:hunter3@a")], "NESSEN_EVIDENCE_S3_ENDPOINT"),
        (
            [&keys[..], &[on, ("NESSEN_EVIDENCE_STORAGE", "/x"), ("TRACEHOUND_COLD_STORAGE_BUCKET", "abc")]]
                .concat(),
            "evidence.s3_bucket",
        ),
        (
            [
                &keys[..],
                &[on, ("NESSEN_EVIDENCE_STORAGE", "s3://abc"), ("NESSEN_EVIDENCE_S3_CA", "/nothing.pem")],
            ]
            .concat(),
            "evidence.s3_ca",
        ),
    ] {
        let mut server = Process::start(&env, &[]);
        assert_eq!(server.exit_code(), 78, "{env:?}");
        let said = server.stderr().join("\n");
        assert!(said.contains(named), "{env:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
