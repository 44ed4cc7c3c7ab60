//! Two readers of the same bytes: what they may differ in, and what they must not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::chain::{Chain, Parsed};
use super::observe::Observed;
use super::peers::Line;
use crate::support::http1::End;

/// What one answer tells of the request that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It came through, and was parsed as this.
    Served(Parsed),
    /// It was refused on the way: by Nessen with its code, or by somebody else.
    Refused(u16, String),
}

/// Differences that harm nobody, by what they are: how many there were, and one of them.
#[derive(Default)]
pub(super) struct Harmless(BTreeMap<String, (usize, String)>);

impl Harmless {
    fn note(&mut self, what: String, case: &str) {
        self.0.entry(what).or_insert_with(|| (0, case.to_owned())).0 += 1;
    }

    /// As lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(what, (count, case)): (&String, &(usize, String))| {
            format!("{count:5} × {what}, such as {case}")
        };
        self.0.iter().map(line).collect()
    }
}

/// A run along a chain, in steps.
pub(super) struct Run {
    steps: Vec<Vec<Step>>,
    faults: Vec<String>,
    /// Cases of which all was served.
    pub(super) whole: usize,
}

impl Run {
    /// Brings together what the client saw and what came to the end of the way.
    pub(super) fn new(chain: &Chain, cases: &[(String, Vec<u8>)], observed: &[Observed]) -> Self {
        let parsed: HashMap<String, Parsed> = chain.parsed().into_iter().collect();
        let mut run = Self { steps: Vec::new(), faults: Vec::new(), whole: 0 };
        for (number, (seen, (name, _))) in observed.iter().zip(cases).enumerate() {
            let mut steps = Vec::new();
            for answer in &seen.answers {
                if answer.field("x-upstream").is_empty() {
                    steps.push(Step::Refused(answer.status, answer.code()));
                    continue;
                }
                let id = answer.field("x-request-id");
                let Some(request) = parsed.get(id) else {
                    run.faults.push(format!("{name}: an answer to {id:?}, which nobody asked: {answer:?}"));
                    continue;
                };
                if answer.field("x-token") != request.token {
                    run.faults.push(format!("{name}: answered as {request:?}: {answer:?}"));
                }
                steps.push(Step::Served(request.clone()));
            }
            run.faults.extend(strangers(&steps, number).map(|fault| format!("{name}: {fault}")));
            // nginx knows HTTP/0.9, whose answers have no head.
            if !seen.rest.is_empty() && !seen.rest.starts_with(['{', '<']) {
                run.faults.push(format!("{name}: behind {steps:?} came {:?}", seen.rest));
            }
            if seen.end == End::Open {
                run.faults.push(format!("{name}: neither answered nor closed, after {steps:?}"));
            }
            run.whole +=
                usize::from(matches!(steps.last(), Some(Step::Served(last)) if is(last, "last", number)));
            run.steps.push(steps);
        }
        run
    }

    /// What is wrong with this run by itself.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// What must not be different between this run and one along another way.
    pub(super) fn differences(
        &self,
        other: &Self,
        cases: &[(String, Vec<u8>)],
        harmless: &mut Harmless,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, (name, raw)) in cases.iter().enumerate() {
            let (ours, theirs) = (&self.steps[number], &other.steps[number]);
            let differ = ours.iter().zip(theirs).position(|(our, their)| !alike(our, their));
            let canary = |steps: &[Step]| {
                steps.iter().position(|step| matches!(step, Step::Served(one) if is(one, "canary", number)))
            };
            let moved = matches!((canary(ours), canary(theirs)), (Some(one), Some(two)) if one != two);
            if moved
                || differ
                    .is_some_and(|at| matches!((&ours[at], &theirs[at]), (Step::Served(_), Step::Served(_))))
            {
                let raw = raw.escape_ascii();
                faults.push(format!("{name}: direct\n  {ours:?}\nbut\n  {theirs:?}\nof\n  {raw}"));
                continue;
            }
            match differ.map(|at| (&ours[at], &theirs[at])) {
                Some((Step::Refused(status, code), Step::Served(_))) => {
                    harmless.note(format!("refused with {status} {code} by Nessen alone"), name);
                }
                // Whoever waits for more than was sent, or loses the connection, has framed it otherwise.
                Some((Step::Served(_), Step::Refused(status @ (408 | 502 | 504), code))) => {
                    faults.push(format!("{name}: {status} {code} along this way, of {}", raw.escape_ascii()));
                }
                Some((Step::Served(_), Step::Refused(status, code))) => {
                    harmless.note(format!("refused with {status} {code} along this way alone"), name);
                }
                _ if ours.len() > theirs.len() => {
                    harmless.note("closed earlier along this way".to_owned(), name)
                }
                _ if ours.len() < theirs.len() => harmless.note("closed earlier by Nessen".to_owned(), name),
                _ => {}
            }
        }
        faults
    }
}

