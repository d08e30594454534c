//! Claims, answered by solvers that say what they are told to.
