//! Integration tests, in one binary: every further one would cost seconds of linking at each change.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod architecture;
