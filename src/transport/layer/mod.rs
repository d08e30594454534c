//! What every request goes through, whichever listener it came by: layers of tower over `http::Request`.

pub mod admission;
