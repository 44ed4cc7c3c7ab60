//! What is wrong with who answers, in words for an operator.

use std::io;

use rustls::{CertificateError, Error};

/// Why a handshake failed or a connection broke, where it was TLS that said so: for a log, and not for
/// whoever asked.
pub fn why(error: &io::Error) -> Option<String> {
    Some(words(error.get_ref()?.downcast_ref::<Error>()?))
}

fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("its certificate has expired ({problem})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("its certificate is not valid yet ({problem})")
            }
            // By the name of a CA, and not by its key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is of no CA that is believed".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate is for another name ({problem})")
            }
            CertificateError::Other(_) if problem.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is a CA's (CA:TRUE), and no server's".to_owned()
            }
            CertificateError::Other(_) | CertificateError::BadEncoding => {
                format!("its certificate cannot be taken ({problem})")
            }
            _ => format!("its certificate is not to be believed ({problem})"),
        },
        Error::AlertReceived(alert) => format!("it refused: {alert:?}"),
        Error::InvalidMessage(_) => "what it said is not TLS".to_owned(),
        Error::PeerIncompatible(_) => format!("no version or cipher of TLS in common ({error})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_other_errors_are_not_of_tls() {
        let of = |error: Error| why(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap();
        assert!(of(Error::InvalidCertificate(CertificateError::UnknownIssuer)).contains("no CA"));
        assert!(of(Error::InvalidCertificate(CertificateError::Expired)).contains("expired"));
        let alert = rustls::AlertDescription::CertificateRequired;
        assert_eq!(of(Error::AlertReceived(alert)), "it refused: CertificateRequired");
        assert_eq!(why(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
