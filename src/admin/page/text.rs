//! The HTML: everything as it is at this moment, to be read without a script as well.

use std::fmt::{self, Write};
use std::time::Duration;

use super::tables::{self, bytes};
use super::{Inner, live};
use crate::html::{Escaped, grouped, latency, uptime};
use crate::telemetry::history::Sample;

/// The page.
pub(super) fn render(page: &Inner) -> String {
    let mut out = String::with_capacity(64 * 1024);
    // Writing to a String does not fail.
    let _ = write(&mut out, page);
    out
}

fn write(out: &mut String, page: &Inner) -> fmt::Result {
    let (class, word) = live::phase(page);
    let build = &page.admin.build;
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Nessen: {word}</title>\n\
         <link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/status.css\">\n<script src=\"/status.js\" defer></script>\n\
         </head>\n<body data-evidence=\"{}\" data-settings=\"{}\">\n<a class=\"skip\" href=\"#main\">Skip to the figures</a>\n\
         <header>\n<img src=\"/favicon.svg\" alt=\"\" width=\"32\" height=\"32\">\n\
         <div><h1>Nessen</h1>\n<p>{}, up for <span id=\"uptime\">{}</span></p></div>\n\
         <p id=\"live\" hidden></p>\n\
         <p class=\"state {class}\" id=\"phase\" role=\"status\">{word}</p>\n</header>\n<main id=\"main\">\n",
        page.about.evidence.is_some(),
        page.about.settings.generation(),
        Escaped(build.version),
        uptime(Duration::from_secs(page.admin.uptime_seconds())),
    )?;
    figures(out, page)?;
    out.write_str(
        "<section id=\"charts\" aria-labelledby=\"charts-title\" hidden>\n<div class=\"bar\">\
         <h2 id=\"charts-title\">Over time</h2>\n<div id=\"range\" class=\"switch\" role=\"group\" \
         aria-label=\"Time shown\"></div></div>\n<div id=\"plots\" class=\"plots\"></div>\n</section>\n",
    )?;
    past(out, page)?;
    out.write_str("<div class=\"columns\">\n")?;
    tables::upstreams(out, page)?;
    tables::checks(out, page)?;
    tables::refusals(out, page)?;
    out.write_str("</div>\n")?;
    tables::evidence(out, page)?;
    tables::figures(out, page)?;
    tables::settings(out, page)?;
    write!(
        out,
        "</main>\n<footer>\n<p>Nessen {}, revision {}, built {} with {}.</p>\n<ul>\n\
         <li><a href=\"/metrics\">/metrics</a></li>\n<li><a href=\"/ready\">/ready</a></li>\n\
         <li><a href=\"/api/health\">/api/health</a></li>\n<li><a href=\"/version\">/version</a></li>\n\
         </ul>\n</footer>\n</body>\n</html>\n",
        Escaped(build.version),
        Escaped(build.revision),
        Escaped(&build.build_time),
        Escaped(build.rustc),
    )
}

