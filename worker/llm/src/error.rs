//! Failures of a call, by what the caller can do.

/// Part of a call that exceeded its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connection to the endpoint.
    Connect,
    /// Wait for the head of the response.
    FirstByte,
    /// Call as a whole.
    Total,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::FirstByte => "the wait for the head of the response",
            Self::Total => "the call",
        })
    }
}

/// Why a call gave no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The connection could not be made.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Host of the endpoint.
        host: String,
        /// Error with its causes.
        reason: String,
    },
    /// A time limit was exceeded.
    #[error("{0} took too long")]
    Timeout(Phase),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Reset(String),
    /// The provider answered with an error status.
    #[error("the provider answered {code}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// HTTP status code.
        code: u16,
        /// Machine-readable code of the provider; may be empty.
        reason: String,
        /// Message of the provider, shortened.
        message: String,
    },
    /// The response is longer than the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Longest response in bytes.
        limit: usize,
    },
    /// The response is not in the expected format.
    #[error("the provider's answer cannot be read: {0}")]
    Garbage(String),
    /// The response was cut off at `max_tokens`.
    #[error("the answer is cut off at the longest answer (finish reason length): raise proposer.max_tokens")]
    CutOff,
    /// The response has no text.
    #[error("the answer is empty")]
    Empty,
    /// The provider or the model withheld the response.
    #[error("the answer was withheld{}{why}", if .why.is_empty() { "" } else { ": " })]
    Withheld {
        /// Message in its place; may be empty.
        why: String,
    },
}

/// Longest provider text in an error, in bytes.
const LONGEST: usize = 300;

/// A provider text for an error: one line, shortened, with what looks like an API key masked. Our own key was masked
/// before ([`crate::mask`]); this is for keys of others, and for parts of ours.
pub(crate) fn quoted(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = masked(word);
        if line.len() + word.len() + 1 > LONGEST {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    line
}

/// A word in which every piece that looks like a key is masked: a key may stand in quotes, in brackets or after a sign.
fn masked(word: &str) -> String {
    if is_like_a_key(word) {
        return "***".to_owned();
    }
    let within = |c: char| c.is_ascii_alphanumeric() || "-_*.".contains(c);
    let pieces = word.split_inclusive(|c| !within(c)).map(|piece| {
        let key = piece.trim_end_matches(|c| !within(c));
        if is_like_a_key(key) { piece.replacen(key, "***", 1) } else { piece.to_owned() }
    });
    pieces.collect()
}

/// Providers repeat (parts of) a wrong key in their message.
fn is_like_a_key(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let prefixes = ["sk-", "xai-", "gsk_", "pk-", "rpa_", "hf_", "eyJ"];
    prefixes.iter().any(|prefix| bare.starts_with(prefix))
        || (bare.len() >= 24
            && bare.chars().any(|c| c.is_ascii_digit())
            && bare.chars().any(|c| c.is_ascii_alphabetic())
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || "-_*.".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_masked() {
        let message =
            "Incorrect API key provided: xai-1234567890abcdef.\nYou can find it at https://console.x.ai.";
        assert_eq!(
            quoted(message),
            "Incorrect API key provided: *** You can find it at https://console.x.ai."
        );
        assert_eq!(quoted("key sk-***********abcd, bad"), "key *** bad");
        assert_eq!(quoted("{\"key\":\"sk-abcd\",\"n\":1} (id=xai-1)"), "{\"key\":\"***\",\"n\":1} (id=***)");
        assert!(quoted(&"word ".repeat(500)).len() <= LONGEST + 4);
        assert!(quoted(&"x".repeat(5000)).len() <= 8);
    }

    #[test]
    fn errors_are_sentences() {
        let status = Failure::Status { code: 503, reason: String::new(), message: String::new() };
        assert_eq!(status.to_string(), "the provider answered 503");
        assert_eq!(Failure::Timeout(Phase::Total).to_string(), "the call took too long");
        assert_eq!(Failure::Withheld { why: "no".to_owned() }.to_string(), "the answer was withheld: no");
    }
}
