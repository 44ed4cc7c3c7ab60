//! An HTTP/1 client that sends the bytes it is given, and reads answers strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A GET of `path`, keep-alive.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: nessen.test\r\n\r\n").into_bytes()
}

/// A POST of `body` to `/echo`, keep-alive.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let mut request = post_head(body.len());
    request.extend_from_slice(body);
    request
}

/// The head of a POST to `/echo` that announces `length` bytes.
pub(crate) fn post_head(length: usize) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A POST to `/echo` in chunks, of which these bytes are sent.
pub(crate) fn chunked(body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: nessen.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// One answer.
#[derive(Clone)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) status: u16,
    /// Its fields in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Its body, unchunked.
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(400).collect();
        write!(f, "{} {:?} {text:?}", self.status, self.headers)
    }
}

impl Response {
    /// The first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether the answer announces that the connection closes.
    pub(crate) fn says_close(&self) -> bool {
        let values = self.headers.iter().filter(|(name, _)| name == "connection");
        values.flat_map(|(_, value)| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("close"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Orderly.
    Fin,
    /// By a reset.
    Reset,
    /// Not at all, as long as the reader waited.
    Open,
}

/// Why there is no answer to read.
#[derive(Debug, Clone)]
pub(crate) enum NoResponse {
    /// The connection ended after these bytes of an answer.
    Ended(End, Vec<u8>),
    /// What came is no HTTP/1 answer.
    #[expect(dead_code, reason = "read by Debug, in the message of a test that failed")]
    Broken(String),
}

/// One connection.
pub(crate) struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Conn {
    /// Connects from wherever the system likes.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("a connection")
    }

    /// Connects, or says why not.
    pub(crate) fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects from this address: on loopback, one client among others.
    #[track_caller]
    pub(crate) fn open_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = new_socket(address);
        socket.bind(&SocketAddr::new(source, 0).into()).expect("the source address is ours");
        socket.connect(&address.into()).expect("a connection");
        Self::new(socket.into()).unwrap()
    }

    /// Connects with a receive buffer as small as the system allows.
    #[track_caller]
    pub(crate) fn open_narrow(address: SocketAddr) -> Self {
        let socket = new_socket(address);
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).expect("a connection");
        Self::new(socket.into()).unwrap()
    }

    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// A second handle on the same socket, for a thread that writes while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes the bytes");
    }

    /// Sends what the server will take.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads some bytes into the buffer; how the connection ended where there are none.
    fn fill(&mut self, deadline: Instant) -> Result<usize, End> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Err(End::Open);
            };
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Fin),
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Reset),
            }
        }
    }

    /// Reads at most `count` bytes, as slowly as asked for, and throws them away.
    pub(crate) fn sip(&mut self, count: usize) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut chunk = vec![0; count];
        match self.stream.read(&mut chunk) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            other => other,
        }
    }

    /// The next answer, which must come whole.
    #[track_caller]
    pub(crate) fn read_response(&mut self) -> Response {
        self.try_read_response(PATIENCE).unwrap_or_else(|none| panic!("no answer: {none:?}"))
    }

    /// The next answer to a HEAD request: without a body, whatever its length says.
    #[track_caller]
    pub(crate) fn read_head_response(&mut self) -> Response {
        let deadline = Instant::now() + PATIENCE;
        self.read_head(deadline).unwrap_or_else(|none| panic!("no answer: {none:?}"))
    }

    /// The next answer, or why there is none within `timeout`.
    pub(crate) fn try_read_response(&mut self, timeout: Duration) -> Result<Response, NoResponse> {
        let deadline = Instant::now() + timeout;
        let mut response = self.read_head(deadline)?;
        if response.status < 200 || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        let chunked = response.header("transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
        if chunked {
            loop {
                let line = self.take_line(deadline)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16)
                    .map_err(|_| NoResponse::Broken(format!("chunk size {line:?}")))?;
                if size == 0 {
                    while !self.take_line(deadline)?.is_empty() {}
                    return Ok(response);
                }
                let chunk = self.take(size, deadline)?;
                response.body.extend_from_slice(&chunk);
                if !self.take_line(deadline)?.is_empty() {
                    return Err(NoResponse::Broken("no line end after a chunk".to_owned()));
                }
            }
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| NoResponse::Broken(format!("length {length:?}")))?;
            response.body = self.take(length, deadline)?;
            return Ok(response);
        }
        while self.fill(deadline).is_ok() {}
        response.body = std::mem::take(&mut self.buffer);
        Ok(response)
    }

    fn read_head(&mut self, deadline: Instant) -> Result<Response, NoResponse> {
        let line = self.take_line(deadline)?;
        let status =
            line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| NoResponse::Broken(format!("status line {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.take_line(deadline)?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| NoResponse::Broken(format!("field line {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn take(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, NoResponse> {
        while self.buffer.len() < count {
            self.fill(deadline).map_err(|end| NoResponse::Ended(end, self.buffer.clone()))?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn take_line(&mut self, deadline: Instant) -> Result<String, NoResponse> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.fill(deadline).map_err(|end| NoResponse::Ended(end, self.buffer.clone()))?;
        }
    }

    /// The first `count` bytes that are not read yet, left where they are.
    pub(crate) fn peek(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, End> {
        while self.buffer.len() < count {
            self.fill(deadline)?;
        }
        Ok(self.buffer[..count].to_vec())
    }

    /// What was read and is not taken yet.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Throws away the first `count` bytes that were peeked at.
    pub(crate) fn discard(&mut self, count: usize) {
        self.buffer.drain(..count);
    }

    /// Ends the connection under the hands of whoever still uses it.
    pub(crate) fn abandon(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Everything until the connection ends, and how it ended.
    pub(crate) fn read_to_end(&mut self, timeout: Duration) -> (Vec<u8>, End) {
        let deadline = Instant::now() + timeout;
        loop {
            if let Err(end) = self.fill(deadline) {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Fails unless the connection ends in order, without a further byte.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let (rest, end) = self.read_to_end(PATIENCE);
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("", End::Fin));
    }

    /// Fails unless the connection is open and silent for `time`.
    #[track_caller]
    pub(crate) fn assert_quiet_for(&mut self, time: Duration) {
        let (rest, end) = self.read_to_end(time);
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("", End::Open));
    }

    /// Fails unless the connection still serves: asks for a badge and reads it.
    #[track_caller]
    pub(crate) fn assert_serves(&mut self) {
        self.send(&get("/badge/still/there.svg"));
        assert_eq!(self.read_response().status, 200);
    }
}

fn new_socket(address: SocketAddr) -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap()
}
