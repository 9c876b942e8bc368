//! The commands, the corpus readers and the session, from outside.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod builds;
mod cli;
mod deploy;
mod detect;
mod files;
mod help;
mod intake;
mod integrations;
mod interactive;
mod mcp;
mod mock_llm;
mod policies;
mod profiles;
mod recorded_findings;
mod repair;
mod repository;
mod revert;
mod reviews;
mod rewrite;
mod rogue;
mod scanners;
mod server;
mod session;
mod surroundings;
mod text;
mod verify;
