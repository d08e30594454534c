//! What every request goes through before it is answered, whichever listener it came by.

pub mod observed;
