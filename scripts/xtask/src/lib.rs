//! Tasks of the house that are not shell work.

pub mod chaos;
pub mod tidy;
