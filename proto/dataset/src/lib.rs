//! The harness at rest: corpora in, Parquet parts out.

pub mod schema;
