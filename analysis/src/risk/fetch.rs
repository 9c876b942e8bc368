//! Download of the feeds. This is the only use of the network in this program, and only on request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// CISA's catalogue of known exploited vulnerabilities.
pub(crate) const KEV_URL: &str =
    "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json";

/// FIRST's current EPSS scores.
pub(crate) const EPSS_URL: &str = "https://epss.cyentia.com/epss_scores-current.csv.gz";

/// Time limit and maximum size of a download.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_BYTES: usize = 128 << 20;

/// An error of downloading a feed. The existing file is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot fetch {url}")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} is larger than {MAX_BYTES} bytes")]
    TooLarge { url: String },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Downloads `url` into a file, which is replaced atomically.
pub(crate) async fn fetch(url: &str, path: &Path) -> Result<(), FetchError> {
    let wrong = |source| FetchError::Http { url: url.to_owned(), source };
    // Fails if a provider is already installed; that one is used then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http1_only().timeout(PATIENCE).build().map_err(wrong)?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut answer = answer.map_err(wrong)?;
    let mut bytes = vec![];
    while let Some(piece) = answer.chunk().await.map_err(wrong)? {
        if bytes.len() + piece.len() > MAX_BYTES {
            return Err(FetchError::TooLarge { url: url.to_owned() });
        }
        bytes.extend_from_slice(&piece);
    }
    let half = path.with_extension("part");
    std::fs::write(&half, bytes)
        .and_then(|()| std::fs::rename(&half, path))
        .map_err(|source| FetchError::Write { path: path.to_owned(), source })
}
