//! A name server of a few lines, for tests: it answers on UDP and TCP what it is told to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// The type of a question for an IPv4 address.
pub(crate) const A: u16 = 1;
/// The type of a question for an IPv6 address.
pub(crate) const AAAA: u16 = 28;

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Records of these addresses, with this TTL.
    Addresses(Vec<IpAddr>, u32),
    /// The name is an alias (its TTL) of another that has the address (its TTL).
    Alias(u32, IpAddr, u32),
    NxDomain,
    NoData,
    ServFail,
    Silence,
    /// Too long for UDP: ask again over TCP.
    Truncated,
}

/// One question: the name in small letters with its last dot, and the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
}

/// Runs until it is dropped.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    _tasks: JoinSet<()>,
}

impl DnsServer {
    pub(crate) async fn start(reply: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let answer = Arc::new(move |message: &[u8], tcp: bool| {
            let (question, end) = question(message, tcp);
            let reply = reply(&question);
            log.lock().unwrap().push(question.clone());
            encode(message, end, question.kind, &reply)
        });
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let answer = answer.clone();
            async move {
                let mut buffer = [0; 1500];
                loop {
                    let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
                    if let Some(message) = answer(&buffer[..length], false) {
                        udp.send_to(&message, peer).await.unwrap();
                    }
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                while let Ok(length) = stream.read_u16().await {
                    let mut buffer = vec![0; length.into()];
                    stream.read_exact(&mut buffer).await.unwrap();
                    if let Some(message) = answer(&buffer, true) {
                        stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
                        stream.write_all(&message).await.unwrap();
                    }
                }
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    /// Everything that it was asked.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

/// The first question of a message, and where it ends.
fn question(message: &[u8], tcp: bool) -> (Question, usize) {
    let (mut name, mut at) = (String::new(), 12);
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        name += &String::from_utf8_lossy(&message[at + 1..end]).to_ascii_lowercase();
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (Question { name, kind, tcp }, at + 5)
}

/// RFC 1035 section 4.1. A name in an answer points to the question's, at offset 12.
fn encode(message: &[u8], end: usize, kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (flags, answers): (u16, u16) = match reply {
        Reply::Silence => return None,
        Reply::Addresses(addresses, _) => (0x8180, addresses.len().try_into().unwrap()),
        Reply::Alias(..) => (0x8180, 2),
        Reply::NoData => (0x8180, 0),
        Reply::Truncated => (0x8380, 0),
        Reply::ServFail => (0x8182, 0),
        Reply::NxDomain => (0x8183, 0),
    };
    let mut out = message[..2].to_vec();
    for field in [flags, 1, answers, 0, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend(&message[12..end]);
    let mut record = |name: &[u8], kind: u16, ttl: u32, data: &[u8]| {
        out.extend(name);
        out.extend(kind.to_be_bytes());
        out.extend(1u16.to_be_bytes());
        out.extend(ttl.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    };
    const ASKED: &[u8] = &[0xc0, 12];
    const REAL: &[u8] = b"\x04real\x00";
    match reply {
        Reply::Addresses(addresses, ttl) => {
            for address in addresses {
                record(ASKED, kind, *ttl, &octets(*address));
            }
        }
        Reply::Alias(alias_ttl, address, ttl) => {
            record(ASKED, 5, *alias_ttl, REAL);
            record(REAL, kind, *ttl, &octets(*address));
        }
        _ => {}
    }
    Some(out)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
