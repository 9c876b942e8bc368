//! Calls of the batch interface. Each is one attempt; who calls decides what follows a failure.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::form::{Form, boundary};
use super::lines::CHAT;
use super::remote::{BatchId, FileId, MARK, Mark, RemoteBatch};
use crate::client::{Timeouts, TlsError, body, causes, http};
use crate::error::{Failure, Phase};
use crate::mask::KeyMask;
use crate::providers::Provider;
use crate::reply;

/// Longest reply about files and batches that is read.
const REPLY_BYTES: usize = 4 << 20;

/// Longest output file that is downloaded.
const OUTPUT_BYTES: u64 = 4 << 30;

/// Longest time of a small call.
const CALL: Duration = Duration::from_secs(60);

/// Longest time of an upload or a download, and longest time in it without a byte.
const TRANSFER: Duration = Duration::from_secs(3600);
const STANDSTILL: Duration = Duration::from_secs(120);

/// Batches on a page of the list, and most pages that are read.
const PAGE: usize = 100;
const PAGES: usize = 50;

/// Why a provider has no batches for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBatches {
    /// Its address is not one of chat completions.
    #[error(
        "the address of batches of {host} is not known: its endpoint does not end with /chat/completions"
    )]
    Endpoint {
        /// Host of the endpoint.
        host: String,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Calls the batch interface of one provider with its key.
#[derive(Debug, Clone)]
pub struct BatchClient {
    http: reqwest::Client,
    provider: Arc<Provider>,
    base: Url,
}

impl BatchClient {
    /// A client for a provider.
    ///
    /// # Errors
    /// It has no batch interface that is known.
    pub fn new(provider: Provider) -> Result<Self, NoBatches> {
        let host = || provider.url.host_str().unwrap_or("the endpoint").to_owned();
        let path = provider.url.path().strip_suffix("/chat/completions").map(str::to_owned);
        let path = path.ok_or_else(|| NoBatches::Endpoint { host: host() })?;
        let mut base = provider.url.clone();
        base.set_path(&path);
        let timeouts = Timeouts { connect: Duration::from_secs(15), first_byte: CALL, total: TRANSFER };
        Ok(Self { http: http(&provider, timeouts)?, provider: Arc::new(provider), base })
    }

    /// Uploads a file of questions, under the name of its mark.
    ///
    /// # Errors
    /// The file cannot be read, or the call failed.
    pub async fn upload(&self, file: &Path, mark: &Mark) -> Result<FileId, Failure> {
        let unreadable =
            |error: std::io::Error| Failure::Garbage(format!("{} cannot be read: {error}", file.display()));
        let open = File::open(file).map_err(unreadable)?;
        let bytes = open.metadata().map_err(unreadable)?.len();
        let form = Form::new(open, bytes, mark.as_str());
        let length = http_body::Body::size_hint(&form).exact().unwrap_or_default();
        let kind = format!("multipart/form-data; boundary={}", boundary(mark.as_str()));
        let kind = HeaderValue::from_str(&kind).map_err(|error| Failure::Garbage(error.to_string()))?;
        let request = self
            .request(Method::POST, &["files"])
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap(form));
        let value = self.json(request, TRANSFER).await?;
        let id = value.get("id").and_then(Value::as_str).and_then(|id| FileId::new(id).ok());
        id.ok_or_else(|| Failure::Garbage("a file without an id".to_owned()))
    }

    /// Creates a batch of an uploaded file. From this call on it costs money.
    ///
    /// # Errors
    /// The call failed, or its answer was lost: then the batch may exist, and [`find`](Self::find) finds it.
    pub async fn create(&self, input: &FileId, mark: &Mark, window: &str) -> Result<RemoteBatch, Failure> {
        let body = json!({
            "input_file_id": input.as_str(), "endpoint": CHAT, "completion_window": window,
            "metadata": {MARK: mark.as_str()},
        });
        let request = self
            .request(Method::POST, &["batches"])
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            // Not all providers know it; for one that does, a second call is the first one.
            .header("idempotency-key", mark.as_str())
            .body(body.to_string());
        RemoteBatch::read(&self.json(request, CALL).await?)
    }

    /// The batch as it is now.
    ///
    /// # Errors
    /// The call failed.
    pub async fn look(&self, id: &BatchId) -> Result<RemoteBatch, Failure> {
        RemoteBatch::read(&self.json(self.request(Method::GET, &["batches", id.as_str()]), CALL).await?)
    }

    /// The batches with this mark, newest first.
    ///
    /// # Errors
    /// A call failed.
    pub async fn find(&self, mark: &Mark) -> Result<Vec<RemoteBatch>, Failure> {
        let mut found = Vec::new();
        let mut after: Option<BatchId> = None;
        for _ in 0..PAGES {
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(after.as_ref().map(|id| ("after", id.to_string())));
            let mut url = self.address(&["batches"]);
            url.query_pairs_mut().extend_pairs(&query);
            let value = self.json(self.called(Method::GET, url), CALL).await?;
            let list = value.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
            // A batch of others that cannot be read is not ours.
            let batches: Vec<RemoteBatch> =
                list.iter().filter_map(|batch| RemoteBatch::read(batch).ok()).collect();
            let newest = batches.last().map(|batch| batch.id.clone());
            found.extend(batches.into_iter().filter(|batch| batch.mark.as_ref() == Some(mark)));
            let more = value.get("has_more").and_then(Value::as_bool).unwrap_or(false);
            if !more || newest.is_none() || newest == after {
                break;
            }
            after = newest;
        }
        Ok(found)
    }

    /// Cancels a batch; what was answered until then is kept, and billed.
    ///
    /// # Errors
    /// The call failed.
    pub async fn cancel(&self, id: &BatchId) -> Result<RemoteBatch, Failure> {
        let request =
            self.request(Method::POST, &["batches", id.as_str(), "cancel"]).header(CONTENT_LENGTH, 0);
        RemoteBatch::read(&self.json(request, CALL).await?)
    }

    /// Downloads a file of answers or errors to `to`.
    ///
    /// # Errors
    /// The call failed, the file is too long, or it cannot be written.
    pub async fn download(&self, id: &FileId, to: &Path) -> Result<(), Failure> {
        let request = self.request(Method::GET, &["files", id.as_str(), "content"]);
        match timeout(TRANSFER, self.fetch(request, to)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(Failure::Timeout(Phase::Total)),
        }
    }

    async fn fetch(&self, request: RequestBuilder, to: &Path) -> Result<(), Failure> {
        let unwritable =
            |error: std::io::Error| Failure::Garbage(format!("{} cannot be written: {error}", to.display()));
        let mut response = self.send(request).await?;
        let mut file = BufWriter::new(File::create(to).map_err(unwritable)?);
        let mut bytes = 0_u64;
        loop {
            let chunk =
                timeout(STANDSTILL, response.chunk()).await.map_err(|_| Failure::Timeout(Phase::Total))?;
            match chunk.map_err(|error| Failure::Reset(causes(&error.without_url())))? {
                None => break,
                Some(chunk) => {
                    bytes += chunk.len() as u64;
                    if bytes > OUTPUT_BYTES {
                        return Err(Failure::TooLarge {
                            limit: usize::try_from(OUTPUT_BYTES).unwrap_or(usize::MAX),
                        });
                    }
                    file.write_all(&chunk).map_err(unwritable)?;
                }
            }
        }
        file.flush().map_err(unwritable)
    }

    /// Masks the key in what the provider sends.
    pub fn mask(&self) -> &KeyMask {
        &self.provider.mask
    }

    fn address(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}", self.base.path().trim_end_matches('/'), parts.join("/")));
        url
    }

    fn request(&self, method: Method, parts: &[&str]) -> RequestBuilder {
        self.called(method, self.address(parts))
    }

    fn called(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.provider.auth {
            Some((name, value)) => request.header(name, value.expose()),
            None => request,
        }
    }

    /// Makes a call whose answer is JSON.
    async fn json(&self, request: RequestBuilder, longest: Duration) -> Result<Value, Failure> {
        let call = async {
            let (bytes, broken) = body(self.send(request).await?, REPLY_BYTES).await;
            broken.map_or(Ok(()), Err)?;
            serde_json::from_slice(&bytes)
                .map_err(|error| Failure::Garbage(format!("not valid JSON: {error}")))
        };
        timeout(longest, call).await.unwrap_or(Err(Failure::Timeout(Phase::Total)))
    }

    /// Sends a request; an answer without success is a failure with the provider's words.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (bytes, _) = body(response, REPLY_BYTES).await;
        Err(reply::refusal(status.as_u16(), &bytes, &self.provider.mask))
    }

    fn failure(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let host = self.provider.url.host_str().unwrap_or("the endpoint").to_owned();
        if error.is_connect() && error.is_timeout() {
            Failure::Timeout(Phase::Connect)
        } else if error.is_connect() {
            Failure::Connect { host, proxy: None, reason: causes(&error) }
        } else if error.is_timeout() {
            Failure::Timeout(Phase::Total)
        } else {
            Failure::Reset(causes(&error))
        }
    }
}
