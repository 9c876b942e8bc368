//! Why a call gave no answer, by what can be done about it.

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Making the connection.
    Connect,
    /// The wait for the head of the answer.
    FirstByte,
    /// The whole call.
    Total,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::FirstByte => "the wait for the answer's head",
            Self::Total => "the call",
        })
    }
}

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Whom.
        host: String,
        /// Why not.
        reason: String,
    },
    /// Too slow.
    #[error("{0} took too long")]
    Timeout(Phase),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Reset(String),
    /// The provider refused, or failed.
    #[error("the provider answered {code}{}{message}", if message.is_empty() { "" } else { ": " })]
    Status {
        /// The HTTP status.
        code: u16,
        /// The provider's machine-readable code; empty when it names none.
        reason: String,
        /// Its sentence, shortened.
        message: String,
    },
    /// The answer is longer than is read.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// What is read.
        limit: usize,
    },
    /// What came is not an answer.
    #[error("the provider's answer cannot be read: {0}")]
    Garbage(String),
    /// The answer was cut off at the longest that was allowed.
    #[error("the answer is cut off at the longest answer (finish reason length): raise proposer.max_tokens")]
    CutOff,
    /// The answer says nothing.
    #[error("the answer is empty")]
    Empty,
    /// The provider or the model held the answer back.
    #[error("the answer was withheld{}{why}", if .why.is_empty() { "" } else { ": " })]
    Withheld {
        /// The sentence that came instead; may be empty.
        why: String,
    },
}

/// Longest text of a provider that is kept in an error.
const LONGEST: usize = 300;

/// A text of the provider, fit for an error: one line, not too long, without what looks like a key.
pub(crate) fn quoted(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if is_like_a_key(word) { "***" } else { word });
    let mut line = String::new();
    for word in words {
        if line.len() + word.len() + 1 > LONGEST {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// Providers repeat (parts of) a wrong key in their answer.
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
    fn a_key_that_comes_back_is_not_shown() {
        let said =
            "Incorrect API key provided: xai-1234567890abcdef.\nYou can find it at https://console.x.ai.";
        assert_eq!(quoted(said), "Incorrect API key provided: *** You can find it at https://console.x.ai.");
        assert_eq!(quoted("key sk-***********abcd, bad"), "key *** bad");
        assert!(quoted(&"word ".repeat(500)).len() <= LONGEST + 4);
        assert!(quoted(&"x".repeat(5000)).len() <= 8);
    }

    #[test]
    fn errors_read_as_sentences() {
        let status = Failure::Status { code: 503, reason: String::new(), message: String::new() };
        assert_eq!(status.to_string(), "the provider answered 503");
        assert_eq!(Failure::Timeout(Phase::Total).to_string(), "the call took too long");
        assert_eq!(Failure::Withheld { why: "no".to_owned() }.to_string(), "the answer was withheld: no");
    }
}
