//! What was found, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Case, Finding, Report, Verdict};
use crate::units::Time;

/// The table: a line for each case, and under what did not hold what was tried and what to change.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let width = report.findings.iter().map(|finding| finding.case.name.len()).max().unwrap_or(0);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:<8} {:<width$}  what happened", "verdict", "attack");
    for finding in &report.findings {
        let Finding { case, outcome, .. } = finding;
        let verdict = match outcome.verdict {
            Verdict::Open => "OPEN",
            other => other.label(),
        };
        let _ = writeln!(text, "{verdict:<8} {:<width$}  {}", case.name, outcome.what);
        if matches!(outcome.verdict, Verdict::Open | Verdict::Unclear) {
            let indent = width + 11;
            let _ = writeln!(text, "{:indent$}tried: {}", "", case.what);
            let _ = writeln!(text, "{:indent$}change: {}", "", advice(case));
        }
    }
    let counts = [Verdict::Held, Verdict::Open, Verdict::Unclear, Verdict::Skipped]
        .map(|verdict| format!("{} {}", report.count(verdict), verdict.label()));
    let _ = writeln!(
        text,
        "\n{}: {} cases in {:.0} s: {}",
        report.url,
        report.findings.len(),
        report.took.as_secs_f64(),
        counts.join(", ")
    );
    text
}

/// What to change, with the keys of Nessen that hold it.
pub fn advice(case: &Case) -> String {
    if case.keys.is_empty() {
        case.advice.to_owned()
    } else {
        format!("{} In Nessen: {}.", case.advice, case.keys.join(", "))
    }
}

/// All of it as JSON.
pub fn json(report: &Report) -> String {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|Finding { case, outcome, took }| {
            let found = json!({
                "verdict": outcome.verdict.label(),
                "happened": outcome.what,
                "took_ms": millis(*took),
            });
            let mut all = described(case);
            if let (Some(all), Value::Object(found)) = (all.as_object_mut(), found) {
                all.extend(found);
            }
            all
        })
        .collect();
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let value = json!({
        "url": report.url,
        "addresses": addresses,
        "http2": report.http2,
        "cut_off": report.cut_off,
        "took_ms": millis(report.took),
        "held": report.count(Verdict::Held),
        "open": report.count(Verdict::Open),
        "unclear": report.count(Verdict::Unclear),
        "skipped": report.count(Verdict::Skipped),
        "cases": findings,
    });
    format!("{value:#}\n")
}

fn millis(time: std::time::Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

fn described(case: &Case) -> Value {
    json!({
        "name": case.name,
        "group": case.group,
        "tried": case.what,
        "change": case.advice,
        "unclear_at_most": case.tolerated,
        "nessen_keys": case.keys,
    })
}

/// The cases by name, with what each tries.
pub fn list(cases: &[Case]) -> String {
    let width = |length: fn(&Case) -> usize| cases.iter().map(length).max().unwrap_or(0);
    let (groups, names) = (width(|case| case.group.len()), width(|case| case.name.len()));
    let line = |case: &Case| format!("{:<groups$}  {:<names$}  {}\n", case.group, case.name, case.what);
    cases.iter().map(line).collect()
}

/// The same as JSON.
pub fn list_json(cases: &[Case]) -> String {
    let cases: Vec<Value> = cases.iter().map(described).collect();
    format!("{:#}\n", Value::from(cases))
}

/// The same as the tables of `docs/probe.md`: what each group wants changed, and the cases.
pub fn markdown(cases: &[Case]) -> String {
    let mut changes: Vec<String> = Vec::new();
    let mut rows = String::new();
    for case in cases {
        let keys: Vec<String> = case.keys.iter().map(|key| format!("`{key}`")).collect();
        let change = format!("| {} | {} | {} |\n", case.group, case.advice, keys.join(", "));
        if !changes.contains(&change) {
            changes.push(change);
        }
        let mark = if case.tolerated { " ○" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "| {} | `{}`{mark} | {} |", case.group, case.name, case.what);
    }
    let changes = changes.concat();
    format!(
        "\n| group | what to change | in Nessen |\n|---|---|---|\n{changes}\n| group | case | what it does |\n|---|---|---|\n{rows}"
    )
}

/// A line for a case that has ended, for who looks on.
pub fn progress(finding: &Finding) -> String {
    let took = Time(std::time::Duration::from_millis(u64::try_from(finding.took.as_millis()).unwrap_or(0)));
    format!("{:<8} {} ({took})", finding.outcome.verdict.label(), finding.case.name)
}
