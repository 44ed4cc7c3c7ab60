//! Which certificate is for whom: the name that a client asks for (SNI, RFC 6066 section 3) is looked for
//! among the names that the certificates hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What is read of a certificate, besides what rustls reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The host names among its subject alternative names, in lower case.
    pub(super) hosts: Vec<String>,
    /// Until when it is valid, since 1970; `None` where that cannot be read.
    pub(super) not_after: Option<Duration>,
}

impl Facts {
    /// Of a certificate that cannot be read here, nothing: rustls has its own say.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = Certificate::from_der(certificate) else { return Self::default() };
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map_or_else(Vec::new, |(_, names)| names.0);
        let hosts = names.iter().filter_map(|name| match name {
            GeneralName::DnsName(host) => Some(host.as_str().to_ascii_lowercase()),
            _ => None,
        });
        Self { hosts: hosts.collect(), not_after: Some(certificate.validity().not_after.to_unix_duration()) }
    }
}

/// Certificates by name. Of those that hold the same one, the first whose key the client can check.
#[derive(Debug, Default)]
pub(super) struct Names {
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the `*.`, which stands for one label (RFC 9525 section 6.3).
    wild: HashMap<String, Vec<usize>>,
}

impl Names {
    /// One more certificate. The first is for whoever asks for none of the names.
    pub(super) fn add(&mut self, key: CertifiedKey, facts: &Facts) {
        let place = self.all.len();
        self.all.push(Arc::new(key));
        for host in &facts.hosts {
            let (names, host) = match host.strip_prefix("*.") {
                Some(rest) => (&mut self.wild, rest),
                None => (&mut self.exact, host.as_str()),
            };
            names.entry(host.to_owned()).or_default().push(place);
        }
    }

    /// The places of those that hold this name.
    fn of(&self, host: &str) -> &[usize] {
        // A name may end in a dot, and none in a certificate does.
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let wild = || self.wild.get(host.split_once('.')?.1);
        self.exact.get(&host).or_else(wild).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let places = hello.server_name().map_or(&[][..], |host| self.of(host));
        let mut named = places.iter().filter_map(|place| self.all.get(*place));
        let found = named.find(|key| key.key.choose_scheme(schemes).is_some());
        found.or_else(|| self.all.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::tls::provider;

    fn names(certificates: &[&[&str]]) -> Names {
        let mut names = Names::default();
        for hosts in certificates {
            let key = KeyPair::generate().unwrap();
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
            let facts = Facts::of(certificate.der());
            let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let key = CertifiedKey::from_der(vec![certificate.der().clone()], der, &provider()).unwrap();
            names.add(key, &facts);
        }
        names
    }

    #[test]
    fn a_whole_name_goes_before_a_wildcard_and_letters_have_no_case() {
        let names = names(&[&["a.example"], &["*.b.example", "B.example"], &["c.b.example", "10.0.0.1"]]);
        for (host, places) in [
            ("a.example", &[0][..]),
            ("A.EXAMPLE.", &[0]),
            ("b.example", &[1]),
            ("x.b.example", &[1]),
            ("c.b.example", &[2]),
            ("C.b.Example", &[2]),
            ("x.y.b.example", &[]),
            ("example", &[]),
            ("10.0.0.1", &[]),
            ("", &[]),
        ] {
            assert_eq!(names.of(host), places, "{host}");
        }
    }

    #[test]
    fn the_facts_of_a_certificate_are_its_hosts_and_its_end() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["A.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let facts = Facts::of(params.self_signed(&key).unwrap().der());
        assert_eq!(facts.hosts, ["a.example"]);
        assert_eq!(facts.not_after, Some(Duration::from_secs(1_893_542_400)));
        assert_eq!(Facts::of(&CertificateDer::from(b"nonsense".to_vec())), Facts::default());
    }
}