/// Whether two steps tell the same request, or two refusals.
fn alike(one: &Step, other: &Step) -> bool {
    match (one, other) {
        (Step::Served(one), Step::Served(other)) => {
            // The port of the scheme is no other host; where the client named none, it is the upstream's own.
            let host = |parsed: &Parsed| {
                let host = parsed.host.trim_end_matches(":80").trim_end_matches('.');
                if host.starts_with("127.0.0.1:") { String::new() } else { host.to_owned() }
            };
            let same = Parsed { host: String::new(), ..one.clone() }
                == Parsed { host: String::new(), ..other.clone() };
            same && host(one) == host(other)
        }
        (Step::Refused(..), Step::Refused(..)) => true,
        _ => false,
    }
}

fn is(parsed: &Parsed, what: &str, number: usize) -> bool {
    parsed.target == format!("/{what}/{number}") && parsed.token == format!("{what}-{number}")
}

/// Requests of another connection, canaries twice or out of order, or anything behind the last one.
fn strangers(steps: &[Step], number: usize) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    let mut canaries = 0;
    for (at, step) in steps.iter().enumerate() {
        let Step::Served(request) = step else { continue };
        let mut parts = request.target.trim_start_matches('/').split('/');
        let (what, whose) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if matches!(what, "canary" | "last" | "smuggled")
            && whose.parse().is_ok_and(|whose: usize| whose != number)
        {
            faults.push(format!("the answer to {request:?}, of another client"));
        }
        canaries += usize::from(what == "canary");
        if canaries > 1 {
            faults.push("the canary twice".to_owned());
        }
        if what == "last" && at + 1 != steps.len() {
            faults.push(format!("{:?} behind the last answer", &steps[at + 1..]));
        }
    }
    faults.into_iter()
}

/// What the two of a hop tell differently: what was sent must be what was received, once each.
pub(super) fn hop(chain: &Chain) -> Vec<String> {
    let (sent, received) = chain.hop();
    let mut faults = Vec::new();
    let by_id: HashMap<&str, &Line> = sent.iter().map(|line| (line.id.as_str(), line)).collect();
    // What could not be parsed has no id but the one in the answer that it was given.
    let answered: HashSet<&str> = sent.iter().map(|line| line.answered.as_str()).collect();
    let mut seen = HashSet::new();
    let mut nameless = Vec::new();
    for line in &received {
        if line.id.is_empty() {
            nameless.push(line);
            continue;
        }
        if !seen.insert(line.id.as_str()) {
            faults.push(format!("received twice: {line:?}"));
        }
        match by_id.get(line.id.as_str()) {
            Some(sent) if line.status < 400 && !same(sent, line) => {
                faults.push(format!("sent as {sent:?}, received as {line:?}"));
            }
            Some(sent) if chain.has_front() && sent.whole && line.answered.ends_with("_timeout") => {
                faults.push(format!("sent whole, and waited for: {sent:?}, {line:?}"));
            }
            Some(_) => {}
            // Refused before it was read, by a server that does not know its id.
            None if chain.has_front() && line.method.is_empty() && !answered.contains(line.id.as_str()) => {
                nameless.push(line);
            }
            None if answered.contains(line.id.as_str()) => {}
            None => faults.push(format!("received, and sent by nobody: {line:?}")),
        }
    }
    // A head that was refused before its id was read is one that was sent, and answered with this.
    let refused = |line: &&Line| line.status >= 400 && !seen.contains(line.id.as_str());
    let (named, refused) = (nameless.len(), sent.iter().filter(refused).count());
    if named > refused {
        faults.push(format!(
            "{named} received without an id, and only {refused} sent that may be them: {nameless:#?}"
        ));
    }
    for line in sent.iter().filter(|line| !line.answered.is_empty() && !is_probe(line)) {
        let lost = !seen.contains(line.answered.as_str());
        let twice = line.answered != line.id && seen.contains(line.id.as_str());
        if chain.has_front() && (lost || twice) {
            faults.push(format!("answered with somebody else's answer: {line:?}"));
        }
    }
    let mut ids = HashSet::new();
    for (id, parsed) in chain.parsed() {
        if !ids.insert(id.clone()) {
            faults.push(format!("came to the upstream twice: {id} {parsed:?}"));
        }
        if !by_id.contains_key(id.as_str()) {
            faults.push(format!("came to the upstream, and was sent by nobody: {id} {parsed:?}"));
        }
    }
    faults.extend(chain.unreadable().into_iter().map(|fault| format!("not readable: {fault}")));
    faults
}

/// Probes are answered without a line in the log.
fn is_probe(line: &Line) -> bool {
    path(&line.target).starts_with("/health")
}

/// Whether two lines tell the same method and target, as far as they tell them.
fn same(one: &Line, other: &Line) -> bool {
    let (first, second) = (path(&one.target), path(&other.target));
    // Long ones are cut short in logs, by each in its own way.
    let told = first.len().min(second.len()).min(1000);
    let whole = first.len() == second.len() || told == 1000;
    one.method == other.method && whole && first.as_bytes()[..told] == second.as_bytes()[..told]
}

/// The target in origin form.
fn path(target: &str) -> String {
    let behind =
        target.split_once("://").map(|(_, rest)| rest.find(['/', '?']).map_or("/", |at| &rest[at..]));
    let path = behind.unwrap_or(target).split('#').next().unwrap_or_default();
    if path.starts_with(['/', '*']) { path.to_owned() } else { format!("/{path}") }
}
