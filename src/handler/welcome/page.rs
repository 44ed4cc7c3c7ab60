//! `/`: the state of the runtime, the limits in force, and what each has refused.

use std::fmt::{self, Write};
use std::net::IpAddr;

use super::{AdminPlace, WelcomeState};
use crate::html::{Escaped, grouped, latency, uptime};
use crate::lifecycle::Phase;
use crate::refusal::Reason;
use crate::telemetry::process;

/// The page as it is at this moment.
pub(super) fn render(state: &WelcomeState, host: Option<&str>) -> String {
    let mut out = String::with_capacity(16 * 1024);
    // Writing to a String does not fail.
    let _ = write(&mut out, state, host);
    out
}

fn write(out: &mut String, state: &WelcomeState, host: Option<&str>) -> fmt::Result {
    let phase = state.lifecycle.phase();
    let ready = state.readiness.is_ready();
    let (class, word) = match phase {
        Phase::Running if ready => ("ok", "Running, ready"),
        Phase::Running => ("warn", "Running, not ready"),
        Phase::Starting => ("warn", "Starting"),
        Phase::Draining => ("warn", "Draining"),
        Phase::Stopping => ("bad", "Stopping"),
    };
    let version = Escaped(state.build.version);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Nessen: {word}</title>\n\
         <link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/nessen.css?v={version}\">\n</head>\n<body>\n\
         <header>\n<img src=\"/favicon.svg\" alt=\"\" width=\"44\" height=\"44\">\n\
         <div><h1>Nessen</h1>\n<p>This server works. It has no routes yet, so it shows itself.</p></div>\n\
         <p class=\"state {class}\">{word}</p>\n</header>\n<main>\n"
    )?;
    figures(out, state)?;
    checks(out, state)?;
    let rejections = state.metrics.rejections();
    limits(out, state, &rejections)?;
    others(out, state, &rejections)?;
    out.write_str(ENDPOINTS)?;
    status_page(out, state, host)?;
    out.write_str(COMMANDS)?;
    write!(
        out,
        "</main>\n<footer>Nessen {version}, revision {}, built {} with {}.</footer>\n</body>\n</html>\n",
        Escaped(state.build.revision),
        Escaped(&state.build.build_time),
        Escaped(state.build.rustc),
    )
}

fn figures(out: &mut String, state: &WelcomeState) -> fmt::Result {
    let requests = state.metrics.snapshot();
    let [unknown, http1, http2] = state.metrics.connections_active();
    let process = process::read();
    out.write_str("<section aria-labelledby=\"now\">\n<h2 id=\"now\">Now</h2>\n<p>As of this answer; reload for the next.</p>\n<dl class=\"figures\">\n")?;
    let mut figure = |name: &str, value: &str, more: &str| {
        let (name, value, more) = (Escaped(name), Escaped(value), Escaped(more));
        writeln!(out, "<div><dt>{name}</dt><dd>{value} <small>{more}</small></dd></div>")
    };
    figure("Up for", &uptime(state.lifecycle.started().elapsed()), "")?;
    figure(
        "Requests",
        &grouped(requests.requests_total),
        &format!("{} being served", requests.requests_active),
    )?;
    let open = format!("{http1}\u{a0}HTTP/1.1, {http2}\u{a0}HTTP/2, {unknown}\u{a0}silent");
    figure("Connections", &grouped(unknown + http1 + http2), &open)?;
    if requests.samples > 0 {
        let tail = format!(
            "p95\u{a0}{}, p99\u{a0}{}, last\u{a0}minute",
            latency(requests.p95),
            latency(requests.p99)
        );
        figure("Median latency", &latency(requests.p50), &tail)?;
    } else {
        figure("Median latency", "–", "no request in the last minute")?;
    }
    if let Some(resident) = process.resident_bytes {
        figure("Memory", &format!("{:.1} MiB", resident as f64 / 1_048_576.0), "resident")?;
    }
    if let Some(cpu) = process.cpu_seconds {
        figure("CPU", &format!("{cpu:.2} s"), "since the start")?;
    }
    out.write_str("</dl>\n</section>\n")
}

fn checks(out: &mut String, state: &WelcomeState) -> fmt::Result {
    let report = state.readiness.report();
    if report.is_empty() {
        return Ok(());
    }
    out.write_str("<section aria-labelledby=\"checks\">\n<h2 id=\"checks\">Readiness checks</h2>\n<table>\n<thead><tr><th scope=\"col\">Check</th><th scope=\"col\">Result</th></tr></thead>\n<tbody>\n")?;
    for check in report {
        // Not the error: it may name what only operators should know; /ready and the log have it.
        let (class, word) = match check.result {
            Some(Ok(())) => ("ok", "passes"),
            Some(Err(_)) => ("bad", "fails"),
            None => ("warn", "has not answered yet"),
        };
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td></tr>",
            Escaped(&check.name)
        )?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}

