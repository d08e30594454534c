//! What comes from outside: policy files, keys, the clock.
