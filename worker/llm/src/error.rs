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

impl Phase {
    /// The key of the configuration that bounds it.
    const fn key(self) -> &'static str {
        match self {
            Self::Connect => "proposer.connect_timeout_seconds",
            Self::FirstByte => "proposer.first_byte_timeout_seconds",
            Self::Total => "proposer.timeout_seconds",
        }
    }
}

/// Why a call gave no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The connection could not be made.
    #[error("cannot connect to {host}{}: {reason}", through(.proxy.as_deref()))]
    Connect {
        /// Host of the endpoint.
        host: String,
        /// The proxy between, as scheme, host and port; `None`: there is none.
        proxy: Option<String>,
        /// Error with its causes.
        reason: String,
    },
    /// A time limit was exceeded.
    #[error("{phase} took too long ({key})", phase = .0, key = .0.key())]
    Timeout(Phase),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Reset(String),
    /// The provider answered with an error.
    #[error(transparent)]
    Refused(Refusal),
    /// The provider sends the call elsewhere, where it is not followed.
    #[error(
        "the provider answered {status} and names another address, {location}: calls are not sent there; if it is the right \
         one, set it as the endpoint of the provider"
    )]
    Redirected {
        /// HTTP status code.
        status: u16,
        /// The address without user, password and query; shortened.
        location: String,
    },
    /// The provider sends the call from one of its addresses to the next, or back to the same.
    #[error(
        "the provider answered {status} and sends the call on without an end, at last to {location}, an address of its own: \
         check the path of its endpoint"
    )]
    RedirectLoop {
        /// HTTP status code.
        status: u16,
        /// The address without user, password and query; shortened.
        location: String,
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
    /// The response is an event stream, a page, packed, or in the form of another API, as the next one will be until a
    /// setting is changed.
    #[error("the provider's answer cannot be read: {0}")]
    OtherFormat(String),
    /// The response was cut off at `max_tokens`.
    #[error(
        "the answer is cut off at the longest answer (finish reason length): raise proposer.max_tokens, or the context of the server where that is 0"
    )]
    CutOff,
    /// The response has no text.
    #[error("the answer is empty{}{why}", if .why.is_empty() { "" } else { ": " })]
    Empty {
        /// What came in its place, and the remedy; may be empty.
        why: String,
    },
    /// The provider or the model withheld the response.
    #[error("the answer was withheld{}{why}", if .why.is_empty() { "" } else { ": " })]
    Withheld {
        /// Message in its place; may be empty.
        why: String,
    },
}

/// What a provider says in place of an answer. Its texts are masked, shortened, and in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status code. Of an error that came in a reply with status 2xx: the one that its body names, `None` where it
    /// names none.
    pub status: Option<u16>,
    /// Machine-readable code of the provider, a word such as `insufficient_quota` or a number as text.
    pub code: Option<String>,
    /// The provider's own first words; empty where it has none.
    pub words: String,
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(f, "the provider answered {status}")?,
            None => f.write_str("the provider answered with an error")?,
        }
        match (self.words.as_str(), &self.code) {
            ("", None) => Ok(()),
            ("", Some(code)) => write!(f, ": {code}"),
            (words, _) => write!(f, ": {words}"),
        }
    }
}

impl Failure {
    /// An error of the provider with a status, a code and words; the texts are as they are shown.
    pub fn refused(status: u16, code: &str, words: &str) -> Self {
        let code = (!code.is_empty()).then(|| code.to_owned());
        Self::Refused(Refusal { status: Some(status), code, words: words.to_owned() })
    }

    /// Whether the provider has nothing at the address, or takes no such request there.
    pub const fn is_no_such_endpoint(&self) -> bool {
        matches!(self, Self::Refused(Refusal { status: Some(404 | 405 | 501), .. }))
    }

    /// How often the same call is made again at most after this failure, whatever the settings allow.
    pub const fn most_retries(&self) -> u32 {
        match self {
            // A hiccup of a parser at the provider; a model that has nothing to say is paid for each time.
            Self::Empty { .. } => 1,
            _ => u32::MAX,
        }
    }
}

fn through(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

/// Longest provider text in an error, in bytes.
const LONGEST: usize = 300;

/// A provider text for an error: one line, shortened, without characters that steer a terminal, and with what looks like an
/// API key masked. Our own key was masked before ([`crate::mask`]); this is for keys of others, and for parts of ours.
pub(crate) fn quoted(text: &str) -> String {
    shortened(text, masked)
}

/// The same of a name, which is compared with another: no part of it is taken for a key.
pub(crate) fn named(text: &str) -> String {
    shortened(text, str::to_owned)
}

fn shortened(text: &str, shown: impl Fn(&str) -> String) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word: String = word.chars().filter(|c| !steers(*c)).collect();
        if word.is_empty() {
            continue;
        }
        let word = shown(&word);
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

/// Whether a character moves the cursor, changes the direction of a text, or is not seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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
        assert_eq!(quoted("\u{1b}[2J\u{202e}a\u{0} \u{7} b\u{200b}"), "[2Ja b");
        assert!(quoted(&"word ".repeat(500)).len() <= LONGEST + 4);
        assert!(quoted(&"x".repeat(5000)).len() <= 8);
    }

    #[test]
    fn errors_are_sentences() {
        assert_eq!(Failure::refused(503, "", "").to_string(), "the provider answered 503");
        assert_eq!(
            Failure::refused(503, "overloaded", "").to_string(),
            "the provider answered 503: overloaded"
        );
        assert_eq!(
            Failure::refused(503, "overloaded", "wait").to_string(),
            "the provider answered 503: wait"
        );
        let with_200 = Refusal { words: "wait".to_owned(), ..Refusal::default() };
        assert_eq!(with_200.to_string(), "the provider answered with an error: wait");
        let connect = |proxy: Option<&str>| Failure::Connect {
            host: "api.example".to_owned(),
            proxy: proxy.map(str::to_owned),
            reason: "refused".to_owned(),
        };
        assert_eq!(connect(None).to_string(), "cannot connect to api.example: refused");
        assert_eq!(
            connect(Some("http://proxy:9")).to_string(),
            "cannot connect to api.example through the proxy http://proxy:9: refused"
        );
        assert_eq!(Failure::Empty { why: String::new() }.to_string(), "the answer is empty");
        assert_eq!(
            Failure::Timeout(Phase::Total).to_string(),
            "the call took too long (proposer.timeout_seconds)"
        );
        assert_eq!(Failure::Withheld { why: "no".to_owned() }.to_string(), "the answer was withheld: no");
    }
}
