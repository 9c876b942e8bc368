//! Engines of tests: one server for the whole process, ended with it; each test has a schema of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use super::test_server::{TestServer, is_here};
use super::{Engine, EngineAddress, Trust};

impl TestServer {
    pub(crate) fn address(&self) -> EngineAddress {
        EngineAddress::of_url(&self.url(), None).unwrap()
    }

    /// The server with this schema.
    pub(crate) fn engine(&self, schema: &str) -> Engine {
        Engine::new(self.address(), Trust::in_memory(false)).with_schema(schema)
    }
}

/// The server that the tests of this process share, with a new schema; `None`, and the test is skipped, where there are no
/// programs.
#[track_caller]
pub(crate) fn shared() -> Option<Engine> {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    is_here().then(|| SERVER.get_or_init(|| TestServer::start(&[])).engine(&new_schema()))
}

/// A schema that no other test has.
pub(crate) fn new_schema() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}
