//! One LLM completion: permit, call, retries.

use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Answer, CallOutcome, FailureKind, Question};
use domain::budget::{Charge, Usage};
use domain::config::{AnswerFormat, ModelConfig, RunConfig};
use domain::ids::{AnswerKey, RunId, WorkerName};
use llm::client::{Client, Reply, Timeouts};
use llm::error::{Failure, Refusal};
use llm::providers::{Destination, Providers};
use llm::refusals::{advice, is_about_form, kind};
use llm::request::estimated_tokens;
use llm::retry::{Remedy, RetryPolicy, is_throttled, remedy, wait};
use proto::convert::{AcquireCall, CallResult};

use super::answer_form::FormLadder;
use super::client::{GatewayClient, OpenRequest};
use super::pending::GatewayEvent;

/// Assumed tokens of a response, reasoning included, before any was measured.
pub(crate) const USUAL_ANSWER: u64 = 1200;

/// How often one request may be throttled (429) before it is given up.
const MOST_THROTTLED: u32 = 100;

/// Wait before a request whose retries are used up is made again, because no call at all succeeds. Short: the coordinator
/// decides when the next call starts.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why a question of a replayed run has no answer. A replay finds its records by these words.
pub const NOT_RECORDED: &str = "no answer to this question was recorded";

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
        /// The model that the last reply names, of which no response was of use; empty: it names none.
        model: String,
        /// Duration of its calls together; `None`: no call was made.
        took: Option<Duration>,
    },
    /// The provider refuses the form of answers: the same is to be asked in the present form.
    FormRefused,
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
    destination: Destination,
    forms: FormLadder,
    /// Nothing is called: a question that is not in the cache has no answer.
    recorded_only: bool,
}

/// Result of one call, after the coordinator has persisted it.
enum CallAttempt {
    Answered(Answer, Duration),
    Failed(Box<FailedCall>),
    /// The permit had expired.
    Unsent,
    Stopped,
}

struct FailedCall {
    failure: Failure,
    /// The model that the reply names.
    model: String,
    /// The tries of the request, this one included.
    tries: Tries,
    next: Next,
    /// No call has succeeded since the request's first one: the coordinator does not hold the failure against the record.
    ask_again: bool,
}

/// What follows a failed call, as far as the worker can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Retry(Duration),
    GiveUp,
    /// Ask in a weaker form.
    OtherForm,
    Stop,
}

/// Calls of one completion that gave no answer.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    made: u32,
    /// Of these, the failed and the throttled ones since the retries were granted last.
    failed: u32,
    throttled: u32,
    /// Duration of all calls. The wait for a permit does not count: it is not the provider's.
    took: Duration,
    /// Calls and waits since the retries were granted last.
    spent: Duration,
}

impl Tries {
    /// Counts a failed call, and decides what follows.
    fn count(&mut self, failure: &Failure, reply: &Reply, policy: &RetryPolicy) -> Next {
        self.made = self.made.saturating_add(1);
        self.took += reply.took;
        self.spent += reply.took;
        match remedy(failure) {
            Remedy::Stop => Next::Stop,
            Remedy::GiveUp => Next::GiveUp,
            // The gateway's rate limit delays all calls after a 429, so this does not count as a try.
            Remedy::Again if is_throttled(failure) => {
                self.throttled += 1;
                if self.throttled > MOST_THROTTLED { Next::GiveUp } else { Next::Retry(Duration::ZERO) }
            }
            Remedy::Again => {
                self.failed += 1;
                let policy = RetryPolicy { retries: policy.retries.min(failure.most_retries()), ..*policy };
                let retry_after = reply.headers.retry_after;
                wait(&policy, self.failed, retry_after, self.spent, fastrand::f64())
                    .map_or(Next::GiveUp, Next::Retry)
            }
        }
    }

