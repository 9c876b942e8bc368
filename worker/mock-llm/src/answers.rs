//! What the provider answers.

use std::sync::Arc;

/// A response that changes nothing; also the response to an unknown prompt.
pub const EMPTY_PATCH: &str = "{\"patch\": []}";

/// Returns the response to a prompt (the first user message); `None` for an unknown prompt.
pub type Answers = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
