//! `[[route]]` and `[[check]]`: tables of the file of which there can be many.

mod model;

pub use model::{CheckConfig, Probe, RouteConfig, Target};
