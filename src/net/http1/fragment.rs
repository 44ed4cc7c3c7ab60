//! Finding fragments in request targets, which the parser drops without a word.
//!
//! A target with a fragment is not in the grammar of a request line
//! ([RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)); an intermediary
//! that keeps what another drops routes a request elsewhere than the other checked it for.
//!
//! The bytes are watched on their way to the parser. A request that comes while the connection is
//! idle begins with its first line, so that line is judged exactly. What follows may be its body or
//! a pipelined request, which only the parser can tell apart: a line in there that could be a
//! request line with a fragment is therefore held against nobody, but the answer under way is made
//! the last of its connection, so that no such request is ever served.

use memchr::{memchr, memchr_iter, memmem, memrchr};

/// Watches the bytes of one connection.
#[derive(Debug, Default)]
pub(in crate::net) struct FragmentWatch {
    /// The beginning of a line whose end has not come yet; empty where the last line was whole.
    tail: Vec<u8>,
    /// The line in `tail` is longer than any request line may be.
    tail_too_long: bool,
    /// And it has had a number sign behind its first word: a fragment counts for no limit of a target,
    /// since the parser drops it, and can be what makes the line as long.
    tail_marked: bool,
    /// The next whole line is the first of a head.
    expects_first: bool,
    /// The request under way began while the connection was idle.
    fresh: bool,
    first_has_fragment: bool,
    doubtful: bool,
    /// Bytes since the request under way began, the last three of them, and where its head ended.
    fed: u64,
    last: [u8; 3],
    head_end: Option<u64>,
    /// Where the request under way ends, as far as that can be told.
    end: Option<u64>,
    /// Where the last whole line begins that is not blank.
    last_line: Option<u64>,
}

impl FragmentWatch {
    /// The connection is idle: what is read next begins a head, unless a part of that head was read
    /// behind the request before.
    pub(in crate::net) fn begin(&mut self) {
        let behind = !self.tail.is_empty() || self.tail_too_long || self.doubtful;
        let nothing_behind = self.end.map_or(!behind, |end| end == self.fed);
        if nothing_behind {
            *self = Self { expects_first: true, fresh: true, ..Self::default() };
            return;
        }
        // A part of the head came behind the request before. Where that one ended is known, so is
        // what came of this one.
        let tail_start = self.fed - self.tail.len() as u64;
        if let Some(end) = self.end.filter(|end| *end <= tail_start && !self.doubtful) {
            let passed = self.last_line.is_some_and(|line| line >= end);
            let tail = std::mem::take(&mut self.tail);
            *self = Self {
                fed: tail.len() as u64,
                tail_too_long: self.tail_too_long,
                tail_marked: self.tail_marked,
                last: self.last,
                tail,
                expects_first: !passed,
                fresh: true,
                ..Self::default()
            };
        }
    }

