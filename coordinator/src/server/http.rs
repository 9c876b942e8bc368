//! HTTP endpoints for metrics, health and the status page; read-only, for viewers.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use proto::secret::SharedSecret;

use super::access::{AccessControl, bearer};
use super::roles::Role;
use super::secrets::{FOLDER, hex, random};
use super::status_page;
use crate::run::Coordinator;

/// Content security policy: the page loads nothing and cannot be framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

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

    /// Lets a request pass, or answers it.
    #[expect(clippy::result_large_err, reason = "the answer is sent at once")]
    fn admit(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<(), Response> {
        self.check_host(headers)?;
        if path == "/healthz" {
            return Ok(());
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let roles = bearer(value).map(|token| self.access.roles_of_token(token)).unwrap_or_default();
            return match roles {
                roles if roles.allow(Role::Viewer) => Ok(()),
                roles if roles.is_empty() => Err(self.unauthorized("the token is not known")),
                roles => {
                    let text = format!("this needs the role viewer; the caller has: {roles}\n");
                    Err((StatusCode::FORBIDDEN, text).into_response())
                }
            };
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

/// Router of `/metrics`, `/healthz` and `/`.
pub(crate) fn router(coordinator: Arc<Coordinator>, page: Arc<PageAccess>) -> Router {
    let (counted, healthy) = (Arc::clone(&coordinator), Arc::clone(&coordinator));
    cli_support::http::router(move || counted.metrics_text(), move || healthy.health())
        .route("/", get(move || show(Arc::clone(&coordinator))))
        .layer(from_fn(move |request: Request, next: Next| {
            let admitted = page.admit(request.uri().path(), request.uri().query(), request.headers());
            async move {
                match admitted {
                    Ok(()) => next.run(request).await,
                    Err(answer) => answer,
                }
            }
        }))
}

async fn show(coordinator: Arc<Coordinator>) -> Response {
    match coordinator.list().await {
        Ok(list) => {
            let html = status_page::render(&list, &coordinator.workers());
            ([(CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
        }
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    }
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
            assert_eq!(status(page.admit("/metrics", None, &with(&token(role)))), expected, "{role}");
        }
        assert_eq!(status(page.admit("/", None, &with("0123456789abcdef"))), 401);
        let bare = headers("127.0.0.1:9090", None);
        assert_eq!(status(page.admit("/", None, &bare)), 401);
        assert_eq!(status(page.admit("/healthz", None, &bare)), 200);
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
            assert_eq!(status(page.admit("/healthz", None, &headers(host, None))), expected, "{host}");
        }
    }

    #[test]
    fn a_link_works_once_and_sets_a_cookie_that_scripts_cannot_read() {
        let state = tempfile::tempdir().unwrap();
        let page = page(state.path());
        let bare = headers("127.0.0.1", None);
        assert_eq!(status(page.admit("/", Some("login=00000000000000000000000000000000"), &bare)), 401);
        let link = page.one_time_link().unwrap();
        let query = link.strip_prefix("/?").unwrap();
        let answer = page.admit("/", Some(query), &bare).unwrap_err();
        assert_eq!(
            (answer.status(), answer.headers()[LOCATION].to_str().unwrap()),
            (StatusCode::SEE_OTHER, "/")
        );
        let set = answer.headers()[SET_COOKIE].to_str().unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Strict"), "{set}");
        assert_eq!(status(page.admit("/", Some(query), &bare)), 401, "it was used");
        let pair = set.split(';').next().unwrap();
        let kept = headers("127.0.0.1", Some((COOKIE, format!("a=b; {pair}"))));
        assert_eq!(status(page.admit("/metrics", None, &kept)), 200);
        let forged = headers("127.0.0.1", Some((COOKIE, format!("{COOKIE_NAME}={}", "0".repeat(32)))));
        assert_eq!(status(page.admit("/metrics", None, &forged)), 401);
    }
}
