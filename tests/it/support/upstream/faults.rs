//! The ways in which an upstream breaks HTTP, each as bytes and what happens to the connection.
//!
//! Every answer carries the token of its request, and what must never be taken for an answer
//! carries the word `poison`: an answer that ends up elsewhere is told by both.

use super::seen::Seen;

/// One thing that an upstream does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes one by one, with so many milliseconds between them.
    Trickle(Vec<u8>, u64),
    /// Does nothing for so many milliseconds.
    Pause(u64),
    /// Waits until the test opens the gate.
    Gate,
    /// Sends what the test pushes, until it says that this is all.
    Pushed,
    /// Sends so many bytes of the pattern.
    Pattern(u64, bool),
    /// Does nothing until the other side has enough.
    Stall,
    /// Ends the connection in order.
    Close,
    /// Ends the connection by a reset.
    Reset,
    /// Takes the next request on this connection, and closes without an answer.
    DieOnNext,
    /// Leaves HTTP: sends back what comes, as messages of a WebSocket.
    Echo,
    /// Leaves HTTP: sends messages of a WebSocket without end, and hears nothing.
    Talk,
}

impl Step {
    /// The same, byte by byte.
    pub(super) fn cut(self) -> Self {
        match self {
            Self::Send(bytes) => Self::Trickle(bytes, 0),
            other => other,
        }
    }
}

/// An answer that nobody asked for.
pub(crate) const POISON: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Token: poison\r\nX-Poison: 1\r\n\r\npoison";

fn send(text: impl AsRef<str>) -> Step {
    Step::Send(super::super::wire::bytes(text.as_ref()))
}

/// A head with the token, and these field lines.
pub(super) fn head(status: &str, token: &str, lines: &str) -> String {
    format!("HTTP/1.1 {status}\r\nX-Token: {token}\r\n{lines}\r\n")
}

