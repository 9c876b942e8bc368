//! Reads Parquet within bounds of memory: by what pages hold when they are decompressed, and as views of them.

pub mod decoded_size;
pub(crate) mod footer;
mod page_header;
pub mod pages;
pub mod views;
