//! Files that were compressed beforehand.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::*;

#[tokio::test]
async fn the_client_gets_the_variant_it_prefers() {
    let folder = Folder::new();
    folder.write("a.js", "plain").write("a.js.br", "br").write("a.js.gz", "gz").write("a.js.zst", "zst");
    folder.write("b.js", "plain").write("b.js.gz", "gz");
    folder.write("docs/index.html", "plain").write("docs/index.html.gz", "gz");
    let files = folder.serve();
    for (path, accept, encoding, expected) in [
        ("/a.js", "", "", "plain"),
        ("/a.js", "gzip", "gzip", "gz"),
        ("/a.js", "gzip, br", "br", "br"),
        ("/a.js", "gzip, deflate, br, zstd", "zstd", "zst"),
        ("/a.js", "gzip;q=1, br;q=0.5", "gzip", "gz"),
        ("/a.js", "br;q=0, gzip;q=0.1", "gzip", "gz"),
        ("/a.js", "gzip;q=0", "", "plain"),
        ("/a.js", "identity, gzip;q=0.5", "", "plain"),
        // Nothing else is there: better than a 406.
        ("/a.js", "identity;q=0", "", "plain"),
        ("/a.js", "compress", "", "plain"),
        ("/b.js", "br, gzip", "gzip", "gz"),
        ("/b.js", "br", "", "plain"),
        ("/docs/", "gzip", "gzip", "gz"),
    ] {
        let response = get(&files, path, &[("accept-encoding", accept)]).await;
        assert_eq!(field(&response, "content-encoding"), encoding, "{path} {accept}");
        assert_eq!(field(&response, "vary"), "Accept-Encoding");
        let kind = if path == "/docs/" { "text/html" } else { "text/javascript" };
        assert_eq!(field(&response, "content-type"), format!("{kind}; charset=utf-8"));
        assert_eq!(body(response).await, expected, "{path} {accept}");
    }
    let plain = FilesOptions { precompressed: false, ..folder.options() };
    let response = get(&StaticFiles::new(plain).unwrap(), "/a.js", &[("accept-encoding", "br")]).await;
    assert_eq!((field(&response, "content-encoding"), field(&response, "vary")), ("", ""));
}

/// As a reproducible build leaves them: every time the same, and for once every size.
#[tokio::test]
async fn variants_of_one_time_and_size_have_tags_of_their_own() {
    let folder = Folder::new();
    for name in ["a.js", "a.js.br", "a.js.gz", "a.js.zst"] {
        folder.write(name, "same");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        File::options().write(true).open(folder.root().join(name)).unwrap().set_modified(time).unwrap();
    }
    let files = folder.serve();
    let mut tags = Vec::new();
    for accept in ["identity", "br", "gzip", "zstd"] {
        let response = get(&files, "/a.js", &[("accept-encoding", accept)]).await;
        assert_eq!(field(&response, "last-modified"), "Thu, 01 Jan 1970 00:00:01 GMT");
        let tag = field(&response, "etag").to_owned();
        let again = get(&files, "/a.js", &[("accept-encoding", accept), ("if-none-match", &tag)]).await;
        assert_eq!(again.status(), 304, "{accept}");
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "{tags:?}");
}
