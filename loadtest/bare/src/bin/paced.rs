//! Requests at a fixed rate, whether the ones before were answered or not.
//!
//! `paced ADDRESS RATE SECONDS CONNECTIONS [PATH [SOURCES [BURST [asked]]]]`
//!
//! What a request waits is counted from when it was due: a server that stops for a second is seen to have
//! stopped, by every request that would have come in that second. A closed loop would have sent none of them
//! (coordinated omission). Connections take turns, each with one request at a time; a request that is due while all
//! of them wait is late, and its time counts. They come from `SOURCES` addresses, 127.0.2.1 and those after it. With
//! a `BURST`, so many are due together, as often as the rate allows. With `asked`, each asks once as it is opened: a
//! server does not wait long for the first request of a connection.
//!
//! It says `ready` once all connections are open, begins at the first line of its input, prints one
//! line of JSON, and keeps the connections until the input ends: what they cost can be looked at meanwhile.

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// How long answers are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first tenth fills caches and pools, and is not in the percentiles.
const WARM: u32 = 10;
/// What is due sooner than this is waited for awake: a sleep ends later than it was asked to.
const AWAKE: Duration = Duration::from_millis(1);

struct Plan {
    address: SocketAddr,
    rate: f64,
    seconds: f64,
    connections: usize,
    path: String,
    sources: usize,
    burst: u64,
    asked: bool,
}

struct Connection {
    stream: TcpStream,
    due: Option<Instant>,
    got: Vec<u8>,
}

#[derive(Default)]
struct Told {
    sent: u64,
    answered: u64,
    failed: u64,
    /// Requests for which no connection was free when they were due.
    queued: u64,
    /// Nanoseconds from due to answered.
    waits: Vec<u64>,
    /// Nanoseconds that this program itself was late, where a connection was free.
    lags: Vec<u64>,
}

fn usage() -> ! {
    eprintln!("usage: paced ADDRESS RATE SECONDS CONNECTIONS [PATH [SOURCES [BURST [asked]]]]");
    std::process::exit(2);
}

fn plan() -> Option<Plan> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan {
        address: words.first()?.parse().ok()?,
        rate: words.get(1)?.parse().ok()?,
        seconds: words.get(2)?.parse().ok()?,
        connections: words.get(3)?.parse().ok()?,
        path: words.get(4).cloned().unwrap_or_else(|| "/".to_owned()),
        sources: words.get(5).map_or(Some(0), |sources| sources.parse().ok())?,
        burst: words.get(6).map_or(Some(1), |burst| burst.parse().ok())?,
        asked: words.get(7).is_some_and(|word| word == "asked"),
    };
    (plan.burst > 0 && plan.rate > 0.0 && plan.seconds > 0.0 && plan.connections > 0 && plan.sources < 250)
        .then_some(plan)
}

fn connect(plan: &Plan, number: usize, request: &[u8]) -> io::Result<TcpStream> {
    let mut socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, None)?;
    if plan.sources > 0 {
        let last = u8::try_from(number % plan.sources + 1).unwrap_or(1);
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 2, last), 0)).into())?;
    }
    socket.connect(&plan.address.into())?;
    socket.set_tcp_nodelay(true)?;
    if plan.asked {
        ask(&mut socket, request)?;
    }
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// Asks once, and waits for the answer.
fn ask(socket: &mut Socket, request: &[u8]) -> io::Result<()> {
    socket.write_all(request)?;
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => got.extend_from_slice(&buffer[..count]),
        }
        match answer(&got) {
            Some((whole, is_good, is_last)) if got.len() >= whole => {
                return if is_good && !is_last { Ok(()) } else { Err(ErrorKind::ConnectionRefused.into()) };
            }
            _ => {}
        }
    }
}

/// The length of a whole answer, once its head is there, whether it is a good one, and whether it is the last.
fn answer(got: &[u8]) -> Option<(usize, bool, bool)> {
    let end = got.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
    let body = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    let body = body.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(0);
    Some((end + body, head.starts_with("http/1.1 2"), head.contains("\r\nconnection: close")))
}

struct Load {
    plan: Plan,
    request: Vec<u8>,
    poll: Poll,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    late: VecDeque<Instant>,
    told: Told,
    counted_from: Instant,
}

