//! One LLM completion: permit, call, retries.

use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Answer, CallOutcome, Question};
use domain::config::{ModelConfig, RunConfig};
use domain::ids::{RunId, WorkerName};
use llm::client::{Client, Reply, Timeouts};
use llm::error::{Failure, Refusal};
use llm::providers::Providers;
use llm::request::estimated_tokens;
use llm::retry::{Remedy, RetryPolicy, is_throttled, remedy, wait};
use proto::convert::{AcquireCall, CallResult};

use super::client::{GatewayClient, OpenRequest};
use super::pending::GatewayEvent;

/// Assumed tokens of a response, reasoning included, before any was measured.
pub(crate) const USUAL_ANSWER: u64 = 1200;

/// How often one request may be throttled (429) before it is given up.
const MOST_THROTTLED: u32 = 100;

/// Result of a completion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Completion {
    Answered {
        /// The response, which is persisted.
        answer: Answer,
        /// Duration of its calls together; `None`: it was cached.
        took: Option<Duration>,
    },
    /// There is no response; the record goes on without one.
    Unanswered {
        why: String,
        /// Duration of its calls together; `None`: no call was made.
        took: Option<Duration>,
    },
    /// The run has stopped, or the worker ends.
    Stopped,
}

/// The LLM client of a run: completions from one model, with retries.
#[derive(Clone)]
pub(crate) struct LlmClient {
    gateway: GatewayClient,
    run_id: RunId,
    /// `Err`: why there is no client, e.g. a missing API key; reported with the first call. Responses from the cache need
    /// none.
    client: Result<Client, String>,
    retry_policy: RetryPolicy,
    model: ModelConfig,
    endpoint: String,
}

/// Result of one call, after the coordinator has persisted it.
enum CallAttempt {
    Answered(Answer, Duration),
    Failed(Box<Reply>, Failure),
    /// The permit had expired.
    Unsent,
    Stopped,
}

impl LlmClient {
    /// A client for the model of the run's configuration; `None` where the rules propose. The run names the provider;
    /// where that is called, and with which key, `providers` of this worker say.
    pub(crate) fn new(
        gateway: GatewayClient,
        run_id: RunId,
        config: &RunConfig,
        providers: &Providers,
        worker: &WorkerName,
        env: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let (model, mode) = (config.model()?, config.proposer.mode);
        let client = providers.open(mode, env).map_err(|error| error.to_string());
        let client = client.and_then(|provider| {
            Client::new(provider, Timeouts::from(&config.proposer)).map_err(|error| error.to_string())
        });
        let retry_policy = RetryPolicy {
            retries: config.proposer.retries,
            deadline: Duration::from_secs(config.proposer.retry_seconds.into()),
            ..RetryPolicy::default()
        };
        let client = client.map_err(|error| {
            format!("worker {worker}: {error}; set it for that worker, start the worker again, and submit the run again")
        });
        let endpoint = providers.url(mode);
        Some(Self { gateway, run_id, client, retry_policy, model: model.clone(), endpoint })
    }

    /// The URL that is called; a part of the key of each response.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The configured model.
    pub(crate) const fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Calls until there is a response, or the retries are used up.
    pub(crate) async fn complete(&self, question: Question) -> Completion {
        let question = Arc::new(question);
        let (mut tried, mut throttled) = (0, 0);
        // The wait for a permit does not count: it is not the provider's.
        let (mut took, mut paused) = (Duration::ZERO, Duration::ZERO);
        loop {
            let mut open = self.acquire(&question).await;
            let until = match open.next_event().await {
                GatewayEvent::CachedResponse(answer) => {
                    let took = (took > Duration::ZERO).then_some(took);
                    return Completion::Answered { answer, took };
                }
                GatewayEvent::CallPermit(until) => until,
                GatewayEvent::Stopped(_) | GatewayEvent::ResultPersisted => return Completion::Stopped,
            };
            let call = self.gateway.call(call(
                self.client.clone(),
                Arc::clone(&question),
                self.run_id.clone(),
                open,
                until,
                self.retry_policy.deadline,
            ));
            let (reply, failure) = match call.await {
                Ok(CallAttempt::Answered(answer, last)) => {
                    return Completion::Answered { answer, took: Some(took + last) };
                }
                Ok(CallAttempt::Unsent) => continue,
                Ok(CallAttempt::Failed(reply, failure)) => (reply, failure),
                // The runtime ends, or the call panicked: the lease is released.
                Ok(CallAttempt::Stopped) | Err(_) => return Completion::Stopped,
            };
            took += reply.took;
            let pause = match remedy(&failure) {
                Remedy::Stop => return Completion::Stopped,
                Remedy::GiveUp => None,
                // The gateway's rate limit delays all calls after a 429, so this does not count as a try.
                Remedy::Again if is_throttled(&failure) => {
                    throttled += 1;
                    (throttled <= MOST_THROTTLED).then_some(Duration::ZERO)
                }
                Remedy::Again => {
                    tried += 1;
                    let retry_after = reply.headers.retry_after;
                    let retries = self.retry_policy.retries.min(failure.most_retries());
                    let policy = RetryPolicy { retries, ..self.retry_policy };
                    wait(&policy, tried, retry_after, took + paused, fastrand::f64())
                }
            };
            let Some(pause) = pause else {
                return Completion::Unanswered { why: failure.to_string(), took: Some(took) };
            };
            paused += pause;
            self.gateway.wait_to_retry(pause).await;
        }
    }

