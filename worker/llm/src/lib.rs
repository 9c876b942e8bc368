//! Calls to models behind OpenAI-compatible endpoints: one client, one table of retries, one limiter.
//!
//! *Never* knows Kubernetes, gRPC, the ledger or Parquet. *Invariant*: an API key is in a header and nowhere else.

pub mod client;
pub mod error;
pub mod headers;
pub mod limit;
pub mod price;
pub mod reply;
pub mod request;
pub mod retry;
