//! Content-Length and Transfer-Encoding (RFC 9112 section 6.3).

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let hello = |fields: &str| echo(fields, "hello");
    let chunked = |fields: &str| echo(fields, "5\r\nhello\r\n0\r\n\r\n");
    let smuggled = "0\r\n\r\nGET /badge/smuggled/in.svg HTTP/1.1\r\nHost: nessen.test\r\n\r\n";
    // The whole of what follows as one body by Content-Length, two requests by chunks.
    let both = |order: [&str; 2]| echo(&order.concat(), smuggled);
    let by_length = format!("Content-Length: {}\r\n", smuggled.len());

    let mut cases = vec![
        case("a plain body", hello("Content-Length: 5\r\n"), [served()]),
        case("an empty body", echo("Content-Length: 0\r\n", ""), [served()]),
        case("a chunked body", chunked("Transfer-Encoding: chunked\r\n"), [served()]),
        case("no body at all", badge(""), [served()]),
        case(
            "a body on a GET",
            format!("{}hello", badge("Content-Length: 5\r\n")),
            [served(), served_last()],
        ),
        case("two lengths that differ", hello("Content-Length: 5\r\nContent-Length: 6\r\n"), [ambiguous()]),
        case("a list of lengths that differ", hello("Content-Length: 5, 6\r\n"), malformed_or_ambiguous()),
        case(
            "two equal lengths",
            hello("Content-Length: 5\r\nContent-Length: 5\r\n"),
            [served(), ambiguous()],
        ),
        case(
            "a list of equal lengths",
            hello("Content-Length: 5, 5\r\n"),
            [served(), ambiguous(), malformed()],
        ),
        case(
            "a length of 5 and one of 05",
            hello("Content-Length: 5\r\nContent-Length: 05\r\n"),
            [served(), ambiguous()],
        ),
        case("a length in odd whitespace", hello("Content-Length: \t 5 \t\r\n"), [served()]),
        case(
            "a length far too large",
            hello("Content-Length: 9999999999\r\n"),
            [closed(413, "BODY_TOO_LARGE")],
        ),
        case(
            "a length chunked into nothing, then a request",
            both([&by_length, "Transfer-Encoding: chunked\r\n"]),
            [ambiguous(), served_last()],
        ),
        case(
            "the same, the other way round",
            both(["Transfer-Encoding: chunked\r\n", &by_length]),
            [ambiguous(), served_last()],
        ),
        case("the coding in capitals", chunked("Transfer-Encoding: CHUNKED\r\n"), [served()]),
        case(
            "whitespace around the coding",
            chunked("Transfer-Encoding: \t chunked \t\r\n"),
            [served(), ambiguous()],
        ),
        case(
            "chunked in HTTP/1.0",
            chunked("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            malformed_or_ambiguous(),
        ),
        case(
            "a coding that folds onto a second line",
            chunked("Transfer-Encoding:\r\n chunked\r\n"),
            malformed_or_ambiguous(),
        ),
        case(
            "a space before the colon of the coding",
            chunked("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n"),
            malformed_or_ambiguous(),
        ),
    ];
    // A probe is answered when all else is refused; its connection is framed like any other.
    let probe = |fields: &str| format!("GET /health HTTP/1.1\r\nHost: nessen.test\r\n{fields}\r\nhello");
    cases.push(case("a body on a probe", probe("Content-Length: 5\r\n"), [served(), served_last()]));
    let differing = probe("Content-Length: 5\r\nContent-Length: 6\r\n");
    cases.push(case("a probe with lengths that differ", differing, [ambiguous()]));
    let coded = probe("Transfer-Encoding: gzip, chunked\r\n");
    cases.push(case("a probe with a coding before chunked", coded, [ambiguous()]));
    let bad_lengths = [
        ("a length with a plus", "+5"),
        ("a length under zero", "-5"),
        ("a length in two parts", "5 5"),
        ("a length in hexadecimal", "0x5"),
        ("a length with a tail", "5;q=1"),
        ("a length with a comma at its end", "5,"),
        ("no length in the field", ""),
        ("a length of letters", "five"),
        ("a length with a fraction", "5.0"),
        ("a quoted length", "\"5\""),
        ("a length that wraps to 5", "18446744073709551621"),
        ("a length of thirty digits", "999999999999999999999999999999"),
    ];
    for (name, length) in bad_lengths {
        cases.push(case(name, hello(&format!("Content-Length: {length}\r\n")), malformed_or_ambiguous()));
    }
    let bad_codings = [
        ("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("a coding after chunked", "Transfer-Encoding: chunked, gzip\r\n"),
        ("chunked twice in one field", "Transfer-Encoding: chunked, chunked\r\n"),
        ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("two fields, chunked last", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        ("two fields, chunked first", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("identity and a length", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n"),
        ("a coding that only ends in chunked", "Transfer-Encoding: xchunked\r\n"),
        ("a coding that only begins with chunked", "Transfer-Encoding: chunkedx\r\n"),
        ("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
        ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
        ("an empty coding", "Transfer-Encoding: \r\n"),
        ("a comma and chunked", "Transfer-Encoding: ,chunked\r\n"),
        ("chunked after a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        ("chunked after a NUL", "Transfer-Encoding: \0chunked\r\n"),
    ];
    for (name, fields) in bad_codings {
        cases.push(case(name, chunked(fields), malformed_or_ambiguous()));
    }
    cases
}