fn limits(out: &mut String, state: &WelcomeState, rejections: &[(Reason, u64)]) -> fmt::Result {
    out.write_str(
        "<section aria-labelledby=\"limits\">\n<h2 id=\"limits\">Limits in force</h2>\n\
         <p>What each one allows, and how often it has refused.</p>\n<table>\n<thead><tr><th scope=\"col\">Limit</th>\
         <th scope=\"col\" class=\"value\">Value</th><th scope=\"col\" class=\"number\">Refused</th></tr></thead>\n<tbody>\n",
    )?;
    for row in state.limits.iter() {
        let refused = row.reason.and_then(|reason| rejections.iter().find(|one| one.0 == reason));
        // A key may break after a dot or an underscore, where a phone has no room for it.
        let key = Escaped(&row.key).to_string().replace('.', ".<wbr>").replace('_', "_<wbr>");
        let (help, value) = (Escaped(&row.help), Escaped(&row.value));
        write!(
            out,
            "<tr><th scope=\"row\"><code>{key}</code> <small>{help}</small></th><td class=\"value\">{value}</td>"
        )?;
        refused_cell(out, refused.map(|one| one.1))?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}

/// What was refused for a reason that belongs to none of the rows.
fn others(out: &mut String, state: &WelcomeState, rejections: &[(Reason, u64)]) -> fmt::Result {
    let in_a_row = |reason: Reason| state.limits.iter().any(|row| row.reason == Some(reason));
    let mut others = rejections.iter().filter(|one| one.1 > 0 && !in_a_row(one.0)).peekable();
    if others.peek().is_none() {
        return Ok(());
    }
    out.write_str(
        "<section aria-labelledby=\"others\">\n<h2 id=\"others\">Refused by other rules</h2>\n<table>\n<thead><tr>\
         <th scope=\"col\">Reason</th><th scope=\"col\" class=\"number\">Status</th>\
         <th scope=\"col\" class=\"number\">Refused</th></tr></thead>\n<tbody>\n",
    )?;
    for (reason, count) in others {
        let status = reason.status().map_or_else(|| "none".to_owned(), |status| status.as_str().to_owned());
        write!(out, "<tr><th scope=\"row\"><code>{reason}</code></th><td class=\"number\">{status}</td>")?;
        refused_cell(out, Some(*count))?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}

fn refused_cell(out: &mut String, count: Option<u64>) -> fmt::Result {
    match count {
        None => out.write_str("<td class=\"number none\">–</td></tr>\n"),
        Some(0) => out.write_str("<td class=\"number none\">0</td></tr>\n"),
        Some(count) => writeln!(out, "<td class=\"number some\">{}</td></tr>", grouped(count)),
    }
}

/// Where the status page is. The admin port may be reached by another host than this one: a link is made
/// only where it leads there in all likelihood.
fn status_page(out: &mut String, state: &WelcomeState, host: Option<&str>) -> fmt::Result {
    let Some(AdminPlace { host: bound, port }) = state.admin else { return Ok(()) };
    let is_local = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    };
    let leads_there = |host: &&str| bound.is_unspecified() || bound.is_loopback() && is_local(host);
    out.write_str("<p>The <strong>status page</strong> is at ")?;
    match host.filter(leads_there) {
        Some(host) => {
            let url = format!("http://{host}:{port}/");
            writeln!(out, "<a href=\"{0}\"><code>{0}</code></a>, on the admin port.</p>", Escaped(&url))
        }
        None => writeln!(out, "<code>/</code> of the admin port, {port}.</p>"),
    }
}

const ENDPOINTS: &str = "<section aria-labelledby=\"endpoints\">\n<h2 id=\"endpoints\">Endpoints</h2>\n<p>With an admin port set, the last three answer there.</p>\n<ul class=\"links\">\n\
<li><a href=\"/health\"><code>/health</code></a> <span>whether the process lives</span></li>\n\
<li><a href=\"/ready\"><code>/ready</code></a> <span>whether it wants traffic</span></li>\n\
<li><a href=\"/badge/nessen/works.svg\"><code>/badge/nessen/works.svg</code></a> <span>a badge of two words</span></li>\n\
<li><a href=\"/metrics\"><code>/metrics</code></a> <span>for Prometheus</span></li>\n\
<li><a href=\"/version\"><code>/version</code></a> <span>what was built from what</span></li>\n\
<li><a href=\"/api/health\"><code>/api/health</code></a> <span>the figures above, as JSON</span></li>\n\
</ul>\n";

const COMMANDS: &str = "<pre><code>curl --data 'hello' http://localhost:3000/echo</code></pre>\n</section>\n\
<section aria-labelledby=\"next\">\n<h2 id=\"next\">Next</h2>\n<p>Give it something to stand in front of.</p>\n\
<pre><code>nessen serve --upstream http://localhost:8080\nnessen serve --root ./public\nnessen check</code></pre>\n</section>\n";
