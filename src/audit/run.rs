//! Runs cases group by group, and asks an honest request in between.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cases::{self, HONEST};
use super::target::{Baseline, LIMITED};
use super::wire::http2::H2;
use super::{Case, Finding, Http2, Options, Outcome, Report, Target, Url, Verdict};

/// Cases that run at a time.
const AT_A_TIME: usize = 16;
/// The same where they do little but wait.
const PATIENT: usize = 32;

/// What an audit tells while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A group begins, with so many cases.
    Group(&'a str, usize),
    /// A case has ended.
    Done(&'a Finding),
}

/// Why nothing could be audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(pub String);

/// The cases that are meant by names of groups and cases; all of them where there is no name.
///
/// # Errors
/// A name means nothing.
pub fn select(only: &[String]) -> Result<Vec<Case>, Unusable> {
    let all = cases::all();
    let means = |name: &str, case: &Case| case.name == name || case.group == name;
    if let Some(name) = only.iter().find(|name| !all.iter().any(|case| means(name, case))) {
        return Err(Unusable(format!("{name:?} is neither a case nor a group; --list names them")));
    }
    let wanted =
        |case: &Case| only.is_empty() || case.name == HONEST || only.iter().any(|name| means(name, case));
    Ok(all.into_iter().filter(wanted).collect())
}

/// Audits the server at `url`, whose host has these addresses.
///
/// # Errors
/// It cannot be reached, or does not answer an honest request with 200.
pub async fn run(
    url: &Url,
    addresses: Vec<SocketAddr>,
    options: Options,
    cases: Vec<Case>,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Report, Unusable> {
    let began = Instant::now();
    let (target, baseline) = reach(url, &addresses, &options).await?;
    let wants_http2 = cases.iter().any(|case| cases::is_http2(case.group));
    let http2 = if wants_http2 { speaks_http2(&target, &options).await? } else { None };

    let (honest, cases): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.name == HONEST);
    let mut findings: Vec<Finding> = Vec::new();
    let mut asked = 0;
    let mut ended: Option<Ended> = None;
    for group in groups(&cases) {
        let members: Vec<Case> = cases.iter().filter(|case| case.group == group).cloned().collect();
        progress(Progress::Group(group, members.len()));
        let reason = match ended {
            Some(ended) => Some(format!("honest requests {ended}")),
            None if cases::is_http2(group) && http2 != Some(true) => Some("HTTP/2 is not spoken".to_owned()),
            None => None,
        };
        if let Some(reason) = reason {
            let skip = |case| Finding { case, outcome: Outcome::skipped(&reason), took: Duration::ZERO };
            findings.extend(members.into_iter().map(skip));
            continue;
        }
        findings.extend(run_group(&target, baseline, members, &mut progress).await);
        asked += 1;
        ended = match honest_answer(&target, baseline).await {
            Honest::Served => None,
            other => Some(Ended { other, group }),
        };
    }
    findings.extend(honest.into_iter().map(|case| Finding {
        case,
        outcome: honest_outcome(asked, ended),
        took: Duration::ZERO,
    }));
    let cut_off = ended.map(|ended| ended.to_string());
    let url = format!("{}://{}", target.scheme(), url.authority);
    Ok(Report { url, addresses, http2, cut_off, findings, took: began.elapsed() })
}

/// What came of an honest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Honest {
    /// It was answered as before.
    Served,
    /// It was answered in another way.
    Refused(u16),
    /// It was not answered.
    Silent,
}

/// Why an audit was not taken to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) other: Honest,
    pub(super) group: &'static str,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.other {
            Honest::Refused(status) => write!(f, "are answered {status}")?,
            Honest::Silent | Honest::Served => f.write_str("are no longer answered")?,
        }
        write!(f, " since the group {}", self.group)
    }
}

pub(super) fn honest_outcome(asked: usize, ended: Option<Ended>) -> Outcome {
    match ended {
        None => Outcome::held(format!("answered after each of {asked} groups")),
        Some(ended @ Ended { other: Honest::Refused(LIMITED), .. }) => Outcome::unclear(format!(
            "honest requests {ended}: take the address of this audit out of the rate limit"
        )),
        Some(ended) => Outcome::open(format!(
            "honest requests {ended}: what follows was not tried, and what that group found is void"
        )),
    }
}

fn groups(cases: &[Case]) -> Vec<&'static str> {
    let mut groups: Vec<&'static str> = cases.iter().map(|case| case.group).collect();
    groups.dedup();
    groups
}

