//! The server: admits calls, gives each its time, and answers.

use std::sync::Arc;
use std::time::Instant;

use cli_support::failure::describe;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::call::{Call, Object, Shared};
use super::tools::{self, Answer, Entry};
use crate::commands::stop::{Stop, Stopped};

/// What clients are told of the server.
const INSTRUCTIONS: &str = "Finds violations of policies in Kubernetes manifests, and proposes repairs that were verified. \
    Reads only: apply the patches of `propose` yourself, in their order, then judge the result with `verify`. Manifests are named \
    by `text`, or by `path` below the root of this server.";

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    /// One for each call that works or waits.
    admitted: Arc<Semaphore>,
    /// One for each call that works. Work that nobody waits for keeps its own until it has ended.
    working: Arc<Semaphore>,
}

impl Server {
    /// A server without calls.
    pub(super) fn new(shared: Shared) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (admitted, working) = (semaphore(shared.bounds.admitted()), semaphore(shared.bounds.working()));
        Self { shared: Arc::new(shared), admitted, working }
    }

    /// Admits a call. `Err`: why it may neither work nor wait.
    fn admit(&self, arguments: &Object) -> Result<OwnedSemaphorePermit, String> {
        let bounds = &self.shared.bounds;
        // Measured before it waits for others: what waits is kept.
        let most = bounds.argument_bytes();
        if arguments.values().map(text_bytes).sum::<usize>() > most {
            return Err(format!(
                "the arguments have more than {most} bytes\nhint: name fewer manifests in a call, or start the server with a \
                 larger --max-bytes"
            ));
        }
        Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| format!("{} calls are under way; ask again when one has ended", bounds.admitted()))
    }

    async fn answer(&self, tool: Entry, arguments: Object, cancelled: CancellationToken) -> CallToolResult {
        let admitted = match self.admit(&arguments) {
            Ok(admitted) => admitted,
            Err(why) => return failed(format!("{}: {why}", tool.name)),
        };
        let timeout = self.shared.bounds.timeout;
        // A deadline beyond what the clock can say is none.
        let deadline = Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + FOREVER);
        let cancelled = cancelled.child_token();
        let call = Call { shared: Arc::clone(&self.shared), stop: Stop::new(deadline, cancelled.clone()) };
        let working = Arc::clone(&self.working);
        let work = async move {
            let permit = working.acquire_owned().await;
            let work = move || {
                let _held = (admitted, permit);
                call.stop.check()?;
                (tool.answer)(arguments, &call)
            };
            tokio::task::spawn_blocking(work).await
        };
        match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(Ok(Ok(Answer { output, text }))) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(output);
                result
            }
            Ok(Ok(Err(error))) if error.downcast_ref::<Stopped>() == Some(&Stopped::Late) => self.late(tool),
            Ok(Ok(Err(error))) => failed(sensitive::mask_text(describe(tool.name, &error).trim_end())),
            Ok(Err(panicked)) => {
                tracing::error!(tool = tool.name, %panicked, "the work of a call panicked");
                failed(format!(
                    "{}: a defect of this program ended the call; its log has the place",
                    tool.name
                ))
            }
            Err(_) => {
                cancelled.cancel();
                self.late(tool)
            }
        }
    }

    fn late(&self, tool: Entry) -> CallToolResult {
        failed(format!(
            "{}: the call took longer than {}\nhint: name fewer manifests in a call, or start the server with a longer \
             --timeout",
            tool.name,
            humantime::format_duration(self.shared.bounds.timeout)
        ))
    }
}

/// Longest time of a call whose own is beyond the clock.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 60 * 60);

/// Bytes of the texts in a value, keys included.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum::<usize>() + items.len(),
        Value::Object(entries) => entries.iter().map(|(key, value)| key.len() + text_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// An error that the caller reads.
fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_instructions(INSTRUCTIONS);
        info.server_info = Implementation::new("k8s-auto-fix", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = tools::list().map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = tools::find(&request.name).map_err(|error| ErrorData::invalid_params(error, None))?;
        let arguments = request.arguments.unwrap_or_default();
        Ok(self.answer(tool, arguments, context.ct).await.into())
    }
}