    /// Looks at bytes that were just read. `max_line` is the longest request line of interest.
    pub(in crate::net) fn feed(&mut self, bytes: &[u8], max_line: usize) {
        if self.tail_marked || memchr(b'#', bytes).is_some() || memchr(b'#', &self.tail).is_some() {
            self.search(bytes, max_line);
        } else if self.expects_first && bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            // The first line, or a part of it, has no fragment so far.
            self.expects_first = !ends_first_line(&self.tail, bytes);
        }
        self.keep_tail(bytes, max_line);
        self.find_head_end(bytes);
    }

    /// Notes where the last of these whole lines begins that is not blank.
    fn note_last_line(&mut self, mut lines: &[u8]) {
        let is_text = |line: &[u8]| line.iter().any(|byte| *byte != b'\r');
        loop {
            let start = memrchr(b'\n', lines).map(|before| before + 1);
            if is_text(lines.get(start.unwrap_or(0)..).unwrap_or_default()) || start.is_none() {
                match start {
                    Some(start) => self.last_line = Some(self.fed + start as u64),
                    // The line began in what was read before.
                    None if is_text(lines) || is_text(&self.tail) => {
                        self.last_line = Some(self.fed - self.tail.len() as u64);
                    }
                    None => {}
                }
                return;
            }
            lines = lines.get(..start.unwrap_or(1) - 1).unwrap_or_default();
        }
    }

    /// Notes where the first empty line ends, also where it came in two parts.
    fn find_head_end(&mut self, bytes: &[u8]) {
        if self.head_end.is_none() {
            let mut seam = [0; 6];
            for (place, byte) in seam.iter_mut().zip(self.last.iter().chain(bytes.iter().take(3))) {
                *place = *byte;
            }
            let at_seam = memmem::find(&seam, b"\r\n\r\n").map(|at| at + 1);
            let end = at_seam.or_else(|| memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4));
            self.head_end = end.map(|end| self.fed + end as u64);
        }
        self.fed += bytes.len() as u64;
        for byte in bytes.iter().skip(bytes.len().saturating_sub(3)) {
            self.last = [self.last[1], self.last[2], *byte];
        }
    }

    fn search(&mut self, bytes: &[u8], max_line: usize) {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..end).unwrap_or_default();
            let joined;
            let line = if start == 0 && !self.tail.is_empty() {
                joined = [self.tail.as_slice(), line].concat();
                &joined
            } else {
                line
            };
            let goes_on = start == 0 && self.tail_too_long;
            let whole = line.len() <= max_line && !goes_on;
            let marked = match whole {
                true => has_fragment(line),
                false if goes_on => self.tail_marked || memchr(b'#', line).is_some(),
                false => is_marked(line),
            };
            let blank = whole && line.iter().all(|byte| *byte == b'\r');
            if self.expects_first && !blank {
                self.expects_first = false;
                self.first_has_fragment = marked;
            } else if marked && (whole || may_end_request_line(line)) {
                self.doubtful = true;
            }
            start = end + 1;
        }
    }

    /// Keeps the beginning of a line that is not whole, unless it is too long to matter.
    fn keep_tail(&mut self, bytes: &[u8], max_line: usize) {
        let last_line = match memrchr(b'\n', bytes) {
            Some(end) => {
                self.note_last_line(bytes.get(..end).unwrap_or_default());
                self.tail.clear();
                (self.tail_too_long, self.tail_marked) = (false, false);
                bytes.get(end + 1..).unwrap_or_default()
            }
            None => bytes,
        };
        if self.tail_too_long {
            self.tail_marked |= memchr(b'#', last_line).is_some();
        } else if self.tail.len() + last_line.len() > max_line {
            let mut line = std::mem::take(&mut self.tail);
            line.extend_from_slice(last_line);
            (self.tail_too_long, self.tail_marked) = (true, is_marked(&line));
        } else if !last_line.is_empty() {
            self.tail.extend_from_slice(last_line);
        }
    }

    /// Whether the request that is now whole had a fragment. Asked once per request, in order, with
    /// the length of its body where that is known.
    ///
    /// A request that was pipelined behind something doubtful is taken to have one: it should have
    /// been the last of its connection already, and only an answer that began earlier kept it.
    pub(in crate::net) fn had_fragment(&mut self, body: Option<u64>) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        self.end = if fresh { self.head_end.zip(body).map(|(head, body)| head + body) } else { None };
        if fresh { std::mem::take(&mut self.first_has_fragment) } else { self.doubtful }
    }

    /// Whether a request with a fragment may be among what was read behind the one under way.
    pub(in crate::net) fn is_doubtful(&self) -> bool {
        self.doubtful
    }
}

/// Whether `bytes`, read behind `tail`, end the first line of a head that is not blank.
fn ends_first_line(tail: &[u8], bytes: &[u8]) -> bool {
    let mut text = !tail.iter().all(|byte| *byte == b'\r');
    for byte in bytes {
        match byte {
            b'\n' if text => return true,
            b'\n' | b'\r' => {}
            _ => text = true,
        }
    }
    false
}

/// Whether this is a line like `METHOD SP target#fragment SP HTTP/1.1`. No field line is: its name
/// ends in a colon, before any space.
fn has_fragment(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(version) = memrchr(b' ', line) else { return false };
    let Some(method) = memchr(b' ', line) else { return false };
    line.get(version + 1..).is_some_and(|version| version.starts_with(b"HTTP/"))
        && line.get(..method).is_some_and(|method| memchr(b':', method).is_none())
        && line.get(method..version).is_some_and(|target| memchr(b'#', target).is_some())
}

/// Whether a line that is too long to be kept has a number sign behind its first word.
fn is_marked(line: &[u8]) -> bool {
    let rest = memchr(b' ', line).and_then(|method| line.get(method..));
    rest.is_some_and(|rest| memchr(b'#', rest).is_some())
}

