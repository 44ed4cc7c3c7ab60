//! An upstream that does what it is told, well or badly, by the `x-fault` of each request.
//!
//! It reads requests with its own strict parser. What a proxy sends that is not well formed fails
//! the test that started the upstream, whatever else it looks at.

pub(crate) mod faults;
mod play;
mod script;
mod seen;

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use script::{Follow, pattern};
pub(crate) use seen::{Digest, Seen};

use super::PATIENCE;

/// What the connections of an upstream share with the test.
#[derive(Default)]
struct Shared {
    name: String,
    stopping: AtomicBool,
    connections: AtomicUsize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    open: Vec<Weak<TcpStream>>,
    /// Requests whose head was read.
    begun: usize,
    seen: Vec<Seen>,
    /// Tokens of requests whose answer has been sent, with all that comes behind it.
    played: Vec<String>,
    /// Bytes of bodies that were read.
    read: u64,
    /// Requests that ended before their body did.
    unfinished: usize,
    broken: Vec<String>,
    gate: bool,
    pushed: VecDeque<Option<Vec<u8>>>,
    /// Bodies that were followed, by length, and whether they were the pattern.
    followed: Vec<(u64, bool)>,
    reading_stalled: bool,
    /// What is done with requests that ask for nothing.
    unasked: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let changed = act(&mut self.state());
        self.bell.notify_all();
        changed
    }

    /// Waits until `wanted` holds; false where it does not come to hold.
    fn wait(&self, time: Duration, mut wanted: impl FnMut(&mut State) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !wanted(&mut state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            if self.stopping.load(Ordering::Relaxed) {
                return false;
            }
            state = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// An address that nobody listens on, and nobody else will.
pub(crate) struct DeadPort(socket2::Socket);

impl DeadPort {
    /// On a port of the system's choice.
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    fn at(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).expect("the address is free");
        Self(socket)
    }

    /// Where nobody listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// The same for a setting.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Somebody listens from now on.
    pub(crate) fn listen(self, name: &str) -> Upstream {
        self.0.listen(1024).unwrap();
        Upstream::on(self.0.into(), name)
    }
}

/// A running upstream.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Listens on a port of its own.
    pub(crate) fn start() -> Self {
        Self::named("only")
    }

    /// The same on this address, which is free.
    pub(crate) fn at(address: SocketAddr, name: &str) -> Self {
        DeadPort::at(address).listen(name)
    }

    /// The same, with a name that its answers tell.
    pub(crate) fn named(name: &str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), name)
    }

    fn on(listener: TcpListener, name: &str) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { name: name.to_owned(), ..Shared::default() });
        let of_thread = shared.clone();
        let accepting = std::thread::spawn(move || accept(&listener, &of_thread));
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Its URL, for a setting.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.state().open.iter().filter(|stream| stream.strong_count() > 0).count()
    }

    /// Every request that was read to its end.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How many requests were read to their end.
    pub(crate) fn requests(&self) -> usize {
        self.shared.state().seen.len()
    }

    /// How many requests were begun, at least with their head.
    pub(crate) fn begun(&self) -> usize {
        self.shared.state().begun
    }

    /// How many bytes of bodies were read.
    pub(crate) fn read(&self) -> u64 {
        self.shared.state().read
    }

    /// How many requests ended before their body did.
    pub(crate) fn unfinished(&self) -> usize {
        self.shared.state().unfinished
    }

    /// Every request with this token.
    pub(crate) fn seen_of(&self, token: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.token() == token).collect()
    }

    /// The last request, where it has this token.
    pub(crate) fn seen_last(&self, token: &str) -> Option<Seen> {
        self.shared.state().seen.last().filter(|seen| seen.token() == token).cloned()
    }

    /// The one request with this token.
    #[track_caller]
    pub(crate) fn one(&self, token: &str) -> Seen {
        let mut all = self.seen_of(token);
        assert_eq!(all.len(), 1, "requests with the token {token}: {all:#?}");
        all.remove(0)
    }

    /// Bodies that were followed, by length, and whether they were the pattern.
    pub(crate) fn followed(&self) -> Vec<(u64, bool)> {
        self.shared.state().followed.clone()
    }

    /// Waits until the answer to the request with this token has been sent, with all that comes behind it.
    #[track_caller]
    pub(crate) fn wait_played(&self, token: &str) {
        let played = self.shared.wait(PATIENCE, |state| state.played.iter().any(|one| one == token));
        assert!(played, "no answer to {token} was sent");
    }

    /// Waits until so many requests have begun.
    #[track_caller]
    pub(crate) fn wait_begun(&self, count: usize) {
        let came = self.shared.wait(PATIENCE, |state| state.begun >= count);
        assert!(came, "only {} of {count} requests came to the upstream", self.begun());
    }

    /// Waits until none of its connections is open.
    #[track_caller]
    pub(crate) fn wait_closed(&self) {
        super::assert_eventually(PATIENCE, "all connections of the upstream closed", || self.open() == 0);
    }

    /// Lets every request behind the gate go on, and every later one.
    pub(crate) fn open_gate(&self) {
        self.shared.change(|state| state.gate = true);
    }

    /// Sends this on the answers that wait for it.
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.shared.change(|state| state.pushed.push_back(Some(bytes.to_vec())));
    }

    /// Says that this was all.
    pub(crate) fn push_end(&self) {
        self.shared.change(|state| state.pushed.push_back(None));
    }

    /// What requests without `x-fault` get from now on, such as health checks.
    pub(crate) fn answer_unasked_with(&self, fault: &str) {
        self.shared.change(|state| state.unasked = fault.to_owned());
    }

    /// Stops reading request bodies, or goes on.
    pub(crate) fn stall_reading(&self, stalled: bool) {
        self.shared.change(|state| state.reading_stalled = stalled);
    }

    /// Goes away: nobody listens there any more, and every connection ends.
    pub(crate) fn stop(mut self) -> DeadPort {
        self.end();
        DeadPort::at(self.address)
    }

    /// Fails where a request was not well formed.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let broken = self.shared.state().broken.clone();
        assert!(broken.is_empty(), "sent to the upstream: {broken:#?}");
    }

    fn end(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Whoever waits in accept is told by a connection.
        let _ = TcpStream::connect(self.address);
        let _ = accepting.join();
        self.shared.bell.notify_all();
        for stream in self.shared.state().open.drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            self.assert_clean();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(stream);
        shared.change(|state| {
            state.open.retain(|stream| stream.strong_count() > 0);
            state.open.push(Arc::downgrade(&stream));
        });
        let shared = shared.clone();
        std::thread::spawn(move || play::serve(stream, number, &shared));
    }
}
