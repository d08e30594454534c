//! AuthZEN 1.0 over real HTTP: what its sections demand, each as one sentence, asked of a library that lends books.

mod batch;
mod callers;
mod described;
mod library;
mod pages;
mod question;
mod refusals;
mod search;
mod walk;
