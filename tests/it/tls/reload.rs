//! Certificates that change while the server runs: by signal, by their files, as Kubernetes does it.

use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::{HOST, Secure, ask, shake, try_shake};
use crate::support::folder::Folder;
use crate::support::tls::{Ca, put};
use crate::support::{PATIENCE, assert_eventually};

/// What the server shows to whoever connects now.
fn shown(secure: &Secure) -> Vec<u8> {
    let stream = shake(secure, &secure.client().config());
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[track_caller]
fn reloads(secure: &Secure, result: &str) -> f64 {
    secure.samples()[&format!("nessen_tls_reloads_total{{result=\"{result}\"}}")]
}

#[test]
fn a_signal_takes_the_new_ones_over_and_connections_go_on() {
    let secure = Secure::start(&[]);
    let mut before = shake(&secure, &secure.client().config());
    let new = secure.ca.sign_until(&[HOST], 2040);
    put(&secure.folder, "own", &new);
    secure.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the new certificate", || shown(&secure) == der(&new[0]));
    assert!(ask(&mut before, "/health").unwrap().starts_with("HTTP/1.1 200"));
    let samples = secure.samples();
    let path = secure.folder.path("own.pem");
    let until =
        samples[&format!("nessen_tls_certificate_expiry_timestamp_seconds{{certificate=\"{path}\"}}")];
    assert_eq!(until, 2_208_988_800.0);
    assert_eq!(reloads(&secure, "failed"), 0.0);
}

#[test]
fn a_change_of_the_files_is_found_without_a_signal_and_in_the_sandbox() {
    let secure = Secure::start(&[("NESSEN_SERVER_SANDBOX", "on")]);
    let new = secure.ca.sign(&[HOST]);
    put(&secure.folder, "own", &new);
    assert_eventually(PATIENCE, "the new certificate", || shown(&secure) == der(&new[0]));
    assert_eventually(PATIENCE, "it is counted", || reloads(&secure, "ok") == 1.0);
}

/// A volume of Kubernetes: files are symlinks through `..data`, which is replaced as a whole.
#[test]
fn a_volume_that_is_swapped_is_followed_in_the_sandbox() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let version = |name: &str, [certificate, key]: &[String; 2]| {
        folder.write(&format!("{name}/tls.crt"), certificate).write(&format!("{name}/tls.key"), key);
        symlink(name, folder.at("..new")).unwrap();
        std::fs::rename(folder.at("..new"), folder.at("..data")).unwrap();
    };
    version("..2026_1", &ca.sign(&[HOST]));
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), folder.at(name)).unwrap();
    }
    let (certificate, key) = (folder.path("tls.crt"), folder.path("tls.key"));
    let new = ca.sign(&[HOST]);
    let env =
        [("TLS_CERT", certificate.as_str()), ("TLS_KEY", key.as_str()), ("NESSEN_SERVER_SANDBOX", "on")];
    let secure = {
        let server = crate::support::server::Server::start(&env);
        version("..2026_2", &new);
        std::fs::remove_dir_all(folder.at("..2026_1")).unwrap();
        Secure { server, folder, ca }
    };
    assert_eventually(PATIENCE, "the new certificate", || shown(&secure) == der(&new[0]));
    assert_eq!(reloads(&secure, "failed"), 0.0);
}

