//! One thin file per subcommand: its arguments, and the functions it calls.

mod builds;
mod catalogue;
mod companions;
pub mod completions;
mod context;
pub mod detect;
mod files;
pub mod fix;
pub mod mcp;
pub mod mock_llm;
pub mod policies;
pub mod propose;
mod propose_as_program;
mod propose_diff;
mod repository;
pub mod serve;
mod settings;
mod stop;
pub mod verify;
