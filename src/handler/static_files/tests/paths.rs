//! What is found, what is not, and what is never served.

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn site() -> Folder {
    let folder = Folder::new();
    folder
        .write("index.html", "home")
        .write("a.txt", "a")
        .write("docs/index.html", "docs")
        .write("docs/a b.txt", "space")
        .write("empty/x/y", "y")
        .write("%2e%2e/x", "encoded twice")
        .write(".env", "secret")
        .write(".git/config", "secret")
        .write("docs/.htpasswd", "secret")
        .write(".well-known/security.txt", "contact")
        .write("docs/.well-known/x", "secret")
        .write("../beside.txt", "secret")
        .write("../other/secret.txt", "secret")
        .write("../site-too/secret.txt", "secret");
    folder
}

#[tokio::test]
async fn every_path_has_its_answer() {
    let folder = site();
    let long = format!("/{}", "n".repeat(300));
    // With `.zst` behind it, this one is too long, and alone it is not.
    let nearly = "m".repeat(253);
    folder.write(&nearly, "nearly");
    let nearly = format!("/{nearly}");
    let deep = "/d".repeat(3000);
    for files in both(&folder.serve()) {
        for (path, expected) in [
            ("/", "home"),
            ("/index.html", "home"),
            ("/a.txt", "a"),
            ("/%61.txt", "a"),
            ("/docs/", "docs"),
            ("/docs/a%20b.txt", "space"),
            ("/%252e%252e/x", "encoded twice"),
            ("/.well-known/security.txt", "contact"),
            (&nearly, "nearly"),
        ] {
            let response = ask(&files, Method::GET, path, &[("accept-encoding", "zstd, br, gzip")]).await;
            let response = response.unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(body(response).await, expected, "{path}");
        }
        for (path, reason) in [
            ("/nothing", Reason::NotFound),
            ("/a.txt/", Reason::NotFound),
            ("/a.txt/x", Reason::NotFound),
            ("/nothing/", Reason::NotFound),
            // No listing.
            ("/empty/", Reason::NotFound),
            ("/empty/x/", Reason::NotFound),
            ("/.env", Reason::NotFound),
            ("/%2Eenv", Reason::NotFound),
            ("/.git/config", Reason::NotFound),
            ("/.git/", Reason::NotFound),
            ("/docs/.htpasswd", Reason::NotFound),
            ("/docs/%2ehtpasswd", Reason::NotFound),
            ("/docs/.well-known/x", Reason::NotFound),
            (&long, Reason::NotFound),
            (&deep, Reason::NotFound),
            ("/../beside.txt", Reason::InvalidPath),
            ("/docs/../../beside.txt", Reason::InvalidPath),
            ("/%2e%2e/beside.txt", Reason::InvalidPath),
            ("/.%2e/beside.txt", Reason::InvalidPath),
            ("/..%2fbeside.txt", Reason::InvalidPath),
            ("/..%5cbeside.txt", Reason::InvalidPath),
            ("/..\\beside.txt", Reason::InvalidPath),
            ("/docs%2findex.html", Reason::InvalidPath),
            ("/a.txt%00", Reason::InvalidPath),
            ("/a.txt%00.html", Reason::InvalidPath),
            ("/%zz", Reason::InvalidPath),
            ("/%ff", Reason::InvalidPath),
            ("//", Reason::InvalidPath),
            ("//evil.example/..", Reason::InvalidPath),
            ("//docs", Reason::InvalidPath),
            ("/docs//index.html", Reason::InvalidPath),
        ] {
            assert_eq!(refused(&files, path).await, Some(reason), "{path}");
        }
    }
}

