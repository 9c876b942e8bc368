//! HTTP endpoints for metrics, health and the live page: who may read them, and who may do something by them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use proto::secret::SharedSecret;

use super::access::{AccessControl, bearer};
use super::live_page;
use super::roles::Role;
use super::secrets::{FOLDER, hex, random};
use crate::run::Coordinator;

/// Content security policy: the page loads its own script, style and events, nothing else, and cannot be framed.
static POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// Name of the cookie that stands for a viewer's token.
const COOKIE_NAME: &str = "k8s-auto-fix-viewer";

/// Begin of the query of the one-time link.
const LOGIN: &str = "login=";

/// Who may read the page and the metrics.
#[derive(Debug)]
pub(crate) struct PageAccess {
    access: Arc<AccessControl>,
    /// Names, besides IP addresses and `localhost`, that the page may be asked for by.
    hosts: Vec<String>,
    /// Secret of the one-time link, until it was used.
    login: Mutex<Option<SharedSecret>>,
    /// Value of the cookie.
    cookie: SharedSecret,
}

impl PageAccess {
    /// For viewers of `access`, at `hosts`.
    pub(crate) fn new(access: Arc<AccessControl>, hosts: Vec<String>) -> anyhow::Result<Self> {
        let cookie = SharedSecret::new(random()?);
        Ok(Self { access, hosts, login: Mutex::default(), cookie })
    }

    /// Path and query of a link that works once and makes its browser a viewer. A link made before is void.
    pub(crate) fn one_time_link(&self) -> anyhow::Result<String> {
        let secret = SharedSecret::new(random()?);
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret);
        Ok(format!("/?{LOGIN}{}", hex(secret.expose())))
    }

    /// Lets a request pass, or answers it. What may change something needs the token of an operator in a header: a browser
    /// sends no such header for another site, as it may send a cookie.
    #[expect(clippy::result_large_err, reason = "the answer is sent at once")]
    fn admit(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Response> {
        self.check_host(headers)?;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if ["/healthz", "/readyz"].contains(&path) && reads {
            return Ok(());
        }
        let needed = if reads { Role::Viewer } else { Role::Operator };
        if !reads {
            check_origin(headers)?;
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let roles = bearer(value).map(|token| self.access.roles_of_token(token)).unwrap_or_default();
            return match roles {
                roles if roles.allow(needed) => Ok(()),
                roles if roles.is_empty() => Err(self.unauthorized("the token is not known")),
                roles => {
                    let text = format!("this needs the role {needed}; the caller has: {roles}\n");
                    Err((StatusCode::FORBIDDEN, text).into_response())
                }
            };
        }
        if !reads {
            return Err(self.unauthorized("the token of an operator was not sent"));
        }
        if cookie(headers) == Some(self.cookie) {
            return Ok(());
        }
        let login = query.and_then(|query| query.strip_prefix(LOGIN)).filter(|_| path == "/");
        match login.map(|code| self.take_login(code)) {
            Some(true) => {
                let cookie = hex(self.cookie.expose());
                let cookie = format!("{COOKIE_NAME}={cookie}; HttpOnly; SameSite=Strict; Path=/");
                Err((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, "/".to_owned())])
                    .into_response())
            }
            Some(false) => Err(self.unauthorized("the link was used before, or is not of this process")),
            None => Err(self.unauthorized("no proof was sent")),
        }
    }

    /// Uses up the one-time link, if this is its code.
    fn take_login(&self, code: &str) -> bool {
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = login.is_some() && secret_of(code) == *login;
        if is_it {
            *login = None;
        }
        is_it
    }

    /// Refuses the name of another site, which its owner may have pointed at this address (DNS rebinding).
    #[expect(clippy::result_large_err, reason = "the answer is sent at once")]
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Response> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_known = |known: &str| known.eq_ignore_ascii_case(name);
        if bare.parse::<IpAddr>().is_ok()
            || is_known("localhost")
            || self.hosts.iter().any(|host| is_known(host))
        {
            return Ok(());
        }
        let text = "this is not a name of this page: use its IP address, or start the coordinator with --http-host\n";
        Err((StatusCode::MISDIRECTED_REQUEST, text).into_response())
    }

    fn unauthorized(&self, why: &str) -> Response {
        self.access.refused.log(&"the HTTP page", why);
        let text = format!(
            "{why}: send \"Authorization: Bearer TOKEN\" with the token of a viewer (the coordinator's state folder has one \
             in {FOLDER}/viewer.token), or open the link that the coordinator prints on a terminal\n"
        );
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")], text).into_response()
    }
}

