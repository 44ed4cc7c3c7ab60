//! What the operator set: one table of keys, four places to set them, one valid [`Config`].
//!
//! A `Config` that exists is valid: every value is of its final type and in range, and no two
//! settings contradict each other. Everything starts from the table in [`keys`]; the way from a text
//! to a `Config` has two stages: [`Sources`] collects what was written and where, and [`load`] turns
//! it into values, decides what `auto` comes to on this [`Machine`], and checks that all of it holds
//! together. Only this module reads the environment.

mod blank;
mod budget;
mod cgroup;
mod environment;
mod error;
mod example;
mod file;
mod files;
#[cfg(test)]
mod golden;
pub mod keys;
mod limits;
mod load;
mod machine;
mod model;
mod parse;
mod production;
mod reference;
mod routes;
mod schema;
mod settings;
mod source;
mod suggest;
mod tls;
mod value;

pub use budget::{COMPRESSOR_COST, IDLE_PROCESS, TRACKED_CLIENT_COST, WorstCase, spare_files};
pub use cgroup::Throttling;
pub use error::{ConfigError, ConfigErrors, Setting};
pub use example::example;
pub use load::{EffectiveValue, Loaded, load, reloadable_diff};
pub use machine::{Machine, raise_open_files};
pub use model::*;
pub use reference::reference;
pub use routes::{CheckConfig, Probe, RouteConfig, RouteRow, Target};
pub use schema::schema;
pub use source::{Flag, Origin, Sources};
pub use value::Value;
