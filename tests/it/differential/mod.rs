//! The same bytes to Nessen, and through nginx, HAProxy and Node before or behind it.
//!
//! Two programs in a row that read the end of a request differently are request smuggling, whoever
//! of them is right. So each case is sent along several ways with canaries right behind it, and what
//! came to the end of each way, under which id, in how many requests and with which body, is laid
//! side by side. Who refuses may differ; what is accepted may not.

mod chain;
mod generate;
mod judge;
mod observe;
mod peers;
mod words;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chain::Chain;
use judge::{Harmless, Run};
use peers::Kind;

use crate::support::say;

/// The generated cases are the same in each run, unless `NESSEN_SEED` says otherwise.
const SEED: u64 = 20_261_121;

/// All cases, by name, and how Nessen by itself takes them.
struct Direct {
    cases: Vec<(String, Vec<u8>)>,
    run: Run,
}

fn direct() -> &'static Direct {
    static DIRECT: OnceLock<Direct> = OnceLock::new();
    DIRECT.get_or_init(|| {
        let seed = std::env::var("NESSEN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
        let count = if std::env::var_os("NESSEN_LONG").is_some() { 20_000 } else { 2_000 };
        let tables = crate::framing::requests().into_iter().map(|(name, raw)| (name.to_owned(), raw));
        let inside = crate::proxy::smuggling::requests();
        let mut cases: Vec<_> = tables.chain(inside).collect();
        cases.extend(generate::requests(seed, cases.len(), count));
        let chain = Chain::direct();
        let began = Instant::now();
        let (observed, bystanders) = chain.run(&cases);
        assert!(bystanders.is_empty(), "{bystanders:#?}");
        let run = Run::new(&chain, &cases, &observed);
        assert!(run.faults().is_empty(), "{}", list(run.faults()));
        say(&format!(
            "differential: NESSEN_SEED={seed}, {} cases, {} of them served whole, in {:?}",
            cases.len(),
            run.whole,
            began.elapsed()
        ));
        Direct { cases, run }
    })
}

fn list(faults: &[String]) -> String {
    format!("{} faults:\n{}", faults.len(), faults[..faults.len().min(20)].join("\n"))
}

/// Runs so many of the cases along the chain; what is wrong, and what is merely different.
fn compare(name: &str, chain: &Chain, count: usize) -> Vec<String> {
    let direct = direct();
    let cases = &direct.cases[..count.min(direct.cases.len())];
    let began = Instant::now();
    let (observed, bystanders) = chain.run(cases);
    let mut faults = bystanders;
    // The last lines of a log are written after the last answers.
    let deadline = Instant::now() + Duration::from_secs(3);
    let told = loop {
        let told = judge::hop(chain);
        if told.is_empty() || Instant::now() > deadline {
            break told;
        }
        crate::support::pause(100);
    };
    faults.extend(told);
    let run = Run::new(chain, cases, &observed);
    faults.extend_from_slice(run.faults());
    let mut harmless = Harmless::default();
    faults.extend(direct.run.differences(&run, cases, &mut harmless));
    say(&format!(
        "differential: {name}: {} cases, {} served whole, {} faults, in {:?}",
        cases.len(),
        run.whole,
        faults.len(),
        began.elapsed()
    ));
    for line in harmless.lines() {
        say(&format!("  {line}"));
    }
    // Refusing everything would be no difference, and no test.
    assert!(run.whole > cases.len() / 20, "only {} cases were served whole", run.whole);
    faults
}

#[track_caller]
fn assert_alike(name: &str, chain: Option<Chain>) {
    let Some(chain) = chain else { return };
    let faults = compare(name, &chain, usize::MAX);
    assert!(faults.is_empty(), "{}", list(&faults));
}

#[test]
fn nginx_in_front_frames_alike() {
    assert_alike("nginx in front", Chain::behind(Kind::Nginx));
}

#[test]
fn haproxy_in_front_frames_alike() {
    assert_alike("HAProxy in front", Chain::behind(Kind::Haproxy));
}

#[test]
fn nginx_behind_frames_alike() {
    assert_alike("nginx behind", Chain::before(Kind::Nginx));
}

#[test]
fn haproxy_behind_frames_alike() {
    assert_alike("HAProxy behind", Chain::before(Kind::Haproxy));
}

#[test]
fn node_behind_frames_alike() {
    assert_alike("Node behind", Chain::before(Kind::Node));
}

#[test]
fn a_front_that_frames_wrongly_is_found() {
    // The judge itself on trial: nginx, told to say that no request has a body.
    let Some(chain) = Chain::behind(Kind::BrokenNginx) else { return };
    let faults = compare("nginx that frames wrongly", &chain, 600);
    assert!(faults.iter().any(|fault| fault.contains("sent by nobody")), "{}", list(&faults));
    assert!(faults.iter().any(|fault| fault.contains("but\n")), "{}", list(&faults));
}