/// Refuses what another site's page sends.
#[expect(clippy::result_large_err, reason = "the answer is sent at once")]
fn check_origin(headers: &HeaderMap) -> Result<(), Response> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST.as_str()).unwrap_or_default();
    let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, from)| from == host);
    let site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    if site && text(ORIGIN.as_str()).is_none_or(is_own) {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "another site's page may not do this\n").into_response())
}

/// The bytes of 32 hexadecimal digits.
fn secret_of(code: &str) -> Option<SharedSecret> {
    let number = (code.len() == 2 * SharedSecret::BYTES).then(|| u128::from_str_radix(code, 16).ok())??;
    Some(SharedSecret::new(number.to_be_bytes()))
}

/// The value of our cookie.
fn cookie(headers: &HeaderMap) -> Option<SharedSecret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .and_then(|(_, value)| secret_of(value))
}

/// Router of `/metrics`, `/healthz` and the live page.
pub(crate) fn router(coordinator: &Arc<Coordinator>, page: Arc<PageAccess>) -> Router {
    let (counted, healthy) = (Arc::clone(coordinator), Arc::clone(coordinator));
    cli_support::http::router(move || counted.metrics_text(), move || healthy.health())
        .merge(live_page::router(coordinator))
        .layer(from_fn(move |request: Request, next: Next| {
            let uri = request.uri();
            let admitted = page.admit(request.method(), uri.path(), uri.query(), request.headers());
            async move {
                let mut answer = match admitted {
                    Ok(()) => next.run(request).await,
                    Err(answer) => answer,
                };
                let headers = answer.headers_mut();
                headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
                answer
            }
        }))
}

#[cfg(test)]
mod tests {
    use super::super::access::Credentials;
    use super::super::tokens;
    use super::*;

    fn page(state: &std::path::Path) -> PageAccess {
        let own_tokens = tokens::create(state).unwrap();
        let access = AccessControl::new(Credentials { own_tokens, ..Credentials::default() }).unwrap();
        PageAccess::new(Arc::new(access), vec!["runs.example.org".to_owned()]).unwrap()
    }

    /// Headers of a request to `host`, with one more.
    fn headers(host: &str, more: Option<(axum::http::HeaderName, String)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.extend(more.map(|(name, value)| (name, value.parse().unwrap())));
        headers
    }