    async fn acquire(&self, question: &Question) -> OpenRequest {
        let (run_id, key) = (self.run_id.clone(), question.key());
        let tokens = estimated_tokens(question, USUAL_ANSWER);
        self.gateway
            .acquire(|number| AcquireCall { number, run_id, key, tokens, under_way: false, ticket: None })
            .await
    }
}

/// Makes the call, sends its result and waits until it is persisted. A provider that refuses the call can delay the next ones
/// by `longest_pause`. Runs in a task of its own, see [`GatewayClient::call`].
async fn call(
    client: Result<Client, String>,
    question: Arc<Question>,
    run_id: RunId,
    mut open: OpenRequest,
    until: tokio::time::Instant,
    longest_pause: Duration,
) -> CallAttempt {
    let reply = match &client {
        _ if tokio::time::Instant::now() >= until => None,
        Ok(client) => Some(Ok(client.ask(&question).await)),
        Err(why) => Some(Err(why.clone())),
    };
    let mut result = CallResult {
        number: open.number(),
        run_id,
        key: question.key(),
        outcome: CallOutcome::Unsent,
        usage: domain::budget::Usage::default(),
        advertised_requests: None,
        advertised_tokens: None,
        // Known to the stream's task.
        ticket: None,
    };
    match &reply {
        None => {}
        Some(Err(why)) => result.outcome = CallOutcome::Failed { reason: why.clone(), stop: true },
        Some(Ok(reply)) => {
            result.outcome = outcome(reply, longest_pause);
            result.usage = reply.usage;
            // The limits are taken as per minute; the headers do not name the period.
            result.advertised_requests = reply.headers.requests.limit;
            result.advertised_tokens = reply.headers.tokens.limit;
        }
    }
    open.send_result(result).await;
    match (open.next_event().await, reply) {
        (GatewayEvent::ResultPersisted, None) => CallAttempt::Unsent,
        (GatewayEvent::ResultPersisted, Some(Ok(reply))) => {
            let took = reply.took;
            match reply.result.clone() {
                Ok(answer) => CallAttempt::Answered(answer, took),
                Err(failure) => CallAttempt::Failed(Box::new(reply), failure),
            }
        }
        _ => CallAttempt::Stopped,
    }
}

fn outcome(reply: &Reply, longest_pause: Duration) -> CallOutcome {
    match &reply.result {
        Ok(answer) if answer.is_whole() => CallOutcome::Answered(answer.clone()),
        Ok(_) => {
            CallOutcome::Failed { reason: Failure::Empty { why: String::new() }.to_string(), stop: false }
        }
        Err(failure) if is_throttled(failure) => CallOutcome::Throttled {
            retry_after: reply.headers.retry_after.map(|wait| wait.min(longest_pause)),
            tokens: matches!(failure, Failure::Refused(refusal) if about_tokens(refusal)),
        },
        Err(failure) => {
            let stop = remedy(failure) == Remedy::Stop;
            CallOutcome::Failed { reason: failure.to_string(), stop }
        }
    }
}

/// Whether a refusal names tokens as the exhausted limit.
fn about_tokens(refusal: &Refusal) -> bool {
    let names = |text: &str| text.to_ascii_lowercase().contains("token");
    refusal.code.as_deref().is_some_and(names) || names(&refusal.words)
}
