//! HTTP/2 on one connection: hyper and h2 speak the protocol, the driver counts its frames, keeps
//! the clocks, and watches that each stream is read.

mod driver;
mod executor;
mod frames;
mod io;
mod purse;
mod streams;

pub(crate) use driver::{End, drive, farewell};
pub(crate) use executor::StreamExecutor;
pub(crate) use io::PREFACE;
pub(crate) use streams::{OutBuf, OutStream, Streams};