    fn status(admitted: Result<(), Response>) -> u16 {
        admitted.map_or_else(|answer| answer.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_viewers_and_operators_read_the_page() {
        let state = tempfile::tempdir().unwrap();
        let page = page(state.path());
        let with = |token: &str| headers("127.0.0.1:9090", Some((AUTHORIZATION, format!("Bearer {token}"))));
        let token = |role| {
            let line = std::fs::read_to_string(tokens::path(state.path(), role)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        for (role, expected) in [(Role::Viewer, 200), (Role::Operator, 200), (Role::Worker, 403)] {
            assert_eq!(
                status(page.admit(&Method::GET, "/metrics", None, &with(&token(role)))),
                expected,
                "{role}"
            );
        }
        assert_eq!(status(page.admit(&Method::GET, "/", None, &with("0123456789abcdef"))), 401);
        let bare = headers("127.0.0.1:9090", None);
        assert_eq!(status(page.admit(&Method::GET, "/", None, &bare)), 401);
        assert_eq!(status(page.admit(&Method::GET, "/healthz", None, &bare)), 200);
    }

    #[test]
    fn only_the_token_of_an_operator_in_a_header_changes_something() {
        let state = tempfile::tempdir().unwrap();
        let page = page(state.path());
        let token = |role| {
            let line = std::fs::read_to_string(tokens::path(state.path(), role)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let post = |headers: &HeaderMap| status(page.admit(&Method::POST, "/runs/r/cancel", None, headers));
        let with = |role| headers("127.0.0.1:9090", Some((AUTHORIZATION, format!("Bearer {}", token(role)))));
        for (role, expected) in [(Role::Viewer, 403), (Role::Operator, 200), (Role::Worker, 403)] {
            assert_eq!(post(&with(role)), expected, "{role}");
        }
        assert_eq!(post(&headers("127.0.0.1:9090", None)), 401);
        // The cookie of a viewer, which a browser sends by itself, is no proof.
        let link = page.one_time_link().unwrap();
        let answer = page.admit(&Method::GET, "/", link.strip_prefix("/?"), &headers("127.0.0.1", None));
        let set = answer.unwrap_err().headers()[SET_COOKIE].to_str().unwrap().to_owned();
        let pair = set.split(';').next().unwrap().to_owned();
        assert_eq!(post(&headers("127.0.0.1:9090", Some((COOKIE, pair)))), 401);
        // Another site's page, even with a token.
        for (name, value, expected) in [
            ("origin", "http://127.0.0.1:9090", 200),
            ("origin", "https://evil.example.org", 403),
            ("origin", "null", 403),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "cross-site", 403),
        ] {
            let mut request = with(Role::Operator);
            request.insert(name, value.parse().unwrap());
            assert_eq!(post(&request), expected, "{name}: {value}");
        }
        assert_eq!(status(page.admit(&Method::POST, "/healthz", None, &headers("127.0.0.1", None))), 401);
    }

    #[test]
    fn a_foreign_host_name_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let page = page(state.path());
        for (host, expected) in [
            ("127.0.0.1:9090", 200),
            ("[::1]:9090", 200),
            ("localhost:9090", 200),
            ("runs.example.org", 200),
            ("rebound.example.org:9090", 421),
            ("127.0.0.1.example.org", 421),
            ("", 421),
        ] {
            assert_eq!(
                status(page.admit(&Method::GET, "/healthz", None, &headers(host, None))),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn a_link_works_once_and_sets_a_cookie_that_scripts_cannot_read() {
        let state = tempfile::tempdir().unwrap();
        let page = page(state.path());
        let bare = headers("127.0.0.1", None);
        assert_eq!(
            status(page.admit(&Method::GET, "/", Some("login=00000000000000000000000000000000"), &bare)),
            401
        );
        let link = page.one_time_link().unwrap();
        let query = link.strip_prefix("/?").unwrap();
        let answer = page.admit(&Method::GET, "/", Some(query), &bare).unwrap_err();
        assert_eq!(
            (answer.status(), answer.headers()[LOCATION].to_str().unwrap()),
            (StatusCode::SEE_OTHER, "/")
        );
        let set = answer.headers()[SET_COOKIE].to_str().unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Strict"), "{set}");
        assert_eq!(status(page.admit(&Method::GET, "/", Some(query), &bare)), 401, "it was used");
        let pair = set.split(';').next().unwrap();
        let kept = headers("127.0.0.1", Some((COOKIE, format!("a=b; {pair}"))));
        assert_eq!(status(page.admit(&Method::GET, "/metrics", None, &kept)), 200);
        let forged = headers("127.0.0.1", Some((COOKIE, format!("{COOKIE_NAME}={}", "0".repeat(32)))));
        assert_eq!(status(page.admit(&Method::GET, "/metrics", None, &forged)), 401);
    }
}
