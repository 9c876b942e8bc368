//! Parity with the published runs: recorded patches under the published gates, and the published rules on the recorded
//! documents. Skipped where the reference corpus is absent.

mod aliasing;
mod corpus;
mod paper_rules;
mod published_gates;
