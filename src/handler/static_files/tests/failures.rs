//! Files that change, vanish or cannot be read, and who says so.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use rustix::io::Errno;

use tower_http::services::fs::Backend;

use super::super::jail::{READ, Visit};
use super::*;

#[tokio::test]
async fn a_file_that_shrinks_ends_the_body_with_an_error() {
    let folder = Folder::new();
    folder.write("big", vec![7; 1 << 20]);
    let response = get(&folder.serve(), "/big", &[]).await;
    assert_eq!(field(&response, "content-length"), "1048576");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.len() <= 64 * 1024, "{} bytes at once", first.len());
    folder.write("big", vec![7; 200 * 1024]);
    let mut read = first.len();
    let error = loop {
        match body.frame().await.expect("an error and no end") {
            Ok(frame) => read += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(read <= 200 * 1024 + 64 * 1024, "{read}");
    assert!(error.to_string().contains("early"), "{error}");
}

#[tokio::test]
async fn a_file_that_grows_is_sent_as_announced() {
    let folder = Folder::new();
    folder.write("log", vec![7; 100 * 1024]);
    let response = get(&folder.serve(), "/log", &[]).await;
    folder.write("log", vec![8; 300 * 1024]);
    assert_eq!(body(response).await.len(), 100 * 1024);
}

/// Somebody turns a folder into a symlink and back while it is being asked for, and a file.
#[tokio::test]
async fn a_race_for_the_way_out_is_not_won() {
    let folder = Folder::new();
    folder.write("d/x.txt", "public").write("../out/x.txt", "secret").link("e", "../out");
    folder.write("f.txt", "public").link("g.txt", "../out/x.txt");
    for files in both(&folder.serve()) {
        let [d, e, f, g] = ["d", "e", "f.txt", "g.txt"].map(|name| folder.root().join(name));
        let swap = move || {
            renameat_with(CWD, &d, CWD, &e, RenameFlags::EXCHANGE)?;
            renameat_with(CWD, &f, CWD, &g, RenameFlags::EXCHANGE)
        };
        if swap().is_err() {
            return; // Not every file system can.
        }
        let asked = Arc::new(AtomicBool::new(false));
        let enough = asked.clone();
        let turns = tokio::task::spawn_blocking(move || {
            // An even number of turns, with the one that was tried.
            let mut turns = 1;
            while turns % 2 == 1 || !enough.load(Ordering::Relaxed) {
                swap().unwrap();
                turns += 1;
            }
            turns
        });
        let (mut served, mut refused) = (0, 0);
        for turn in 0..600 {
            let path = if turn % 2 == 0 { "/d/x.txt" } else { "/f.txt" };
            match ask(&files, Method::GET, path, &[]).await {
                Ok(response) => {
                    assert_eq!(body(response).await, "public");
                    served += 1;
                }
                Err(refusal) => {
                    assert_eq!(refusal.reason, Reason::NotFound);
                    refused += 1;
                }
            }
        }
        // The narrowest moment is between two steps: many more tries, without all that is around.
        for turn in 0..20_000 {
            let path = Path::new(if turn % 2 == 0 { "d/x.txt" } else { "f.txt" });
            if let Ok(file) = files.jail.resolve(path, READ) {
                assert_eq!(io::read_to_string(std::fs::File::from(file)).unwrap(), "public");
            }
        }
        asked.store(true, Ordering::Relaxed);
        println!("{served} served, {refused} refused in {} turns", turns.await.unwrap());
    }
}

/// What was seen to be a file is not looked at again in the same request. What it has become meanwhile decides.
#[tokio::test]
async fn a_file_that_becomes_something_else_before_it_is_opened_is_not_served() {
    let folder = Folder::new();
    folder.write("../out/secret", "secret").write("f", "a file");
    let path = folder.root().join("f");
    for files in both(&folder.serve()) {
        for kind in ["pipe", "folder", "way out", "nothing", "file"] {
            let visit = Visit::of(&files.jail);
            assert!(visit.metadata("./f".into()).await.unwrap().regular);
            std::fs::remove_file(&path).unwrap();
            match kind {
                "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
                "folder" => std::fs::create_dir(&path).unwrap(),
                "way out" => symlink("../out/secret", &path).unwrap(),
                "file" => std::fs::write(&path, "another").unwrap(),
                _ => {}
            }
            let opened = visit.open("./f".into()).await;
            match (kind, opened) {
                ("file", Ok(opened)) => assert_eq!(io::read_to_string(&*opened.file).unwrap(), "another"),
                (_, Err(error)) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{kind}"),
                (_, Ok(_)) => panic!("a {kind} was opened"),
            }
            let _ = (std::fs::remove_file(&path), std::fs::remove_dir(&path));
            folder.write("f", "a file");
        }
    }
}

#[tokio::test]
async fn one_request_is_served_of_one_release() {
    let folder = Folder::new();
    folder.write("../one/a.txt", "one").write("../two/a.txt", "two");
    let current = folder.0.join("current");
    symlink("one", &current).unwrap();
    let files = StaticFiles::new(FilesOptions { root: current.clone(), ..folder.options() }).unwrap();
    let visit = Visit::of(&files.jail);
    if files.jail.tells().is_err() {
        return;
    }
    visit.metadata("./a.txt".into()).await.unwrap();
    std::fs::remove_file(&current).unwrap();
    symlink("two", &current).unwrap();
    let opened = visit.open("./a.txt".into()).await.unwrap();
    assert_eq!(io::read_to_string(&*opened.file).unwrap(), "one");
    assert_eq!(body(get(&files, "/a.txt", &[]).await).await, "two");
}

/// A client that takes three codings asks for three variants that mostly are not there.
#[tokio::test]
async fn what_is_not_there_is_known_without_a_thread() {
    let folder = Folder::new();
    let files = folder.serve();
    // Now the kernel knows.
    assert!(files.jail.resolve(Path::new("a.js.br"), READ).is_err());
    let mut asked = Visit::of(&files.jail).open("./a.js.br".into());
    let answer = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if files.jail.tells().is_ok() {
        let Poll::Ready(Err(error)) = answer else { panic!("a thread is asked") };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_root_may_be_turned_to_the_next_release_or_made_anew() {
    let folder = Folder::new();
    folder.write("../one/a.txt", "one").write("../two/a.txt", "two").write("../two/sub/b.txt", "b");
    let current = folder.0.join("current");
    symlink("one", &current).unwrap();
    let files = StaticFiles::new(FilesOptions { root: current.clone(), ..folder.options() }).unwrap();
    for files in both(&files) {
        std::fs::remove_file(&current).unwrap();
        symlink("one", &current).unwrap();
        assert_eq!(body(get(&files, "/a.txt", &[]).await).await, "one");
        std::fs::remove_file(&current).unwrap();
        // The operator has to hear of this one; it is no client's mistake.
        assert_eq!(refused(&files, "/a.txt").await, Some(Reason::InternalError));
        symlink("two", &current).unwrap();
        assert_eq!(body(get(&files, "/a.txt", &[]).await).await, "two");
        assert_eq!(body(get(&files, "/sub/b.txt", &[]).await).await, "b");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_cannot_be_read_is_not_there_and_the_log_says_so_once_a_second() {
    let folder = Folder::new();
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(log, || {
        let files = folder.serve();
        for _ in 0..100 {
            let denied: io::Result<()> = Err(Errno::ACCESS.into());
            let error = files.jail.settle(Path::new("./docs/locked.txt"), denied).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("path=docs/locked.txt"), "{text}");
}

#[test]
fn a_failure_of_ours_is_not_called_not_found() {
    let folder = Folder::new();
    let files = folder.serve();
    let settled = |errno: Errno| files.jail.settle::<()>(Path::new("./a"), Err(errno.into())).unwrap_err();
    for errno in [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP, Errno::XDEV, Errno::ACCESS] {
        assert_eq!(settled(errno).kind(), io::ErrorKind::NotFound, "{errno}");
    }
    for (errno, reason) in [
        (Errno::MFILE, Reason::Overloaded),
        (Errno::NFILE, Reason::Overloaded),
        (Errno::NOMEM, Reason::Overloaded),
        (Errno::IO, Reason::InternalError),
        (Errno::STALE, Reason::InternalError),
    ] {
        assert_eq!(super::super::failed(&settled(errno)).reason, reason, "{errno}");
    }
}
