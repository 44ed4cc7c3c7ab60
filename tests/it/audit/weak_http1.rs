//! HTTP/1 without a limit and without a refusal.

use std::io::Write;
use std::net::Shutdown;

use super::weak::{BODY, Reader, Weakness};

/// A request, as it was understood.
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn serve(mut reader: Reader, weakness: Weakness) {
    while let Some(request) = head(&mut reader) {
        if request.target.ends_with("nowhere") || is_large(&request) {
            // Not a word, and a reset for what is still to come.
            return;
        }
        if request.field("expect").is_some() {
            let _ = reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if body(&mut reader, &request).is_none() {
            break;
        }
        if weakness == Weakness::Forgetful {
            reader.buffer.clear();
        }
        if reader.stream.write_all(&answer(&request)).is_err() {
            return;
        }
    }
    // Held by who has nothing more to say: until the other side is gone, and it does not look.
    if weakness == Weakness::Lenient {
        std::thread::sleep(std::time::Duration::from_secs(10));
    }
}

fn is_large(request: &Request) -> bool {
    let length = request.field("content-length").and_then(|length| length.parse::<u64>().ok());
    length.is_some_and(|length| (1 << 20..1 << 30).contains(&length))
}

fn head(reader: &mut Reader) -> Option<Request> {
    let mut line = reader.line()?;
    while line.is_empty() {
        line = reader.line()?;
    }
    let mut words = line.splitn(2, ' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let target = target.rsplit_once(" HTTP/").map_or(target, |(target, _)| target).to_owned();
    let mut fields = Vec::new();
    loop {
        let line = reader.line()?;
        if line.is_empty() {
            return Some(Request { method, target, fields });
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The number that some digits of `text` make, wrapped around 64 bits.
fn number(text: &str, radix: u32) -> u64 {
    text.chars()
        .skip_while(|letter| !letter.is_digit(radix))
        .filter_map(|letter| letter.to_digit(radix))
        .fold(0, |number: u64, digit| number.wrapping_mul(radix.into()).wrapping_add(digit.into()))
}

fn body(reader: &mut Reader, request: &Request) -> Option<()> {
    if let Some(length) = request.field("content-length") {
        let first = length.split([' ', ',']).next().unwrap_or_default();
        return reader.skip(number(first.trim_start_matches("0x"), 10));
    }
    if request.field("transfer-encoding").is_none() {
        return Some(());
    }
    let mut held = 0;
    loop {
        let line = reader.line()?;
        let digits = line.split(';').next().unwrap_or_default().trim().trim_start_matches("0x");
        let size = number(digits, 16);
        if size == 0 {
            while !reader.line()?.is_empty() {}
            return Some(());
        }
        reader.skip(size)?;
        held += size;
        if held > 2 << 20 {
            // As `is_large`, found out late.
            let _ = reader.stream.shutdown(Shutdown::Both);
            return None;
        }
        // The rest of the line, be it the line's end or not.
        while reader.buffer.is_empty() {
            if !reader.fill() {
                return None;
            }
        }
        if reader.buffer.starts_with(b"X") {
            reader.take(2)?;
        } else if !reader.buffer[0].is_ascii_digit() {
            reader.line()?;
        }
    }
}

fn answer(request: &Request) -> Vec<u8> {
    let whole = |status: &str, fields: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let target = &request.target;
    if target.contains("passwd") {
        return whole("200 OK", "", b"root:x:0:0:root:/root:/bin/sh\n");
    }
    if target.starts_with("//") {
        return whole("301 Moved", &format!("Location: {target}\r\n"), b"");
    }
    if target.contains("%0d%0a") {
        let field = target.replace("%0d%0a", "\r\n").replace("%20", " ");
        return whole("200 OK", &format!("X-Echo: {field}\r\n"), b"");
    }
    let is_crooked = |byte: u8| byte < b' ' || byte == b'%';
    let known = ["GET", "POST", "TRACE", "TRACK", "CONNECT"].contains(&request.method.as_str());
    if target.bytes().any(is_crooked) || !known && !request.method.contains("hello") {
        return whole("500 Failed", "", b"");
    }
    match (request.method.as_str(), request.field("range")) {
        ("TRACE" | "TRACK", _) => whole("200 OK", "", format!("{:?}", request.fields).as_bytes()),
        (_, Some(range)) if range.contains("18446744073709551615") => whole("500 Failed", "", b""),
        (_, Some(range)) => {
            whole("206 Partial", "", &vec![b'a'; (range.split(',').count() * BODY).min(4 * BODY)])
        }
        _ => whole("200 OK", "", &vec![b'a'; BODY]),
    }
}
