//! What a worker can ask by its own settings: providers of models, programs, and an API server.

use std::sync::{Arc, OnceLock};

use domain::config::RunConfig;
use domain::scanner::Scanner;
use llm::providers::Providers;
use proposers::Proposers;
use proto::convert::BadMessage;
use scanners::Tool;
use tokio::time::Instant;

use crate::deadline::DeadlineWatch;
use crate::pipeline::ToolRescans;
use crate::server_judge::{CacheClient, LeaseJudge, ServerJudge, Stop};

/// What this worker can ask.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// The providers that runs may name.
    pub(super) providers: Providers,
    /// The programs that runs may name.
    pub(super) programs: Arc<Proposers>,
    /// The API server, for the runs that need one.
    pub(super) server: Option<Arc<ServerJudge>>,
    /// The scanners that runs may name.
    pub(super) scanners: Vec<Tool>,
}

impl Services {
    /// Who judges the documents of a shard of a run with this configuration, besides the embedded rules.
    pub(super) fn judge(
        &self,
        config: &RunConfig,
        cache: CacheClient,
        stop: &Stop,
    ) -> Result<Option<Arc<LeaseJudge>>, BadMessage> {
        if !config.verifier.depth.needs_server() {
            return Ok(None);
        }
        let Some(judge) = &self.server else {
            return Err(BadMessage::new("run.config_json", "needs an API server, and this worker has none"));
        };
        Ok(Some(Arc::new(LeaseJudge::new(Arc::clone(judge), Some(cache), Arc::clone(stop)))))
    }

    /// The other scanners that judge the repairs of a shard of a run with this configuration.
    pub(super) fn rescans(&self, config: &RunConfig) -> Result<Option<Arc<ToolRescans>>, BadMessage> {
        let wanted = &config.verifier.rescan;
        if wanted.is_builtin_alone() {
            return Ok(None);
        }
        let of = |scanner: Scanner| {
            let tool = self.scanners.iter().find(|tool| tool.scanner() == scanner);
            tool.cloned().ok_or_else(|| {
                BadMessage::new("run.config_json", format!("needs {scanner}, which this worker cannot start"))
            })
        };
        let tools: Result<Vec<Tool>, BadMessage> = wanted.tools().map(of).collect();
        Ok(Some(Arc::new(ToolRescans::new(tools?))))
    }

    /// What records wait for; empty when they do not.
    pub(super) fn waits_for(&self) -> String {
        match &self.server {
            Some(server) if server.is_down() => {
                format!("the API server {} cannot be reached", server.identity())
            }
            _ => String::new(),
        }
    }
}

/// Whether the work for a lease has to stop: it has expired, or the worker drains and its grace is over.
pub(super) fn stop(watch: DeadlineWatch, draining: Arc<OnceLock<Instant>>) -> Stop {
    Arc::new(move || {
        let now = Instant::now();
        watch.is_expired(now) || draining.get().is_some_and(|until| now >= *until)
    })
}
