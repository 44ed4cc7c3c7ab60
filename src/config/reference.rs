//! `docs/CONFIGURATION.md`: how to configure, and a table of keys per section.

use std::fmt::Write;

use super::keys::{Key, SECTIONS};
use super::routes::document;

const PROSE: &str = "\
# Configuration

*Generated from the table of keys in `src/config/keys/`; print it with `nessen config reference`.*

Nothing has to be set. What is set is taken from four places, the first that has it:

1. a flag: `--host`, `--port`, `--upstream`, `--root`, `--log-level`, `--log-format`, or
   `--set section.key=value` for any key
2. the environment: `NESSEN_SECTION_KEY`, or one of the short names below
3. the file: TOML, named by `--config FILE` or `NESSEN_CONFIG`; none is looked for elsewhere
4. the default

`nessen check` prints every value that holds, where it was set, how `auto` was decided, the routes as
they are matched, and the most memory that clients can make the server hold, without binding a port.
`nessen config example` prints a file with every key, `nessen config schema` a JSON schema for editors.

**Environment.** `NAME_FILE` reads the value of `NAME` from a file, without the white space around it;
this goes for long and short names alike, and is how a secret is mounted. Setting both `NAME` and
`NAME_FILE`, or two names of one key to different values, is an error. A variable that is set to
nothing is not set. Kubernetes adds variables for each service of the namespace, such as
`NESSEN_PORT=tcp://10.0.0.1:80` for one named `nessen`; they are passed over.

**Paths.** One that does not begin with `/` begins where the process works, wherever the file lies.

**Units.** Sizes are bytes (`65536`) or carry `B`, `KB`, `KiB`, `MB`, `MiB`, `GB` or `GiB` in any case
(`64KiB`; `KB` is 1000). Durations are milliseconds (`30000`) or carry `h`, `m`, `s`, `ms` (`30s`,
`1m30s`); in a name that ends in `_SECONDS` an integer counts seconds. Rates are bytes per second
(`500`, judged after 5 s) or `500 B/s after 10s`. Booleans are `true`, `false`, `1`, `0`, `yes`, `no`,
`on`, `off`. Lists are TOML arrays, or text with commas or spaces between the items. Where `off` is
allowed, so are `false`, `none` and, for numbers, `0`.

**Errors.** An unknown key of the file, an unknown `NESSEN_*` variable, a value out of range, and
settings that contradict each other stop the start with exit code 78. All of them are shown at once,
each with the key, where it was set, the value (of a secret only that there is one), what is allowed,
and what was probably meant.

**Reload.** SIGHUP reads the file again, under the environment and flags of the start. Keys marked with
\u{21bb} change while the server runs; a change of any other is logged and waits for a restart. If anything
is wrong with the new configuration, the old one stays.

**Memory.** Clients can make the server hold at most `limits.memory`. Set aside are 2.5MiB for connections of
probes, 128B for each tracked client where a rate limit is on, and 4MiB for each answer that is compressed
(`compression.max_concurrent`, lowered to what a quarter of `limits.memory` holds). The rest is shared, and
charged as it is used: a connection that waits holds 8KiB, one at work 72KiB more, an HTTP/2 stream
`http2.stream_window` + `http2.send_buffer` + `max_header_size` + `max_url_length`, a request to an upstream
128KiB (within TLS 80KiB more), one for a file 192KiB, a body what has come of it beyond 16KiB, and half of that besides. Over three quarters of that, idle connections are let
go, longest idle first, and then those whose client has been waited for a second (0.6s once it is full) and moves less than 8KiB/s (unless that rate is off).
What then finds no room is refused with 503, except probes. No client, where clients are told apart, may hold more than is
left for all others. A `limits.memory` that does not hold what else was set is an error.
";

/// The reference, in Markdown.
pub fn reference() -> String {
    let mut text = PROSE.to_owned();
    for (section, about, keys) in SECTIONS {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {section}\n\n{about}\n\n| key | environment | default | allowed | meaning |\n\
             |---|---|---|---|---|\n"
        );
        for key in *keys {
            row(&mut text, key);
        }
    }
    text.push_str(&document::reference());
    text
}

fn row(text: &mut String, key: &Key) {
    let environment: Vec<String> = key.env_names().map(|name| format!("`{name}`")).collect();
    let auto = key.auto.map(|meaning| format!(" `auto`: {meaning}.")).unwrap_or_default();
    let reload = if key.reloadable { " \u{21bb}" } else { "" };
    let _ = writeln!(
        text,
        "| `{}`{reload} | {} | `{}` | {} | {}{auto} |",
        key.path,
        environment.join("<br>"),
        key.default,
        key.allowed(),
        key.help,
    );
}
