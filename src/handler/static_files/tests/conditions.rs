//! Conditional requests, ranges and HEAD.

use super::*;

const TEXT: &str = "0123456789";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("a.txt", TEXT).write("empty.txt", "");
    folder
}

async fn status(files: &StaticFiles, fields: &[(&'static str, &str)]) -> u16 {
    get(files, "/a.txt", fields).await.status().as_u16()
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let folder = folder();
    let files = folder.serve();
    let full = get(&files, "/a.txt", &[]).await;
    let (tag, date) = (field(&full, "etag"), field(&full, "last-modified"));
    let (weak, old) = (format!("W/{tag}"), "Thu, 01 Jan 2015 00:00:00 GMT");
    assert!(tag.starts_with('"') && date.ends_with("GMT"), "{tag} {date}");

    for fields in [
        [("if-none-match", tag)].as_slice(),
        &[("if-none-match", &weak)],
        &[("if-none-match", "*")],
        &[("if-none-match", &format!("\"x\", {tag}"))],
        &[("if-none-match", "\"x\""), ("if-none-match", tag)],
        &[("if-modified-since", date)],
        // The tag decides where both are sent.
        &[("if-none-match", tag), ("if-modified-since", old)],
    ] {
        let response = get(&files, "/a.txt", fields).await;
        assert_eq!(response.status(), 304, "{fields:?}");
        assert_eq!((field(&response, "etag"), field(&response, "last-modified")), (tag, date));
        assert_eq!(field(&response, "vary"), "Accept-Encoding");
        assert!(body(response).await.is_empty());
    }
    for (expected, fields) in [
        (200, [("if-none-match", "\"x\"")].as_slice()),
        (200, &[("if-none-match", "\"x\""), ("if-modified-since", date)]),
        (200, &[("if-modified-since", old)]),
        (200, &[("if-modified-since", "yesterday")]),
        (200, &[("if-match", tag)]),
        (200, &[("if-match", "*")]),
        (200, &[("if-match", "\"x\""), ("if-match", tag)]),
        (412, &[("if-match", "\"x\"")]),
        (412, &[("if-match", &weak)]),
        (412, &[("if-unmodified-since", old)]),
        (200, &[("if-unmodified-since", date)]),
    ] {
        assert_eq!(status(&files, fields).await, expected, "{fields:?}");
    }
    folder.write("a.txt", "another text");
    assert_eq!(status(&files, &[("if-none-match", tag)]).await, 200);
    assert_eq!(status(&files, &[("if-match", tag)]).await, 412);
}

#[tokio::test]
async fn a_range_is_a_part() {
    let folder = folder();
    for files in both(&folder.serve()) {
        for (range, content_range, expected) in [
            ("bytes=0-3", "bytes 0-3/10", "0123"),
            ("Bytes=0-3", "bytes 0-3/10", "0123"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=-11", "bytes 0-9/10", TEXT),
            ("bytes=-99999999999999999999999999", "bytes 0-9/10", TEXT),
            ("bytes=5-99", "bytes 5-9/10", "56789"),
        ] {
            let response = get(&files, "/a.txt", &[("range", range)]).await;
            assert_eq!(response.status(), 206, "{range}");
            assert_eq!(field(&response, "content-range"), content_range);
            assert_eq!(field(&response, "content-length"), expected.len().to_string());
            assert_eq!(body(response).await, expected);
        }
        for range in ["bytes=10-", "bytes=99-100", "bytes=5-3", "bytes=x", "bytes=-0"] {
            let response = get(&files, "/a.txt", &[("range", range)]).await;
            assert_eq!(response.status(), 416, "{range}");
            assert_eq!(field(&response, "content-range"), "bytes */10");
            assert_eq!(field(&response, "cache-control"), "");
            assert!(body(response).await.is_empty());
        }
        // Several at once would cost more than the file.
        for range in ["lines=0-1", "bytes=0-1,3-4", "bytes=0-,0-,0-,0-", "nonsense"] {
            let response = get(&files, "/a.txt", &[("range", range)]).await;
            assert_eq!((response.status().as_u16(), field(&response, "accept-ranges")), (200, "bytes"));
            assert_eq!(body(response).await, TEXT, "{range}");
        }
    }
}

#[tokio::test]
async fn an_empty_file_has_no_part() {
    let folder = Folder::new();
    let files = folder.write("empty.txt", "").serve();
    for range in ["bytes=0-", "bytes=0-0", "bytes=0-99", "bytes=-1", "bytes=1-", "bytes=-0"] {
        let response = get(&files, "/empty.txt", &[("range", range)]).await;
        match response.status().as_u16() {
            200 => assert_eq!(field(&response, "content-range"), "", "{range}"),
            status => {
                assert_eq!((status, field(&response, "content-range")), (416, "bytes */0"), "{range}");
            }
        }
        assert_eq!(body(response).await, "");
    }
}

#[tokio::test]
async fn a_download_goes_on_only_where_the_file_is_the_same() {
    let folder = folder();
    let files = folder.serve();
    let full = get(&files, "/a.txt", &[]).await;
    let (tag, date) = (field(&full, "etag"), field(&full, "last-modified"));
    for (condition, range, expected) in [
        (tag, "bytes=2-3", 206),
        (date, "bytes=2-3", 206),
        ("\"x\"", "bytes=2-3", 200),
        (&format!("W/{tag}"), "bytes=2-3", 200),
        ("Thu, 01 Jan 2015 00:00:00 GMT", "bytes=2-3", 200),
        // Not a part of what is there now, and not asked of it.
        ("\"x\"", "bytes=99-", 200),
        (tag, "bytes=99-", 416),
    ] {
        let response = get(&files, "/a.txt", &[("range", range), ("if-range", condition)]).await;
        assert_eq!(response.status(), expected, "{condition} {range}");
        if expected == 200 {
            assert_eq!(field(&response, "content-range"), "");
            assert_eq!(body(response).await, TEXT);
        }
    }
}

#[tokio::test]
async fn a_head_is_told_what_a_get_would_be() {
    let mut options = folder().options();
    let folder = folder();
    options =
        FilesOptions { root: folder.root(), cache_control: Some("max-age=60".parse().unwrap()), ..options };
    let files = StaticFiles::new(options).unwrap();
    for path in ["/a.txt", "/empty.txt"] {
        let (get, head) = (get(&files, path, &[]).await, ask(&files, Method::HEAD, path, &[]).await.unwrap());
        assert_eq!(get.headers(), head.headers());
        assert_eq!(field(&head, "cache-control"), "max-age=60");
        assert!(body(head).await.is_empty());
    }
    // A range is of a GET (RFC 9110 section 14.2).
    let head = ask(&files, Method::HEAD, "/a.txt", &[("range", "bytes=0-1")]).await.unwrap();
    assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "10"));
    let tag = field(&head, "etag");
    assert_eq!(ask(&files, Method::HEAD, "/a.txt", &[("if-none-match", tag)]).await.unwrap().status(), 304);
}
