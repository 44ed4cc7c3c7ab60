//! The tables of the page. Each body has an id, by which the script fills it anew; what is said here and
//! there in words has to agree.

use std::fmt::{self, Write};

use serde_json::Value;

use super::live::{self, MOST_ROWS};
use super::{Figure, Inner};
use crate::evidence::Query;
use crate::html::{Escaped, grouped};

/// Characters of a request's method and target that are shown; its details have all of it.
const LONGEST_REQUEST: usize = 160;

/// The head of a table whose rows are `id`'s.
fn begin(out: &mut String, id: &str, title: &str, caption: &str, columns: &[&str]) -> fmt::Result {
    write!(
        out,
        "<section aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"{id}-title\">\
         <table class=\"t-{id}\">\n<caption>{caption}</caption>\n<thead><tr>"
    )?;
    for column in columns {
        write!(out, "<th scope=\"col\">{column}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody id=\"{id}\">")
}

const END: &str = "</tbody>\n</table></div>\n</section>\n";

pub(super) fn upstreams(out: &mut String, page: &Inner) -> fmt::Result {
    let (states, count) = page.admin.metrics.upstream_states(MOST_ROWS);
    let columns = ["Upstream", "State", "Busy", "Idle", "Attempts", "Failed", "Retried", "Ejected"];
    begin(out, "upstreams", "Upstreams", "Connections at this moment, and counts since the start", &columns)?;
    if states.is_empty() {
        writeln!(out, "<tr><td colspan=\"8\">None is configured.</td></tr>")?;
    }
    for it in &states {
        let (class, word) = match it.healthy {
            Some(true) => ("ok", "healthy"),
            Some(false) => ("bad", "unhealthy"),
            None => ("", "several"),
        };
        write!(out, "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td>", Escaped(&it.label))?;
        for number in [it.active, it.idle, it.attempts, it.failures, it.retries, it.ejections] {
            write!(out, "<td>{}</td>", grouped(number))?;
        }
        out.write_str("</tr>\n")?;
    }
    if count > states.len() {
        writeln!(out, "<tr><td colspan=\"8\">and {} more</td></tr>", count - states.len())?;
    }
    out.write_str(END)
}

pub(super) fn checks(out: &mut String, page: &Inner) -> fmt::Result {
    let checks = live::checks(page);
    let columns = ["Check", "State", "Took", "Error"];
    begin(out, "checks", "Readiness checks", "The last answer of each", &columns)?;
    if checks.is_empty() {
        writeln!(out, "<tr><td colspan=\"4\">None is configured.</td></tr>")?;
    }
    for check in checks {
        let took = check.took_ms.map_or_else(|| "–".to_owned(), |took| format!("{}\u{a0}ms", grouped(took)));
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"{}\">{}</td><td>{took}</td><td>{}</td></tr>",
            Escaped(&check.name),
            check.class,
            check.word,
            Escaped(&check.error),
        )?;
    }
    out.write_str(END)
}

pub(super) fn refusals(out: &mut String, page: &Inner) -> fmt::Result {
    let columns = ["Reason", "Status", "Refused"];
    begin(out, "refusals", "Refusals", "Since the start, the most frequent first", &columns)?;
    let refusals = live::refusals(page);
    if refusals.is_empty() {
        writeln!(out, "<tr><td colspan=\"3\">Nothing has been refused.</td></tr>")?;
    }
    for (reason, status, count) in refusals {
        let count = grouped(count);
        writeln!(out, "<tr><th scope=\"row\">{reason}</th><td>{status}</td><td>{count}</td></tr>")?;
    }
    out.write_str(END)
}

