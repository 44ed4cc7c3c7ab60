//! The binary: everything is in the library.

use std::process::ExitCode;

/// What an idle connection holds, and what parking and waking it costs, is for the larger part the allocator's.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nessen::cli::main()
}
