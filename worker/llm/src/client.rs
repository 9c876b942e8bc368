//! HTTP client: one attempt is one call. Connections are reused; time and size are bounded.
//!
//! *Invariant*: the key goes to the origin of the provider alone. A redirect is followed on that origin, with the method and
//! the body (307, 308); where it leads elsewhere, or asks for another method, it is a failure that names the address.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use domain::answer::{Answer, Api, CacheName, Question, Sampling, ServiceTier};
use domain::budget::{Charge, Tier, Usage};
use domain::config::ProposerConfig;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::time::timeout;

use crate::error::{Failure, Phase, Refusal, quoted};
use crate::headers::RateHeaders;
use crate::models::{self, ListedModel};
use crate::providers::Provider;
use crate::{packed, proxy, redirect, reply, request};

/// Longest body of a response that is read.
pub const REPLY_BYTES: usize = 4 << 20;

/// Longest time for the list of models.
const LISTING: Duration = Duration::from_secs(15);

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
    /// What the provider says of the price, also of a failed call.
    pub charge: Charge,
    /// The model that the reply names, also of a response that is of no use; empty: it names none.
    pub model: String,
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
    /// The proxy between, without user and password.
    proxy: Option<Arc<str>>,
    timeouts: Timeouts,
}

impl Client {
    /// A client for a provider.
    pub fn new(provider: Provider, timeouts: Timeouts) -> Result<Self, TlsError> {
        // Without a proxy for a key in plain text: it would read the key, which belongs to this machine alone.
        let proxy = if provider.sends_key_in_plain_text() { None } else { proxy::of(&provider.url) };
        let http = http(&provider, timeouts)?;
        Ok(Self { http, provider: Arc::new(provider), proxy: proxy.map(Arc::from), timeouts })
    }

    /// The models that the provider lists. Costs nothing.
    pub async fn models(&self) -> Result<Vec<ListedModel>, Failure> {
        let Provider { url, auth, mask } = &*self.provider;
        let mut request = self.http.get(models::beside(url, "models"));
        if let Some((name, value)) = auth {
            request = request.header(name, value.expose());
        }
        let listing = async {
            let response = request.send().await.map_err(|error| self.failure(error))?;
            let status = response.status();
            if status.is_redirection() {
                return Err(redirected(&response, url));
            }
            let encoding = encoding(response.headers());
            let (sent, broken) = body(response, REPLY_BYTES).await;
            let body = packed::unpacked(&sent, encoding.as_deref(), REPLY_BYTES)?;
            if !status.is_success() {
                return Err(self.refusal(status, &body));
            }
            broken.map_or(Ok(()), Err)?;
            models::read(&body, mask)
        };
        timeout(self.timeouts.first_byte.min(LISTING), listing)
            .await
            .unwrap_or(Err(Failure::Timeout(Phase::FirstByte)))
    }

