//! Host, and the forms of the target (RFC 9112 section 3.2).

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let host = |lines: &str| format!("GET /badge/case/ok.svg?zqx HTTP/1.1\r\n{lines}X-Zqx: zqx\r\n\r\n");
    let target = |line: &str, host: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\nX-Zqx: zqx\r\n\r\n");
    let invalid = || closed(400, "INVALID_HOST");
    // Three codes describe it, and it is no matter of framing.
    let bad_target = || [invalid(), malformed(), closed(400, "INVALID_PATH"), kept(400, "INVALID_PATH")];

    let mut cases = vec![
        case("no Host", host(""), [invalid()]),
        case("two Hosts", host("Host: a.test\r\nHost: b.test\r\n"), [invalid()]),
        case("two equal Hosts", host("Host: a.test\r\nHost: a.test\r\n"), [invalid()]),
        case("an empty Host", host("Host: \r\n"), [invalid()]),
        case("no Host in HTTP/1.0", "GET /badge/case/ok.svg HTTP/1.0\r\n\r\n", [served_last()]),
        case(
            "HTTP/1.0 that keeps its connection",
            "GET /badge/case/ok.svg HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
            [served(), served_last()],
        ),
        case("absolute form", target("GET http://a.test/badge/case/ok.svg", "a.test"), [served()]),
        case(
            "absolute form with a port",
            target("GET http://a.test:80/badge/case/ok.svg", "a.test:80"),
            [served()],
        ),
        case("absolute form of another host", target("GET http://b.test/zqx", "a.test"), [invalid()]),
        case("absolute form of another port", target("GET http://a.test:81/zqx", "a.test:82"), [invalid()]),
        case(
            "absolute form with a user",
            target("GET http://zqx@a.test/", "a.test"),
            [invalid(), malformed()],
        ),
        case("absolute form without Host", "GET http://a.test/zqx HTTP/1.1\r\n\r\n", [invalid()]),
        case("CONNECT", target("CONNECT zqx.test:443", "zqx.test:443"), [invalid()]),
        case("CONNECT with a path", target("CONNECT /zqx", "a.test"), [invalid(), malformed()]),
        case("authority form of a GET", target("GET zqx.test:80", "zqx.test:80"), bad_target()),
        case("a target without a slash", target("GET zqx", "a.test"), bad_target()),
        case("an asterisk on a GET", target("GET *", "a.test"), bad_target()),
        case(
            "an asterisk on OPTIONS",
            target("OPTIONS *", "a.test"),
            [200, 204].map(|status| Outcome { answers: vec![status], code: "", open: true }),
        ),
        case("a fragment", target("GET /badge/case/ok.svg#zqx", "a.test"), refused(400, "INVALID_PATH")),
        case(
            "a fragment in a query",
            target("GET /badge/case/ok.svg?a=b#zqx", "a.test"),
            refused(400, "INVALID_PATH"),
        ),
        case("a fragment behind two slashes", target("GET //#zqx", "a.test"), [fragment()]),
        case("a fragment behind a path and two slashes", target("GET /a//#zqx", "a.test"), [fragment()]),
        case("a fragment behind slashes alone", target("GET ////#zqx", "a.test"), [fragment()]),
        case("a fragment behind a slash", target("GET /#zqx", "a.test"), [fragment()]),
        case("an empty fragment", target("GET /badge/case/ok.svg#", "a.test"), [fragment()]),
        case("a fragment in an absolute form", target("GET http://a.test#zqx", "a.test"), [fragment()]),
        case(
            "a fragment in an absolute form with a query",
            target("GET http://a.test?zqx#c", "a.test"),
            [fragment()],
        ),
        case(
            "a fragment in an absolute form with slashes",
            target("GET http://a.test//#zqx", "a.test"),
            [fragment()],
        ),
        case("a bare fragment", target("GET #zqx", "a.test"), bad_target()),
    ];
    let bad = [
        ("a Host with a space", "zqx b"),
        ("a Host with a tab", "zqx\tb"),
        ("a Host with a slash", "zqx/b"),
        ("a Host with a backslash", "zqx\\b"),
        ("a Host with a user", "a@zqx.test"),
        ("a Host with a comma", "a.test,zqx.test"),
        ("a Host with a question mark", "zqx?b"),
        ("a Host with a fragment", "zqx#b"),
        ("a Host with angle brackets", "<zqx>"),
        ("a Host with a scheme", "http://zqx.test"),
        ("a Host with a port out of range", "zqx.test:65536"),
        ("a Host with a port under zero", "zqx.test:-1"),
        ("a Host with a port of letters", "zqx.test:http"),
        ("a Host with two ports", "zqx.test:80:80"),
        ("a Host that is a port", ":80"),
        ("a Host with an open bracket", "[::1"),
        ("a Host with a tail after its bracket", "[::1]zqx"),
        ("a Host with nothing in its brackets", "[]"),
        ("a Host with a name in brackets", "[zqx]"),
        ("an IPv6 Host without brackets", "::1"),
        ("a Host with half an escape", "zqx%2"),
    ];
    for (name, value) in bad {
        cases.push(case(name, host(&format!("Host: {value}\r\n")), [invalid()]));
    }
    let good = [
        "a.test",
        "A.TEST",
        "a.test:8080",
        "a_b.test",
        "a.test.",
        "127.0.0.1:80",
        "[::1]",
        "[2001:db8::1]:80",
    ];
    for value in good {
        cases.push(case(value, host(&format!("Host: {value}\r\n")), [served()]));
    }
    cases
}
