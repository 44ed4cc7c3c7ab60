//! An attack for each limit, over HTTP/1 on a real socket: each fails where the limit is off.

mod clocks;
mod connections;
mod early;
mod exhaustion;
mod identity;
mod line_ends;
mod memory;
mod rate;
mod requests;
mod reserve;
mod send;
mod sizes;
mod unread;
