//! HTTP client: one attempt is one call. Connections are reused; time and size are bounded.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use domain::answer::{Answer, Question};
use domain::budget::Usage;
use domain::config::ProposerConfig;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, Url, redirect};
use tokio::time::timeout;

use crate::error::{Failure, Phase};
use crate::headers::RateHeaders;
use crate::providers::Provider;
use crate::{reply, request};

/// Longest body of a response that is read.
pub const REPLY_BYTES: usize = 4 << 20;

/// Longest body of an error reply that is read.
const REFUSAL_BYTES: usize = 64 << 10;

/// TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot set up TLS: {0}")]
pub struct TlsError(String);

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

/// Calls one provider with its key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    provider: Arc<Provider>,
    timeouts: Timeouts,
}

impl Client {
    /// A client for a provider.
    pub fn new(provider: Provider, timeouts: Timeouts) -> Result<Self, TlsError> {
        Ok(Self { http: http(&provider, timeouts)?, provider: Arc::new(provider), timeouts })
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
        let Provider { url, auth, mask } = &*self.provider;
        // The endpoint of the question is a part of its key in the cache, and decides nothing here.
        let mut request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(request::body(question));
        if let Some((name, value)) = auth {
            request = request.header(name, value.expose());
        }
        let response = timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| Failure::Timeout(Phase::FirstByte))?
            .map_err(|error| failure(error, url))?;
        *headers = RateHeaders::read(response.headers(), SystemTime::now());
        let status = response.status();
        if !status.is_success() {
            // The status is enough: a body that breaks off must not hide it.
            let body = body(response, REFUSAL_BYTES).await.unwrap_or_default();
            return Err(reply::refusal(status.as_u16(), &body, mask));
        }
        let body = body(response, REPLY_BYTES).await?;
        let (answer, used) = reply::answer(&body, mask);
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

fn http(provider: &Provider, timeouts: Timeouts) -> Result<reqwest::Client, TlsError> {
    // An error means that an earlier client has installed the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        // A redirect could carry the key to another host.
        .redirect(redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(50))
        .tcp_nodelay(true)
        .user_agent(concat!("k8s-auto-fix/", env!("CARGO_PKG_VERSION")));
    if provider.sends_key_in_plain_text() {
        // A proxy would read the key, which belongs to this machine alone.
        builder = builder.no_proxy();
    }
    if provider.url.scheme() == "http" {
        // Plain HTTP needs no root certificates.
        let none = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(none);
    }
    builder.build().map_err(|error| TlsError(causes(&error)))
}

fn failure(error: reqwest::Error, url: &Url) -> Failure {
    let error = error.without_url();
    if error.is_connect() && error.is_timeout() {
        Failure::Timeout(Phase::Connect)
    } else if error.is_connect() {
        let host = url.host_str().unwrap_or("the endpoint").to_owned();
        Failure::Connect { host, proxy: None, reason: causes(&error) }
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
