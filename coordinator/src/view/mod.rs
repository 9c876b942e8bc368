//! Text for people: the status table, the line about a model's calls, the closing summary. Pure functions.

pub(crate) mod llm_line;
pub(crate) mod status_table;
pub(crate) mod summary;
