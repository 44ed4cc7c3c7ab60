//! Files that are no good are named before anything is served.

use crate::support::folder::Folder;
use crate::support::server::Process;
use crate::support::tls::{Ca, put};

/// Everything that the binary says about these, by `serve` and by `check` alike; both end with 78.
#[track_caller]
fn refused(env: &[(&str, &str)]) -> String {
    let said = ["serve", "check"].map(|command| {
        let mut process = Process::start(env, &[command]);
        assert_eq!(process.exit_code(), 78, "{command}: {:?}", process.stderr());
        process.stderr().join("\n")
    });
    assert_eq!(said[0], said[1]);
    said[0].clone()
}

#[test]
fn each_file_is_named_with_its_key_and_all_of_them_at_once() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let [certificate, key] = ca.put(&folder, "a", &["a.test"]);
    let [_, other_key] = ca.put(&folder, "b", &["b.test"]);
    folder.write("text", "secret words, and no PEM");
    let (text, gone) = (folder.path("text"), folder.path("gone"));
    let said = refused(&[("TLS_CERT", &certificate), ("TLS_KEY", &other_key)]);
    assert!(said.contains("tls.key") && said.contains(&format!("is not the key of {certificate}")), "{said}");
    let said = refused(&[
        ("TLS_CERT", &gone),
        ("TLS_KEY", &text),
        ("NESSEN_TLS_CLIENT_AUTH", "required"),
        ("NESSEN_TLS_CLIENT_CA", &text),
    ]);
    for part in [
        "tls.cert",
        "cannot be read",
        "tls.key",
        "holds no private key",
        "tls.client_ca",
        "holds no certificate",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("secret words"), "nothing of a file is shown: {said}");
    let said = refused(&[("TLS_CERT", &certificate), ("TLS_KEY", &key), ("NESSEN_TLS_MIN_VERSION", "1.1")]);
    assert!(said.contains("tls.min_version") && said.contains("allowed: 1.2, 1.3"), "{said}");
}

#[test]
fn a_key_under_a_passphrase_is_told_from_none() {
    let Some(openssl) = crate::support::installed("openssl") else { return };
    let (folder, ca) = (Folder::new(), Ca::new());
    let [certificate, key] = ca.put(&folder, "a", &["a.test"]);
    let locked = folder.path("locked.key");
    let args = ["pkcs8", "-topk8", "-in", &key, "-out", &locked, "-passout", "pass:nessen"];
    assert!(std::process::Command::new(openssl).args(args).status().unwrap().success());
    let said = refused(&[("TLS_CERT", &certificate), ("TLS_KEY", &locked)]);
    assert!(said.contains("tls.key") && said.contains("encrypted key"), "{said}");
}

#[test]
fn a_certificate_that_has_expired_is_a_warning() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let [certificate, key] = put(&folder, "old", &ca.sign_until(&["nessen.test"], 2001));
    let server = super::Secure::start_in(folder, ca, &[("TLS_CERT", &certificate), ("TLS_KEY", &key)]);
    let line = server.wait_log("the warning", |line| line["level"] == "WARN");
    assert!(
        line["message"].as_str().unwrap().contains("expired") && line["path"] == certificate.as_str(),
        "{line}"
    );
    assert!(super::try_shake(&server, &server.client().config(), super::HOST).is_err());
}
