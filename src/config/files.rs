//! What can only be known by a look at the files that settings name, besides those of `tls.*` and of routes.

use std::path::Path;

use rustix::fs::{Access, access};

use super::error::ConfigError;
use super::settings::Settings;
use super::{ClientAuth, Config};
use crate::evidence::cold::Place;
use crate::tls::TlsError;
use crate::tls::client::ClientOptions;

/// Reads every file, so that whatever is wrong with one is known before anything is served.
pub(super) fn check(settings: &Settings, config: &Config, errors: &mut Vec<ConfigError>) {
    let mut invalid = |(path, error): (&str, TlsError)| {
        if let Some(chosen) = settings.sound(path) {
            let (setting, allowed) = (chosen.setting(), chosen.key.allowed());
            errors.push(ConfigError::Invalid { setting, problem: error.to_string(), allowed });
        }
    };
    if let Err(error) = config.tracing.tls(&[]) {
        invalid(error);
    }
    if let Ok(Some(Place::Bucket(bucket))) = config.evidence.place()
        && bucket.server().tls
        && let Err(error) = (ClientOptions { ca: bucket.ca, identity: None }).config(&[])
    {
        invalid(("evidence.s3_ca", error));
    }
}

/// What does not keep a server from its work, and an operator should know all the same.
pub(super) fn notes(settings: &Settings, config: &Config, notes: &mut Vec<String>) {
    if let Ok(Some(Place::Folder(folder))) = config.evidence.place()
        && let Some(problem) = unwritable(&folder.path)
        && let Some(chosen) = settings.sound("evidence.storage")
    {
        notes.push(format!(
            "{}: {problem}: evidence is kept in memory alone until that changes",
            chosen.setting()
        ));
    }
    let mut idle = |path, why| {
        if let Some(chosen) = settings.sound(path).filter(|chosen| chosen.explicit()) {
            notes.push(format!("{} has no effect {why}", chosen.setting()));
        }
    };
    if config.tls.is_on() && config.tls.client_auth == ClientAuth::Off && !config.tls.client_ca.is_empty() {
        idle("tls.client_ca", "while tls.client_auth is off: no client is asked for a certificate");
    }
    if !config.tls.is_on() && config.security_headers.enabled && config.security_headers.hsts.is_some() {
        idle("security_headers.hsts", "while tls.cert is off: plain HTTP must not tell it");
    }
}

/// Why nothing could be written to a folder that is there or would be made, as far as that can be told.
fn unwritable(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists())?;
    // A relative one begins where the process works.
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let shown = there.display();
    if !there.is_dir() {
        return Some(format!("{shown} is no folder"));
    }
    let refused = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!("{shown} cannot be written to: {}", std::io::Error::from(refused)))
}

#[cfg(test)]
mod tests {
    use crate::config::tls::tests::Folder;

    #[test]
    fn files_of_traces_and_evidence_are_read_before_anything_is_served() {
        let folder = Folder::new("files-read");
        let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let certificate =
            rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap().self_signed(&one).unwrap();
        folder.write("a.pem", &certificate.pem());
        folder.write("b.key", &other.serialize_pem());
        folder.write("text", "no PEM");
        let traced =
            [("NESSEN_TRACING_ENABLED", "true"), ("NESSEN_TRACING_ENDPOINT", "https://collector.test")];
        let bucket = [
            ("NESSEN_EVIDENCE_ENABLED", "true"),
            ("NESSEN_EVIDENCE_STORAGE", "s3://a-bucket"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "other"),
        ];
        let pair =
            [("NESSEN_TRACING_CLIENT_CERTIFICATE", "@/a.pem"), ("NESSEN_TRACING_CLIENT_KEY", "@/b.key")];
        for (env, more, key) in [
            (&traced[..], &[("NESSEN_TRACING_CA", "@/gone.pem")][..], "tracing.ca = @/gone.pem ("),
            (&traced, &[("NESSEN_TRACING_CA", "@/text")], "tracing.ca = @/text ("),
            (&traced, &[("NESSEN_TRACING_CA", "@")], "tracing.ca = @ ("),
            (&traced, &pair, "tracing.client_key = @/b.key ("),
            (&bucket, &[("NESSEN_EVIDENCE_S3_CA", "@/text")], "evidence.s3_ca = @/text ("),
        ] {
            let error = folder.load(&[env, more].concat()).unwrap_err().concat();
            assert!(error.contains(key) && error.contains("; allowed: off, or a file"), "{error}\n{key}");
            // Nobody looks at what nobody needs.
            assert!(folder.load(more).is_ok(), "{more:?}");
        }
    }

    #[test]
    fn what_only_an_operator_can_judge_is_noted() {
        let folder = Folder::new("files-notes");
        folder.write("file", "");
        let noted = |env: &[(&str, &str)], wanted: &str| {
            let notes = folder.load(env).unwrap().notes;
            notes.iter().any(|note| note.contains(wanted))
        };
        let kept = |at| [("NESSEN_EVIDENCE_ENABLED", "true"), ("NESSEN_EVIDENCE_STORAGE", at)];
        for (at, is_no_folder) in
            [("@/file", true), ("@/file/more", true), ("@", false), ("@/new/one", false)]
        {
            assert_eq!(
                noted(&kept(at), "is no folder: evidence is kept in memory alone"),
                is_no_folder,
                "{at}"
            );
        }
        folder.identity("a", &["a.example"]);
        let secure = [("TLS_CERT", "@/a.pem"), ("TLS_KEY", "@/a.key"), ("NESSEN_TLS_CLIENT_CA", "@/a.pem")];
        assert!(noted(&secure, "has no effect while tls.client_auth is off"));
        assert!(noted(&[("NESSEN_SECURITY_HEADERS_HSTS", "max-age=1")], "while tls.cert is off: plain HTTP"));
    }
}
