//! HTTP/2 on one connection: hyper and h2 speak the protocol, the driver counts its frames, keeps
//! the clocks, and watches that each stream is read.

mod driver;
mod executor;
mod frames;
mod io;
mod streams;

pub use driver::{End, drive};
pub use executor::StreamExecutor;
pub use io::PREFACE;
pub use streams::{OutBuf, OutStream, Streams};
