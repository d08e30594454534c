//! Integration tests, in one binary: every further one would cost seconds of linking at each change.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking, and may say what they skip")]

mod architecture;
mod decide;
mod tokens;
