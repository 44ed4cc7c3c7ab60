//! Which encoding a client prefers (RFC 9110 section 12.5.3).

use http::{HeaderMap, header};

use super::Algorithm;

/// The algorithm of `ours` with the highest weight, the first of `ours` among equals. `None` where
/// the client takes none of them, or prefers the answer as it is.
///
/// Nothing that a client writes here is an error: one that takes neither our encodings nor the
/// plain answer (`identity;q=0`) gets the plain answer, which it can still read, and not the 406
/// that the RFC would allow.
pub(super) fn preferred(headers: &HeaderMap, ours: &[Algorithm]) -> Option<Algorithm> {
    let (mut weights, mut identity, mut any) = ([None; Algorithm::ALL.len()], None, None);
    for line in headers.get_all(header::ACCEPT_ENCODING) {
        for (coding, weight) in line.to_str().unwrap_or_default().split(',').filter_map(element) {
            if coding == "*" {
                any = any.or(Some(weight));
            } else if coding.eq_ignore_ascii_case("identity") {
                identity = identity.or(Some(weight));
            }
            for (algorithm, slot) in Algorithm::ALL.into_iter().zip(&mut weights) {
                if algorithm.is_called(coding) {
                    *slot = slot.or(Some(weight));
                }
            }
        }
    }
    // Unnamed, the plain answer is acceptable, but nobody's first choice.
    let mut best = (None, identity.unwrap_or(0));
    for &algorithm in ours {
        let slot = Algorithm::ALL.into_iter().zip(weights).find(|(known, _)| *known == algorithm);
        let weight = slot.and_then(|(_, weight)| weight).or(any).unwrap_or(0);
        let wins = if best.0.is_none() { weight >= best.1 } else { weight > best.1 };
        if weight > 0 && wins {
            best = (Some(algorithm), weight);
        }
    }
    best.0
}

/// A coding and its weight in thousandths; `None` for what is malformed, which counts as not said.
fn element(text: &str) -> Option<(&str, u16)> {
    let (coding, parameters) = match text.split_once(';') {
        Some((coding, parameters)) => (coding, Some(parameters)),
        None => (text, None),
    };
    let weight = match parameters {
        Some(parameter) => weight(parameter.trim())?,
        None => 1000,
    };
    Some((coding.trim(), weight)).filter(|(coding, _)| !coding.is_empty())
}

/// `q=0.5`, with three digits at most.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Algorithm::{Brotli, Gzip, Zstd};
    use super::*;

    #[test]
    fn the_client_decides_and_the_order_of_preference_among_equals() {
        for (accept, expected) in [
            ("", None),
            ("gzip", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, br", Some(Brotli)),
            ("gzip;q=1, br;q=0.9", Some(Gzip)),
            ("gzip;q=0.8, br;q=0.9, zstd;q=0.85", Some(Brotli)),
            ("gzip;q=0.001", Some(Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("*", Some(Zstd)),
            ("*;q=0.5, gzip", Some(Gzip)),
            ("*, zstd;q=0", Some(Brotli)),
            ("*;q=0", None),
            ("*;q=0, gzip", Some(Gzip)),
            ("identity;q=0", None),
            ("identity;q=0, *;q=0", None),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity, gzip", Some(Gzip)),
            ("identity;q=0.5, gzip;q=0.6", Some(Gzip)),
            ("deflate, compress", None),
            (" gzip\t; q=0.5 ,\tbr ;\tq=0.8\t", Some(Brotli)),
            // Malformed: as if it were not there.
            ("gzip;q=2, br;q=0.1", Some(Brotli)),
            ("gzip;q=1.5", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=-1", None),
            ("gzip;q", None),
            ("gzip;level=9", None),
            (",,;q=1,", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(preferred(&headers, &[Zstd, Brotli, Gzip]), expected, "{accept}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(preferred(&headers, &[Gzip]), None);
        headers.append(header::ACCEPT_ENCODING, "br;q=0.5".parse().unwrap());
        headers.append(header::ACCEPT_ENCODING, "gzip;q=0.5".parse().unwrap());
        assert_eq!(preferred(&headers, &[Gzip, Brotli]), Some(Gzip));
        assert_eq!(preferred(&headers, &[Brotli, Gzip]), Some(Brotli));
        assert_eq!(preferred(&headers, &[Zstd]), None);
        assert_eq!(preferred(&headers, &[]), None);
    }
}