fn figures(out: &mut String, page: &Inner) -> fmt::Result {
    let sample = page.history.last();
    let metrics = &page.admin.metrics;
    let snapshot = metrics.snapshot();
    let [unknown, http1, http2] = metrics.connections_active();
    let rate = |count: fn(&Sample) -> u64| {
        sample.as_ref().map_or_else(|| "–".to_owned(), |sample| decimal(sample.rate(count(sample))))
    };
    let refused: u64 = metrics.rejections().iter().map(|(_, count)| count).sum();
    out.write_str(
        "<section aria-labelledby=\"now\">\n<h2 id=\"now\" class=\"unseen\">Now</h2>\n<dl class=\"figures\">\n",
    )?;
    let mut figure = |id: &str, name: &str, value: &str, more: &str| {
        let (name, value, more) = (Escaped(name), Escaped(value), Escaped(more));
        writeln!(
            out,
            "<div><dt>{name}</dt><dd><span id=\"{id}\">{value}</span> <small id=\"{id}-more\">{more}</small></dd></div>"
        )
    };
    let total = format!("{} in all", grouped(snapshot.requests_total));
    figure("rate", "Requests/s", &rate(Sample::finished), &total)?;
    if snapshot.samples > 0 {
        let tail = format!("p50\u{a0}{}, p95\u{a0}{}", latency(snapshot.p50), latency(snapshot.p95));
        figure("latency", "Latency p99", &latency(snapshot.p99), &tail)?;
    } else {
        figure("latency", "Latency p99", "–", "no request in the last minute")?;
    }
    figure("active", "In flight", &grouped(snapshot.requests_active), "requests being served")?;
    let open = format!("{http1}\u{a0}HTTP/1.1, {http2}\u{a0}HTTP/2, {unknown}\u{a0}silent");
    figure("connections", "Connections", &grouped(unknown + http1 + http2), &open)?;
    let total = format!("{} in all", grouped(refused));
    figure("refused", "Refused/s", &rate(Sample::refused), &total)?;
    let used = sample.as_ref().map_or(0, |sample| sample.memory);
    let bound = format!("of {} that clients may hold", bytes(page.about.memory_bound));
    figure("memory", "Held for clients", &bytes(used), &bound)?;
    let resident = sample.as_ref().map_or(0, |sample| sample.resident);
    let limit = page.about.memory_limit.map_or_else(String::new, |limit| format!("of {}", bytes(limit)));
    figure("resident", "Resident", &bytes(resident), &limit)?;
    let cpu = sample
        .as_ref()
        .map_or(0.0, |sample| f64::from(sample.cpu) / f64::from(sample.seconds.max(0.001)) * 100.0);
    figure("cpu", "CPU", &format!("{cpu:.0}\u{a0}%"), &format!("of {} CPUs at 100\u{a0}%", page.about.cpus))?;
    out.write_str("</dl>\n</section>\n")
}

/// What the charts show, for who has no script: the last minutes, half a minute a row.
fn past(out: &mut String, page: &Inner) -> fmt::Result {
    let all = page.history.samples();
    out.write_str(
        "<section id=\"past\" aria-labelledby=\"past-title\">\n<h2 id=\"past-title\">The last ten minutes</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"past-title\"><table>\n\
         <caption>Half a minute a row, the last first; times are in UTC</caption>\n<thead><tr>\
         <th scope=\"col\">Until</th><th scope=\"col\">Requests/s</th><th scope=\"col\">5xx/s</th>\
         <th scope=\"col\">p50</th><th scope=\"col\">p95</th><th scope=\"col\">p99</th>\
         <th scope=\"col\">Connections</th><th scope=\"col\">Refused/s</th><th scope=\"col\">Held</th>\
         </tr></thead>\n<tbody>\n",
    )?;
    if all.coarse.is_empty() {
        out.write_str("<tr><td colspan=\"9\">The first half minute is not over yet.</td></tr>\n")?;
    }
    for sample in all.coarse.iter().rev().take(20) {
        let of_day = sample.at / 1000 % 86_400;
        let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let [.., failed, _] = sample.requests;
        let [p50, p95, p99] = sample.latency.map(|micros| match sample.timed {
            0 => "–".to_owned(),
            _ => latency(Duration::from_micros(micros.into())),
        });
        let connections: u64 = sample.connections.iter().copied().map(u64::from).sum();
        writeln!(
            out,
            "<tr><th scope=\"row\">{hours:02}:{minutes:02}:{seconds:02}</th><td>{}</td><td>{}</td><td>{p50}</td>\
             <td>{p95}</td><td>{p99}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            decimal(sample.rate(sample.finished())),
            decimal(sample.rate(failed.into())),
            grouped(connections),
            decimal(sample.rate(sample.refused())),
            bytes(sample.memory),
        )?;
    }
    out.write_str("</tbody>\n</table></div>\n</section>\n")
}

/// `0`, `0.37`, `12.3`, `1 234`.
fn decimal(number: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and small"
    )]
    let whole = number.round() as u64;
    match number {
        0.0 => "0".to_owned(),
        _ if number < 9.995 => format!("{number:.2}"),
        _ if number < 99.95 => format!("{number:.1}"),
        _ => grouped(whole),
    }
}
