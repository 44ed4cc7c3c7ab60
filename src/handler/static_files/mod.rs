//! Files below a root, served by tower-http's `ServeDir`.
//!
//! `ServeDir` finds the file or its compressed variant, and knows ranges, tags and conditions.
//! Around it stands what it does not know: which names are served at all (`path`), that nothing
//! outside the root is (`jail`), If-Range and what is no range (`ask`), a file that changes while
//! it is sent (`content`), and that whatever fails is a `Refusal`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use rustix::io::Errno;
use tower_http::services::ServeDir;

use self::content::Content;
use self::jail::{Jail, Visit};
use self::opened::Opened;
use crate::body::file::FilePart;
use crate::refusal::{Reason, Refusal};

mod ask;
mod content;
mod jail;
mod opened;
pub(crate) mod path;
#[cfg(test)]
mod tests;

/// Parts from this size on may be sent without being read: what is smaller costs less in one write with the head.
const SENT: u64 = 32 * 1024;

/// What is served, and how.
#[derive(Debug, Clone)]
pub struct FilesOptions {
    /// The folder. A symlink here is followed anew each time, so that it can be turned to the next
    /// release.
    pub root: PathBuf,
    /// `Cache-Control` of files (200, 206, 304): not of redirects, refusals and the fallback.
    pub cache_control: Option<HeaderValue>,
    /// A file below the root, such as `index.html`, that answers 200 where no file does and the
    /// client takes a page: for applications that keep their routes in the browser. It always goes
    /// out with `Cache-Control: no-cache`: under an address of yesterday it must be today's.
    pub fallback: Option<String>,
    /// Serve `name.br`, `name.gz` or `name.zst` for `name` to who takes it. They have to be made
    /// together with `name`, which has to be there too.
    pub precompressed: bool,
}

/// The files of one root.
#[derive(Debug, Clone)]
pub struct StaticFiles {
    jail: Jail,
    cache_control: Option<HeaderValue>,
    /// As a path of a URL.
    fallback: Option<String>,
    precompressed: bool,
}

/// What `ServeDir` answers, with the file that it would read.
type Found = Response<Option<Opened>>;

