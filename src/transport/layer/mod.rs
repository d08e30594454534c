//! What every request passes on its way in, whatever listener it came by.

pub mod admission;
pub mod caller;
pub mod deadline;
pub mod observed;
pub(in crate::transport) mod rarely;