/// Whether such a line ends as a request line does, as far as its end is here.
fn may_end_request_line(end: &[u8]) -> bool {
    let end = end.strip_suffix(b"\r").unwrap_or(end);
    const VERSION: usize = "HTTP/1.1".len();
    end.len() < VERSION || end.get(end.len() - VERSION..).is_some_and(|end| end.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the request had a fragment, and whether what follows is doubtful.
    fn watch(bytes: &[u8], split: usize) -> (bool, bool) {
        let mut watch = FragmentWatch::default();
        watch.begin();
        let (head, tail) = bytes.split_at(split);
        watch.feed(head, 1000);
        watch.feed(tail, 1000);
        (watch.had_fragment(None), watch.is_doubtful())
    }

    #[test]
    fn a_fragment_is_found_wherever_the_bytes_are_split() {
        for target in ["/a?b#c", "//#x", "/a//#x", "http://a?x#c", "/#"] {
            let bytes = format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            for split in 0..=bytes.len() {
                assert_eq!(watch(bytes.as_bytes(), split), (true, false), "{target} split at {split}");
            }
        }
        assert_eq!(watch(b"X#Y /#c HTTP/1.1\r\n", 0), (true, false));
        assert_eq!(watch(b"X#Y /c HTTP/1.1\r\n", 0), (false, false));
    }

    #[test]
    fn a_fragment_that_makes_its_line_too_long_is_found() {
        let long = "x".repeat(1100);
        for target in [format!("/a#{long}"), format!("/{long}#"), format!("/#{long}#")] {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let behind = format!("POST /b HTTP/1.1\r\n\r\n{bytes}");
            for split in 0..=behind.len() {
                if split <= bytes.len() {
                    assert_eq!(watch(bytes.as_bytes(), split), (true, false), "{target} split at {split}");
                }
                assert_eq!(watch(behind.as_bytes(), split), (false, true), "{target} split at {split}");
            }
        }
        // What is merely long is for the limit of targets to refuse; and a long body is no request.
        for bytes in
            [format!("GET /{long} HTTP/1.1\r\n\r\n"), format!("POST /b HTTP/1.1\r\n\r\n# {long}#\r\n")]
        {
            for split in 0..=bytes.len() {
                // The last bytes of a line can come alone, and could then be anything.
                let (fragment, doubtful) = watch(bytes.as_bytes(), split);
                assert!(!fragment && (!doubtful || split > 1100), "split at {split}");
            }
        }
    }

    #[test]
    fn fields_are_not_suspected_and_a_body_only_ends_the_connection() {
        let fields = b"GET /a HTTP/1.1\r\nCookie: a#b HTTP/1.1\r\nReferer: http://a/#b\r\n\r\n";
        let body = b"POST /b HTTP/1.1\r\n\r\nPOST /b#c HTTP/1.1\r\n";
        for split in 0..=fields.len() {
            assert_eq!(watch(fields, split), (false, false), "split at {split}");
        }
        for split in 0..=body.len() {
            assert_eq!(watch(body, split), (false, true), "split at {split}");
        }
    }

    #[test]
    fn a_body_says_nothing_about_the_next_request() {
        // The last bodies end in what could be the beginning of a request line.
        for body in ["GET /#x HTTP/1.1\n", "GET /#", "GET /a#b HTTP/1.1\nGET /", "#", "\r\n\r\n#"] {
            let post = format!("POST /b HTTP/1.1\r\nX: y\r\n\r\n{body}");
            for split in 0..=post.len() {
                let mut watch = FragmentWatch::default();
                watch.begin();
                watch.feed(&post.as_bytes()[..split], 1000);
                watch.feed(&post.as_bytes()[split..], 1000);
                assert!(!watch.had_fragment(Some(body.len() as u64)), "{body:?} split at {split}");
                watch.begin();
                watch.feed(b"GET / HTTP/1.1\r\n\r\n", 1000);
                assert!(!watch.had_fragment(Some(0)) && !watch.is_doubtful(), "{body:?} split at {split}");
            }
        }
    }

    #[test]
    fn a_request_that_was_partly_read_ahead_is_judged_whole() {
        let ahead = b"GET /a HTTP/1.1\r\n\r\nGET /";
        let mut watch = FragmentWatch::default();
        watch.begin();
        watch.feed(ahead, 1000);
        assert!(!watch.had_fragment(Some(0)));
        watch.begin();
        watch.feed(b"#x HTTP/1.1\r\n\r\n", 1000);
        assert!(watch.had_fragment(Some(0)));
    }

    #[test]
    fn a_body_behind_a_pipelined_head_is_held_against_nobody() {
        let first = "GET /a HTTP/1.1\r\n\r\n";
        let second = b"POST /b HTTP/1.1\r\nX: y\r\n\r\n";
        let body = b"GET /#x HTTP/1.1\n";
        for split in 0..=second.len() {
            let mut watch = FragmentWatch::default();
            watch.begin();
            watch.feed(&[first.as_bytes(), &second[..split]].concat(), 1000);
            assert!(!watch.had_fragment(Some(0)));
            watch.begin();
            watch.feed(&[&second[split..], body].concat(), 1000);
            assert!(!watch.had_fragment(Some(body.len() as u64)), "split at {split}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_kept_only_so_far() {
        let mut watch = FragmentWatch::default();
        watch.begin();
        for _ in 0..1000 {
            watch.feed(&[b'#'; 1000], 8192);
        }
        assert!(watch.tail.capacity() <= 16384);
        assert!(!watch.had_fragment(None));
    }
}
