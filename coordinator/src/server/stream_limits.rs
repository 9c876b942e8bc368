//! Time limits of incoming streams. Limits of sizes and counts are defined beside what they bound; the README has a table
//! of all limits.
//!
//! Only the time that the peer takes is counted: while the coordinator waits for its disk or for memory (backpressure), no
//! time limit of a message runs.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;

use proto::status::{ApiError, ErrorReason};

/// Time limits for the peer of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// `Work`, `LlmCalls`, `CommitShard`, `Submit`: from the opening of a stream to its first message.
    pub first_message: Duration,
    /// `Work`: between two messages. A worker sends a heartbeat every ten seconds at least.
    pub work_silence: Duration,
    /// `CommitShard`: between two chunks of a part.
    pub upload_chunk: Duration,
    /// `CommitShard`: from the header to the last chunk.
    pub upload: Duration,
    /// `Submit`: between two slices of a corpus. The client may be reading its corpus meanwhile.
    pub submit_slice: Duration,
    /// `Submit`: from the header to the end.
    pub submit: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            first_message: Duration::from_secs(10),
            work_silence: Duration::from_secs(60),
            upload_chunk: Duration::from_secs(30),
            upload: Duration::from_secs(600),
            submit_slice: Duration::from_secs(300),
            submit: Duration::from_secs(24 * 3600),
        }
    }
}

/// Error for a stream that passed a time limit. The call may be repeated.
fn timed_out(what: &str, limit: Duration) -> ApiError {
    ApiError::new(
        ErrorReason::TimedOut,
        format!("{what} did not arrive within {}", humantime::format_duration(limit)),
    )
}

/// Waits for `message` no longer than `limit`; `what` names it in the error.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    message: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    timeout(limit, message).await.unwrap_or_else(|_| Err(timed_out(what, limit).into()))
}

/// Limits the time of a stream: one limit for each message and one for the whole stream.
#[derive(Debug, Clone, Copy)]
struct StreamClock {
    each: (Duration, &'static str),
    whole: (Duration, &'static str),
    end: Instant,
}

impl StreamClock {
    /// Starts the clock; each limit comes with the name of what it bounds, for the error.
    fn start(each: (Duration, &'static str), whole: (Duration, &'static str)) -> Self {
        Self { each, whole, end: Instant::now() + whole.0 }
    }

    /// Waits for the next message.
    async fn next<T>(&self, message: impl Future<Output = T>) -> Result<T, ApiError> {
        let next = Instant::now() + self.each.0;
        timeout_at(next.min(self.end), message).await.map_err(|_| {
            let (limit, what) = if next < self.end { self.each } else { self.whole };
            timed_out(what, limit)
        })
    }
}

/// The chunks of an upload that starts now; when it passes a limit, the error is the last item.
pub(crate) fn timed_upload(
    chunks: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
    limits: StreamLimits,
) -> impl Stream<Item = Result<Bytes, ApiError>> {
    let each = (limits.upload_chunk, "the next chunk of the part");
    let clock = StreamClock::start(each, (limits.upload, "the whole part"));
    stream::unfold(Some(chunks), move |chunks| async move {
        let mut chunks = chunks?;
        match clock.next(chunks.next()).await {
            Ok(chunk) => Some((chunk?, Some(chunks))),
            Err(refusal) => Some((Err(refusal), None)),
        }
    })
}

/// Limits the time of a submission that starts now.
#[derive(Debug)]
pub(crate) struct TimedSubmission(StreamClock);

impl TimedSubmission {
    pub(crate) fn start(limits: StreamLimits) -> Self {
        let each = (limits.submit_slice, "the next slice of the corpus");
        Self(StreamClock::start(each, (limits.submit, "the whole corpus")))
    }

    /// Waits for the next message.
    pub(crate) async fn next<T>(
        &self,
        message: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        self.0.next(message).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits {
        first_message: Duration::from_secs(1),
        work_silence: Duration::from_secs(1),
        upload_chunk: Duration::from_secs(30),
        upload: Duration::from_secs(100),
        submit_slice: Duration::from_secs(1),
        submit: Duration::from_secs(1),
    };

    /// Chunks that arrive after the given gaps in seconds.
    fn chunks(gaps: &'static [u64]) -> impl Stream<Item = Result<Bytes, ApiError>> + Unpin {
        let chunks = stream::iter(gaps).then(async |gap| {
            tokio::time::sleep(Duration::from_secs(*gap)).await;
            Ok(Bytes::from_static(b"x"))
        });
        Box::pin(chunks)
    }

    /// Number of chunks that arrived, seconds until the end, and the error message.
    async fn uploaded(gaps: &'static [u64]) -> (usize, u64, Option<String>) {
        let begun = Instant::now();
        let mut items: Vec<_> = timed_upload(chunks(gaps), LIMITS).collect().await;
        let refused = items.pop_if(|item| item.is_err()).map(|item| item.unwrap_err());
        assert!(refused.as_ref().is_none_or(|refusal| refusal.reason == ErrorReason::TimedOut));
        (items.len(), begun.elapsed().as_secs(), refused.map(|refusal| refusal.message))
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_ends_when_a_chunk_or_the_whole_takes_too_long() {
        assert_eq!(uploaded(&[29, 29, 29]).await, (3, 87, None));
        let late = "the next chunk of the part did not arrive within 30s".to_owned();
        assert_eq!(uploaded(&[1, 31, 1]).await, (1, 31, Some(late)));
        let long = "the whole part did not arrive within 1m 40s".to_owned();
        assert_eq!(uploaded(&[29, 29, 29, 29]).await, (3, 100, Some(long)));
    }

    #[tokio::test(start_paused = true)]
    async fn time_of_backpressure_does_not_count_for_a_chunk() {
        let mut upload = Box::pin(timed_upload(chunks(&[1, 1]), LIMITS));
        assert!(upload.next().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(upload.next().await.unwrap().is_ok());
        assert!(upload.next().await.is_none());
    }

    #[test]
    fn the_readme_lists_the_limits() {
        let readme = include_str!("../../README.md");
        let StreamLimits { first_message, work_silence, upload_chunk, upload, submit_slice, submit } =
            StreamLimits::default();
        for (name, limit) in [
            ("first_message", first_message),
            ("work_silence", work_silence),
            ("upload_chunk", upload_chunk),
            ("upload", upload),
            ("submit_slice", submit_slice),
            ("submit", submit),
        ] {
            let row = format!("| `{name}` | {} |", humantime::format_duration(limit));
            assert!(readme.contains(&row), "{row}");
        }
    }
}
