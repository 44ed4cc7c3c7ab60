//! Certificates of clients: asked for, judged, and of the right CA.

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::{HOST, Secure, ask, shake, try_shake};
use crate::support::folder::Folder;
use crate::support::http1::Conn;
use crate::support::tls::{Ca, Door};
use crate::support::upstream::Upstream;
use crate::support::wire::values;
use crate::support::{PATIENCE, assert_eventually};

/// A server that asks for certificates of a CA of clients, which is returned.
fn asking(how: &str) -> (Secure, Ca) {
    let (folder, ca, clients) = (Folder::new(), Ca::new(), Ca::new());
    folder.write("clients.pem", clients.pem());
    let path = folder.path("clients.pem");
    let env = [("NESSEN_TLS_CLIENT_AUTH", how), ("NESSEN_TLS_CLIENT_CA", path.as_str())];
    (Secure::start_in(folder, ca, &env), clients)
}

/// Whether a client that is this gets an answer. By TLS 1.3 it learns of a refusal when it reads.
fn is_served(secure: &Secure, client: &crate::support::tls::Client) -> bool {
    let Ok(mut stream) = try_shake(secure, &client.config(), HOST) else { return false };
    ask(&mut stream, "/health").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn required_means_one_that_is_of_the_ca() {
    let (secure, clients) = asking("required");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let client = || secure.client().speaking(versions);
        assert!(is_served(&secure, &client().with(clients.sign(&["someone"]))));
        assert!(!is_served(&secure, &client()), "without one");
        assert!(!is_served(&secure, &client().with(Ca::new().sign(&["someone"]))), "of another CA");
        assert!(!is_served(&secure, &client().with(clients.sign_until(&["someone"], 2001))), "expired");
    }
    let config = secure.client().with(clients.sign(&["scraper"])).config();
    let mut stream = shake(&secure, &config);
    let all = ask(&mut stream, "/metrics").unwrap();
    assert!(all.contains("nessen_tls_handshakes_total{result=\"client_certificate\"} 6"), "{all}");
    assert!(all.contains("nessen_rejections_total{reason=\"tls_handshake_failed\"} 6"), "{all}");
}

#[test]
fn optional_means_none_or_a_good_one() {
    let (secure, clients) = asking("optional");
    assert!(is_served(&secure, &secure.client()));
    assert!(is_served(&secure, &secure.client().with(clients.sign(&["someone"]))));
    assert!(!is_served(&secure, &secure.client().with(Ca::new().sign(&["someone"]))));
    assert_eq!(secure.handshakes("client_certificate"), 1.0);
}

#[test]
fn off_means_that_nobody_is_asked() {
    let secure = Secure::start(&[]);
    assert!(is_served(&secure, &secure.client().with(Ca::new().sign(&["someone"]))));
}

#[test]
fn an_upstream_is_told_whose_certificate_it_was_and_nobody_can_make_one_up() {
    let upstream = Upstream::start();
    let (folder, ca, clients) = (Folder::new(), Ca::new(), Ca::new());
    folder.write("clients.pem", clients.pem());
    let (path, url) = (folder.path("clients.pem"), upstream.url());
    let env =
        [("NESSEN_TLS_CLIENT_AUTH", "optional"), ("NESSEN_TLS_CLIENT_CA", path.as_str()), ("UPSTREAM", &url)];
    let secure = Secure::start_in(folder, ca, &env);
    for (token, client, expected) in [
        ("with", secure.client().with(clients.sign(&["someone"])), Some(";Subject=\"CN=one of tests\"")),
        ("without", secure.client(), None),
    ] {
        let door = Door::to(secure.address, HOST, client.config());
        let mut conn = Conn::open(door.address);
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Token: {token}\r\nX-Forwarded-Client-Cert: Hash=forged\r\n\r\n"
        );
        conn.send(head.as_bytes());
        assert_eq!(conn.read_response().status, 200);
        let seen = upstream.one(token);
        let told = values(&seen.fields, "x-forwarded-client-cert");
        match expected {
            None => assert!(told.is_empty(), "{told:?}"),
            Some(end) => {
                assert!(told.len() == 1 && told[0].starts_with("Hash=") && told[0].contains(end), "{told:?}")
            }
        }
    }
}

/// The session keeps the whole chain for as long as the connection is open.
#[test]
fn a_certificate_counts_as_memory_while_its_connection_is_open() {
    let (secure, clients) = asking("optional");
    let names: Vec<_> = (0..500).map(|number| format!("{number}.a-long-name.example.com")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let large = secure.client().with(clients.sign(&names)).config();
    let used = || secure.samples()["nessen_memory_used_bytes"];
    let before = used();
    let mut stream = shake(&secure, &large);
    ask(&mut stream, "/health").unwrap();
    // 16 KiB as for any that is idle, once it is, and the certificate.
    assert_eventually(PATIENCE, "the certificate in the account", || {
        (16_384.0 + 14_000.0..16_384.0 + 20_480.0).contains(&(used() - before))
    });
    drop(stream);
    assert_eventually(PATIENCE, "nothing of it in the account", || used() <= before);
}

/// A ticket would stand for a certificate that may have expired since.
#[test]
fn who_is_judged_by_a_certificate_shows_it_each_time() {
    for how in ["required", "optional"] {
        let (secure, clients) = asking(how);
        for version in [&TLS12, &TLS13] {
            let client = secure.client().with(clients.sign(&["someone"]));
            let config = client.speaking(&[version]).config();
            for _ in 0..3 {
                let mut stream = shake(&secure, &config);
                ask(&mut stream, "/health").unwrap();
                assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full), "{how}, {version:?}");
            }
        }
    }
}
