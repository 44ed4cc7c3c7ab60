//! A reverse proxy: what answers is an application somewhere else.

pub mod url;