/// What an upstream does that is broken like this; nothing where it knows no such fault.
pub(crate) fn fault(name: &str, request: &Seen) -> Option<Vec<Step>> {
    let token = request.token();
    let ok = |lines: &str| head("200 OK", token, lines);
    // An answer whose head is as given and whose body is right.
    let odd = |lines: &str| vec![send(ok(&format!("{lines}Content-Length: 2\r\n")) + "ok")];
    // One whose body is chunked, and as given.
    let chunked = |body: &str| vec![send(ok("Transfer-Encoding: chunked\r\n") + body)];
    let status = |line: &str| {
        vec![send(format!("{line}\r\nX-Token: {token}\r\nContent-Length: 2\r\n\r\nok")), Step::Close]
    };
    let then = |mut steps: Vec<Step>, step: Step| {
        steps.push(step);
        steps
    };
    // Long enough for what was sent to be read before the end comes.
    const BREATH: Step = Step::Pause(30);
    let part = || vec![send(ok("Content-Length: 100\r\n") + "half of it"), BREATH];
    Some(match name {
        "stall-head" => vec![Step::Stall],
        "stall-in-head" => vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Step::Stall],
        "stall-body" => then(part(), Step::Stall),
        "stall-chunk" => then(chunked("5\r\nhello\r\n5\r\nhe"), Step::Stall),
        "reset-before-head" => vec![Step::Reset],
        "reset-in-head" => vec![send("HTTP/1.1 200 OK\r\nContent-Le"), BREATH, Step::Reset],
        "reset-in-body" => then(part(), Step::Reset),
        "reset-in-chunk" => then(then(chunked("5\r\nhello\r\n5\r\nhe"), BREATH), Step::Reset),
        "reset-until-close" => vec![send(ok("") + "half of it"), BREATH, Step::Reset],
        "close-silent" => vec![Step::Close],
        "close-in-head" => vec![send("HTTP/1.1 200 OK\r\nContent-Le"), BREATH, Step::Close],
        "close-in-chunk" => then(chunked("5\r\nhello\r\n5\r\nhe"), Step::Close),
        "close-between-chunks" => then(chunked("5\r\nhello\r\n"), Step::Close),
        "close-in-trailers" => then(chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n"), Step::Close),
        "garbage" => vec![send("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03 no HTTP\r\n\r\n"), Step::Stall],
        "http09" => vec![send("<html>a page without a head</html>\n"), Step::Close],
        "http2-line" => status("HTTP/2.0 200 OK"),
        "status-99" => status("HTTP/1.1 99 Low"),
        "status-1000" => status("HTTP/1.1 1000 High"),
        "status-000" => status("HTTP/1.1 000 Nothing"),
        "status-word" => status("HTTP/1.1 two OK"),
        "status-none" => status("HTTP/1.1 "),
        "status-no-reason" => status("HTTP/1.1 200"),
        "status-reason-bytes" => status("HTTP/1.1 200 caf\u{e9}\tau lait"),
        "status-two-spaces" => status("HTTP/1.1  200 OK"),
        "status-http-1.2" => status("HTTP/1.2 200 OK"),
        "empty-lines-first" => vec![send("\r\n\r\n".to_owned() + &ok("Content-Length: 2\r\n") + "ok")],
        "interim-with-length" => {
            let interim = "HTTP/1.1 103 Early Hints\r\nContent-Length: 500\r\nX-Token: interim\r\n\r\n";
            vec![send(interim.to_owned() + &ok("Content-Length: 2\r\n") + "ok")]
        }
        "interim-then-close" => vec![send("HTTP/1.1 100 Continue\r\n\r\n"), Step::Close],
        "closing-rest" => vec![send(ok("Connection: close\r\nContent-Length: 2\r\n") + "ok" + POISON)],
        "chunk-size-bad" => then(chunked("zz\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        "chunk-size-none" => then(chunked("5\r\nhello\r\n\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        "chunk-size-negative" => then(chunked("-5\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        "chunk-size-plus" => then(chunked("+5\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        "chunk-size-0x" => then(chunked("0x5\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        // Cut down to 64 bits, this is five.
        "chunk-size-over" => {
            then(chunked(&format!("10000000000000005\r\nhello\r\n0\r\n\r\n{POISON}")), Step::Stall)
        }
        "chunk-no-crlf" => then(chunked("5\r\nhelloworld5\r\nhello\r\n0\r\n\r\n"), Step::Stall),
        "chunk-bare-lf" => then(chunked("5\nhello\n0\n\n"), Step::Stall),
        "chunk-extension-huge" => {
            then(chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(1 << 20))), Step::Stall)
        }
        "chunk-extension" => chunked("5;name=value;other\r\nhello\r\n0\r\n\r\n"),
        "chunk-zeros" => chunked("0005\r\nhello\r\n0000\r\n\r\n"),
        "chunk-blank" => chunked("5 \r\nhello\r\n0\r\n\r\n"),
        "chunk-extension-quoted" => {
            then(chunked("5;a=\"\r\nhello\r\n0\r\n\r\n\"\r\nhello\r\n0\r\n\r\n"), Step::Stall)
        }
        "trailer-crooked" => then(chunked("5\r\nhello\r\n0\r\nno colon\r\n\r\n"), Step::Stall),
        "trailer-endless" => {
            then(chunked(&format!("5\r\nhello\r\n0\r\nX-Sum: {}", "7".repeat(256 << 10))), Step::Stall)
        }
        "chunk-rest" => chunked(&format!("5\r\nhello\r\n0\r\n\r\n{POISON}")),
        "length-long" => then(part(), Step::Close),
        "length-short" => vec![send(ok("Content-Length: 2\r\n") + "ok" + POISON)],
        "length-two" => odd("Content-Length: 3\r\n"),
        "length-twice" => odd("Content-Length: 2\r\n"),
        "length-list" => vec![send(ok("Content-Length: 2, 2\r\n") + "ok")],
        "length-list-two" => vec![send(ok("Content-Length: 2, 3\r\n") + "ok"), Step::Stall],
        "length-plus" => vec![send(ok("Content-Length: +2\r\n") + "ok"), Step::Stall],
        "length-minus" => vec![send(ok("Content-Length: -2\r\n") + "ok"), Step::Stall],
        "length-hex" => vec![send(ok("Content-Length: 0x2\r\n") + "ok"), Step::Stall],
        "length-empty" => vec![send(ok("Content-Length:\r\n") + "ok"), Step::Stall],
        // Cut down to 64 bits, this is two.
        "length-over" => {
            vec![send(ok("Content-Length: 18446744073709551618\r\n") + "ok" + POISON), Step::Stall]
        }
        // Read by its length, the rest is an answer of its own.
        "length-and-chunked" => {
            let lines = "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n";
            vec![send(ok(lines) + "2\r\nok\r\n0\r\n\r\n" + POISON)]
        }
        "chunked-and-length" => {
            let lines = "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n";
            vec![send(ok(lines) + "2\r\nok\r\n0\r\n\r\n" + POISON)]
        }
        "te-gzip-chunked" => {
            vec![send(ok("Transfer-Encoding: gzip, chunked\r\n") + "2\r\nok\r\n0\r\n\r\n")]
        }
        "te-gzip" => vec![send(ok("Transfer-Encoding: gzip\r\n") + "ok"), Step::Close],
        "te-identity" => vec![send(ok("Transfer-Encoding: identity\r\n") + "ok"), Step::Close],
        "te-chunked-twice" => {
            vec![send(ok("Transfer-Encoding: chunked, chunked\r\n") + "2\r\nok\r\n0\r\n\r\n"), Step::Stall]
        }
        "te-chunked-gzip" => {
            vec![send(ok("Transfer-Encoding: chunked, gzip\r\n") + "2\r\nok\r\n0\r\n\r\n"), Step::Close]
        }
        "te-capitals" => vec![send(ok("Transfer-Encoding: CHUNKED\r\n") + "2\r\nok\r\n0\r\n\r\n")],
        "te-tab" => vec![send(ok("Transfer-Encoding:\tchunked\t\r\n") + "2\r\nok\r\n0\r\n\r\n")],
        "te-two-lines" => {
            let lines = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
            vec![send(ok(lines) + "2\r\nok\r\n0\r\n\r\n"), Step::Stall]
        }
        "te-parameter" => {
            vec![send(ok("Transfer-Encoding: chunked;q=1\r\n") + "2\r\nok\r\n0\r\n\r\n"), Step::Close]
        }
        "te-vertical-tab" => {
            vec![send(ok("Transfer-Encoding: \x0bchunked\r\n") + "2\r\nok\r\n0\r\n\r\n"), Step::Close]
        }
        "te-nothing" => vec![send(ok("Transfer-Encoding:\r\nContent-Length: 2\r\n") + "ok"), Step::Close],
        "te-http10" => {
            let head = ok("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0");
            vec![send(head + "2\r\nok\r\n0\r\n\r\n"), Step::Close]
        }
        "switch-unasked" => {
            let lines = "Connection: upgrade\r\nUpgrade: poison\r\n";
            vec![send(head("101 Switching Protocols", token, lines) + POISON), Step::Stall]
        }
        "continue-flood" => {
            let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000);
            vec![send(flood), send(ok("Content-Length: 2\r\n") + "ok")]
        }
        "header-huge" => odd(&format!("X-Huge: {}\r\n", "h".repeat(200 << 10))),
        "header-endless" => {
            vec![send("HTTP/1.1 200 OK\r\nX-Huge: "), Step::Send(vec![b'h'; 2 << 20]), Step::Stall]
        }
        "header-nul" => odd("X-Nul: a\0b\r\n"),
        "header-cr" => odd("X-Cr: a\rX-Split: poison\r\n"),
        "header-fold" => odd("X-Fold: a\r\n b\r\n"),
        "header-space-colon" => odd("X-Space : a\r\n"),
        "header-no-colon" => odd("no colon at all\r\n"),
        "header-no-name" => odd(": no name\r\n"),
        "header-bad-name" => odd("X Bad(Name): a\r\n"),
        "bare-lf" => vec![send((ok("Content-Length: 2\r\n") + "ok").replace('\r', ""))],
        "no-content-body" => {
            vec![send(head("204 No Content", token, "") + POISON)]
        }
        "no-content-length" => {
            vec![send(head("204 No Content", token, "Content-Length: 2\r\n") + "ok")]
        }
        "no-content-later" => {
            vec![send(head("204 No Content", token, "Content-Length: 2\r\n")), Step::Pause(2), send("ok")]
        }
        "not-modified-body" => {
            vec![send(head("304 Not Modified", token, "Content-Length: 6\r\n") + POISON)]
        }
        "head-body" => vec![send(ok(&format!("Content-Length: {}\r\n", POISON.len())) + POISON)],
        "unsolicited" => vec![send(ok("Content-Length: 2\r\n") + "ok"), Step::Pause(10), send(POISON)],
        "close-after" => vec![send(ok("Content-Length: 2\r\n") + "ok"), Step::Close],
        "reset-after" => vec![send(ok("Content-Length: 2\r\n") + "ok"), BREATH, Step::Reset],
        "die-on-next" => vec![send(ok("Content-Length: 2\r\n") + "ok"), Step::DieOnNext],
        // Before the body is read: see `script::before_body`.
        "early-keep" => {
            vec![send(head("413 Too Large", token, "Content-Length: 5\r\n") + "early"), Step::Stall]
        }
        "early-close" => vec![
            send(head("413 Too Large", token, "Content-Length: 5\r\nConnection: close\r\n") + "early"),
            Step::Close,
        ],
        "early-reset" => vec![
            send(head("413 Too Large", token, "Content-Length: 5\r\nConnection: close\r\n") + "early"),
            BREATH,
            Step::Reset,
        ],
        "refuse-expect" => vec![
            send(head("417 No", token, "Content-Length: 2\r\nConnection: close\r\n") + "no"),
            Step::Close,
        ],
        _ => return None,
    })
}
