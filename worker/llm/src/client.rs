//! HTTP client: one attempt is one call. Connections are reused; time and size are bounded.

use std::time::{Duration, Instant, SystemTime};

use domain::answer::{Answer, Question};
use domain::budget::Usage;
use domain::config::{ModelConfig, ProposerConfig};
use domain::secret::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Response, Url, redirect};
use tokio::time::timeout;

use crate::error::{Failure, Phase};
use crate::headers::RateHeaders;
use crate::{reply, request};

/// Longest body of a response that is read.
pub const REPLY_BYTES: usize = 4 << 20;

/// Longest body of an error reply that is read.
const REFUSAL_BYTES: usize = 64 << 10;

/// Why a client cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The environment variable of the key is not set.
    #[error("environment variable {0} is not set: it must hold the API key")]
    NoKey(String),
    /// The key is not a valid header value.
    #[error(
        "environment variable {0} holds characters that are not valid in a header: set it to the API key alone"
    )]
    IllegalKey(String),
    /// The name of the header is not valid.
    #[error("{0:?} is not a valid header name: set auth_header, e.g. to Authorization")]
    IllegalHeader(String),
    /// The endpoint is not a valid URL.
    #[error("endpoint {0:?} is not a valid URL: {1}")]
    IllegalEndpoint(String, String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Time limits of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// Until the head of the response, connection included.
    pub first_byte: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl From<&ProposerConfig> for Timeouts {
    fn from(config: &ProposerConfig) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        Self {
            connect: seconds(config.connect_timeout_seconds),
            first_byte: seconds(config.first_byte_timeout_seconds),
            total: seconds(config.timeout_seconds),
        }
    }
}

/// Result of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Response of the model, or why there is none.
    pub result: Result<Answer, Failure>,
    /// Tokens that the provider counted, also of a failed call.
    pub usage: Usage,
    /// Advertised rate limits.
    pub headers: RateHeaders,
    /// Duration of this call alone, without waits before it.
    pub took: Duration,
}

/// Calls one endpoint with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    auth: Option<(HeaderName, Secret<HeaderValue>)>,
    timeouts: Timeouts,
}

impl Client {
    /// A client for `model`. `env` reads the environment variable of its key.
    pub fn new(
        model: &ModelConfig,
        timeouts: Timeouts,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientError> {
        let url = model.url();
        let parsed =
            Url::parse(&url).map_err(|error| ClientError::IllegalEndpoint(url.clone(), error.to_string()))?;
        Ok(Self { http: http(&parsed, timeouts)?, auth: auth(model, env)?, timeouts })
    }

    /// Makes one call.
    pub async fn ask(&self, question: &Question) -> Reply {
        let start = Instant::now();
        let (mut usage, mut headers) = (Usage::default(), RateHeaders::default());
        let call = self.call(question, &mut usage, &mut headers);
        let result = match timeout(self.timeouts.total, call).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout(Phase::Total)),
        };
        Reply { result, usage, headers, took: start.elapsed() }
    }

    async fn call(
        &self,
        question: &Question,
        usage: &mut Usage,
        headers: &mut RateHeaders,
    ) -> Result<Answer, Failure> {
        let mut request = self
            .http
            .post(&question.endpoint)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(request::body(question));
        if let Some((name, value)) = &self.auth {
            request = request.header(name, value.expose());
        }
        let response = timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| Failure::Timeout(Phase::FirstByte))?
            .map_err(|error| failure(error, &question.endpoint))?;
        *headers = RateHeaders::read(response.headers(), SystemTime::now());
        let status = response.status();
        if !status.is_success() {
            // The status is enough: a body that breaks off must not hide it.
            let body = body(response, REFUSAL_BYTES).await.unwrap_or_default();
            return Err(reply::refusal(status.as_u16(), &body));
        }
        let body = body(response, REPLY_BYTES).await?;
        let (answer, used) = reply::answer(&body);
        *usage = used;
        answer
    }
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(Failure::TooLarge { limit }),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(Failure::Reset(causes(&error.without_url()))),
        }
    }
}

fn http(url: &Url, timeouts: Timeouts) -> Result<reqwest::Client, ClientError> {
    // An error means that an earlier client has installed the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        // A redirect could carry the key to another host.
        .redirect(redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(50))
        .tcp_nodelay(true)
        .user_agent(concat!("k8s-auto-fix/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "http" {
        // Plain HTTP needs no root certificates.
        let none = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(none);
    }
    builder.build().map_err(|error| ClientError::Tls(causes(&error)))
}

fn auth(
    model: &ModelConfig,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<(HeaderName, Secret<HeaderValue>)>, ClientError> {
    let variable = &model.api_key_env;
    if variable.is_empty() {
        return Ok(None);
    }
    let key = env(variable).map(|key| Secret::new(key.trim().to_owned()));
    let key =
        key.filter(|key| !key.expose().is_empty()).ok_or_else(|| ClientError::NoKey(variable.clone()))?;
    let name = HeaderName::from_bytes(model.auth_header.as_bytes())
        .map_err(|_| ClientError::IllegalHeader(model.auth_header.clone()))?;
    let scheme = if model.auth_scheme.is_empty() { String::new() } else { format!("{} ", model.auth_scheme) };
    let mut value = HeaderValue::from_str(&format!("{scheme}{}", key.expose()))
        .map_err(|_| ClientError::IllegalKey(variable.clone()))?;
    value.set_sensitive(true);
    Ok(Some((name, Secret::new(value))))
}

fn failure(error: reqwest::Error, endpoint: &str) -> Failure {
    let error = error.without_url();
    if error.is_connect() && error.is_timeout() {
        Failure::Timeout(Phase::Connect)
    } else if error.is_connect() {
        let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
        Failure::Connect { host: host.unwrap_or_else(|| "the endpoint".to_owned()), reason: causes(&error) }
    } else if error.is_timeout() {
        Failure::Timeout(Phase::Total)
    } else {
        Failure::Reset(causes(&error))
    }
}

/// An error with its causes in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
