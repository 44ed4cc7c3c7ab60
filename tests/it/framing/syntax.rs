//! Request lines, field lines, and bytes that are neither.

use super::*;

/// The beginning of a TLS 1.2 ClientHello.
const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03zqx\x9a\x0b\xee\x11\x01\x7f\x13\x01\x13\x02\x00\x00";

pub(super) fn cases() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: nessen.test\r\nX-Zqx: zqx\r\n\r\n");
    let no_method = || kept(501, "UNSUPPORTED_METHOD");
    let not_http = || [malformed(), dropped()];

    vec![
        case("an empty line before the request", format!("\r\n{}", badge("")), [served()]),
        case("a method in lower case", line("get /badge/case/ok.svg HTTP/1.1"), [no_method()]),
        case("a method nobody knows", line("ZQX /badge/case/ok.svg HTTP/1.1"), [no_method()]),
        case("a method that begins like one", line("GETT /badge/case/ok.svg HTTP/1.1"), [no_method()]),
        case(
            "a method nobody knows, with a body",
            echo("Content-Length: 5\r\n", "hello").replace("POST", "ZQX"),
            refused(501, "UNSUPPORTED_METHOD"),
        ),
        case("TRACE", line("TRACE /badge/case/ok.svg HTTP/1.1"), [kept(405, "METHOD_NOT_ALLOWED")]),
        case("a method with a character that is none", line("GE(T /zqx HTTP/1.1"), [malformed()]),
        case("no method", line(" /zqx HTTP/1.1"), [malformed()]),
        case("no target", line("GET HTTP/1.1"), [malformed(), closed(400, "INVALID_HOST")]),
        case("a target in two parts", line("GET /zqx /zqx HTTP/1.1"), [malformed()]),
        case("two spaces after the method", line("GET  /badge/case/ok.svg HTTP/1.1"), [malformed()]),
        case("two spaces before the version", line("GET /badge/case/ok.svg  HTTP/1.1"), [malformed()]),
        case("tabs for spaces", line("GET\t/badge/case/ok.svg\tHTTP/1.1"), [malformed()]),
        case("a control byte in the target", line("GET /zqx\x01 HTTP/1.1"), [malformed()]),
        case("a NUL in the target", line("GET /zqx\0 HTTP/1.1"), [malformed()]),
        case("HTTP/1.2", line("GET /badge/case/ok.svg HTTP/1.2"), [malformed(), served()]),
        case("HTTP/2.0 in a request line", line("GET /zqx HTTP/2.0"), [malformed()]),
        case("HTTP/3.0", line("GET /zqx HTTP/3.0"), [malformed()]),
        case("HTTP/1.", line("GET /zqx HTTP/1."), [malformed()]),
        case("HTTP/11", line("GET /zqx HTTP/11"), [malformed()]),
        case("http/1.1", line("GET /zqx http/1.1"), [malformed()]),
        case("ICE/1.1", line("GET /zqx ICE/1.1"), [malformed()]),
        case("HTTP/0.9", "GET /zqx\r\n", [malformed(), dropped()]),
        case("a field on two lines", badge("X-Fold: one\r\n two\r\n"), [malformed()]),
        case("a field folded with a tab", badge("X-Fold: one\r\n\ttwo\r\n"), [malformed()]),
        case(
            "a space before the first field",
            "GET /zqx HTTP/1.1\r\n Host: nessen.test\r\n\r\n",
            [malformed()],
        ),
        case("a carriage return in a value", badge("X-Cr: one\rtwo\r\n"), [malformed()]),
        case("a carriage return for a line end", badge("X-Cr: one\rX-Two: two\r\n"), [malformed()]),
        case("carriage returns for all line ends", badge("").replace("\r\n", "\r"), not_http()),
        case("a line feed for a line end", badge("X-Lf: one\nX-Two: two\r\n"), [malformed(), served()]),
        case("line feeds for all line ends", badge("").replace("\r\n", "\n"), [malformed(), served()]),
        case(
            "a line feed that hides a coding",
            echo("X-Lf: one\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            [malformed(), ambiguous(), served_last()],
        ),
        case("a NUL in a value", badge("X-Nul: one\0two\r\n"), [malformed()]),
        case("a NUL in a name", badge("X-N\0ul: one\r\n"), [malformed()]),
        case("a control byte in a value", badge("X-Ctl: one\x01two\r\n"), [malformed()]),
        case("a DEL in a value", badge("X-Del: one\x7ftwo\r\n"), [malformed()]),
        case("a space before the colon", badge("X-Space : zqx\r\n"), [malformed()]),
        case("a tab before the colon", badge("X-Tab\t: zqx\r\n"), [malformed()]),
        case("a space in a name", badge("X Space: zqx\r\n"), [malformed()]),
        case("a name that is no token", badge("X[zqx]: one\r\n"), [malformed()]),
        case("a field without a name", badge(": zqx\r\n"), [malformed()]),
        case("a field without a colon", badge("zqx\r\n"), [malformed()]),
        case("a field without a value", badge("X-Empty:\r\n"), [served()]),
        case("a value without a space before it", badge("X-Tight:zqx\r\n"), [served()]),
        case(
            "bytes over 127 in a value",
            [badge("").as_bytes()[..].strip_suffix(b"\r\n").unwrap(), b"X-High: \xe9\xff\r\n\r\n"].concat(),
            [served(), malformed()],
        ),
        case("a client that closes", badge("Connection: close\r\n"), [served_last()]),
        case("a client that closes, in capitals", badge("Connection: foo, CLOSE\r\n"), [served_last()]),
        case("a client that stays", badge("Connection: keep-alive\r\n"), [served()]),
        case(
            "an upgrade to HTTP/2",
            badge("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            [served()],
        ),
        case("an Expect nobody knows", badge("Expect: zqx\r\n"), refused(417, "EXPECTATION_FAILED")),
        case("garbage", b"\x80\x00\xff\xfe\x01\x02zqx\x03\x04\r\n\r\n", not_http()),
        case("garbage without an end", vec![0xaa; 600], not_http()),
        case("a line of NULs", vec![0; 64], not_http()),
        case("a TLS ClientHello", CLIENT_HELLO, not_http()),
        case("an SSH greeting", "SSH-2.0-OpenSSH_9.6\r\n", not_http()),
        case("a proxy protocol line", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", not_http()),
        case(
            "a HTTP/1 preface of HTTP/2",
            "PRI * HTTP/1.1\r\nHost: nessen.test\r\n\r\n",
            [no_method(), malformed(), closed(400, "INVALID_PATH")],
        ),
    ]
}
