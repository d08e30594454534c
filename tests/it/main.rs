//! Integration tests.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking, and may say what they skip")]

mod tokens;
