//! One question from asking to its answer: leave, call, waits between tries.

use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Answer, CallOutcome, Question};
use domain::config::{ModelConfig, RunConfig};
use domain::ids::RunId;
use llm::client::{Client, Reply, Timeouts};
use llm::error::Failure;
use llm::request::estimated_tokens;
use llm::retry::{Patience, Remedy, is_throttled, remedy, wait};
use proto::convert::{AcquireCall, CallResult};

use super::client::{GatewayClient, OpenRequest};
use super::pending::GatewayEvent;

/// Tokens that an answer usually takes, reasoning included, before anything is known.
pub(crate) const USUAL_ANSWER: u64 = 1200;

/// How often a provider may refuse one question for too many calls.
const MOST_THROTTLED: u32 = 100;

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Completion {
    /// An answer.
    Answered {
        /// The answer, which is kept.
        answer: Answer,
        /// How long the calls for it took together; `None`: it was there before.
        took: Option<Duration>,
    },
    /// There is none, and the record goes on without it.
    Unanswered {
        /// Why.
        why: String,
        /// How long the calls for it took together; `None`: there was none.
        took: Option<Duration>,
    },
    /// The run has stopped, or the worker ends.
    Stopped,
}

/// Asks one model for one run.
#[derive(Clone)]
pub(crate) struct LlmClient {
    gateway: GatewayClient,
    run_id: RunId,
    /// Why there is no client, where there is none.
    client: Result<Client, String>,
    patience: Patience,
    model: ModelConfig,
}

/// What one call came to, after the coordinator keeps it.
enum CallAttempt {
    Answered(Answer, Duration),
    Failed(Box<Reply>, Failure),
    /// Leave came too late to be used.
    Unsent,
    Stopped,
}

impl LlmClient {
    /// Asks the model of the run's configuration; `None` where the rules propose.
    pub(crate) fn new(
        gateway: GatewayClient,
        run_id: RunId,
        config: &RunConfig,
        env: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let model = config.model()?;
        let client = Client::new(model, Timeouts::from(&config.proposer), env);
        let patience = Patience {
            retries: config.proposer.retries,
            deadline: Duration::from_secs(config.proposer.retry_seconds.into()),
            ..Patience::default()
        };
        let client = client.map_err(|error| error.to_string());
        Some(Self { gateway, run_id, client, patience, model: model.clone() })
    }

    /// The model that is asked.
    pub(crate) const fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Asks until there is an answer, or will be none.
    pub(crate) async fn complete(&self, question: Question) -> Completion {
        let question = Arc::new(question);
        let (mut tried, mut throttled) = (0, 0);
        // The wait for leave is none of the provider's.
        let (mut took, mut rested) = (Duration::ZERO, Duration::ZERO);
        loop {
            let mut open = self.ask(&question).await;
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
            ));
            let (reply, failure) = match call.await {
                Ok(CallAttempt::Answered(answer, last)) => {
                    return Completion::Answered { answer, took: Some(took + last) };
                }
                Ok(CallAttempt::Unsent) => continue,
                Ok(CallAttempt::Failed(reply, failure)) => (reply, failure),
                // The runtime ends, or a bug: the shard goes back.
                Ok(CallAttempt::Stopped) | Err(_) => return Completion::Stopped,
            };
            took += reply.took;
            let pause = match remedy(&failure) {
                Remedy::Stop => return Completion::Stopped,
                Remedy::GiveUp => None,
                // The budget's business: it makes everybody wait, and the record has not been tried.
                Remedy::Again if is_throttled(&failure) => {
                    throttled += 1;
                    (throttled <= MOST_THROTTLED).then_some(Duration::ZERO)
                }
                Remedy::Again => {
                    tried += 1;
                    let asked = reply.headers.retry_after;
                    wait(&self.patience, tried, asked, took + rested, fastrand::f64())
                }
            };
            let Some(pause) = pause else {
                return Completion::Unanswered { why: failure.to_string(), took: Some(took) };
            };
            rested += pause;
            self.gateway.rest(pause).await;
        }
    }

    async fn ask(&self, question: &Question) -> OpenRequest {
        let (run_id, key) = (self.run_id.clone(), question.key());
        let tokens = estimated_tokens(question, USUAL_ANSWER);
        self.gateway.ask(|number| AcquireCall { number, run_id, key, tokens, under_way: false }).await
    }
}

/// Calls, tells the coordinator what came of it, and waits until that is kept. Goes on when nobody waits for it.
async fn call(
    client: Result<Client, String>,
    question: Arc<Question>,
    run_id: RunId,
    mut open: OpenRequest,
    until: tokio::time::Instant,
) -> CallAttempt {
    let reply = match &client {
        _ if tokio::time::Instant::now() >= until => None,
        Ok(client) => Some(Ok(client.ask(&question).await)),
        Err(why) => Some(Err(why.clone())),
    };
    let mut ended = CallResult {
        number: open.number(),
        run_id,
        key: question.key(),
        outcome: CallOutcome::Unsent,
        usage: domain::budget::Usage::default(),
        advertised_requests: None,
        advertised_tokens: None,
    };
    match &reply {
        None => {}
        Some(Err(why)) => ended.outcome = CallOutcome::Failed { reason: why.clone(), stop: true },
        Some(Ok(reply)) => {
            ended.outcome = outcome(reply);
            ended.usage = reply.usage;
            // Only limits of a minute are told on; providers name other periods without saying so.
            ended.advertised_requests = reply.headers.requests.limit;
            ended.advertised_tokens = reply.headers.tokens.limit;
        }
    }
    open.ended(ended).await;
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

fn outcome(reply: &Reply) -> CallOutcome {
    match &reply.result {
        Ok(answer) if answer.is_whole() => CallOutcome::Answered(answer.clone()),
        Ok(_) => CallOutcome::Failed { reason: Failure::Empty.to_string(), stop: false },
        Err(failure) if is_throttled(failure) => CallOutcome::Throttled {
            retry_after: reply.headers.retry_after,
            tokens: matches!(failure, Failure::Status { reason, message, .. } if about_tokens(reason, message)),
        },
        Err(failure) => {
            let stop = remedy(failure) == Remedy::Stop;
            CallOutcome::Failed { reason: failure.to_string(), stop }
        }
    }
}

/// Whether a refusal speaks of tokens.
fn about_tokens(reason: &str, message: &str) -> bool {
    let says = |text: &str| text.to_ascii_lowercase().contains("token");
    says(reason) || says(message)
}