    /// Makes one call.
    pub async fn ask(&self, question: &Question) -> Reply {
        let start = Instant::now();
        let (mut paid, mut headers) = (reply::Paid::default(), RateHeaders::default());
        let call = self.call(question, &mut paid, &mut headers);
        let result = match timeout(self.timeouts.total, call).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout(Phase::Total)),
        };
        let reply::Paid { usage, charge, model, .. } = paid;
        Reply { result, usage, charge, model, headers, took: start.elapsed() }
    }

    async fn call(
        &self,
        question: &Question,
        paid: &mut reply::Paid,
        headers: &mut RateHeaders,
    ) -> Result<Answer, Failure> {
        let Provider { url, auth, mask } = &*self.provider;
        // The endpoint of the question is a part of its key in the cache, and decides nothing here.
        let sampling = &question.sampling;
        let url = match sampling.api {
            Api::Chat => url.clone(),
            Api::Responses => models::beside(url, "responses"),
        };
        let mut request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(request::body(question));
        for (name, value) in &sampling.extra_headers {
            request = request.header(name, value);
        }
        if let Some(CacheName::XGrokConvId(name)) = &sampling.cache_name {
            request = request.header(request::CONVERSATION, name);
        }
        if let Some((name, value)) = auth {
            request = request.header(name, value.expose());
        }
        let response = timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| Failure::Timeout(Phase::FirstByte))?
            .map_err(|error| self.failure(error))?;
        *headers = RateHeaders::read(response.headers(), SystemTime::now());
        let status = response.status();
        if status.is_redirection() {
            return Err(redirected(&response, &url));
        }
        let encoding = encoding(response.headers());
        if !status.is_success() {
            // The status is enough: a body that breaks off or has no end must not hide it.
            let (sent, _) = body(response, REFUSAL_BYTES).await;
            let body = packed::unpacked(&sent, encoding.as_deref(), REFUSAL_BYTES).unwrap_or_default();
            *headers = headers.of_refusal(Some(status), &body, SystemTime::now());
            return Err(self.refusal(status, &body));
        }
        let (sent, broken) = body(response, REPLY_BYTES).await;
        broken.map_or(Ok(()), Err)?;
        let body = packed::unpacked(&sent, encoding.as_deref(), REPLY_BYTES)?;
        let (answer, mut read) = reply::answer_of(sampling, &body, request::prompt_tokens(question), mask);
        read.charge = as_asked(&read, sampling);
        let answer = answer.map(|answer| Answer { charge: read.charge, ..answer });
        if matches!(answer, Err(Failure::Refused(_))) {
            *headers = headers.of_refusal(None, &body, SystemTime::now());
        }
        *paid = read;
        answer
    }

    /// A refusal; one of the proxy names the proxy.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && self.proxy.is_some() {
            return self.unconnected("it wants a user and a password (407)".to_owned());
        }
        reply::refusal(status.as_u16(), body, &self.provider.mask)
    }

    fn failure(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if error.is_connect() && error.is_timeout() {
            Failure::Timeout(Phase::Connect)
        } else if error.is_connect() {
            self.unconnected(causes(&error))
        } else if error.is_timeout() {
            Failure::Timeout(Phase::Total)
        } else {
            Failure::Reset(causes(&error))
        }
    }

    fn unconnected(&self, reason: String) -> Failure {
        let host = self.provider.url.host_str().unwrap_or("the endpoint").to_owned();
        Failure::Connect { host, proxy: self.proxy.as_deref().map(str::to_owned), reason }
    }
}

/// The charge of a call by its reply; where another tier than the usual one was asked for and the reply names none, the tier is
/// not known.
fn as_asked(paid: &reply::Paid, sampling: &Sampling) -> Charge {
    let special = sampling.service_tier.is_some_and(ServiceTier::is_special);
    let tier = if special && !paid.names_tier { Tier::Unknown } else { paid.charge.tier };
    Charge { tier, ..paid.charge }
}

/// A redirect that was not followed, with the address that it names.
fn redirected(response: &Response, called: &Url) -> Failure {
    let status = response.status().as_u16();
    let location =
        response.headers().get(LOCATION).map(|location| String::from_utf8_lossy(location.as_bytes()));
    match location {
        Some(location) => {
            let is_loop = redirect::is_loop(response.status(), &location, called);
            let location = redirect::shown(&location, called);
            if is_loop {
                Failure::RedirectLoop { status, location }
            } else {
                Failure::Redirected { status, location }
            }
        }
        None => Failure::Refused(Refusal { status: Some(status), ..Refusal::default() }),
    }
}

/// How a body is packed; `None`: as it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let named =
        String::from_utf8_lossy(headers.get(CONTENT_ENCODING)?.as_bytes()).trim().to_ascii_lowercase();
    (!named.is_empty() && named != "identity").then(|| quoted(&named))
}

/// What arrives of a body, and why that is not all of it.
pub(crate) async fn body(mut response: Response, limit: usize) -> (Vec<u8>, Option<Failure>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = limit.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                if chunk.len() > room {
                    return (body, Some(Failure::TooLarge { limit }));
                }
            }
            Ok(None) => return (body, None),
            Err(error) => return (body, Some(Failure::Reset(causes(&error.without_url())))),
        }
    }
}

pub(crate) fn http(provider: &Provider, timeouts: Timeouts) -> Result<reqwest::Client, TlsError> {
    // An error means that an earlier client has installed the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        // Calls in flight are connections. The stores of results bring HTTP/2 into this build.
        .http1_only()
        .connect_timeout(timeouts.connect)
        .redirect(redirect::policy(&provider.url))
        .referer(false)
        .pool_idle_timeout(Duration::from_secs(50))
        .tcp_nodelay(true)
        .user_agent(concat!("k8s-auto-fix/", env!("CARGO_PKG_VERSION")));
    if provider.sends_key_in_plain_text() {
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

/// An error with its causes in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
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
