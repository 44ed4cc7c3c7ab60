//! `/` of the admin port: the status page, for whoever looks after the server.
//!
//! HTML with all present values in tables; a script of ours, served from the same place, keeps them
//! current and draws what they were before. The samples come from [`History`] and go to every reader as the
//! same bytes, once a second ([`events`]). Nothing on the page changes anything, but that evidence can be
//! taken out.
//!
//! SECURITY: `Content-Security-Policy` allows what is served here and no more: no inline script, no inline
//! style, no frame. Texts are escaped here, and put in as texts by the script.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::map_request;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::sync::{Semaphore, watch};

use super::{AdminState, Texts};
use crate::evidence::Evidence;
use crate::exchange::Exchange;
use crate::refusal::{Reason, Refusal};
use crate::telemetry::History;
use crate::telemetry::metrics::ADMIN_ROUTES;
use figures::Figure;

mod events;
mod figures;
mod live;
mod settings;
mod tables;
mod text;

pub use settings::{SettingRow, Settings};

const SCRIPT: &str = include_str!("status.js");
const STYLE: &str = include_str!("status.css");
const ICON: &str = include_str!("icon.svg");

/// What the page may do in a browser.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Streams of events at a time: people who look on.
pub const MOST_STREAMS: usize = 16;

/// How old figures may be that are read from the text of the metrics, which can be long.
const FIGURES_FOR: Duration = Duration::from_secs(5);

/// What the page tells besides what [`AdminState`] knows.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The settings in force.
    pub settings: Settings,
    /// The most that clients can make the server hold, in bytes.
    pub memory_bound: u64,
    /// Memory that the process may use, where that is known.
    pub memory_limit: Option<u64>,
    /// CPUs that it may use.
    pub cpus: f64,
    /// What was refused, where it is kept.
    pub evidence: Option<Evidence>,
}

/// The page. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Page(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admin: Arc<AdminState>,
    about: About,
    history: History,
    frames: watch::Sender<Bytes>,
    streams: Arc<Semaphore>,
    texts: Texts,
    figures: Mutex<Option<(Instant, Arc<Vec<Figure>>)>>,
}

impl Page {
    /// A page about the server that `admin` knows.
    pub fn new(admin: Arc<AdminState>, about: About) -> Self {
        let history = History::new(&admin.metrics, Instant::now());
        Self(Arc::new(Inner {
            admin,
            about,
            history,
            frames: watch::Sender::new(Bytes::new()),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            texts: Texts::default(),
            figures: Mutex::new(None),
        }))
    }

    /// Takes a sample, and sends it to whoever reads along; to be called once a second. `memory` is what
    /// clients hold at this moment, in bytes.
    pub fn beat(&self, memory: u64) {
        self.beat_at(Instant::now(), memory);
    }

    fn beat_at(&self, now: Instant, memory: u64) {
        let inner = &self.0;
        let sample = inner.history.take(&inner.admin.metrics, now, SystemTime::now(), memory);
        let Some(sample) = sample else { return };
        if inner.frames.receiver_count() > 0 {
            inner.frames.send_replace(events::frame(inner, &sample));
        }
    }

    /// The page, its files and its events. Refusals carry their [`Refusal`] in the response's extensions.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/status.js", get(|headers| file(headers, "text/javascript; charset=utf-8", SCRIPT)))
            .route("/status.css", get(|headers| file(headers, "text/css; charset=utf-8", STYLE)))
            .route("/favicon.svg", get(|headers| file(headers, "image/svg+xml", ICON)))
            .route("/events", get(events::answer))
            .route_layer(map_request(labelled))
            .method_not_allowed_fallback(async || {
                let refusal =
                    Refusal::new(Reason::MethodNotAllowed, "the method is not allowed at this path");
                refused(refusal.field(header::ALLOW, HeaderValue::from_static("GET, HEAD")))
            })
            .with_state(self.clone())
    }
}

impl Inner {
    /// What the text of the metrics says, at most a few seconds ago.
    fn figures(&self) -> Arc<Vec<Figure>> {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        match &*figures {
            Some((at, known)) if at.elapsed() < FIGURES_FOR => known.clone(),
            _ => {
                let read = Arc::new(figures::read(&self.admin.metrics.render()));
                *figures = Some((Instant::now(), read.clone()));
                read
            }
        }
    }
}

/// Counts it with the endpoints of operators: an open page is no request of a client.
async fn labelled(request: Request) -> Request {
    let place = ADMIN_ROUTES.iter().position(|route| *route == "status_page");
    if let (Some(exchange), Some(place)) = (Exchange::of(&request), place) {
        exchange.set_route(u32::try_from(place + 1).unwrap_or(0));
    }
    request
}

async fn index(State(page): State<Page>) -> Response<Body> {
    // However many read it slowly, they hold a few of it.
    answer("text/html; charset=utf-8", "no-store", page.0.texts.take(|| text::render(&page.0)))
}

/// A file of ours. Asked for anew each time, and sent if it is another than the browser has: after an
/// update no old script meets a new page.
async fn file(headers: HeaderMap, content_type: &'static str, text: &'static str) -> Response<Body> {
    let tag = format!("\"{:016x}\"", fingerprint(text.as_bytes()));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    });
    let mut response = answer(content_type, "no-cache", if known { "" } else { text });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// FNV-1a, which tells versions of a file apart. Nobody gains anything from two that are alike.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn answer(content_type: &'static str, cache: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An outer layer answers, counts and logs it.
fn refused(refusal: Refusal) -> Response<Body> {
    let mut response = refusal.clone().into_response("").map(Body::from);
    response.extensions_mut().insert(refusal);
    response
}

#[cfg(test)]
mod tests;
