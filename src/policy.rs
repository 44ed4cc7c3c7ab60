//! What a route asks of the layers that its requests go through.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::units::Rate;

/// The values that hold for one route: those of the configuration, or what the route sets instead.
///
/// It is found before the first layer that asks for one of them, and travels in the
/// [`Exchange`](crate::exchange::Exchange). A layer that is used without it has values of its own.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The route's index in the metrics.
    pub route: u32,
    /// The methods that are served.
    pub methods: Arc<[Method]>,
    /// The same, as the value of `Allow`.
    pub allow: HeaderValue,
    /// Whether the route has a rate limit of its own, which then takes the place of the common one.
    pub own_rate_limit: bool,
    /// From the request head to the response head; `None`: the handler keeps that time itself.
    pub request_timeout: Option<Duration>,
    /// Bytes of a request body.
    pub max_body_size: u64,
    /// Longest gap between bytes of a request body.
    pub body_timeout: Duration,
    /// Slowest upload.
    pub min_body_rate: Option<Rate>,
    /// Whether request bodies may be held whole, and so count against `limits.memory`; otherwise
    /// they are only passed on.
    pub holds_bodies: bool,
    /// Bytes that a request to this route holds besides its connection, charged to `limits.memory`.
    pub request_memory: u64,
    /// Bytes of an answer.
    pub max_response_size: Option<u64>,
    /// Longest time in which a client takes no byte of its answer.
    pub write_timeout: Duration,
    /// Slowest download.
    pub min_send_rate: Option<Rate>,
    /// Fields added to answers that do not set them.
    pub fields: Arc<Fields>,
    /// Whether answers are compressed.
    pub compressed: bool,
}

/// Fields that are added to answers.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    list: Box<[(HeaderName, HeaderValue)]>,
    text: Box<[u8]>,
}

impl Fields {
    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(HeaderName, HeaderValue)> {
        self.list.iter()
    }

    /// As HTTP/1.1 writes them, each with the end of its line.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether one of them is in `headers` already.
    pub fn is_any_in(&self, headers: &HeaderMap) -> bool {
        // Most answers have a few fields, and a look at them is less than a search for each of ours.
        if headers.keys_len() <= FEW {
            headers.keys().any(|name| self.list.iter().any(|(ours, _)| ours == name))
        } else {
            self.list.iter().any(|(ours, _)| headers.contains_key(ours))
        }
    }
}

/// Fields that are looked through rather than searched.
const FEW: usize = 8;

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: T) -> Self {
        let list: Box<[_]> = fields.into_iter().collect();
        let line = |(name, value): &(HeaderName, HeaderValue)| {
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
        };
        let text = list.iter().flat_map(line).collect();
        Self { list, text }
    }
}

#[cfg(any(test, fuzzing))]
impl Policy {
    /// What asks nothing of any layer, for where there are none.
    pub fn nothing(route: u32) -> Self {
        Self {
            route,
            methods: Arc::new([Method::GET]),
            allow: HeaderValue::from_static("GET"),
            own_rate_limit: false,
            request_timeout: None,
            max_body_size: 0,
            body_timeout: Duration::ZERO,
            min_body_rate: None,
            holds_bodies: false,
            request_memory: 0,
            max_response_size: None,
            write_timeout: Duration::ZERO,
            min_send_rate: None,
            fields: Arc::default(),
            compressed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_listed_and_found_however_many_there_are() {
        let fields: Fields = [("x-a", "1"), ("x-b", "2, 3")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        assert_eq!(fields.text(), b"x-a: 1\r\nx-b: 2, 3\r\n");
        for others in [0, 1, 20] {
            let name = |number| HeaderName::try_from(format!("x-{number}")).unwrap();
            let mut headers: HeaderMap =
                (0..others).map(|number| (name(number), HeaderValue::from_static(""))).collect();
            assert!(!fields.is_any_in(&headers));
            headers.insert("x-b", HeaderValue::from_static(""));
            assert!(fields.is_any_in(&headers));
        }
    }
}
