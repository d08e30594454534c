//! Proofs hold against an independent implementation, and nothing else passes for one.
