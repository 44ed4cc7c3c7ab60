//! What `tls.*` says together, and what its files hold.

use super::error::ConfigError;
use super::settings::{Chosen, Settings};
use super::value::Value;
use super::{ClientAuth, Config};
use crate::tls::server::{InUse, Part};

const NAMELESS: &str = "names no host among its subject alternative names: clients that ask for one by name \
                       refuse it";

/// Reads every file, so that whatever is wrong with one is known before anything is served.
pub(super) fn check(
    settings: &Settings,
    config: &Config,
    errors: &mut Vec<ConfigError>,
    notes: &mut Vec<String>,
) {
    let before = errors.len();
    contradictions(settings, config, errors);
    // What does not fit together would only lead to further words about it.
    let is_sound = [Part::Certificate, Part::Key, Part::ClientCa]
        .iter()
        .all(|part| settings.sound(part.key()).is_some());
    let Some(options) =
        config.tls.options(config.http2.enabled).filter(|_| is_sound && errors.len() == before)
    else {
        return;
    };
    let (_, read) = options.load(None);
    let faults = match read {
        Ok(identity) => {
            let note = |one: &InUse, what: &str| format!("tls.cert: {}: {what}", one.path.display());
            for one in &identity.certificates {
                notes.extend(one.has_expired().then(|| note(one, "has expired")));
                notes.extend((!one.names_host).then(|| note(one, NAMELESS)));
            }
            return;
        }
        Err(faults) => faults,
    };
    for (part, error) in faults {
        let Some(chosen) = settings.sound(part.key()) else { continue };
        errors.push(ConfigError::Invalid {
            setting: chosen.setting(),
            problem: error.to_string(),
            allowed: chosen.key.allowed(),
        });
    }
}

