//! The limits in force, for people.

use crate::config::{Loaded, keys};
use crate::handler::welcome::LimitRow;
use crate::refusal::Reason;

/// What each limit refuses with. A key that is not here is no limit.
fn reason(key: &str) -> Option<Reason> {
    Some(match key {
        "limits.max_body_size" => Reason::BodyTooLarge,
        "limits.max_url_length" => Reason::UrlTooLong,
        "limits.max_header_size" => Reason::HeaderTooLarge,
        "limits.max_header_count" => Reason::TooManyHeaders,
        "limits.max_response_size" => Reason::ResponseTooLarge,
        "limits.request_timeout" => Reason::RequestTimeout,
        "limits.headers_timeout" => Reason::HeadersTimeout,
        "limits.idle_timeout" => Reason::Idle,
        "limits.body_timeout" => Reason::BodyTimeout,
        "limits.min_body_rate" => Reason::BodyTooSlow,
        "limits.write_timeout" | "limits.min_send_rate" => Reason::SlowReader,
        "limits.max_connections" => Reason::TooManyConnections,
        "limits.max_connections_per_ip" => Reason::TooManyConnectionsFromClient,
        "limits.max_in_flight" => Reason::Overloaded,
        "limits.allowed_methods" => Reason::MethodNotAllowed,
        "limits.allowed_hosts" => Reason::HostNotAllowed,
        "http2.max_cancelled_streams" | "http2.max_local_error_resets" => Reason::Http2Abuse,
        "rate_limit.max_requests" => Reason::RateLimited,
        _ => return None,
    })
}

/// Every limit with its value, in the order of the table of keys.
pub fn limit_rows(loaded: &Loaded) -> Vec<LimitRow> {
    let is_limit = |key: &str| key.starts_with("limits.") || reason(key).is_some();
    let limits = loaded.values.iter().filter(|value| is_limit(value.key));
    limits
        .map(|value| LimitRow {
            key: value.key.to_owned(),
            value: value.value.clone(),
            reason: reason(value.key),
            help: keys::find(value.key).map_or_else(String::new, |key| key.help.to_owned()),
        })
        .collect()
}
