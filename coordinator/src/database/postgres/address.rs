//! Address of a server: its URL, its password from elsewhere, and TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::channel::tls::{BadTls, authorities, provider};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Environment variable of the password, as PostgreSQL's own programs read it.
const PASSWORD: &str = "PGPASSWORD";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a silent connection is trusted, and sent data may stay without an acknowledgement of the network.
const SILENCE: Duration = Duration::from_secs(10);

/// Address of a server. Neither its text nor its errors hold the password.
#[derive(Clone)]
pub(crate) struct EngineAddress {
    config: Config,
    tls: MakeRustlsConnect,
    place: String,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// The URL is not valid. Its text is left out: it may hold a password.
    #[error("the URL of the ledger is not valid: {0}; expected postgres://USER@HOST/DATABASE")]
    Url(String),
    /// The URL of the command line holds a password.
    #[error(
        "the URL of --ledger holds a password, which the list of processes shows to every user of this machine: put the URL \
         into a file of your own (--ledger-file), or the password into the environment variable PGPASSWORD"
    )]
    Password,
    /// The file of the URL cannot be read.
    #[error("cannot read the URL of the ledger from {}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The server is on another machine, and nothing says how to reach it safely.
    #[error(
        "the PostgreSQL server {0} is on another machine, and without its authority the connection would be plain text: give \
         --ledger-ca, or add sslmode=disable to the URL on a network that you trust"
    )]
    PlainText(String),
    /// TLS is required, and there is no authority to check the certificate.
    #[error(
        "the URL of the ledger requires TLS: give the authority of the server's certificate (--ledger-ca)"
    )]
    NoAuthority,
    /// The authority cannot be used.
    #[error(transparent)]
    Tls(#[from] BadTls),
}

impl EngineAddress {
    /// The address of a URL from the command line, which must not hold the password.
    pub(crate) fn of_url(url: &str, ca: Option<&Path>) -> Result<Self, AddressError> {
        let config = parse(url)?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        Self::new(config, ca)
    }

    /// The address whose URL is the text of a file, with or without the password.
    pub(crate) fn of_file(path: &Path, ca: Option<&Path>) -> Result<Self, AddressError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AddressError::File { path: path.to_owned(), source })?;
        Self::new(parse(text.trim())?, ca)
    }

    fn new(mut config: Config, ca: Option<&Path>) -> Result<Self, AddressError> {
        if config.get_password().is_none()
            && let Some(password) = std::env::var_os(PASSWORD)
        {
            config.password(password.as_encoded_bytes());
        }
        let place = place(&config);
        let explicit = config.get_ssl_mode();
        let mode = match (ca, explicit) {
            (Some(_), _) if all_hosts(&config, |host| matches!(host, Host::Unix(_))) => SslMode::Disable,
            (Some(_), _) => SslMode::Require,
            (None, SslMode::Require) => return Err(AddressError::NoAuthority),
            (None, SslMode::Disable) => SslMode::Disable,
            (None, _) if all_hosts(&config, is_local) => SslMode::Disable,
            (None, _) => return Err(AddressError::PlainText(place)),
        };
        config
            .ssl_mode(mode)
            .application_name("k8s-auto-fix coordinator")
            .connect_timeout(CONNECT)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            // A primary that was replaced, and does not know it, may be the first in the list.
            .load_balance_hosts(LoadBalanceHosts::Random);
        Ok(Self { config, tls: MakeRustlsConnect::new(tls_client(ca)?), place })
    }

    /// What to connect with.
    pub(super) fn parts(&self) -> (&Config, MakeRustlsConnect) {
        (&self.config, self.tls.clone())
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

fn parse(url: &str) -> Result<Config, AddressError> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(AddressError::Url("it does not begin with postgres://".to_owned()));
    }
    let config: Config = url
        .parse()
        .map_err(|error: tokio_postgres::Error| AddressError::Url(super::errors::described(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(AddressError::Url("it names no host".to_owned()));
    }
    Ok(config)
}

/// TLS of 1.2 or 1.3: servers of PostgreSQL 14 may have no newer one.
fn tls_client(ca: Option<&Path>) -> Result<ClientConfig, AddressError> {
    let roots = match ca {
        Some(ca) => authorities(ca)?,
        None => Arc::new(RootCertStore::empty()),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|source| BadTls::Unusable { path: ca.unwrap_or(Path::new("")).to_owned(), source })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn all_hosts(config: &Config, which: fn(&Host) -> bool) -> bool {
    config.get_hosts().iter().all(which) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

/// The URL for people: without password and options.
fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(number, host)| {
        let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Unix(path) => path.display().to_string(),
            Host::Tcp(name) => format!("{name}:{port}"),
        }
    });
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{user}{}/{database}", hosts.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_a_file_and_is_never_shown() {
        let url = "postgres://me:geheim@127.0.0.1:5433/runs";
        let refused = EngineAddress::of_url(url, None).unwrap_err();
        assert!(matches!(refused, AddressError::Password), "{refused}");
        assert!(!refused.to_string().contains("geheim"));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("uri");
        std::fs::write(&file, format!("{url}\n")).unwrap();
        let address = EngineAddress::of_file(&file, None).unwrap();
        assert_eq!(address.config.get_password(), Some(&b"geheim"[..]));
        assert_eq!(address.to_string(), "postgres://me@127.0.0.1:5433/runs");
        assert_eq!(format!("{address:?}"), address.to_string());

        let bad = "postgres://me:geheim@127.0.0.1:port/runs";
        std::fs::write(&file, bad).unwrap();
        let error = EngineAddress::of_file(&file, None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    }

    #[test]
    fn plain_text_leaves_the_machine_only_where_the_url_says_so() {
        let mode = |url: &str| EngineAddress::of_url(url, None).map(|address| address.config.get_ssl_mode());
        for local in
            ["postgres://me@localhost/runs", "postgres://me@[::1]/runs", "postgres://me@/runs?host=/run/pg"]
        {
            assert_eq!(mode(local).unwrap(), SslMode::Disable, "{local}");
        }
        for elsewhere in ["postgres://me@db.example/runs", "postgres://me@localhost,10.0.0.7/runs"] {
            assert!(matches!(mode(elsewhere), Err(AddressError::PlainText(_))), "{elsewhere}");
        }
        assert_eq!(mode("postgres://me@db.example/runs?sslmode=disable").unwrap(), SslMode::Disable);
        let required = mode("postgres://me@db.example/runs?sslmode=require");
        assert!(matches!(required, Err(AddressError::NoAuthority)), "{required:?}");
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for bad in [
            "mysql://me@localhost/runs",
            "host=localhost user=me",
            "postgres:///runs",
            "postgres://h/x?colour=red",
        ] {
            assert!(matches!(EngineAddress::of_url(bad, None), Err(AddressError::Url(_))), "{bad}");
        }
    }
}