impl Load {
    fn open(plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.address).into_bytes();
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let mut stream = connect(&plan, number, &request)?;
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            connections.push(Connection { stream, due: None, got: Vec::new() });
        }
        let free = (0..plan.connections).collect();
        let (told, late) = (Told::default(), VecDeque::new());
        Ok(Self { plan, request, poll, connections, free, late, told, counted_from: Instant::now() })
    }

    fn send(&mut self, number: usize, due: Instant) -> io::Result<()> {
        let connection = &mut self.connections[number];
        connection.due = Some(due);
        self.told.sent += 1;
        match connection.stream.write(&self.request) {
            Ok(written) if written == self.request.len() => Ok(()),
            _ => self.renew(number),
        }
    }

    /// A connection in place of one that did not answer well.
    fn renew(&mut self, number: usize) -> io::Result<()> {
        self.told.failed += u64::from(self.connections[number].due.take().is_some());
        let mut stream = connect(&self.plan, number, &self.request)?;
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        self.connections[number] = Connection { stream, due: None, got: Vec::new() };
        self.is_free(number)
    }

    fn is_free(&mut self, number: usize) -> io::Result<()> {
        match self.late.pop_front() {
            Some(due) => self.send(number, due),
            None => {
                self.free.push_back(number);
                Ok(())
            }
        }
    }

    fn ready(&mut self, number: usize) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let connection = &mut self.connections[number];
            match connection.stream.read(&mut buffer) {
                Ok(0) => {
                    // It was free and is gone: it must not be taken twice.
                    self.free.retain(|&free| free != number);
                    return self.renew(number);
                }
                Ok(count) => connection.got.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {
                    self.free.retain(|&free| free != number);
                    return self.renew(number);
                }
            }
            let Some((whole, is_good, is_last)) = answer(&connection.got) else { continue };
            let Some(due) = connection.due.filter(|_| connection.got.len() >= whole) else { continue };
            if !is_good {
                return self.renew(number);
            }
            connection.got.clear();
            connection.due = None;
            self.told.answered += 1;
            if due >= self.counted_from {
                self.told.waits.push(nanoseconds(due.elapsed()));
            }
            if is_last {
                return self.renew(number);
            }
            self.is_free(number)?;
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let (begun, period) = (Instant::now(), 1.0 / self.plan.rate);
        let total = (self.plan.rate * self.plan.seconds) as u64;
        let whole = Duration::from_secs_f64(self.plan.seconds);
        self.counted_from = begun + whole / WARM;
        let mut next = 0;
        let burst = self.plan.burst;
        let due = |next: u64| begun + Duration::from_secs_f64((next / burst * burst) as f64 * period);
        loop {
            let now = Instant::now();
            while next < total && due(next) <= now {
                match self.free.pop_front() {
                    Some(number) => {
                        self.told.lags.push(nanoseconds(due(next).elapsed()));
                        self.send(number, due(next))?;
                    }
                    None => {
                        self.told.queued += 1;
                        self.late.push_back(due(next));
                    }
                }
                next += 1;
            }
            let is_over = next == total && self.free.len() == self.connections.len();
            if is_over || now > begun + whole + PATIENCE {
                break;
            }
            let until = due(next).saturating_duration_since(Instant::now());
            let sleep = if next == total { Duration::from_millis(10) } else { until.saturating_sub(AWAKE) };
            self.poll.poll(&mut events, Some(sleep))?;
            for event in &events {
                self.ready(event.token().0)?;
            }
        }
        // What was never sent or never answered.
        self.told.failed += self.late.len() as u64;
        self.told.failed +=
            self.connections.iter().filter(|connection| connection.due.is_some()).count() as u64;
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Microseconds that a share of all do not exceed.
fn rank(ordered: &[u64], share: f64) -> f64 {
    let at = (ordered.len() as f64 * share).ceil() as usize;
    ordered.get(at.saturating_sub(1)).map_or(0.0, |&value| value as f64 / 1000.0)
}

fn main() -> io::Result<()> {
    let Some(plan) = plan() else { usage() };
    let mut input = io::stdin().lock().lines();
    let mut load = Load::open(plan)?;
    println!("ready");
    io::stdout().flush()?;
    input.next().transpose()?;
    load.run()?;
    let Told { sent, answered, failed, queued, waits, lags } = &mut load.told;
    waits.sort_unstable();
    lags.sort_unstable();
    println!(
        "{{\"sent\": {sent}, \"answered\": {answered}, \"failed\": {failed}, \"queued\": {queued}, \"p50\": {:.1}, \"p99\": {:.1}, \
         \"p999\": {:.1}, \"max\": {:.1}, \"lag\": {:.1}}}",
        rank(waits, 0.5),
        rank(waits, 0.99),
        rank(waits, 0.999),
        rank(waits, 1.0),
        rank(lags, 0.99)
    );
    io::stdout().flush()?;
    input.for_each(drop);
    Ok(())
}