    /// Grants the retries anew.
    fn renew(&mut self) {
        (self.failed, self.throttled, self.spent) = (0, 0, Duration::ZERO);
    }
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
        let (destination, forms) =
            (providers.destination(mode), FormLadder::new(config.proposer.answer_form));
        let (model, recorded_only) = (model.clone(), providers.recorded_only);
        Some(Self { gateway, run_id, client, retry_policy, model, destination, forms, recorded_only })
    }

    /// Where the provider is called; a part of the key of each response.
    pub(crate) const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The form of answers to ask for at present.
    pub(crate) fn form(&self) -> AnswerFormat {
        self.forms.form()
    }

    /// The configured model.
    pub(crate) const fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Calls until there is a response, or the retries are used up. `form` is that of the question.
    pub(crate) async fn complete(&self, question: Arc<Question>, form: AnswerFormat) -> Completion {
        let mut tries = Tries::default();
        let key = question.key();
        loop {
            let mut open = self.acquire(&question, key).await;
            let until = match open.next_event().await {
                GatewayEvent::CachedResponse(answer) => {
                    let took = (tries.took > Duration::ZERO).then_some(tries.took);
                    return Completion::Answered { answer, took };
                }
                // The form was refused while this question waited, or nothing is called: the permit goes back unused.
                GatewayEvent::CallPermit(_) if self.recorded_only || self.forms.is_refused(form) => {
                    tokio::time::Instant::now()
                }
                GatewayEvent::CallPermit(until) => until,
                GatewayEvent::Stopped(_) | GatewayEvent::ResultPersisted { .. } => {
                    return Completion::Stopped;
                }
            };
            let call = self.gateway.call(call(
                self.client.clone(),
                (key, Arc::clone(&question)),
                self.run_id.clone(),
                open,
                until,
                (tries, self.retry_policy, self.forms.may_step_down(form)),
            ));
            let failed = match call.await {
                Ok(CallAttempt::Answered(answer, last)) => {
                    return Completion::Answered { answer, took: Some(tries.took + last) };
                }
                Ok(CallAttempt::Unsent) if self.recorded_only => {
                    return Completion::Unanswered {
                        why: NOT_RECORDED.to_owned(),
                        model: String::new(),
                        took: None,
                    };
                }
                Ok(CallAttempt::Unsent) if self.forms.is_refused(form) => return Completion::FormRefused,
                Ok(CallAttempt::Unsent) => continue,
                Ok(CallAttempt::Failed(failed)) => failed,
                // The runtime ends, or the call panicked: the lease is released.
                Ok(CallAttempt::Stopped) | Err(_) => return Completion::Stopped,
            };
            tries = failed.tries;
            let pause = match failed.next {
                Next::Stop => return Completion::Stopped,
                Next::OtherForm => {
                    if let Some(weaker) = self.forms.step_down(form) {
                        let (form, weaker) = (form.as_str(), weaker.as_str());
                        let words = failed.failure.to_string();
                        tracing::warn!(run = %self.run_id, form, weaker, words, "the provider refuses this form of answers: asking in a weaker one from now on");
                    }
                    return Completion::FormRefused;
                }
                Next::Retry(pause) => pause,
                Next::GiveUp if failed.ask_again => {
                    tries.renew();
                    ASK_AGAIN.mul_f64(fastrand::f64())
                }
                Next::GiveUp => {
                    let why = failed.failure.to_string();
                    return Completion::Unanswered { why, model: failed.model, took: Some(tries.took) };
                }
            };
            tries.spent += pause;
            self.gateway.wait_to_retry(pause).await;
        }
    }

    async fn acquire(&self, question: &Question, key: AnswerKey) -> OpenRequest {
        let run_id = self.run_id.clone();
        let tokens = estimated_tokens(question, USUAL_ANSWER);
        self.gateway
            .acquire(|number| AcquireCall { number, run_id, key, tokens, under_way: false, ticket: None })
            .await
    }
}

