//! Opens the way to a server: a cluster's, or that of a control plane that is started for it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control_plane::{ControlPlane, FLAGS, Options, StartError};
use crate::error::{ConnectError, Unreachable};
use crate::limits::Limits;
use crate::source::{self, Source};
use crate::transport::{Access, Ask, Http};

/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(50);

/// Ports that are tried.
const TRIES: u32 = 3;

/// A server that answers.
pub(crate) struct Opened {
    pub(crate) http: Http,
    /// Where it is a control plane of ours.
    pub(crate) control_plane: Option<ControlPlane>,
    /// What beside the version decides its verdicts.
    pub(crate) flags: String,
    pub(crate) version: String,
}

/// Connects to the server of `source`.
pub(crate) async fn open(source: &Source, limits: &Limits) -> Result<Opened, ConnectError> {
    let (http, control_plane, flags) = match source {
        Source::Kubeconfig(path) => foreign(source::from_file(path).await?, limits)?,
        Source::Environment => foreign(source::from_environment().await?, limits)?,
        Source::ControlPlane(options) => own(options, limits).await?,
    };
    let version = version(&http).await?;
    if control_plane.is_none() && !understands_questions(&version) {
        return Err(ConnectError::TooOld { server: http.server().to_owned(), version });
    }
    Ok(Opened { http, control_plane, flags, version })
}

type Parts = (Http, Option<ControlPlane>, String);

/// A cluster that is asked and never changed.
fn foreign(config: kube::Config, limits: &Limits) -> Result<Parts, ConnectError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(config.cluster_url.to_string().as_bytes());
    for certificate in config.root_cert.iter().flatten() {
        hasher.update(certificate);
    }
    let flags = format!("cluster={}", &hasher.finalize().to_hex()[..16]);
    Ok((http(config, Access::AskOnly, limits.clone())?, None, flags))
}

fn http(mut config: kube::Config, access: Access, limits: Limits) -> Result<Http, ConnectError> {
    let server = address(&config.cluster_url);
    config.connect_timeout = Some(limits.timeout);
    // We ask again ourselves: bounded, and counted.
    config.default_retry = false;
    match kube::Client::try_from(config) {
        Ok(client) => Ok(Http::new(client, server, access, limits)),
        Err(source) => Err(ConnectError::Client { server, source: Box::new(source) }),
    }
}

/// A URL without what may be secret in it.
fn address(url: &http::Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or("https"), url.host().unwrap_or_default());
    url.port_u16().map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
}

/// Starts a control plane. Its port was free a moment before: where another process was faster, another one is tried.
async fn own(options: &Options, limits: &Limits) -> Result<Parts, ConnectError> {
    let mut tries = 1;
    loop {
        match start(options, limits).await {
            Err(ConnectError::ControlPlane(StartError::Ended { why }))
                if tries < TRIES && why.contains("address already in use") =>
            {
                tries += 1;
            }
            started => return started,
        }
    }
}

/// Starts a control plane, and waits until it answers.
async fn start(options: &Options, limits: &Limits) -> Result<Parts, ConnectError> {
    let control_plane = ControlPlane::start(options).await?;
    let begin = Instant::now();
    let quick = Limits { attempts: 1, timeout: Duration::from_secs(2), ..limits.clone() };
    loop {
        if let Some(why) = control_plane.ended() {
            return Err(StartError::Ended { why }.into());
        }
        // Its certificate is written while it starts.
        if let Ok(config) = source::from_file(&control_plane.kubeconfig()).await {
            let asked = http(config.clone(), Access::Write, quick.clone());
            if let Ok(asked) = asked
                && asked.send(&Ask::get("/readyz")).await.is_ok_and(|reply| reply.is_success())
            {
                let http = http(config, Access::Write, limits.clone())?;
                return Ok((http, Some(control_plane), FLAGS.join(" ")));
            }
        }
        if begin.elapsed() > limits.start {
            let log = tokio::task::spawn_blocking(move || control_plane.stop()).await.unwrap_or_default();
            return Err(StartError::NotReady { seconds: limits.start.as_secs(), log }.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the server says of itself.
pub(crate) async fn version(http: &Http) -> Result<String, Unreachable> {
    let reply = http.send(&Ask::get("/version")).await?;
    let version = serde_json::from_slice::<Value>(&reply.body).ok();
    let version = version.as_ref().and_then(|version| version["gitVersion"].as_str());
    version
        .filter(|text| text.starts_with('v') && text.len() < 64)
        .map(str::to_owned)
        .ok_or_else(|| http.odd("/version without a gitVersion"))
}

/// Whether a release knows `fieldValidation`; an older one would ignore it, and a very old one `dryRun` too.
fn understands_questions(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|number| {
        let digits = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
        number[..digits].parse::<u32>().unwrap_or_default()
    });
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= (1, 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_without_field_validation_are_refused() {
        for (version, expected) in [
            ("v1.37.2", true),
            ("v1.27.0-rc.1", true),
            ("v1.26.9", false),
            ("v2.0.0", true),
            ("v1", false),
            ("", false),
        ] {
            assert_eq!(understands_questions(version), expected, "{version}");
        }
        assert!(understands_questions("v1.31.4-gke.1183000"));
        assert!(understands_questions("v1.30+"));
    }

    #[test]
    fn an_address_has_no_user() {
        assert_eq!(
            address(&"https://user:secret@a.example:6443/path?x".parse().expect("a URL")),
            "https://a.example:6443"
        );
    }
}