fn contradictions(settings: &Settings, config: &Config, errors: &mut Vec<ConfigError>) {
    let mut against = |paths: &[&str], problem: &str| {
        let sound: Option<Vec<_>> = paths.iter().map(|path| settings.sound(path)).collect();
        // One that is faulty has its own error already.
        if let Some(sound) = sound {
            let settings = sound.into_iter().map(Chosen::setting).collect();
            errors.push(ConfigError::Contradiction { settings, problem: problem.to_owned() });
        }
    };
    let tls = &config.tls;
    if tls.cert.len() != tls.key.len() {
        against(&["tls.cert", "tls.key"], "each certificate needs its key, and each key its certificate");
    }
    if tls.client_auth != ClientAuth::Off && tls.client_ca.is_empty() {
        against(&["tls.client_auth", "tls.client_ca"], "certificates of clients need a CA that they are of");
    }
    let taken = |path| {
        settings.sound(path).is_some_and(|chosen| match (chosen.effective(), tls.redirect_port) {
            (Value::Count(port), Some(own)) => *port == u64::from(own),
            _ => false,
        })
    };
    for path in ["server.port", "admin.port"] {
        if tls.is_on() && taken(path) {
            against(&["tls.redirect_port", path], "both would bind the same port");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair};

    use super::NAMELESS;
    use crate::config::{Machine, Sources, load};

    pub(in crate::config) struct Folder(pub(in crate::config) PathBuf);

    impl Folder {
        pub(in crate::config) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nessen-tls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(in crate::config) fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.join(name), text).unwrap();
        }

        /// A certificate for these hosts, and its key.
        pub(in crate::config) fn identity(&self, name: &str, hosts: &[&str]) {
            let key = KeyPair::generate().unwrap();
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
            self.write(&format!("{name}.pem"), &certificate.pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        }

        /// Loads what these say, where `@` stands for the folder; what is wrong, without it.
        pub(in crate::config) fn load(
            &self,
            env: &[(&str, &str)],
        ) -> Result<crate::config::Loaded, Vec<String>> {
            let folder = self.0.to_str().unwrap();
            let env = env.iter().map(|(name, value)| ((*name).into(), value.replace('@', folder).into()));
            let sources = Sources { env: env.collect(), ..Sources::default() };
            load(&sources, &Machine::detect()).map_err(|errors| {
                errors.0.iter().map(|error| error.to_string().replace(folder, "@")).collect()
            })
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn certificates_and_keys_are_read_before_anything_is_served() {
        let folder = Folder::new("good");
        folder.identity("a", &["a.example"]);
        folder.identity("b", &["b.example"]);
        let two = [("TLS_CERT", "@/a.pem, @/b.pem"), ("TLS_KEY", "@/a.key @/b.key")];
        let loaded = folder.load(&two).unwrap();
        assert!(loaded.config.tls.is_on() && loaded.notes.iter().all(|note| !note.contains("tls")));
        // Without one, all the rest is of no use, and harmless.
        let loaded = folder.load(&[("NESSEN_TLS_REDIRECT_PORT", "8080")]).unwrap();
        assert!(loaded.notes.iter().any(|note| note.contains("no effect while tls.cert is off")));
    }

    #[test]
    fn a_certificate_that_has_expired_is_noted() {
        let folder = Folder::new("expired");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(2001, 1, 1));
        folder.write("a.pem", &params.self_signed(&key).unwrap().pem());
        folder.write("a.key", &key.serialize_pem());
        let notes = folder.load(&[("TLS_CERT", "@/a.pem"), ("TLS_KEY", "@/a.key")]).unwrap().notes;
        assert!(notes.iter().any(|note| note.ends_with("/a.pem: has expired")), "{notes:?}");
        assert!(!notes.iter().any(|note| note.ends_with(NAMELESS)), "{notes:?}");
    }

    #[test]
    fn a_certificate_that_no_client_will_take_for_a_host_is_noted() {
        let folder = Folder::new("nameless");
        folder.identity("a", &[]);
        let notes = folder.load(&[("TLS_CERT", "@/a.pem"), ("TLS_KEY", "@/a.key")]).unwrap().notes;
        assert!(notes.iter().any(|note| note.ends_with(&format!("/a.pem: {NAMELESS}"))), "{notes:?}");
    }

    #[test]
    fn all_that_is_wrong_with_files_is_said_at_once_by_key_and_file() {
        let folder = Folder::new("bad");
        folder.identity("a", &["a.example"]);
        folder.identity("b", &[]);
        folder.write("text.pem", "no PEM");
        folder.write(
            "locked.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        for (cert, key, ca, expected) in [
            (
                "@/a.pem",
                "@/b.key",
                "off",
                &["tls.key = @/b.key (environment TLS_KEY): @/b.key: is not the key of @/a.pem"][..],
            ),
            (
                "@/gone.pem",
                "@/locked.key",
                "off",
                &[
                    "tls.cert = @/gone.pem (environment TLS_CERT): @/gone.pem: cannot be read: No such file",
                    "tls.key = @/locked.key (environment TLS_KEY): @/locked.key: holds an encrypted key",
                ],
            ),
            (
                "@/a.pem @/b.pem",
                "@/a.key @/b.key",
                "off",
                &["tls.cert = @/a.pem, @/b.pem (environment TLS_CERT): @/b.pem: names no host"],
            ),
            (
                "@/text.pem",
                "@/text.pem",
                "@/text.pem",
                &[
                    "tls.cert = @/text.pem (environment TLS_CERT): @/text.pem: holds no certificate",
                    "tls.key = @/text.pem (environment TLS_KEY): @/text.pem: holds no private key",
                    "tls.client_ca = @/text.pem (environment NESSEN_TLS_CLIENT_CA): @/text.pem: holds no certificate",
                ],
            ),
        ] {
            let env = [
                ("TLS_CERT", cert),
                ("TLS_KEY", key),
                ("NESSEN_TLS_CLIENT_CA", ca),
                ("NESSEN_TLS_CLIENT_AUTH", if ca == "off" { "off" } else { "required" }),
            ];
            let errors = folder.load(&env).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{errors:?}");
            for (error, begin) in errors.iter().zip(expected) {
                assert!(
                    error.starts_with(begin) && error.contains("; allowed: off, or a file"),
                    "{error}\n{begin}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_named_with_all_that_take_part() {
        let folder = Folder::new("together");
        folder.identity("a", &["a.example"]);
        let both = [("TLS_CERT", "@/a.pem"), ("TLS_KEY", "@/a.key")];
        for (more, expected) in [
            (&[("TLS_CERT", "@/a.pem")][..], "each certificate needs its key"),
            (&[("TLS_KEY", "@/a.key")], "each certificate needs its key"),
            (
                &[both[0], both[1], ("NESSEN_TLS_CLIENT_AUTH", "optional")],
                "certificates of clients need a CA",
            ),
            (&[both[0], both[1], ("NESSEN_TLS_REDIRECT_PORT", "3000")], "both would bind the same port"),
        ] {
            let errors = folder.load(more).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
        }
    }
}
