//! Redirects: followed on the origin of the provider, with the method and the body; nowhere else.

use reqwest::{StatusCode, Url, redirect};

use crate::error::quoted;

/// Most redirects of one call that are followed.
const MOST: usize = 5;

/// Follows 307 and 308 on the origin of `own`. The others ask for another method, and a key goes to no other origin.
pub(crate) fn policy(own: &Url) -> redirect::Policy {
    let own = own.clone();
    redirect::Policy::custom(move |attempt| {
        let is_same = keeps_the_call(attempt.status());
        // The addresses before are those of the calls that were made: more of them than redirects, by one.
        if is_same && attempt.previous().len() <= MOST && attempt.url().origin() == own.origin() {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

/// Whether a redirect asks for the same method and body.
const fn keeps_the_call(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Whether a redirect that was not followed has no end: it names the address that was called, or is one more than are followed
/// on the origin.
pub(crate) fn is_loop(status: StatusCode, location: &str, called: &Url) -> bool {
    let Ok(url) = called.join(location) else { return false };
    let is_own = url.origin() == called.origin();
    is_own && (url.path() == called.path() || keeps_the_call(status))
}

/// The address that a redirect of `called` names, for a message: without user, password, query and fragment, which can hold
/// secrets, and shortened.
pub(crate) fn shown(location: &str, called: &Url) -> String {
    let Ok(mut url) = called.join(location) else { return "one that cannot be read".to_owned() };
    // Only an address without a host has no user.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return format!("one that begins with {}:", url.scheme());
    }
    url.set_query(None);
    url.set_fragment(None);
    quoted(url.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_whole_and_without_secrets() {
        let called = Url::parse("https://api.example/v1/chat/completions").unwrap();
        for (location, expected) in [
            ("/v1/chat/completions/", "https://api.example/v1/chat/completions/"),
            ("completions/", "https://api.example/v1/chat/completions/"),
            ("http://other.example/v1", "http://other.example/v1"),
            ("//other.example/v1", "https://other.example/v1"),
            ("https://user:pass@other.example/v1?key=s#t", "https://other.example/v1"),
            ("?api_key=hunter2", "https://api.example/v1/chat/completions"),
            ("mailto:me@example.com", "one that begins with mailto:"),
            ("data:text/plain,hunter2", "one that begins with data:"),
            ("http://[", "one that cannot be read"),
        ] {
            assert_eq!(shown(location, &called), expected, "{location}");
        }
        assert!(shown(&format!("/{}", "x".repeat(10_000)), &called).len() < 400);
    }
}
