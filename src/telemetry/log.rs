//! The log of the server itself: `tracing` events, one line each, through the [`LogPipe`].
//!
//! A [`tracing_subscriber::Layer`] of our own rather than the stock formatter: it writes fields flat beside
//! `timestamp level message`, redacts what is named like a secret, and hands over whole lines.

use std::fmt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use super::log_pipe::{LogPipe, Notice};
use super::text;
use crate::redact::{REDACTED, is_secret_name, redact_target};

/// How a line looks: `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Console,
}

/// Changes the level of an installed log while it runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogControl {
    level: reload::Handle<LevelFilter, Registry>,
}

impl LogControl {
    /// Writes this level and what is more severe from now on.
    pub fn set_level(&self, level: LevelFilter) {
        // It fails only where the subscriber is gone, and then nothing is written anyway.
        let _ = self.level.reload(level);
    }
}

/// The process has a global subscriber already: that of the application which embeds this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyInstalled;

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tracing subscriber is already installed")
    }
}

impl std::error::Error for AlreadyInstalled {}

/// The line that says how many lines were lost, in this format.
pub fn losses(format: LogFormat) -> Notice {
    match format {
        LogFormat::Json => |lost| {
            let mut line = b"{\"timestamp\":\"".to_vec();
            text::timestamp(&mut line, SystemTime::now());
            line.extend_from_slice(b"\",\"level\":\"WARN\",\"message\":\"log lines were dropped\",");
            line.extend_from_slice(b"\"target\":\"nessen::telemetry::log_pipe\",\"lines\":");
            text::number(&mut line, lost);
            line.extend_from_slice(b"}\n");
            line
        },
        LogFormat::Console => |lost| {
            let mut line = Vec::new();
            text::timestamp(&mut line, SystemTime::now());
            line.extend_from_slice(b" WARN  log lines were dropped lines=");
            text::number(&mut line, lost);
            line.push(b'\n');
            line
        },
    }
}

/// Makes this the log of the whole process.
///
/// # Errors
/// There is one already; it is left in place, and the caller goes on with it.
pub fn install(pipe: LogPipe, format: LogFormat, level: LevelFilter) -> Result<LogControl, AlreadyInstalled> {
    let (subscriber, control) = subscriber(pipe, format, level);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyInstalled)?;
    Ok(control)
}

/// The subscriber that [`install`] installs, for callers who place it themselves.
pub fn subscriber(
    pipe: LogPipe,
    format: LogFormat,
    level: LevelFilter,
) -> (impl Subscriber + Send + Sync, LogControl) {
    let (filter, level) = reload::Layer::new(level);
    (Registry::default().with(filter).with(Lines { pipe, format }), LogControl { level })
}

/// The layer that writes lines.
#[derive(Debug)]
struct Lines {
    pipe: LogPipe,
    format: LogFormat,
}

/// The fields of a span, formatted once when it is made.
struct SpanFields(Vec<u8>);

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::new(self.format);
        attributes.record(&mut fields);
        span.extensions_mut().replace(SpanFields(fields.written));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::new(self.format);
        values.record(&mut fields);
        if let Some(SpanFields(written)) = span.extensions_mut().get_mut::<SpanFields>() {
            written.append(&mut fields.written);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new(self.format);
        event.record(&mut fields);
        text::with_line(|line| {
            match self.format {
                LogFormat::Json => json(line, event, &fields, &context),
                LogFormat::Console => console(line, event, &fields, &context),
            }
            self.pipe.write(line);
        });
    }
}

fn json<S>(line: &mut Vec<u8>, event: &Event<'_>, fields: &Fields, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    line.extend_from_slice(b"{\"timestamp\":\"");
    text::timestamp(line, SystemTime::now());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.extend_from_slice(b"\",\"message\":");
    text::json_string(line, &fields.message);
    line.extend_from_slice(b",\"target\":");
    text::json_string(line, event.metadata().target());
    line.extend_from_slice(&fields.written);
    let mut separator: &[u8] = b",\"spans\":[";
    for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
        line.extend_from_slice(separator);
        separator = b",";
        line.extend_from_slice(b"{\"name\":");
        text::json_string(line, span.name());
        if let Some(SpanFields(written)) = span.extensions().get::<SpanFields>() {
            line.extend_from_slice(written);
        }
        line.push(b'}');
    }
    if separator == b"," {
        line.push(b']');
    }
    line.extend_from_slice(b"}\n");
}

