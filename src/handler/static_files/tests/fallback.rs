//! The page for addresses that only the application in the browser knows.

use super::*;

fn app(folder: &Folder) -> StaticFiles {
    folder.write("app.html", "app").write("a.js", "script").write(".env", "secret");
    StaticFiles::new(FilesOptions {
        fallback: Some("app.html".into()),
        cache_control: Some(HeaderValue::from_static("max-age=31536000")),
        ..folder.options()
    })
    .unwrap()
}

const PAGE: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

#[tokio::test]
async fn a_page_answers_where_no_file_does() {
    let folder = Folder::new();
    let files = app(&folder);
    let response = get(&files, "/user/7", &[PAGE]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(field(&response, "content-type"), "text/html; charset=utf-8");
    assert_eq!(field(&response, "cache-control"), "no-cache");
    let tag = field(&response, "etag").to_owned();
    assert_eq!(body(response).await, "app");
    assert_eq!(get(&files, "/user/8", &[PAGE, ("if-none-match", &tag)]).await.status(), 304);
    let head = ask(&files, Method::HEAD, "/user/7", &[PAGE]).await.unwrap();
    assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "3"));

    let file = get(&files, "/a.js", &[PAGE]).await;
    assert_eq!(field(&file, "cache-control"), "max-age=31536000");
    assert_eq!(body(file).await, "script");
}

#[tokio::test]
async fn it_is_no_answer_to_who_wants_data_or_what_is_hidden() {
    let folder = Folder::new();
    let files = app(&folder);
    let reason = |path: &'static str, accept: &'static str| {
        let files = files.clone();
        async move {
            ask(&files, Method::GET, path, &[("accept", accept)]).await.err().map(|refusal| refusal.reason)
        }
    };
    assert_eq!(reason("/user/7", "application/json").await, Some(Reason::NotFound));
    assert_eq!(reason("/lost.js", "*/*").await, Some(Reason::NotFound));
    assert_eq!(reason("/.env", PAGE.1).await, Some(Reason::NotFound));
    assert_eq!(reason("/../x", PAGE.1).await, Some(Reason::InvalidPath));
    assert_eq!(reason("/user/7", "*/*").await, None);
    let post = ask(&files, Method::POST, "/user/7", &[PAGE]).await.unwrap_err();
    assert_eq!(post.reason, Reason::MethodNotAllowed);
    std::fs::remove_file(folder.root().join("app.html")).unwrap();
    assert_eq!(reason("/user/7", PAGE.1).await, Some(Reason::NotFound));
    // Not even this way is anything else served.
    folder.write("../beside", "secret").link("app.html", "../beside");
    assert_eq!(reason("/user/7", PAGE.1).await, Some(Reason::NotFound));
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let folder = Folder::new();
    folder.write("file", "").write(".env", "").write("../beside", "").link("out", "../beside");
    let with = |root: &str, fallback: Option<&str>| {
        let root = folder.root().join(root);
        StaticFiles::new(FilesOptions { root, fallback: fallback.map(Into::into), ..folder.options() })
            .is_ok()
    };
    assert!(with("", None) && with("", Some("file")) && with("", Some("/file")));
    assert!(!with("nowhere", None) && !with("file", None));
    for fallback in ["", "nowhere", "../beside", "out", ".env", "a//b"] {
        assert!(!with("", Some(fallback)), "{fallback}");
    }
}
