//! What client and server agree upon: version, protocol, certificate; and what is said of it afterwards.

use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};

use super::{HOST, Secure, ask, shake, try_shake};
use crate::support::collector::Collector;
use crate::support::folder::Folder;
use crate::support::http1::{Conn, get, post};
use crate::support::tls::{Ca, Door};
use crate::support::upstream::Upstream;
use crate::support::wire::values;
use crate::support::{PATIENCE, assert_eventually, installed};

#[test]
fn both_versions_are_spoken_and_the_log_says_which() {
    let secure = Secure::start(&[]);
    for (versions, expected, label) in
        [(&[&TLS12][..], ProtocolVersion::TLSv1_2, "1.2"), (&[&TLS13], ProtocolVersion::TLSv1_3, "1.3")]
    {
        let mut stream = shake(&secure, &secure.client().speaking(versions).config());
        assert_eq!(stream.conn.protocol_version(), Some(expected));
        let path = format!("/seen-by-{label}");
        assert!(ask(&mut stream, &path).unwrap().starts_with("HTTP/1.1 404"));
        let line = secure.wait_log("the request", |line| line["path"] == path.as_str());
        assert!(line["tls"] == label && line["protocol"] == "http/1.1", "{line}");
    }
    assert_eq!(secure.handshakes("full"), 3.0);
}

#[test]
fn the_oldest_version_is_as_it_is_set() {
    let secure = Secure::start(&[("NESSEN_TLS_MIN_VERSION", "1.3")]);
    assert!(try_shake(&secure, &secure.client().speaking(&[&TLS12]).config(), HOST).is_err());
    assert!(try_shake(&secure, &secure.client().speaking(&[&TLS13]).config(), HOST).is_ok());
    assert_eq!(secure.handshakes("unsupported"), 1.0);
}

#[test]
fn what_was_negotiated_is_what_is_spoken() {
    let secure = Secure::start(&[]);
    let config = |protocols: &[&str]| secure.client().offering(protocols).config();
    for (protocols, expected) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["h2"], Some("h2")),
        (&[], None),
    ] {
        let stream = shake(&secure, &config(protocols));
        let agreed = stream.conn.alpn_protocol().map(|agreed| String::from_utf8_lossy(agreed).into_owned());
        assert_eq!(agreed.as_deref(), expected);
    }
    assert!(try_shake(&secure, &config(&["spdy/3"]), HOST).is_err());
    assert_eq!(secure.handshakes("unsupported"), 1.0);
    // Who agreed on one does not get the other.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (protocols, bytes, begins) in [
        (&["http/1.1"][..], &preface[..], &b"HTTP/1.1 400"[..]),
        (&["h2"], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\0"),
        // Who did not, is understood by what it says.
        (&[], preface, b"\0\0"),
        (&[], b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200"),
    ] {
        let mut stream = shake(&secure, &config(protocols));
        std::io::Write::write_all(&mut stream, bytes).unwrap();
        let mut answer = [0; 64];
        let read = std::io::Read::read(&mut stream, &mut answer).unwrap();
        assert!(
            answer[..read].starts_with(begins),
            "{protocols:?}: {:?}",
            String::from_utf8_lossy(&answer[..read])
        );
    }
}

#[test]
fn without_http2_none_is_offered() {
    let secure = Secure::start(&[("NESSEN_HTTP2_ENABLED", "false")]);
    let stream = shake(&secure, &secure.client().offering(&["h2", "http/1.1"]).config());
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(try_shake(&secure, &secure.client().offering(&["h2"]).config(), HOST).is_err());
}

#[test]
fn of_several_certificates_each_is_for_its_names() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let all: Vec<_> = [&["first.test"][..], &["*.many.test", "many.test"], &["one.many.test"]]
        .iter()
        .enumerate()
        .map(|(place, hosts)| ca.put(&folder, &format!("c{place}"), hosts))
        .collect();
    let list = |which: usize| all.iter().map(|pair| pair[which].as_str()).collect::<Vec<_>>().join(" ");
    let secure = Secure::start_in(folder, ca, &[("TLS_CERT", &list(0)), ("TLS_KEY", &list(1))]);
    let config = secure.client().config();
    for (host, place) in [
        ("first.test", 0),
        ("MANY.test", 1),
        ("other.many.test", 1),
        ("One.Many.Test", 2),
        ("one.many.test", 2),
    ] {
        let stream = try_shake(&secure, &config, host).unwrap();
        let shown = stream.conn.peer_certificates().unwrap()[0].clone();
        let text = std::fs::read(&all[place][0]).unwrap();
        assert_eq!(shown, CertificateDer::from_pem_slice(&text).unwrap(), "{host}");
    }
    // Nobody's name: the first, which the client does not take.
    assert!(try_shake(&secure, &config, "nobody.test").is_err());
    let door = Door::to(secure.address, "first.test", config);
    let mut conn = Conn::open(door.address);
    assert_eventually(PATIENCE, "it is counted", || {
        secure.metrics_on(&mut conn)["nessen_tls_handshakes_total{result=\"rejected\"}"] == 1.0
    });
}

