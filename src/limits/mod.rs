//! The limits: one file each, every one a layer that also works alone.

pub mod body;
pub mod framing;
pub mod headers;
pub mod host;
pub mod in_flight;
pub mod memory;
pub mod method;
pub mod rate;
pub mod request_timeout;
pub mod response_size;
pub mod url_length;
