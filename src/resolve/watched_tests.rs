use std::collections::VecDeque;

use tokio::time::{Instant, advance};

use super::*;

const LONGEST: Duration = Duration::from_secs(30);

type Script = Arc<Mutex<(VecDeque<Result<Addresses, ResolveError>>, Vec<Instant>)>>;

fn good(last: u8, ttl: u64) -> Result<Addresses, ResolveError> {
    Ok(Addresses { addresses: vec![IpAddr::from([192, 0, 2, last])], ttl: Duration::from_secs(ttl) })
}

fn bad() -> Result<Addresses, ResolveError> {
    Err(ResolveError { host: "app".into(), failure: Failure::NoAnswer })
}

/// Answers in turn, the last for ever; and when it was asked.
fn watched(answers: impl IntoIterator<Item = Result<Addresses, ResolveError>>) -> (Watched, Script) {
    let script: Script = Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new())));
    let lookup = {
        let script = script.clone();
        move || {
            let mut script = script.lock().unwrap();
            script.1.push(Instant::now());
            let last = script.0.len() == 1;
            let answer = if last { script.0.front().cloned() } else { script.0.pop_front() };
            std::future::ready(answer.unwrap())
        }
    };
    (Watched::with("app".into(), LONGEST, lookup), script)
}

/// Seconds between one lookup and the next.
fn gaps(script: &Script) -> Vec<u64> {
    script.lock().unwrap().1.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

fn is_at(watched: &Watched, last: u8) -> bool {
    matches!(watched.current(), Some(Ok(addresses)) if *addresses == [IpAddr::from([192, 0, 2, last])])
}

#[tokio::test(start_paused = true)]
async fn the_ttl_decides_when_it_is_asked_again() {
    let (mut watched, script) = watched([good(1, 7), good(1, 0), good(2, 3600), good(2, 3600), good(3, 1)]);
    assert_eq!(watched.current(), None);
    watched.changed().await;
    assert!(is_at(&watched, 1));
    watched.changed().await;
    assert!(is_at(&watched, 2));
    watched.changed().await;
    assert!(is_at(&watched, 3));
    assert_eq!(gaps(&script), [7, 1, 30, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_takes_no_addresses_away() {
    let (mut watched, script) = watched([good(1, 5), bad(), bad(), bad(), good(2, 5)]);
    watched.changed().await;
    watched.changed().await;
    assert!(is_at(&watched, 2), "{:?}", watched.current());
    assert_eq!(gaps(&script), [5, 1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_told_and_the_back_off_is_bounded() {
    let (mut watched, script) = watched([bad()]);
    watched.changed().await;
    assert_eq!(watched.current().unwrap().unwrap_err().to_string(), "app: the name servers did not answer");
    let more = tokio::time::timeout(Duration::from_secs(120), watched.changed()).await;
    assert!(more.is_err(), "the same failure was told twice");
    assert_eq!(gaps(&script)[..7], [1, 2, 4, 8, 16, 30, 30]);
}

#[tokio::test(start_paused = true)]
async fn an_early_look_comes_at_once_but_once_a_second() {
    let (mut watched, script) = watched([good(1, 30), good(2, 30), good(3, 30)]);
    watched.changed().await;
    advance(Duration::from_secs(10)).await;
    for _ in 0..100 {
        watched.refresh();
    }
    watched.changed().await;
    assert!(is_at(&watched, 2));
    for _ in 0..100 {
        watched.refresh();
    }
    watched.changed().await;
    assert_eq!(gaps(&script), [10, 1]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_an_address_or_once_it_is_dropped() {
    let mut literal = Watched::spawn(Resolver::system(), "[2001:db8::1]".into(), LONGEST, || {});
    literal.changed().await;
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(&*literal.current().unwrap().unwrap(), [address]);
    assert!(tokio::time::timeout(LONGEST, literal.changed()).await.is_err());

    let (mut watched, script) = watched([good(1, 1)]);
    watched.changed().await;
    drop(watched);
    tokio::time::sleep(LONGEST).await;
    assert_eq!(script.lock().unwrap().1.len(), 1);
}

#[tokio::test]
async fn a_service_that_scales_is_followed() {
    use super::test_server::{DnsServer, Reply};
    let addresses = Arc::new(Mutex::new(vec![IpAddr::from([10, 0, 0, 1])]));
    let told = addresses.clone();
    let server = DnsServer::start(move |_| Reply::Addresses(told.lock().unwrap().clone(), 1)).await;
    let mut watched = Watched::spawn(Resolver::with_nameserver(server.address), "app".into(), LONGEST, || {});
    watched.changed().await;
    assert_eq!(watched.current().unwrap().unwrap().len(), 1);
    addresses.lock().unwrap().push(IpAddr::from([10, 0, 0, 2]));
    watched.changed().await;
    assert_eq!(watched.current().unwrap().unwrap().len(), 2);
}