#[test]
fn who_comes_back_resumes_and_nothing_is_taken_before_the_handshake() {
    let secure = Secure::start(&[]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let config = secure.client().speaking(versions).config();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = shake(&secure, &config);
            // The tickets come with the answer.
            ask(&mut stream, "/health").unwrap();
            kinds.push(stream.conn.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
    assert_eq!(secure.handshakes("resumed"), 2.0);
    // Of TLS 1.3, tickets say how much may come early: nothing.
    let config = secure.client().speaking(&[&TLS13]).config();
    ask(&mut shake(&secure, &config), "/health").unwrap();
    let mut early = (*config).clone();
    early.enable_early_data = true;
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut client = rustls::ClientConnection::new(early.into(), name).unwrap();
    assert!(client.early_data().is_none());
}

#[test]
fn an_upstream_is_told_that_the_client_came_by_https() {
    let upstream = Upstream::start();
    let secure = Secure::start(&[("UPSTREAM", &upstream.url())]);
    let door = secure.door();
    let mut conn = Conn::open(door.address);
    conn.send(b"GET / HTTP/1.1\r\nHost: nessen.test\r\nX-Token: a\r\nX-Forwarded-Proto: ftp\r\n\r\n");
    assert_eq!(conn.read_response().status, 200);
    let seen = upstream.one("a");
    assert_eq!(values(&seen.fields, "x-forwarded-proto"), ["https"]);
    assert!(values(&seen.fields, "forwarded")[0].ends_with(";proto=https"));
}

#[test]
fn bodies_of_any_size_go_both_ways() {
    let secure = Secure::start(&[("MAX_BODY_SIZE", "8MiB"), ("NESSEN_LIMITS_MAX_RESPONSE_SIZE", "8MiB")]);
    let door = secure.door();
    let mut conn = Conn::open(door.address);
    for size in [0, 1, 4000, 16_384, 16_385, 100_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        conn.send(&post(&body));
        let answer = conn.read_response();
        assert!(answer.status == 200 && answer.body.len() >= body.len(), "{size}: {answer:?}");
    }
    conn.send(&get("/health"));
    assert_eq!(conn.read_response().status, 200);
}

#[test]
fn curl_and_openssl_are_served() {
    let secure = Secure::start(&[("NESSEN_SECURITY_HEADERS_HSTS", "max-age=300")]);
    let (port, ca) = (secure.address.port(), secure.folder.path("ca.pem"));
    if let Some(curl) = installed("curl") {
        for (how, version) in
            [("--http1.1", "1.1"), ("--http2", "2"), ("--tls-max=1.2", "2"), ("--no-alpn", "1.1")]
        {
            let mut command = Command::new(&curl);
            match how {
                "--tls-max=1.2" => command.args(["--tls-max", "1.2"]),
                how => command.arg(how),
            };
            command.args([
                "-sS",
                "--max-time",
                "20",
                "-D",
                "-",
                "-o",
                "/dev/null",
                "-w",
                "%{http_version} %{ssl_verify_result}",
            ]);
            command.args(["--cacert", &ca, "--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
            let output = command.arg(format!("https://{HOST}:{port}/")).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                text.ends_with(&format!("{version} 0")),
                "{how}: {text} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(text.contains("strict-transport-security: max-age=300"), "{text}");
        }
    }
    if let Some(openssl) = installed("openssl") {
        for version in ["-tls1_2", "-tls1_3"] {
            let mut command = Command::new(&openssl);
            command.args([
                "s_client",
                version,
                "-connect",
                &format!("127.0.0.1:{port}"),
                "-servername",
                HOST,
            ]);
            command.args(["-CAfile", &ca, "-verify_return_error", "-ign_eof"]);
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
            let request = "GET /health HTTP/1.1\r\nHost: nessen.test\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), request.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("Verify return code: 0 (ok)") && text.contains("HTTP/1.1 200"), "{text}");
            // It ends with close_notify, which this client insists on.
            assert!(output.status.success(), "{text}");
        }
    }
}

#[test]
fn a_connection_that_rests_is_taken_up_again() {
    let secure = Secure::start(&[]);
    let mut stream = shake(&secure, &secure.client().config());
    ask(&mut stream, "/health").unwrap();
    // By then it has given its buffers back: nothing of a session may be lost with them.
    assert_eventually(PATIENCE, "it waits", || {
        secure.samples()["http_connections_active{protocol=\"http/1.1\"}"] >= 1.0
    });
    crate::support::pause(400);
    for _ in 0..3 {
        assert!(ask(&mut stream, "/health").unwrap().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn traces_and_durations_say_https() {
    let collector = Collector::http();
    let secure = Secure::start(&[
        ("TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("NESSEN_METRICS_SEMANTIC_CONVENTIONS", "true"),
    ]);
    assert_eq!(secure.get_secure("/badge/a/b.svg").status, 200);
    let spans = collector.trace_of("url.path", "/badge/a/b.svg", 1);
    assert_eq!(spans[0].get("url.scheme"), "https", "{spans:#?}");
    let of_https = |name: &String| name.starts_with("http_server_request") && name.contains("https");
    assert!(secure.samples().keys().any(of_https), "{:#?}", secure.samples());
}
