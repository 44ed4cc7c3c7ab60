use std::future::poll_fn;
use std::pin::Pin;

use http_body::Body as _;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::lifecycle::readiness::{Check, Readiness};
use crate::lifecycle::{Event, LifecycleWriter, begin};
use crate::telemetry::{BuildInfo, Metrics};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

fn page(checks: Vec<Check>) -> (LifecycleWriter, Page) {
    let (writer, lifecycle) = begin();
    writer.apply(Event::Listening);
    let build = BuildInfo::current();
    let metrics = Metrics::new(&[], build.clone());
    let readiness = Readiness::new(lifecycle.clone(), checks);
    let admin = Arc::new(AdminState { readiness, lifecycle, metrics, build, texts: Texts::default() });
    let row = SettingRow {
        key: HOSTILE.into(),
        value: HOSTILE.into(),
        origin: HOSTILE.into(),
        explicit: true,
        note: "",
    };
    let about = About { settings: Settings::new(vec![row]), cpus: 2.0, ..About::default() };
    (writer, Page::new(admin, about))
}

/// The beat of that second.
fn beat(page: &Page, second: u64) {
    page.beat_at(Instant::now() + Duration::from_secs(second), second);
}

async fn get(page: &Page, path: &str) -> Response<Body> {
    page.router().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(page: &Page, path: &str) -> String {
    String::from_utf8(get(page, path).await.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whatever_the_page_shows_is_text() {
    let check = Check::new(HOSTILE, || async { Err::<(), _>(HOSTILE) });
    let (_writer, page) = page(vec![check]);
    let readiness = page.0.admin.readiness.clone();
    let watch = tokio::spawn(async move { readiness.watch().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    watch.abort();
    let upstream = page.0.admin.metrics.upstream(HOSTILE);
    upstream.set_healthy(false);
    page.0.admin.metrics.sandbox([(HOSTILE, true)]);
    beat(&page, 7);
    let html = text(&page, "/").await;
    assert!(!html.contains("<img src=x"), "{html}");
    // The setting's three cells, the check's two, the upstream, and the label.
    assert_eq!(html.matches("&lt;img src=x onerror=alert(1)&gt;").count(), 7);
    assert!(html.contains("unhealthy") && html.contains("fails"));
}

#[tokio::test]
async fn pages_that_are_read_slowly_are_few() {
    let (_writer, page) = page(vec![]);
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut body = get(&page, "/").await.into_body();
        held.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let texts: std::collections::BTreeSet<_> = held.iter().map(|text| text.as_ptr()).collect();
    assert!(texts.len() <= 4, "{}", texts.len());
}

#[tokio::test]
async fn who_reads_slowly_misses_samples_and_holds_one() {
    let (_writer, page) = page(vec![]);
    let mut stream = get(&page, "/events").await.into_body();
    let mut next = async || {
        let frame = poll_fn(|cx| Pin::new(&mut stream).poll_frame(cx)).await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert!(next().await.contains("event: history"));
    for memory in 1..=100 {
        beat(&page, memory);
    }
    let event = next().await;
    assert!(event.contains("event: sample") && event.contains("\"m\":100,"), "{event}");
    beat(&page, 101);
    assert!(next().await.contains("\"m\":101,"));
}

#[tokio::test]
async fn a_stream_goes_on_while_the_server_drains_and_ends_when_it_stops() {
    let (writer, page) = page(vec![]);
    let mut stream = get(&page, "/events").await.into_body();
    assert!(stream.frame().await.is_some());
    writer.apply(Event::Terminate);
    beat(&page, 1);
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&frame).contains("\"phase\":\"Draining\""));
    writer.apply(Event::Drained);
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"event: end\n"));
    assert!(stream.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_samples_says_that_it_is_there() {
    let (_writer, page) = page(vec![]);
    let mut stream = get(&page, "/events").await.into_body();
    assert!(stream.frame().await.is_some());
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame, ": still here\n\n");
}

#[tokio::test]
async fn a_beat_that_nobody_watches_makes_no_text() {
    let (_writer, page) = page(vec![]);
    beat(&page, 1);
    assert!(page.0.frames.borrow().is_empty() && page.0.figures.lock().unwrap().is_none());
    assert!(page.0.history.last().is_some());
    // What the script is told is one line of JSON that it can read.
    let stream = get(&page, "/events").await.into_body();
    beat(&page, 2);
    let frame = page.0.frames.borrow().clone();
    drop(stream);
    let event = String::from_utf8(frame.to_vec()).unwrap();
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["sample"]["m"], &data["state"]["cpus"]), (&2.into(), &2.0.into()));
    assert!(!data["state"]["figures"].as_array().unwrap().is_empty());
}
