use axum::extract::Request;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::lifecycle::readiness::Check;
use crate::lifecycle::{Event, begin};

fn state() -> WelcomeState {
    let (writer, lifecycle) = begin();
    writer.apply(Event::Listening);
    let build = BuildInfo::current();
    let check = Check::new("data<base>", || async { Ok::<(), String>(()) });
    let row = |key: &str, value: &str, reason| LimitRow {
        key: key.into(),
        value: value.into(),
        reason,
        help: "Bytes & more".into(),
    };
    WelcomeState {
        readiness: Readiness::new(lifecycle.clone(), vec![check]),
        lifecycle,
        metrics: Metrics::new(&[], build.clone()),
        limits: [
            row("limits.max_body_size", "1MiB", Some(Reason::BodyTooLarge)),
            row("limits.allowed_hosts", "<script>alert(1)</script>", None),
        ]
        .into(),
        build,
        admin: None,
    }
}

async fn send(state: WelcomeState, request: Request) -> (http::response::Parts, Bytes) {
    let (parts, body) = router(state).oneshot(request).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes())
}

async fn get(path: &str) -> (http::response::Parts, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = send(state(), request).await;
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_page_shows_state_limits_and_refusals_and_escapes_them() {
    let state = state();
    for _ in 0..1234 {
        state.metrics.rejected(Reason::BodyTooLarge);
    }
    state.metrics.rejected(Reason::InvalidHost);
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (parts, body) = send(state, request).await;
    let page = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    for expected in [
        "limits.<wbr>max_<wbr>body_<wbr>size",
        "1MiB",
        "1\u{202f}234",
        "Bytes &amp; more",
        "invalid_host",
        "&lt;script&gt;alert",
        "data&lt;base&gt;",
        "not ready",
    ] {
        assert!(page.contains(expected), "no {expected} in {page}");
    }
    // It has to work under `default-src 'self'`.
    for forbidden in ["<script", "<style", " style=", "onclick", "javascript:", "http://www"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
}

#[tokio::test]
async fn what_the_page_needs_is_served() {
    for (path, content_type) in
        [("/nessen.css?v=1", "text/css; charset=utf-8"), ("/favicon.svg", "image/svg+xml")]
    {
        let (parts, body) = get(path).await;
        assert_eq!(
            (parts.status, &parts.headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static(content_type))
        );
        assert!(!body.is_empty());
    }
}

#[tokio::test]
async fn echo_answers_with_the_body_and_its_type() {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::GET] {
        let request = Request::builder().method(method).uri("/echo").header("content-type", "text/x-y");
        let (parts, body) = send(state(), request.body(Body::from("hé\0llo")).unwrap()).await;
        assert_eq!(
            (parts.status, &parts.headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("text/x-y"))
        );
        assert_eq!(body, "hé\0llo");
    }
    let (parts, body) = send(state(), Request::post("/echo").body(Body::empty()).unwrap()).await;
    assert_eq!(parts.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert!(parts.status.is_success() && body.is_empty());
    let (parts, _) = get("/echo").await;
    assert_eq!(
        (parts.status, &parts.headers[header::ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("POST, PUT, PATCH, DELETE"))
    );
}

#[tokio::test]
async fn echo_refuses_what_ended_the_body() {
    for (error, reason) in [
        (axum::Error::new(Refusal::new(Reason::BodyTooSlow, "slow")), Reason::BodyTooSlow),
        (axum::Error::new(axum::Error::new(Refusal::new(Reason::BodyTimeout, "gap"))), Reason::BodyTimeout),
    ] {
        let body = Body::new(OneError(Some(error)));
        let (parts, _) = send(state(), Request::post("/echo").body(body).unwrap()).await;
        assert_eq!(parts.extensions.get::<Refusal>().unwrap().reason, reason);
        assert_eq!(Some(parts.status), reason.status());
    }
    // A request that was taken back is refused by nobody, and is no success either.
    let body = Body::new(OneError(Some(axum::Error::new(std::io::Error::other("reset")))));
    let (parts, _) = send(state(), Request::post("/echo").body(body).unwrap()).await;
    assert!(parts.extensions.get::<Refusal>().is_none() && parts.status == StatusCode::BAD_REQUEST);
}

/// A body that fails.
struct OneError(Option<axum::Error>);

impl http_body::Body for OneError {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::task::Poll::Ready(self.0.take().map(Err))
    }
}

#[tokio::test]
async fn a_badge_is_drawn_decoded_and_escaped() {
    let (parts, svg) = get("/badge/build%20%3Cb%3E/100%25%20%26%20ok.svg").await;
    assert_eq!(
        (parts.status, &parts.headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &HeaderValue::from_static("image/svg+xml"))
    );
    assert_eq!(parts.headers[header::CACHE_CONTROL], "public, max-age=300");
    assert!(svg.contains("<title>build &lt;b&gt;: 100% &amp; ok</title>"), "{svg}");
    assert!(!svg.contains("<b>") && !svg.contains("style"));
}

#[tokio::test]
async fn what_is_no_badge_is_not_found() {
    let long = "a".repeat(65);
    for path in [
        "/badge/a/b",
        "/badge/a/.svg",
        "/badge/%00/b.svg",
        "/badge/%1b/b.svg",
        "/badge/%ff/b.svg",
        "/badge/%4/b.svg",
        "/badge/%zz/b.svg",
        "/badge/a/b/c.svg",
        &format!("/badge/{long}/b.svg"),
        &format!("/badge/a/{long}.svg"),
    ] {
        let (parts, body) = get(path).await;
        assert_eq!(parts.status, StatusCode::NOT_FOUND, "{path}");
        assert!(body.contains("NOT_FOUND"), "{body}");
    }
    let (parts, _) = get(&format!("/badge/{}/b.svg", "%C3%A9".repeat(64))).await;
    assert_eq!(parts.status, StatusCode::OK);
}

#[tokio::test]
async fn refusals_are_problems_and_carry_their_reason() {
    let (parts, body) = get("/nothing/<here>".replace(['<', '>'], "_").as_str()).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(parts.extensions.get::<Refusal>().unwrap().reason, Reason::NotFound);
    assert!(!body.contains("here"), "nothing of the request is reflected");

    for path in ["/", "/nessen.css", "/badge/a/b.svg"] {
        let (parts, _) = send(state(), Request::post(path).body(Body::empty()).unwrap()).await;
        assert_eq!(parts.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(parts.extensions.get::<Refusal>().unwrap().reason, Reason::MethodNotAllowed);
        assert_eq!(parts.headers.get_all(header::ALLOW).iter().collect::<Vec<_>>(), ["GET, HEAD"], "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let (parts, body) = send(state(), Request::head("/").body(Body::empty()).unwrap()).await;
    assert!(parts.status.is_success() && body.is_empty());
}