impl StaticFiles {
    /// Fails where the root is no folder or the fallback no file in it.
    pub fn new(options: FilesOptions) -> io::Result<Self> {
        let FilesOptions { root, cache_control, fallback, precompressed } = options;
        let jail = Jail::new(&root)?;
        let fallback = match fallback {
            Some(name) => {
                let path = path::encode(&name);
                path::judge(&path)
                    .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal.detail))?;
                jail.expect_file(Path::new(name.trim_start_matches('/')))?;
                Some(path)
            }
            None => None,
        };
        Ok(Self { jail, cache_control, fallback, precompressed })
    }

    /// Answers with the file at `path`: the part below the route, beginning with `/`, still
    /// percent-encoded. The request's own URI is the whole one.
    pub async fn serve(&self, request: &Parts, path: &str) -> Result<Response<Body>, Refusal> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Refusal::new(Reason::MethodNotAllowed, "a file is only read")
                .field(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        // The route's own folder, asked for without its slash: links in its page would be read
        // against the folder above.
        if matches!(path, "" | "/") && !request.uri.path().ends_with('/') {
            return with_slash(request);
        }
        path::judge(path)?;
        if let Some(found) = self.find(request, path).await? {
            return self.answer(request, found, self.cache_control.as_ref());
        }
        let Some(fallback) = self.fallback.as_ref().filter(|_| ask::takes_page(&request.headers, path))
        else {
            return Err(not_found());
        };
        let found = self.find(request, fallback).await?.ok_or_else(not_found)?;
        self.answer(request, found, Some(&HeaderValue::from_static("no-cache")))
    }

    /// `None` where there is no such file.
    async fn find(&self, from: &Parts, path: &str) -> Result<Option<Found>, Refusal> {
        let request = ask::request(from, path)
            .ok_or_else(|| Refusal::new(Reason::InvalidPath, "the path is no path of a file"))?;
        let Some(range) = ask::range(from) else { return self.call(request).await };
        let with = |range| {
            let mut part = request.clone();
            part.headers_mut().insert(header::RANGE, range);
            part
        };
        let found = match self.call(with(range.clone())).await? {
            // The end of a file that is shorter is all of it (RFC 9110 section 14.1.2).
            Some(found) if found.status() == StatusCode::RANGE_NOT_SATISFIABLE && ask::is_end(&range) => {
                self.call(with(HeaderValue::from_static("bytes=0-"))).await?
            }
            found => found,
        };
        match found {
            Some(found) if is_no_part(&found) || !ask::is_current(&from.headers, found.headers()) => {
                self.call(request).await
            }
            found => Ok(found),
        }
    }

    async fn call(&self, request: http::Request<()>) -> Result<Option<Found>, Refusal> {
        // The jail is the root: `ServeDir` only ever sees what is below. It reads nothing, and needs no room to.
        let visit = Visit::of(&self.jail);
        let mut files = ServeDir::with_backend("", visit.clone())
            .with_buf_chunk_size(0)
            .ignore_multi_range_requests(true);
        if self.precompressed {
            files = files.precompressed_br().precompressed_gzip().precompressed_zstd();
        }
        match files.try_call(request).await {
            Ok(found) if found.status() == StatusCode::NOT_FOUND => Ok(None),
            Ok(found) => Ok(Some(found.map(|_| visit.opened()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    fn answer(
        &self,
        request: &Parts,
        found: Found,
        cache_control: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Refusal> {
        let (mut parts, opened) = found.into_parts();
        let headers = &mut parts.headers;
        match parts.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
                if let Some(value) = cache_control {
                    headers.insert(header::CACHE_CONTROL, value.clone());
                }
                if self.precompressed {
                    // On a 304 as on the 200 (RFC 9110 section 15.4.5).
                    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
                }
                name_charset(headers);
            }
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                return Ok(Response::from_parts(parts, Body::empty()));
            }
            StatusCode::TEMPORARY_REDIRECT => return with_slash(request),
            status => {
                tracing::error!(%status, "an answer of the file server that was not foreseen");
                return Err(Refusal::new(Reason::InternalError, "the file could not be served"));
            }
        }
        let size = headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        let body = match (size, opened) {
            (Some(size), Some(opened)) if request.method == Method::GET => {
                let part = Arc::new(FilePart::new(opened.file.clone(), opened.id(), opened.position(), size));
                if size >= SENT {
                    parts.extensions.insert(part.clone());
                }
                Body::new(Content::new(part))
            }
            _ => Body::empty(),
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// An empty file has no part: `ServeDir` answers with "bytes 0-0/0", which names a byte that is not
/// there.
fn is_no_part(found: &Found) -> bool {
    let size = found.headers().get(header::CONTENT_LENGTH);
    found.status() == StatusCode::PARTIAL_CONTENT && size.is_some_and(|size| size == "0")
}

/// The refusal for an error that has been logged. What makes a path no file is none of these.
fn failed(error: &io::Error) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            Refusal::new(Reason::Overloaded, "no file can be opened for now")
                .retry_after(Duration::from_secs(1))
        }
        _ => Refusal::new(Reason::InternalError, "the file could not be served"),
    }
}

fn not_found() -> Refusal {
    Refusal::new(Reason::NotFound, "no file answers to this path")
}

/// Sends the client to the folder it asked for, which is below the route as it knows it.
fn with_slash(request: &Parts) -> Result<Response<Body>, Refusal> {
    // A second slash in front would make the first segment a host.
    let path = request.uri.path().trim_start_matches(['/', '\\']);
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("/{path}/{query}"))
        .map_err(|_| Refusal::new(Reason::InvalidPath, "the path is no path of a folder"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// Text without a charset is read by the client's locale.
fn name_charset(headers: &mut HeaderMap) {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return };
    // What the table of types still calls it, against RFC 9239.
    let kind = if kind == "application/javascript" { "text/javascript" } else { kind };
    if kind.starts_with("text/")
        && !kind.contains(';')
        && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
}