#[test]
fn what_is_no_good_is_not_taken_over_and_said_once() {
    let secure = Secure::start(&[]);
    let before = shown(&secure);
    let good = secure.ca.sign(&[HOST]);
    // The certificate is new, the key is not: half of a change that never comes to its end.
    secure.folder.write("own.pem", &good[0]);
    let line = secure.wait_log("the reason", |line| line["level"] == "ERROR");
    assert!(line["message"].as_str().unwrap().contains("the old ones are kept"), "{line}");
    assert!(
        line["setting"] == "tls.key" && line["error"].as_str().unwrap().contains("is not the key of"),
        "{line}"
    );
    assert_eq!(shown(&secure), before);
    assert_eq!(reloads(&secure, "failed"), 1.0);
    // By signal the same, with the words of the configuration.
    secure.signal(Signal::HUP);
    secure.wait_log("the reason", |line| {
        line["message"] == "configuration not reloaded; the old one is kept"
            && line["error"].as_str().is_some_and(|error| error.contains("tls.key"))
    });
    assert_eventually(PATIENCE, "the second refusal", || reloads(&secure, "failed") == 2.0);
    // Looked at again and again, it is the same: nothing more is said of it.
    crate::support::pause(4500);
    assert_eq!(reloads(&secure, "failed"), 2.0);
    assert_eq!(shown(&secure), before);
    secure.folder.write("own.key", &good[1]);
    assert_eventually(PATIENCE, "the whole change", || shown(&secure) == der(&good[0]));
}

/// Or the last that is heard of it would be the failure.
#[test]
fn files_that_are_put_back_are_said_to_be_good_again() {
    let secure = Secure::start(&[]);
    let before = std::fs::read_to_string(secure.folder.path("own.key")).unwrap();
    secure.folder.write("own.key", &secure.ca.sign(&[HOST])[1]);
    secure.wait_log("the reason", |line| line["level"] == "ERROR");
    secure.folder.write("own.key", &before);
    secure.wait_log("the end of it", |line| {
        line["message"].as_str().is_some_and(|message| message.contains("good again"))
    });
    assert_eq!((reloads(&secure, "failed"), reloads(&secure, "ok")), (1.0, 1.0));
}

#[test]
fn who_had_a_certificate_is_judged_anew_after_the_ca_has_changed() {
    let (folder, ca, clients) = (Folder::new(), Ca::new(), Ca::new());
    folder.write("clients.pem", clients.pem());
    let path = folder.path("clients.pem");
    let env = [("NESSEN_TLS_CLIENT_AUTH", "required"), ("NESSEN_TLS_CLIENT_CA", path.as_str())];
    let secure = Secure::start_in(folder, ca, &env);
    let config = secure.client().with(clients.sign(&["someone"])).config();
    for _ in 0..2 {
        ask(&mut shake(&secure, &config), "/health").unwrap();
    }
    secure.folder.write("clients.pem", Ca::new().pem());
    secure.signal(Signal::HUP);
    secure.wait_log("the change", |line| {
        line["message"].as_str().is_some_and(|it| it.contains("certificates reloaded"))
    });
    // The tickets that it holds are worth nothing.
    let again = try_shake(&secure, &config, HOST).and_then(|mut stream| ask(&mut stream, "/health"));
    assert!(again.is_err(), "{again:?}");
}

#[test]
fn settings_change_by_signal_too() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let [certificate, key] = ca.put(&folder, "own", &[HOST]);
    let text =
        |version: &str| format!("[tls]\ncert = '{certificate}'\nkey = '{key}'\nmin_version = '{version}'\n");
    folder.write("nessen.toml", text("1.2"));
    let path = folder.path("nessen.toml");
    let server = crate::support::server::Server::start(&[("NESSEN_CONFIG", &path)]);
    folder.write("nessen.toml", text("1.3"));
    let secure = Secure { server, folder, ca };
    let old = secure.client().speaking(&[&rustls::version::TLS12]).config();
    assert!(try_shake(&secure, &old, HOST).is_ok());
    secure.signal(Signal::HUP);
    assert_eventually(PATIENCE, "no more of TLS 1.2", || try_shake(&secure, &old, HOST).is_err());
    // To do without TLS takes a restart, which is said.
    secure.folder.write("nessen.toml", "");
    secure.signal(Signal::HUP);
    let line = secure.wait_log("what needs a restart", |line| line["settings"].is_string());
    assert!(line["settings"].as_str().unwrap().contains("tls.cert"), "{line}");
    assert_eq!(secure.get_secure("/health").status, 200);
}
