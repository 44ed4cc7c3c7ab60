//! What every request goes through that is no limit.

pub mod answer;
pub mod compression;
pub mod gate;
pub mod observe;
pub mod request_id;
pub mod security_headers;
