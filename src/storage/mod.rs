//! Stores: out to disk and memory.
