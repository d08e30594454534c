//! The program: one verb of the command line, and its exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A decision is many small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hallpass::cli::run()
}