/// The first address that takes a connection, and how it answers honest requests.
async fn reach(
    url: &Url,
    addresses: &[SocketAddr],
    options: &Options,
) -> Result<(Target, Baseline), Unusable> {
    let mut problem = format!("{} has no address", url.authority);
    for address in addresses {
        let target = Target::new(*address, &url.authority, options.clone());
        match target.connect().await {
            Err(error) => problem = format!("{address}: {}", error.0),
            Ok(conn) => {
                drop(conn);
                let baseline = baseline(&target).await?;
                return Ok((target, baseline));
            }
        }
    }
    Err(Unusable(problem))
}

async fn baseline(target: &Target) -> Result<Baseline, Unusable> {
    let target = target.for_case(Baseline::default());
    let path = target.path();
    let get = match cases::ask(&target, target.get()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(none)) => return Err(Unusable(format!("GET {path}: {}", cases::no_answer(&none)))),
        Err(outcome) => return Err(Unusable(outcome.what)),
    };
    if get.status != 200 {
        return Err(Unusable(format!(
            "GET {path} was answered {}; name a path by --path that answers 200",
            get.status
        )));
    }
    let post = cases::ask(&target, target.post("Content-Length: 5\r\n") + "hello").await;
    let post = post.ok().and_then(Result::ok).map_or(0, |answer| answer.status);
    Ok(Baseline { get: get.status, post, body: get.length })
}

async fn speaks_http2(target: &Target, options: &Options) -> Result<Option<bool>, Unusable> {
    if options.http2 == Http2::Off {
        return Ok(None);
    }
    let spoken = H2::open(&target.for_case(Baseline::default()).of_http2(true)).await.is_ok();
    if !spoken && options.http2 == Http2::On {
        let how = if options.tls.is_some() { "by ALPN" } else { "by prior knowledge" };
        return Err(Unusable(format!("HTTP/2 {how} is not spoken")));
    }
    Ok(Some(spoken))
}

/// Runs the cases of a group, as many at a time as it may, and puts what they found in order.
async fn run_group(
    target: &Target,
    baseline: Baseline,
    members: Vec<Case>,
    progress: &mut impl FnMut(Progress<'_>),
) -> Vec<Finding> {
    let group = members.first().map_or("", |case| case.group);
    let most = match group {
        group if cases::is_alone(group) => 1,
        group if cases::is_patient(group) => PATIENT,
        _ => AT_A_TIME,
    };
    // More than any case takes by itself.
    let wall = target.timeout() * 3 + Duration::from_secs(60);
    let mut waiting = members.into_iter().enumerate();
    let mut running: JoinSet<(usize, Finding)> = JoinSet::new();
    let mut found: Vec<(usize, Finding)> = Vec::new();
    loop {
        while running.len() < most {
            let Some((place, case)) = waiting.next() else { break };
            let target = target.for_case(baseline).of_http2(cases::is_http2(group));
            running.spawn(async move {
                let began = Instant::now();
                let act = (case.act)(target.clone());
                let outcome = match tokio::time::timeout(wall, act).await {
                    Ok(outcome) if target.was_limited() && !cases::counts_requests(group) => {
                        Outcome::unclear(format!("{}; 429 came in place of an answer", outcome.what))
                    }
                    Ok(outcome) if case.tolerated => outcome.at_most_unclear(),
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::unclear("given up: it took too long"),
                };
                (place, Finding { case, outcome, took: began.elapsed() })
            });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((place, finding))) => {
                progress(Progress::Done(&finding));
                found.push((place, finding));
            }
            // A case does not panic; if one does, the others go on.
            Some(Err(_)) => {}
        }
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, finding)| finding).collect()
}

/// What comes of an honest request, at once or a little later.
async fn honest_answer(target: &Target, baseline: Baseline) -> Honest {
    let mut honest = Honest::Silent;
    for _ in 0..2 {
        let target = target.for_case(baseline);
        honest = match cases::ask(&target, target.get()).await {
            Ok(Ok(answer)) if answer.status == baseline.get => return Honest::Served,
            Ok(Ok(answer)) => Honest::Refused(answer.status),
            _ => Honest::Silent,
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    honest
}

impl Report {
    /// Whether nothing was found open.
    pub fn held(&self) -> bool {
        self.count(Verdict::Open) == 0
    }
}
