//! Parts of files.

use super::{ask, get, serve};
use crate::support::folder::Folder;

#[test]
fn a_range_is_a_part() {
    let folder = Folder::new();
    folder.write("public/a.txt", "0123456789").write("public/empty.txt", "");
    let server = serve(&folder, &[]);
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = get(&server, "/a.txt", &[("Range", range)]);
        assert_eq!((answer.status, answer.field("content-range")), (206, Some(content_range)), "{range}");
        assert_eq!(answer.body, body.as_bytes(), "{range}");
        assert_eq!(ask(&server, "HEAD", "/a.txt", &[("Range", range)]).status, 200, "a range is of a GET");
    }
    for range in ["bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"] {
        let answer = get(&server, "/a.txt", &[("Range", range)]);
        assert_eq!((answer.status, answer.field("content-range")), (416, Some("bytes */10")), "{range}");
    }
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let answer = get(&server, "/empty.txt", &[("Range", range)]);
        assert!(matches!(answer.status, 200 | 416), "{range}: {answer:?}");
        assert_ne!(answer.field("content-range"), Some("bytes 0-0/0"));
    }
}

#[test]
fn many_ranges_cost_no_more_than_the_file() {
    let folder = Folder::new();
    let size = 100_000;
    folder.write("public/a.bin", vec![b'x'; size]);
    let server = serve(&folder, &[]);
    let ranges: Vec<String> = (0..1300).map(|from| format!("{from}-")).collect();
    for range in ["bytes=0-1,5-6".to_owned(), format!("bytes={}", ranges.join(","))] {
        let answer = get(&server, "/a.bin", &[("Range", &range)]);
        assert_eq!((answer.status, answer.body.len()), (200, size));
    }
    let twice = get(&server, "/a.bin", &[("Range", "bytes=0-1"), ("Range", "bytes=5-6")]);
    assert_eq!((twice.status, twice.body.len()), (200, size));
}

#[test]
fn a_download_goes_on_only_where_the_file_is_the_same() {
    let folder = Folder::new();
    folder.write("public/a.txt", "0123456789");
    let server = serve(&folder, &[]);
    let tag = get(&server, "/a.txt", &[]).field("etag").unwrap().to_owned();
    let go_on = || get(&server, "/a.txt", &[("Range", "bytes=5-"), ("If-Range", &tag)]);
    assert_eq!((go_on().status, go_on().body), (206, b"56789".to_vec()));
    folder.write("public/a.txt", "abcdefghijklm");
    assert_eq!((go_on().status, go_on().body), (200, b"abcdefghijklm".to_vec()));
}
