//! TLS of the client: TLS 1.3 alone, the coordinator's certificate checked against given authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Protocol name of HTTP/2 in the TLS handshake.
pub const ALPN: &[u8] = b"h2";

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file cannot be read, or is not PEM of the right kind.
    #[error("cannot read a {what} in PEM from {}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why it cannot be read.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates of a file cannot be used.
    #[error("the certificates or the key in {} cannot be used", path.display())]
    Unusable {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Reads all certificates of a PEM file; there is at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let failed = |source| BadTls::File { what: "certificate", path: path.to_owned(), source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
    match found.map_err(failed)? {
        found if found.is_empty() => Err(failed(rustls::pki_types::pem::Error::NoItemsFound)),
        found => Ok(found),
    }
}

/// Reads the private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BadTls> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| BadTls::File {
        what: "private key",
        path: path.to_owned(),
        source,
    })
}

/// Reads certificate authorities.
pub fn authorities(path: &Path) -> Result<Arc<RootCertStore>, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| BadTls::Unusable { path: path.to_owned(), source })?;
    }
    Ok(Arc::new(roots))
}

/// The cryptography: ring.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS configuration of a client that trusts the authorities in `ca`, and shows its certificate if it has one.
pub(super) fn client(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, BadTls> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| BadTls::Unusable { path, source }
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable(ca))?
        .with_root_certificates(authorities(ca)?);
    let mut config = match own {
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(unusable(certificate))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}
