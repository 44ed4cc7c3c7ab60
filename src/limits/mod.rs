//! The limits: one file each, every one a stage that also works alone, as a layer.
//!
//! A limit on a request head is a [`Check`](crate::check::Check); one that has to follow a request
//! or its answer is a [`Stage`](crate::stage::Stage) of its own. All of them refuse by their error, a
//! [`Refusal`](crate::refusal::Refusal). In what order they stand, and why, is in `server/stack.rs`.

pub mod body;
pub mod framing;
pub mod headers;
pub mod host;
pub mod in_flight;
pub mod method;
pub mod rate;
pub mod request_timeout;
pub mod response_size;
pub mod url_length;