fn console<S>(line: &mut Vec<u8>, event: &Event<'_>, fields: &Fields, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    text::timestamp(line, SystemTime::now());
    line.push(b' ');
    let level = event.metadata().level().as_str();
    line.extend_from_slice(level.as_bytes());
    line.extend_from_slice(if level.len() < 5 { b"  " } else { b" " });
    text::console(line, &fields.message);
    line.extend_from_slice(&fields.written);
    for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
        line.extend_from_slice(b" in ");
        text::console(line, span.name());
        if let Some(SpanFields(written)) = span.extensions().get::<SpanFields>() {
            line.extend_from_slice(written);
        }
    }
    line.push(b'\n');
}

/// Collects the message, and the other fields as they will stand in the line.
struct Fields {
    format: LogFormat,
    message: String,
    written: Vec<u8>,
}

impl Fields {
    fn new(format: LogFormat) -> Self {
        Self { format, message: String::new(), written: Vec::new() }
    }

    /// `value` is a literal that needs no quotes: a number or a boolean.
    fn bare(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        use std::io::Write;
        if is_secret_name(field.name()) {
            return self.text(field, REDACTED);
        }
        self.name(field);
        // Writing to a Vec does not fail.
        let _ = self.written.write_fmt(value);
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        self.name(field);
        let value = match field.name() {
            name if is_secret_name(name) => REDACTED.into(),
            "path" | "target" | "uri" | "url" => redact_target(value),
            _ => value.into(),
        };
        match self.format {
            LogFormat::Json => text::json_string(&mut self.written, &value),
            LogFormat::Console if value.is_empty() || value.contains([' ', '"', '=']) => {
                self.written.push(b'"');
                text::console(&mut self.written, &value.replace('"', "'"));
                self.written.push(b'"');
            }
            LogFormat::Console => text::console(&mut self.written, &value),
        }
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        match self.format {
            LogFormat::Json => {
                self.written.extend_from_slice(b",\"");
                // A second key of the same name would make the object ambiguous.
                if matches!(name, "timestamp" | "level" | "target" | "spans" | "name") {
                    self.written.extend_from_slice(b"field.");
                }
                text::json_escape(&mut self.written, name);
                self.written.extend_from_slice(b"\":");
            }
            LogFormat::Console => {
                self.written.push(b' ');
                text::console(&mut self.written, name);
                self.written.push(b'=');
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, format_args!("{value}"));
        } else {
            // JSON has no word for it.
            self.text(field, &value.to_string());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        self.text(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LevelFilter, log: impl FnOnce(&LogControl)) -> String {
        let sink = Sink::default();
        let pipe = LogPipe::new(Box::new(sink.clone()), 100_000).unwrap();
        let (subscriber, control) = subscriber(pipe.clone(), format, level);
        tracing::subscriber::with_default(subscriber, || log(&control));
        assert!(pipe.flush(Duration::from_secs(10)));
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_is_flat_and_redacted() {
        let text = logged(LogFormat::Json, LevelFilter::INFO, |_| {
            let span = tracing::info_span!("job", job_id = 7, password = "p");
            let _inside = span.enter();
            let error = io::Error::other("no \"room\"\n");
            tracing::warn!(
                count = 3,
                ok = true,
                share = 0.5,
                nan = f64::NAN,
                api_token = 12345,
                path = "/a?sig=1",
                error = &error as &dyn std::error::Error,
                "it failed \u{1b}[31m"
            );
        });
        assert!(text.starts_with("{\"timestamp\":\"20"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"it failed \u{1b}[31m".into()));
        assert_eq!((&line["count"], &line["ok"], &line["share"]), (&3.into(), &true.into(), &0.5.into()));
        assert_eq!((&line["nan"], &line["error"]), (&"NaN".into(), &"no \"room\"\n".into()));
        assert_eq!((&line["api_token"], &line["path"]), (&REDACTED.into(), &"/a?sig=[redacted]".into()));
        assert_eq!(line["spans"], serde_json::json!([{"name": "job", "job_id": 7, "password": REDACTED}]));
        assert!(!text.contains("12345") && !text.trim_end().contains(char::is_control));
    }

    #[test]
    fn a_console_line_is_readable() {
        let text = logged(LogFormat::Console, LevelFilter::INFO, |_| {
            tracing::info!(address = "0.0.0.0:3000", note = "two words", "listening");
        });
        assert!(text.contains("Z INFO  listening address=0.0.0.0:3000 note=\"two words\"\n"), "{text}");
    }

    #[test]
    fn the_level_can_change_while_running() {
        let text = logged(LogFormat::Console, LevelFilter::WARN, |control| {
            let say = |word: &str| tracing::info!("{word}");
            say("first");
            control.set_level(LevelFilter::INFO);
            say("second");
            control.set_level(LevelFilter::OFF);
            say("third");
        });
        assert!(text.contains("second") && !text.contains("first") && !text.contains("third"), "{text}");
    }
}
