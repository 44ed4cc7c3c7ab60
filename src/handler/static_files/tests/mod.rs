//! A folder of files, asked.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;

use super::{FilesOptions, StaticFiles};
use crate::refusal::{Reason, Refusal};

mod conditions;
mod failures;
mod fallback;
mod paths;
mod variants;

/// Removed with everything in it at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("nessen-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("site")).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.join("site")
    }

    /// `name` is relative to the root; `../x` is beside it.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) -> &Self {
        symlink(target, self.root().join(name)).unwrap();
        self
    }

    fn serve(&self) -> StaticFiles {
        StaticFiles::new(self.options()).unwrap()
    }

    fn options(&self) -> FilesOptions {
        FilesOptions { root: self.root(), cache_control: None, fallback: None, precompressed: true }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same files with `openat2` and without.
fn both(files: &StaticFiles) -> [StaticFiles; 2] {
    let by_foot = StaticFiles::new(FilesOptions {
        root: files.jail.root().to_owned(),
        cache_control: files.cache_control.clone(),
        fallback: files.fallback.clone(),
        precompressed: files.precompressed,
    })
    .unwrap();
    by_foot.jail.go_by_foot();
    [files.clone(), by_foot]
}

async fn ask(
    files: &StaticFiles,
    method: Method,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Result<Response<Body>, Refusal> {
    let mut request = Request::builder().method(method).uri("/").body(()).unwrap();
    // A path that no URI can hold is judged all the same.
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    files.serve(&request.into_parts().0, path).await
}

async fn get(files: &StaticFiles, path: &str, fields: &[(&'static str, &str)]) -> Response<Body> {
    ask(files, Method::GET, path, fields).await.unwrap_or_else(|refusal| panic!("{path}: {refusal}"))
}

async fn refused(files: &StaticFiles, path: &str) -> Option<Reason> {
    ask(files, Method::GET, path, &[]).await.err().map(|refusal| refusal.reason)
}

async fn body(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn field<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
