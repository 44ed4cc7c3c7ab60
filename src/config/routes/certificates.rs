//! Whether the certificates by which a route speaks TLS to its upstreams are there, and are some.

use std::collections::HashMap;

use super::route::Reader;
use crate::tls::TlsError;
use crate::tls::client::{ClientOptions, server_name};

/// What is wrong with which files, each looked at once however many routes have it.
pub(super) type Certificates = HashMap<ClientOptions, Option<TlsError>>;

/// Keys that mean nothing without TLS.
const KEYS: [&str; 4] = ["ca", "cert", "key", "server_name"];

impl Reader<'_, '_> {
    /// Looks at the files; what is wrong with them is reported.
    pub(super) fn certificates(&mut self) {
        let upstream = &self.own.upstream;
        let written = || KEYS.iter().find_map(|name| self.raw.entry(name));
        let Some(options) = upstream.tls() else {
            if let Some(entry) = written().filter(|_| !upstream.url.is_empty()) {
                self.report.entry("", entry, "means nothing without an upstream of https:// or h2://");
            }
            return;
        };
        let (cert, key) = (upstream.cert.clone(), upstream.key.clone());
        if cert.is_some() != key.is_some()
            && let Some(entry) = self.raw.entry("cert").or_else(|| self.raw.entry("key"))
        {
            self.report.entry("", entry, "cert and key go together: a certificate and its key");
            return;
        }
        if upstream.server_name.is_none()
            && let Some(url) = upstream.url.iter().find(|url| server_name(&url.host).is_err())
            && let Some(entry) = self.raw.entry("upstream")
        {
            let problem = format!("no certificate can be for {:?}: set server_name", url.host);
            self.report.entry("", entry, &problem);
        }
        let looked_at = self.certificates.contains_key(&options);
        let found = self.certificates.entry(options).or_insert_with_key(|options| options.config(&[]).err());
        let Some(TlsError { path, problem }) = found.clone() else { return };
        // The files are told apart by who names them: a path may well be that of two.
        let ca = upstream.ca.as_ref() == Some(&path);
        let name = match () {
            () if ca => "ca",
            () if cert.as_ref() == Some(&path) && key.as_ref() != Some(&path) => "cert",
            () => "key",
        };
        match self.raw.entry(name) {
            Some(entry) => self.report.entry("", entry, &problem),
            // It is that of all, and said once.
            None if looked_at => {}
            None => {
                if let Some(chosen) = self.settings.sound(&format!("upstream.{name}")) {
                    self.report.setting(chosen.setting(), problem);
                }
            }
        }
    }
}
