//! The simulated provider: what it answers to a call, by its limits, faults and manner.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, StatusCode};
use domain::ids::AnswerKey;
use domain::secret::Secret;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::answers::EMPTY_PATCH;
use crate::batches::batch::Worker;
use crate::batches::store::Batches;
use crate::chat::{Api, ChatRequest, Tokens, random, read};
use crate::latency::Queue;
use crate::limits::{Allowed, Meters};
use crate::respond::{broken, error, headers, in_pieces, json_reply, text_reply, too_many};
use crate::stats::{Report, Stats};
use crate::{Fault, Settings};

/// Handle of the provider; cheap to clone.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// Hash of the key that callers must send.
    key: Option<AnswerKey>,
    began: Instant,
    state: Mutex<Changing>,
    batches: Mutex<Batches>,
}

struct Changing {
    meters: Meters,
    queue: Queue,
    stats: Stats,
    /// How often each prompt was sent.
    times: BTreeMap<AnswerKey, u64>,
}

/// An accepted call is in flight until this is dropped.
struct InFlight(Provider);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state().stats.ended();
    }
}

impl Provider {
    /// A provider that starts now.
    ///
    /// # Errors
    /// There is no room for the files of batches.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        Self::guarded(settings, None)
    }

    /// A provider that starts now and refuses calls without `key`.
    ///
    /// # Errors
    /// There is no room for the files of batches.
    pub fn guarded(settings: Settings, key: Option<&Secret<String>>) -> std::io::Result<Self> {
        let meters = Meters::new(settings.allowed, 0.0);
        let state =
            Changing { meters, queue: Queue::default(), stats: Stats::default(), times: BTreeMap::new() };
        let key = key.map(|key| AnswerKey::of(key.expose().as_bytes()));
        let (state, batches) = (Mutex::new(state), Mutex::new(Batches::new()?));
        Ok(Self(Arc::new(Inner { settings, key, began: Instant::now(), state, batches })))
    }

    /// The statistics until now.
    pub fn report(&self) -> Report {
        let batches = self.batches().report();
        Report { batches, ..self.state().stats.report() }
    }

    /// The files and batches.
    pub(crate) fn batches(&self) -> MutexGuard<'_, Batches> {
        self.0.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the work on batches needs.
    pub(crate) fn batch_worker(&self) -> Worker {
        let Settings { batches, answers, manner, cached, seed, .. } = &self.0.settings;
        Worker {
            settings: batches.clone(),
            answers: answers.clone(),
            manner: manner.clone(),
            cached_share: cached.share,
            seed: *seed,
        }
    }

    /// The models that there are.
    pub(crate) fn models(&self) -> Value {
        self.0.settings.manner.list()
    }

    /// Other limits from now on.
    pub(crate) fn change(&self, allowed: Allowed) {
        let now = self.now();
        let mut state = self.state();
        let before = *state.meters.allowed();
        state.stats.limits_change(now, &before);
        state.meters = Meters::new(allowed, now);
    }

    /// The refusal of a caller without the right key.
    pub(crate) fn refused(&self, head: &HeaderMap) -> Option<Response<Body>> {
        if self.is_authorised(head) {
            return None;
        }
        self.state().stats.unauthorised();
        Some(error(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided."))
    }

    fn state(&self) -> MutexGuard<'_, Changing> {
        // A panic while the lock is held leaves the counts valid.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the start, in the provider's time.
    pub(crate) fn now(&self) -> f64 {
        self.0.began.elapsed().as_secs_f64() * self.0.settings.speed
    }

    async fn sleep(&self, seconds: f64) {
        sleep(self.real(seconds)).await;
    }

    fn real(&self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds / self.0.settings.speed).unwrap_or(Duration::from_secs(3600))
    }

    /// Whether the call has the right key. Compares hashes, so that the time of the comparison does not depend on the
    /// key.
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.0.key else { return true };
        let sent = ["authorization", "api-key", "x-api-key"].iter().find_map(|name| headers.get(*name));
        sent.is_some_and(|sent| {
            let sent = sent.as_bytes();
            AnswerKey::of(sent.strip_prefix(b"Bearer ").unwrap_or(sent)) == *key
        })
    }

    pub(crate) async fn complete(self, api: Api, head: HeaderMap, body: Bytes) -> Response<Body> {
        if let Some(refused) = self.refused(&head) {
            return refused;
        }
        let request = match read(api, &body) {
            Ok(request) => request,
            Err(why) => return error(StatusCode::BAD_REQUEST, "invalid_request", why),
        };
        if let Some(refused) = self.refusal(&request.model, &body) {
            self.state().stats.refused_request();
            return refused;
        }
        // An answer may take minutes.
        drop(body);
        let settings = &self.0.settings;
        let known = (settings.answers)(&request.prompt);
        let unknown = known.is_none();
        let answer = known.unwrap_or_else(|| EMPTY_PATCH.to_owned());
        let tokens = Tokens::of(request.bytes, &answer, settings.cached.share);
        let free = if settings.cached.free { tokens.cached } else { 0 };
        let metered = (tokens.total() - free) as f64;
        let (passed, head, time) = {
            let now = self.now();
            let mut state = self.state();
            let state = &mut *state;
            state.stats.arrived(now, request.key, state.meters.allowed());
            let time = state.times.entry(request.key).or_default();
            *time += 1;
            let passed = state.meters.pass(now, metered, state.stats.in_flight());
            match passed {
                Ok(()) => {
                    state.stats.accepted(metered);
                    if unknown {
                        state.stats.unknown();
                    }
                }
                Err(_) => state.stats.refused(),
            }
            let left = state.meters.left(now);
            (passed, headers(left, settings.speed, settings.style.limits), *time)
        };
        let _in_flight = match passed {
            Ok(()) => InFlight(self.clone()),
            Err(refused) => return too_many(refused, head, settings.speed, settings.style.waits),
        };
        let mut random = random(settings.seed, &request.key, time);
        let drawn = settings.faults.at(random.f64());
        let fault = settings.faults.during(self.now()).or(drawn);
        let latency = settings.latency.at(random.f64(), tokens.answer as f64);
        if let Some(fault) = fault {
            self.state().stats.fault(fault.as_str());
        }
        if fault == Some(Fault::TooMany) {
            let refused = crate::limits::Refused { wait: 1.0, tokens: false };
            return too_many(refused, head, settings.speed, settings.style.waits);
        }
        if fault == Some(Fault::Timeout) {
            // The caller gives up, which drops this future and ends the call.
            return pending().await;
        }
        let waiting = settings.latency.servers().map(|servers| {
            let now = self.now();
            self.state().queue.wait(now, latency, servers)
        });
        self.sleep(latency + waiting.unwrap_or(0.0)).await;
        self.faulty(fault, &request, &answer, tokens, head, latency)
    }

    /// The refusal of a request that asks for what the provider does not have.
    fn refusal(&self, model: &str, body: &[u8]) -> Option<Response<Body>> {
        let manner = &self.0.settings.manner;
        if !manner.has(model) {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            return Some(error(StatusCode::NOT_FOUND, "model_not_found", &message));
        }
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let (code, message) = manner.refuses.first_in(&value)?;
        Some(error(StatusCode::BAD_REQUEST, code, &message))
    }

    fn faulty(
        &self,
        fault: Option<Fault>,
        request: &ChatRequest,
        answer: &str,
        tokens: Tokens,
        head: HeaderMap,
        latency: f64,
    ) -> Response<Body> {
        let whole = |text: &str| self.0.settings.manner.reply(request, text, tokens);
        match fault {
            Some(Fault::Internal) => {
                error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the model fell over")
            }
            Some(Fault::Unavailable) => text_reply(
                StatusCode::SERVICE_UNAVAILABLE,
                head,
                "text/plain",
                "upstream connect error or disconnect/reset before headers".to_owned(),
            ),
            Some(Fault::Content) => error(
                StatusCode::FORBIDDEN,
                "content_policy",
                "Content violates usage guidelines. Failed check: SAFETY_CHECK",
            ),
            Some(Fault::Length) => error(
                StatusCode::BAD_REQUEST,
                "context_length_exceeded",
                "This model's maximum context length is 4096 tokens. Please reduce the length of the messages.",
            ),
            Some(Fault::Odd) => error(StatusCode::UNAUTHORIZED, "unauthorized", "Invalid authentication"),
            Some(Fault::NoCredit) => error(
                StatusCode::PAYMENT_REQUIRED,
                "insufficient_credits",
                "Insufficient credits. Add more to go on.",
            ),
            Some(Fault::Reset) => broken(),
            Some(Fault::Garbage) => {
                text_reply(StatusCode::OK, head, "text/html", "<html>upstream is thinking</html>".to_owned())
            }
            Some(Fault::Truncated) => {
                let text = whole(answer).to_string();
                let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                text_reply(StatusCode::OK, head, "application/json", text[..half].to_owned())
            }
            Some(Fault::Empty) => json_reply(StatusCode::OK, head, &whole("")),
            Some(Fault::Refusal) => json_reply(StatusCode::OK, head, &whole("I cannot help with that.")),
            Some(Fault::Prose) => {
                let text =
                    format!("Sure! [Here] is the patch:\n\n```json\n{answer}\n```\n\nIt fixes [everything].");
                json_reply(StatusCode::OK, head, &whole(&text))
            }
            Some(Fault::Wrong) => {
                let other = r#"{"patch":[{"op":"replace","path":"/spec/no/such/place/7","value":"x"}]}"#;
                json_reply(StatusCode::OK, head, &whole(other))
            }
            Some(Fault::Slow) => in_pieces(head, &whole(answer).to_string(), self.real(latency)),
            Some(Fault::TooMany | Fault::Timeout) | None => json_reply(StatusCode::OK, head, &whole(answer)),
        }
    }
}
