//! An attack for each limit, over HTTP/1 on a real socket: each fails where the limit is off.

mod clocks;
mod connections;
mod early;
mod identity;
mod rate;
mod requests;
mod send;
mod sizes;
