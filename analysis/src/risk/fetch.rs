//! Feeds refreshed from their makers. Nothing else in this program asks the network for anything, and this only when told.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Exploited vulnerabilities, as CISA publishes them.
pub(crate) const KEV_URL: &str =
    "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json";

/// Scores of today, as FIRST publishes them.
pub(crate) const EPSS_URL: &str = "https://epss.cyentia.com/epss_scores-current.csv.gz";

/// How long a feed may take, and how large it may be.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_BYTES: usize = 128 << 20;

/// Why a feed cannot be refreshed. The file that was there is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The address does not answer as it should.
    #[error("cannot fetch {url}")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The answer is too large.
    #[error("{url} has more than {MAX_BYTES} bytes")]
    TooLarge { url: String },
    /// It cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Fetches `url` into a file, which is replaced whole or not at all.
pub(crate) async fn fetch(url: &str, path: &Path) -> Result<(), FetchError> {
    let wrong = |source| FetchError::Http { url: url.to_owned(), source };
    // Somebody else may have chosen one before: then that one is taken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(wrong)?;
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
