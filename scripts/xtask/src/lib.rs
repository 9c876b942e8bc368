//! Tasks of the house that are not shell work.

pub mod tidy;