#[tokio::test]
async fn no_symlink_leads_out_of_the_root() {
    let folder = site();
    let (out, other) = (folder.0.join("beside.txt"), folder.0.join("other"));
    folder
        .link("absolute.txt", &out)
        .link("relative.txt", "../beside.txt")
        .link("folder", &other)
        .link("up", "..")
        // Begins with the root's own name, and is another folder.
        .link("like", folder.0.join("site-too"))
        .link("proc", "/proc/self/root")
        .link("chain", "relative.txt")
        .link("loop", "loop")
        .link("dangling", "nowhere")
        .write("plain.txt", "plain")
        .link("plain.txt.gz", &out)
        .link("plain.txt.br", &out)
        .write("page/keep", "")
        .link("page/index.html", &out);
    for files in both(&folder.serve()) {
        for path in [
            "/absolute.txt",
            "/relative.txt",
            "/folder/secret.txt",
            "/folder/",
            "/up/beside.txt",
            "/up/site/a.txt/../a.txt",
            "/like/secret.txt",
            "/proc/etc/passwd",
            "/chain",
            "/loop",
            "/dangling",
            "/page/",
            "/page/index.html",
        ] {
            let reason = refused(&files, path).await;
            assert!(matches!(reason, Some(Reason::NotFound | Reason::InvalidPath)), "{path}: {reason:?}");
        }
        let plain = get(&files, "/plain.txt", &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(field(&plain, "content-encoding"), "");
        assert_eq!(body(plain).await, "plain");
    }
}

#[tokio::test]
async fn a_symlink_that_stays_inside_works() {
    let folder = site();
    folder
        .link("relative.txt", "docs/../a.txt")
        .link("absolute.txt", folder.root().join("a.txt"))
        .link("out-and-in.txt", "../site/a.txt")
        .link("folder", folder.root().join("docs"))
        // As a ConfigMap is mounted.
        .write("..2026/c.txt", "config")
        .link("..data", "..2026")
        .link("c.txt", "..data/c.txt");
    for files in both(&folder.serve()) {
        for (path, expected) in [
            ("/relative.txt", "a"),
            ("/absolute.txt", "a"),
            ("/out-and-in.txt", "a"),
            ("/folder/", "docs"),
            ("/c.txt", "config"),
        ] {
            assert_eq!(body(get(&files, path, &[]).await).await, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_opened() {
    let folder = site();
    // Opening it would wait for a writer that never comes.
    mknodat(CWD, folder.root().join("fifo"), FileType::Fifo, Mode::from(0o644), 0).unwrap();
    mknodat(CWD, folder.root().join("a.txt.gz"), FileType::Fifo, Mode::from(0o644), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.root().join("socket")).unwrap();
    folder.link("device", "/dev/zero").write("page/index.html/x", "").write("a.txt.br/x", "");
    for files in both(&folder.serve()) {
        for path in ["/fifo", "/socket", "/device", "/fifo/", "/page/"] {
            assert_eq!(refused(&files, path).await, Some(Reason::NotFound), "{path}");
            let head = ask(&files, Method::HEAD, path, &[]).await;
            assert_eq!(head.unwrap_err().reason, Reason::NotFound, "{path}");
        }
        let accept = [("accept-encoding", "gzip, br")];
        let head = ask(&files, Method::HEAD, "/a.txt", &accept).await.unwrap();
        assert_eq!((field(&head, "content-length"), field(&head, "content-encoding")), ("1", ""));
        assert_eq!(body(get(&files, "/a.txt", &accept).await).await, "a");
    }
}

#[tokio::test]
async fn a_folder_without_its_slash_is_sent_to_itself() {
    let folder = site();
    let files = folder.serve();
    for (uri, below, expected) in [
        ("/docs", "/docs", "/docs/"),
        ("/docs?a=b", "/docs", "/docs/?a=b"),
        ("/static/docs?a", "/docs", "/static/docs/?a"),
        ("http://a.example/static/docs", "/docs", "/static/docs/"),
        ("/static", "", "/static/"),
        ("/static", "/", "/static/"),
        ("/%64ocs", "/%64ocs", "/%64ocs/"),
        // Where a route lets such a path come this far.
        ("//evil.example/docs", "/docs", "/evil.example/docs/"),
        ("///evil.example/docs", "/docs", "/evil.example/docs/"),
    ] {
        let request = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        let response = files.serve(&request, below).await.unwrap();
        assert_eq!(response.status(), 308, "{uri}");
        assert_eq!(field(&response, "location"), expected, "{uri}");
        assert_eq!(field(&response, "content-length"), "0");
    }
}

#[test]
fn it_can_be_awaited_on_any_worker() {
    fn travels<T: Send>(_: T) {}
    let (folder, request) = (site(), Request::new(()).into_parts().0);
    travels(folder.serve().serve(&request, "/"));
}

#[tokio::test]
async fn files_are_only_read() {
    let folder = site();
    let files = folder.serve();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let refusal = ask(&files, method, "/a.txt", &[]).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::MethodNotAllowed);
        assert_eq!(refusal.into_response("").headers()["allow"], "GET, HEAD");
    }
}

#[tokio::test]
async fn the_type_follows_the_extension_and_text_names_its_charset() {
    let folder = Folder::new();
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.PNG", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.unheardof", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ] {
        folder.write(name, "x");
        assert_eq!(field(&get(&folder.serve(), &format!("/{name}"), &[]).await, "content-type"), expected);
    }
}
