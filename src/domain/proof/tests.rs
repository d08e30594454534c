//! Claims and what they come to, without a solver.
