//! The proxy that stands between this machine and a provider, for messages.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// The proxy of a call to `url` by the variables of the environment (`HTTPS_PROXY`, `NO_PROXY` and the like), read as the
/// client reads them: scheme, host and port, never user and password. `None`: the call goes there directly.
pub(crate) fn of(url: &Url) -> Option<String> {
    named(&Matcher::from_system(), url)
}

fn named(matcher: &Matcher, url: &Url) -> Option<String> {
    let found = matcher.intercept(&url.as_str().parse().ok()?)?;
    let proxy = found.uri();
    let port = proxy.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", proxy.scheme_str().unwrap_or("http"), proxy.host()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_named_without_its_password() {
        let to = |url: &str, proxy: &str, not_for: &str| {
            let matcher = Matcher::builder().all(proxy).no(not_for).build();
            named(&matcher, &Url::parse(url).unwrap())
        };
        let api = "https://api.example/v1/chat/completions";
        for (proxy, not_for, expected) in [
            ("http://proxy.example:3128", "", Some("http://proxy.example:3128")),
            ("proxy.example:3128", "", Some("http://proxy.example:3128")),
            ("http://user:hunter2@proxy.example:3128", "", Some("http://proxy.example:3128")),
            ("http://user:hunter2@proxy.example", "", Some("http://proxy.example")),
            ("https://proxy.example", "", Some("https://proxy.example")),
            ("http://[::1]:3128", "", Some("http://[::1]:3128")),
            ("http://proxy.example:3128", "example", None),
            ("http://proxy.example:3128", "api.example", None),
            ("", "", None),
        ] {
            assert_eq!(to(api, proxy, not_for).as_deref(), expected, "{proxy} {not_for}");
        }
        assert_eq!(to("http://127.0.0.1:9/v1", "http://proxy.example:3128", "127.0.0.0/8"), None);
    }
}