pub(super) fn evidence(out: &mut String, page: &Inner) -> fmt::Result {
    let Some(evidence) = &page.about.evidence else {
        return out.write_str(
            "<section aria-labelledby=\"evidence-title\">\n<h2 id=\"evidence-title\">Evidence</h2>\n\
             <p>Off: what was refused is counted, and not kept.</p>\n</section>\n",
        );
    };
    let list = Query::parse("limit=50").map(|query| evidence.list(&query)).unwrap_or_default();
    let columns = ["Last seen", "Reason", "Client", "Times", "Status", "Request"];
    begin(out, "evidence", "Evidence", "What was refused, the newest 50; times are in UTC", &columns)?;
    let entries = list.get("entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if entries.is_empty() {
        out.write_str("<tr><td colspan=\"6\">Nothing has been kept.</td></tr>\n")?;
    }
    for entry in entries {
        let text = |name: &str| match entry.get(name) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        let seen = text("last_seen");
        let seen = seen.get(..19).unwrap_or_default().replace('T', " ");
        let class = if text("severity") == "high" { "bad" } else { "" };
        let request = format!("{} {}", text("method"), text("target"));
        let mut characters = request.chars();
        let mut shown: String = characters.by_ref().take(LONGEST_REQUEST).collect();
        if characters.next().is_some() {
            shown.push('…');
        }
        write!(out, "<tr><th scope=\"row\">{}</th>", Escaped(&seen))?;
        write!(out, "<td class=\"{class}\">{}</td>", Escaped(&text("reason")))?;
        for cell in [text("client"), text("count"), text("status"), shown] {
            write!(out, "<td>{}</td>", Escaped(&cell))?;
        }
        out.write_str("</tr>\n")?;
    }
    out.write_str(END)
}

pub(super) fn figures(out: &mut String, page: &Inner) -> fmt::Result {
    let columns = ["Figure", "Value", "Meaning"];
    begin(out, "others", "Further figures", "By subject, as /metrics has them", &columns)?;
    let mut subject = "";
    for figure in page.figures().iter() {
        if figure.subject != subject {
            subject = figure.subject;
            writeln!(out, "<tr class=\"subject\"><th scope=\"rowgroup\" colspan=\"3\">{subject}</th></tr>")?;
        }
        let labels = Escaped(&figure.labels);
        writeln!(
            out,
            "<tr><th scope=\"row\">{} <small>{labels}</small></th><td>{}</td><td>{}</td></tr>",
            Escaped(&figure.name),
            Escaped(&told(figure)),
            Escaped(figure.help),
        )?;
    }
    out.write_str(END)
}

pub(super) fn settings(out: &mut String, page: &Inner) -> fmt::Result {
    let columns = ["Setting", "Value", "Set by"];
    let caption = "In force at this moment; secrets are left out";
    out.write_str(
        "<p id=\"reloaded\" class=\"warn\" hidden>The configuration has been reloaded since: load the page anew.</p>\n",
    )?;
    begin(out, "settings", "Configuration", caption, &columns)?;
    let rows = page.about.settings.rows();
    if rows.is_empty() {
        writeln!(out, "<tr><td colspan=\"3\">The program that runs this server has not told.</td></tr>")?;
    }
    for row in rows.iter() {
        let class = if row.explicit { "set" } else { "default" };
        // A key may break after a dot or an underscore, where a phone has no room for it.
        let key = Escaped(&row.key).to_string().replace('.', ".<wbr>").replace('_', "_<wbr>");
        write!(
            out,
            "<tr class=\"{class}\"><th scope=\"row\">{key}</th><td>{}</td><td>{}",
            Escaped(&row.value),
            Escaped(&row.origin),
        )?;
        if !row.note.is_empty() {
            write!(out, " <small>{}</small>", row.note)?;
        }
        out.write_str("</td></tr>\n")?;
    }
    out.write_str(END)
}

/// A value with its unit.
fn told(figure: &Figure) -> String {
    let value = figure.value;
    match figure.unit {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "for people, and never negative"
        )]
        "bytes" => bytes(value.max(0.0) as u64),
        "seconds" => format!("{:.3}\u{a0}s", value),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number")]
        _ if value >= 0.0 && value.fract() == 0.0 => grouped(value as u64),
        _ => format!("{value:.2}"),
    }
}

/// `512 B`, `1.5 KiB`, `340 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if scaled < 1000.0 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, larger);
    }
    match unit {
        "B" => format!("{bytes}\u{a0}B"),
        _ if scaled < 99.95 => format!("{scaled:.1}\u{a0}{unit}"),
        _ => format!("{scaled:.0}\u{a0}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_as_people_say_them() {
        assert_eq!(
            [0, 999, 1000, 1 << 20, 340 << 20, 1 << 50].map(bytes),
            ["0\u{a0}B", "999\u{a0}B", "1.0\u{a0}KiB", "1.0\u{a0}MiB", "340\u{a0}MiB", "1024\u{a0}TiB"]
        );
    }
}
