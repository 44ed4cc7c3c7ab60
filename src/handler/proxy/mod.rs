//! The reverse proxy.

pub mod balance;
//! A reverse proxy: what answers is an application somewhere else.

pub mod url;
