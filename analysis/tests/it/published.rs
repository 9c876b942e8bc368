//! The published numbers.
