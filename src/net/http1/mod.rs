//! HTTP/1 on one connection, read, written and kept in time by ourselves.
//!
//! hyper's parser could be watched from outside only: by reading every head a second time, for what it does not
//! tell of it, and by guessing where a body ends. Here the one who reads is the one who judges. Requests that
//! wish for another protocol still go through hyper ([`upgrade`]): handlers know its `OnUpgrade`.

mod conn;
mod driver;
mod input;
mod output;
mod pipe;
mod request;
mod response;
mod stretch;
mod upgrade;

pub(crate) use driver::{End, drive, headers_timeout};
pub(crate) use pipe::Outlet;
