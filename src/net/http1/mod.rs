//! HTTP/1 on one connection: hyper parses and writes, the driver keeps the clocks.

mod chunks;
mod driver;
mod fragment;
mod io;

pub(crate) use chunks::ChunkWatch;
pub(crate) use driver::{End, drive, headers_timeout};
pub(crate) use io::Seen;
