//! Chunked bodies (RFC 9112 section 7.1): `/echo` must never answer 200 for one that is broken.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let chunked = |body: &str| echo("Transfer-Encoding: chunked\r\n", body);
    let whole = [
        ("one chunk", "5\r\nhello\r\n0\r\n\r\n"),
        ("three chunks", "1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n"),
        ("no chunk", "0\r\n\r\n"),
        ("a last chunk of many zeros", "5\r\nhello\r\n000\r\n\r\n"),
        ("a size in capitals", "A\r\n0123456789\r\n0\r\n\r\n"),
        ("a chunk extension", "5;name=value\r\nhello\r\n0\r\n\r\n"),
        ("a quoted chunk extension", "5;name=\"a b\"\r\nhello\r\n0;x\r\n\r\n"),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Checksum: zqx\r\n\r\n"),
        (
            "trailers that would frame or authorize",
            "0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\nHost: x\r\n\r\n",
        ),
    ];
    let broken = [
        ("a size that is no number", "g\r\nhello\r\n0\r\n\r\n"),
        ("a size under zero", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a size of many digits", "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("only an extension", ";zqx\r\nhello\r\n0\r\n\r\n"),
        ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
        ("a chunk shorter than its size", "6\r\nhello\r\n0\r\n\r\n"),
        ("no line end after a chunk", "5\r\nhello0\r\n\r\n"),
        ("a carriage return after a chunk", "5\r\nhello\r0\r\n\r\n"),
        ("a carriage return after a size", "5\rhello\r\n0\r\n\r\n"),
        ("a line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a NUL in a size", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("a trailer that is no field", "0\r\nzqx\r\n\r\n"),
        ("a trailer with a space in its name", "0\r\nX Zqx: 1\r\n\r\n"),
        ("a trailer that folds", "0\r\nX-Zqx: 1\r\n 2\r\n\r\n"),
    ];
    // Lenient in the grammar of some recipients, an attack in that of others: never misframed.
    let odd = [
        ("spaces after a size", "5  \r\nhello\r\n0\r\n\r\n"),
        ("a line feed after a size", "5\nhello\r\n0\r\n\r\n"),
        ("a line feed after a chunk", "5\r\nhello\n0\r\n\r\n"),
        ("line feeds at the end", "5\r\nhello\r\n0\n\n"),
    ];
    let mut cases = Vec::new();
    cases.extend(whole.map(|(name, body)| case(name, chunked(body), [served()])));
    cases.extend(broken.map(|(name, body)| case(name, chunked(body), bad_chunks())));
    cases.extend(odd.map(|(name, body)| {
        let outcomes = [[served()].as_slice(), &bad_chunks()].concat();
        case(name, chunked(body), outcomes)
    }));
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "zqx".repeat(8_000));
    cases.push(case("an extension of 24 KiB", chunked(&extension), bad_chunks()));
    let extensions: String = "1;zqx=zqxzqxzqxzqxzqxzqx\r\nh\r\n".repeat(1500);
    cases.push(case(
        "extensions of 36 KiB together",
        chunked(&format!("{extensions}0\r\n\r\n")),
        bad_chunks(),
    ));
    let mut trailer_outcomes = bad_chunks();
    trailer_outcomes.extend([closed(431, "HEADER_TOO_LARGE"), closed(431, "TOO_MANY_HEADERS")]);
    let trailer = format!("0\r\nX-Zqx: {}\r\n\r\n", "zqx".repeat(8_000));
    cases.push(case("a trailer of 24 KiB", chunked(&trailer), trailer_outcomes.clone()));
    let trailers = format!("0\r\n{}\r\n", "X-Zqx: 1\r\n".repeat(200));
    cases.push(case("200 trailers", chunked(&trailers), trailer_outcomes));
    cases
}

fn bad_chunks() -> Vec<Outcome> {
    vec![malformed(), ambiguous(), closed(413, "BODY_TOO_LARGE")]
}
