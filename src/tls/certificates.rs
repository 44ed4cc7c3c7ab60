//! What is told of a client's certificate.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The value of `X-Forwarded-Client-Cert`, as Envoy writes it: `Hash=…;Subject="CN=…"`. The hash is that of the whole
/// certificate, by SHA-256. The subject (RFC 4514) is left out where it is not plain text.
pub fn told(certificate: &CertificateDer<'_>) -> String {
    let mut text = "Hash=".to_owned();
    for byte in digest(&SHA256, certificate).as_ref() {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    let subject =
        Certificate::from_der(certificate).ok().map(|it| it.tbs_certificate().subject().to_string());
    // SECURITY: nothing that would end the quoted string, or the field.
    let is_plain = |subject: &String| {
        subject.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte))
    };
    if let Some(subject) = subject.filter(is_plain) {
        let _ = write!(text, ";Subject=\"{subject}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn of(name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        told(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn the_subject_is_told_where_it_is_plain_and_the_hash_always() {
        for (name, subject) in
            [("client 7", Some("CN=client 7")), ("a\"b", None), ("\r\nX: y", None), ("\u{e4}", None)]
        {
            let told = of(name);
            let (hash, rest) = told.strip_prefix("Hash=").unwrap().split_at(64);
            assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let expected = subject.map_or(String::new(), |subject| format!(";Subject=\"{subject}\""));
            assert_eq!(rest, expected, "{name:?}");
        }
    }
}
