//! Text output as pure functions: status table, status line of LLM calls, closing summary.

pub(crate) mod judge_line;
pub(crate) mod llm_line;
pub(crate) mod status_table;
pub(crate) mod summary;