/// Makes the call, sends its result and waits until it is persisted. Runs in a task of its own, see [`GatewayClient::call`].
async fn call(
    client: Result<Client, String>,
    (key, question): (AnswerKey, Arc<Question>),
    run_id: RunId,
    mut open: OpenRequest,
    until: tokio::time::Instant,
    (mut tries, policy, may_step_down): (Tries, RetryPolicy, bool),
) -> CallAttempt {
    let reply = match &client {
        _ if tokio::time::Instant::now() >= until => None,
        Ok(client) => Some(Ok(client.ask(&question).await)),
        Err(why) => Some(Err(why.clone())),
    };
    let mut result = CallResult {
        number: open.number(),
        run_id,
        key,
        outcome: CallOutcome::Unsent,
        usage: Usage::default(),
        charge: Charge::default(),
        advertised_requests: None,
        advertised_tokens: None,
        // Known to the stream's task.
        ticket: None,
        tries: tries.made,
        last: false,
    };
    let mut next = Next::Stop;
    match &reply {
        None => {}
        Some(Err(why)) => {
            result.outcome = CallOutcome::failed(why, FailureKind::Account);
            (result.tries, result.last) = (tries.made + 1, true);
        }
        Some(Ok(reply)) => {
            if let Err(failure) = &reply.result {
                let by_form = may_step_down && is_about_form(failure);
                next = if by_form { Next::OtherForm } else { tries.count(failure, reply, &policy) };
                (result.tries, result.last) = (tries.made, !matches!(next, Next::Retry(_) | Next::OtherForm));
            }
            result.outcome = match (&reply.result, next) {
                (Err(failure), Next::OtherForm) => CallOutcome::failed(failure, FailureKind::Form),
                _ => outcome(reply),
            };
            (result.usage, result.charge) = (reply.usage, reply.charge);
            // The limits are taken as per minute; the headers do not name the period.
            result.advertised_requests = reply.headers.requests.limit;
            result.advertised_tokens = reply.headers.tokens.limit;
        }
    }
    open.send_result(result).await;
    match (open.next_event().await, reply) {
        (GatewayEvent::ResultPersisted { .. }, None) => CallAttempt::Unsent,
        (GatewayEvent::ResultPersisted { ask_again }, Some(Ok(reply))) => match reply.result {
            Ok(answer) => CallAttempt::Answered(answer, reply.took),
            Err(failure) => {
                let model = reply.model;
                CallAttempt::Failed(Box::new(FailedCall { failure, model, tries, next, ask_again }))
            }
        },
        _ => CallAttempt::Stopped,
    }
}

fn outcome(reply: &Reply) -> CallOutcome {
    match &reply.result {
        Ok(answer) if answer.is_whole() => CallOutcome::Answered(answer.clone()),
        Ok(_) => CallOutcome::Failed {
            reason: Failure::Empty { why: String::new() }.to_string(),
            kind: FailureKind::Prompt,
            model: reply.model.clone(),
        },
        Err(failure) if is_throttled(failure) => CallOutcome::Throttled {
            retry_after: reply.headers.retry_after,
            tokens: matches!(failure, Failure::Refused(refusal) if about_tokens(refusal)),
            reason: failure.to_string(),
        },
        Err(failure) => {
            let kind = kind(failure);
            let reason = match kind {
                // These end the run, and its message has to say what to do.
                FailureKind::Key | FailureKind::Account => {
                    format!("{}; {}", failure.to_string().trim_end_matches('.'), advice(failure))
                }
                FailureKind::Prompt | FailureKind::Passing | FailureKind::Form | FailureKind::Unknown => {
                    failure.to_string()
                }
            };
            CallOutcome::Failed { reason, kind, model: reply.model.clone() }
        }
    }
}

/// Whether a refusal names tokens as the exhausted limit.
fn about_tokens(refusal: &Refusal) -> bool {
    let names = |text: &str| text.to_ascii_lowercase().contains("token");
    refusal.code.as_deref().is_some_and(names) || names(&refusal.words)
}
